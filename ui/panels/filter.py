"""The panel of a filter: its numbers, its strongest incoming kernels, its activation map."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.kernel import WITHOUT_WEIGHTS, addends, kernel_panel, kernel_weights

__all__ = ["activation_panel", "filter_panel", "panel_switch", "selection_panel", "top_filters"]

KERNELS_SHOWN = (4, 8, 12, 24, 48)
COLUMNS = 4
TOP_PER_LAYER = 5
HIGHEST_TABLE = 640


def panel_switch(other: str) -> bool:
    """A switch between the selection and a table called `other`; whether the selection is to be shown."""
    choices = [state.SELECTED, other]
    if st.session_state.get(state.PANEL) not in choices:
        st.session_state[state.PANEL] = state.SELECTED if state.current().selected else other
    st.segmented_control(
        "Panel", choices, key=state.PANEL, required=True, label_visibility="collapsed", width="stretch"
    )
    return bool(st.session_state[state.PANEL] == state.SELECTED)


def selection_panel(stamp: str, model: str, drawing: Drawing) -> None:
    """The panel of what is selected, or how to select."""
    view = state.current()
    if view.selected is None or view.selected not in set(drawing.filters["uid"]):
        st.caption("Nothing is selected. Click a filter or a kernel in the picture, or pick a filter above.")
    elif view.source is not None:
        kernel_panel(stamp, model, drawing, view.source, view.selected)
    else:
        filter_panel(stamp, model, drawing, view.selected)


def filter_panel(stamp: str, model: str, drawing: Drawing, uid: str) -> None:
    """One filter under the drawing's query."""
    row = drawing.filters.loc[drawing.filters["uid"] == uid].iloc[0]
    peers = drawing.filters.loc[drawing.filters["layer"] == row["layer"], "score"]
    st.markdown(f"##### Filter `{uid}`")
    if row["inputChannel"]:
        st.caption("An input channel: it has no score and no kernels of its own.")
        return
    layer = data.layers(stamp, model).loc[row["layer"]]
    note = _note(layer, int(row["channel"]), data.properties(stamp, model)["classes"] or [])
    if note:
        st.markdown(note)
    rank = "-" if pd.isna(row["score"]) else f"{int((peers > row['score']).sum()) + 1:,} of {len(peers):,}"
    numbers = {
        "Layer": str(row["layer"]),
        "Score": figures.number(row["score"]),
        "Rank in layer": rank,
        "Importance": figures.number(row["importance"]),
    }
    if layer["kind"] == "sum":
        st.html(figures.facts(numbers))
        addends(data.incoming(stamp, uid, drawing.query), uid)
    else:
        st.html(figures.facts(numbers | {"Bias": figures.number(row["bias"])}))
        _incoming(stamp, model, drawing, uid, int(layer["inputs"]))
    activation_panel(stamp, model, uid)


def _note(layer: "pd.Series[Any]", channel: int, classes: list[str]) -> str:
    """What is special about the filters of a layer; empty where nothing is."""
    if layer["kind"] == "sum":
        return "A channel of an **addition**: it adds up maps as they are, without weights or bias of its own."
    if layer["logits"]:
        name = classes[channel] if channel < len(classes) else str(channel)
        return f"The **logit** of class {figures.plain(name)}."
    if layer["gate"]:
        return "A filter of a **gate**: its map reaches other layers only as a factor (squeeze-and-excite)."
    return ""


def _incoming(stamp: str, model: str, drawing: Drawing, uid: str, inputs: int) -> None:
    kernels = data.incoming(stamp, uid, drawing.query)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with right:
        shown = _count()
    top = kernels.head(shown)
    left.markdown(f"**Top incoming kernels** · {len(top)} of {len(kernels):,}")
    if len(kernels) < inputs:
        missing = f"{inputs - len(kernels):,} of {inputs:,} kernels into it are not stored"
        st.caption(f"{missing} (left out when the model was ingested).")
    weights = [kernel_weights(stamp, model, uid, each) for each in top["weights"]]
    limit = figures.largest(each for each in weights if each is not None)
    for start in range(0, len(top), COLUMNS):
        for column, at in zip(st.columns(COLUMNS), range(start, min(start + COLUMNS, len(top))), strict=False):
            with column, st.container(gap=None):
                _kernel(top.iloc[at], weights[at], limit, uid)
    if any(each is not None for each in weights):
        st.html(
            figures.colour_bar(limit, label="kernel weight, one scale for all; the strip below a kernel is its sign")
        )
    elif len(top):
        st.caption(WITHOUT_WEIGHTS)


def _count() -> int:
    st.session_state["kernels"] = min(KERNELS_SHOWN, key=lambda each: abs(each - state.current().kernels))
    return int(
        st.selectbox(
            "Kernels shown",
            KERNELS_SHOWN,
            key="kernels",
            label_visibility="collapsed",
            on_change=lambda: state.update(kernels=st.session_state["kernels"]),
        )
    )


def _kernel(kernel: "pd.Series[Any]", weights: NDArray[np.float64] | None, limit: float, uid: str) -> None:
    source = str(kernel["source"])
    colour, score = figures.SIGNS[kernel["sign"]], figures.number(kernel["score"])
    if pd.isna(kernel["score"]):  # no query yet
        score = f"sum of |weights| {figures.number(kernel['l1'])}"
    if weights is None:
        st.html(figures.strip(colour, caption=f"{score} · {kernel['sign']}"))
    else:
        alt = f"kernel {source} to {uid}"
        st.html(figures.figure(figures.diverging(weights, limit), alt=alt, caption=score, colour=colour))
    st.button(
        figures.plain(source.split("/", 1)[1]),
        key=f"kernel_{kernel['input']}",
        type="tertiary",
        help=f"{kernel['sign']}; open this kernel",
        on_click=lambda: state.select(uid, source),
    )


def activation_panel(stamp: str, model: str, uid: str) -> None:
    """The activation map on a chosen image, beside it; needs the model on this machine."""
    st.markdown("**Activation map**")
    with shown_errors("activation"):
        path = _choose_image(stamp, model)
        if path is None:
            return
        shown = data.image(stamp, model, path)
        activation = data.activation(stamp, uid, path)
        limit = figures.largest([activation])
        left, right = st.columns(2)
        left.html(figures.figure(shown, alt=f"image {path}", caption="input image"))
        right.html(
            figures.figure(
                figures.diverging(activation, limit),
                alt=f"activation map of {uid}",
                caption=f"map of {activation.shape[0]} x {activation.shape[1]}",
            )
        )
        st.html(figures.colour_bar(limit, label="pre-activation Z, centred at zero"))


def _choose_image(stamp: str, model: str) -> str | None:
    sets = data.image_sets(model)
    if not sets:
        st.caption("This model has no images; give them when ingesting it: `viscnn ingest MODEL --images FOLDER`.")
        return None
    view = state.current()
    left, right = st.columns([2, 3])
    st.session_state["image_set"] = view.image_set if view.image_set in sets else sets[0]
    with left:
        chosen = st.selectbox(
            "Image set",
            sets,
            key="image_set",
            on_change=lambda: state.update(image_set=st.session_state["image_set"], image=None),
        )
    paths = data.image_paths(stamp, model, chosen)
    if not paths:
        st.caption("This image set is empty.")
        return None
    st.session_state["image"] = view.image if view.image in paths else paths[0]
    with right:
        return st.selectbox(
            "Image", paths, key="image", on_change=lambda: state.update(image=st.session_state["image"])
        )


def top_filters(drawing: Drawing) -> None:
    """The filters with the highest scores, layer by layer; choosing a row selects the filter."""
    table = drawing.filters.loc[~drawing.filters["inputChannel"].astype(bool)]
    table = table.sort_values(["layerIndex", "score"], ascending=[True, False])
    table = table.groupby("layer", sort=False).head(TOP_PER_LAYER)
    table = table[["uid", "score", "shown"]].reset_index(drop=True)
    key = f"top_filters_{state.clicks()}"

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            state.select(str(table["uid"].iloc[rows[0]]))

    st.dataframe(
        table.assign(uid=table["uid"].str.split("/", n=1).str[1]),
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=min(36 * (len(table) + 1), HIGHEST_TABLE),
        column_config={
            "uid": "Filter",
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=72),
            "shown": st.column_config.ProgressColumn(
                "Of the best",
                help="Share of the highest score in its layer",
                format="percent",
                min_value=0.0,
                max_value=1.0,
                width=84,
            ),
        },
    )
