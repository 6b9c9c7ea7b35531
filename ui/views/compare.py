"""Compare: two queries of a model in one picture, and layer by layer."""

from dataclasses import replace
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd
import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing, Kept
from viscnn.ui.panels import network
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.filter import selection_panel
from viscnn.ui.panels.models import choose_model, run_anew_if_changed
from viscnn.ui.panels.query_bar import queries_of, query_form

if TYPE_CHECKING:
    from viscnn.comparison import Comparison

__all__ = ["page"]

FILTERS_SHOWN = 12
MEMBERS = {-1: "only left", 0: "shared", 1: "only right"}


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("compare"):
        model = choose_model()
        if model is None:
            return
        stamp = data.stamp(model)
        with st.sidebar:
            query_form(model, stamp)
        _comparison(model, stamp)


@st.fragment
def _comparison(model: str, stamp: str) -> None:
    with shown_errors("comparison"):
        run_anew_if_changed(model, stamp)
        saved = queries_of(model)
        if len(saved) < 2:
            st.info("Two saved queries are needed to compare. Run them on the left.", icon=":material/arrow_back:")
            return
        uids = list(saved)
        if any(uid is not None and uid not in saved for uid in (state.current().query, state.current().other)):
            st.caption(":material/info: A query of the link is not stored (any more); another one is shown instead.")
        left, right = st.columns(2)
        first = _choose(left, "Left", "query", saved, state.current().query or uids[0])
        other = state.current().other or next(uid for uid in uids if uid != first)
        second = _choose(right, "Right", "other", saved, other)
        kept = network.kept()
        _picture(model, stamp, first, second, kept)


def _said(kept: Kept) -> str:
    if kept.share is None:
        return f"{figures.percent(kept.keep)} of all kernels"
    return f"the kernels with {figures.percent(kept.share)} of the score"


def _legend(found: "Comparison", kept: Kept) -> str:
    """What the queries keep, and what of it is not drawn."""
    members = ", ".join(f"{found.counts[member]:,} {name}" for member, name in MEMBERS.items())
    parts = [f"{_said(kept)} on either side: {members}", f"intersection over union {found.iou:.2f}"]
    parts += [f"{found.left_out:,} of them left out of the picture by the cap"] * bool(found.left_out)
    parts += [f"{found.not_stored:,} not stored (left out when the model was ingested)"] * bool(found.not_stored)
    return "; ".join(parts)


def _choose(
    place: "st.delta_generator.DeltaGenerator", label: str, field: str, saved: dict[str, str], shown: str
) -> str:
    """A select box of queries that follows the view's `field`."""
    uids = list(saved)
    shown = shown if shown in saved else uids[0]
    key = f"compare_{field}"
    st.session_state[key] = shown
    return str(
        place.selectbox(
            label,
            uids,
            key=key,
            format_func=saved.__getitem__,
            on_change=lambda: state.update(**{field: st.session_state[key]}),
        )
    )


def _picture(model: str, stamp: str, first: str, second: str, kept: Kept) -> None:
    found = data.comparison(stamp, first, second, kept)
    kernels = found.kernels.assign(sign=found.kernels["member"], score=found.kernels["shown"])
    drawing = Drawing(first, found.filters, kernels, found.identities)
    picture, panel = st.columns([3, 2], gap="medium")
    with picture:
        shown, places = network.placed(drawing, model, stamp)
        network.draw(
            shown,
            data.layers(stamp, model),
            revision=f"{stamp}|{first}|{second}|{kept}|{places}",
            legend=_legend(found, kept),
            key="compare_network",
            target=None,
            palette="comparison",
        )
        _layers(found.layers)
    with panel:
        left = replace(drawing, filters=found.filters.assign(shown=found.filters["left"]))
        network.find_filter(left)
        if state.current().selected is None:
            _filters(found.filters)
        else:
            st.caption("Scores and ranks are those of the left query.")
            selection_panel(stamp, model, left)


def _layers(layers: pd.DataFrame) -> None:
    """How much of each layer's kernels both keep, as bars, and the table."""
    bars = (
        alt.Chart(layers)
        .mark_bar(color="rgb({},{},{})".format(*figures.BLUE))
        .encode(
            x=alt.X("layer:N", sort=None, title=None),
            y=alt.Y("iou:Q", title="intersection over union", scale=alt.Scale(domain=[0, 1])),
            tooltip=["layer", "left", "right", "shared", alt.Tooltip("iou", format=".3f")],
        )
        .properties(height=180)
    )
    st.altair_chart(bars, key="compare_bars")
    number = st.column_config.NumberColumn
    st.dataframe(
        layers,
        hide_index=True,
        height=min(36 * (len(layers) + 1), 300),
        column_config={
            "layer": "Layer",
            "left": number("Kernels, left", format="localized"),
            "right": number("right", format="localized"),
            "shared": number("shared", format="localized"),
            "iou": number("IoU", format="%.3f"),
            "correlation": number("Rank correlation of filters", format="%.3f"),
        },
    )


def _filters(filters: pd.DataFrame) -> None:
    """The filters that differ most between the two; choosing one selects it."""
    st.markdown("**Filters that differ most**")
    table = filters.loc[~filters["inputChannel"].astype(bool)]
    table = table.assign(difference=table["left"] - table["right"])
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index[:FILTERS_SHOWN]
    table = table.loc[order, ["uid", "left", "right", "difference"]].reset_index(drop=True)
    key = f"compare_filters_{state.clicks()}"

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            state.select(str(table["uid"].iloc[rows[0]]))

    number = st.column_config.NumberColumn
    st.dataframe(
        table.assign(uid=table["uid"].str.split("/", n=1).str[1]),
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=36 * (len(table) + 1),
        column_config={
            "uid": "Filter",
            "left": number("Left", help="Score over the highest of its layer", format="%.2f"),
            "right": number("Right", format="%.2f"),
            "difference": number("Difference", format="%.2f"),
        },
    )
