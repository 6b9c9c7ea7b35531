"""The 3-D network with its kept fraction, legend and colours; a click selects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import streamlit as st

from viscnn.ui import data, discs, figures, state
from viscnn.ui.data import Drawing, Kept
from viscnn.ui.network3d import clicked, network3d

__all__ = ["HEIGHT", "draw", "find_filter", "kept", "placed", "projection"]

HEIGHT = 480
KERNELS, SCORE = "kernels", "score"
DEFAULT_SHARE = 0.5
MOST_LISTED = 2000
"""Filters that the select box lists: the browser takes every one of them anew at each click."""


def kept() -> Kept:
    """The slider of what is drawn, by a share of all kernels or of the total score; nothing is computed anew."""
    measure, slider = st.columns([2, 5], gap="small", vertical_alignment="bottom")
    with measure:
        _measure()
    view = state.current()
    steps = state.KEPT_FRACTIONS if view.share is None else state.SCORE_SHARES
    shown = state.nearest(steps, view.keep if view.share is None else view.share)
    with slider:
        _steps(steps, shown, "keep" if view.share is None else "share")
    return Kept(shown) if view.share is None else Kept(view.keep, shown)


def _measure() -> None:
    """What the slider measures."""
    st.session_state["measure"] = KERNELS if state.current().share is None else SCORE
    st.segmented_control(
        "Keep by",
        [KERNELS, SCORE],
        key="measure",
        required=True,
        help="A share of all kernels, or as many of the highest scores as make up a share of their sum",
        on_change=lambda: state.update(share=DEFAULT_SHARE if st.session_state["measure"] == SCORE else None),
    )


def _steps(steps: Sequence[float], shown: float, field: str) -> None:
    texts = [figures.percent(step) for step in steps]
    st.session_state[field] = figures.percent(shown)
    st.select_slider(
        {"keep": "Kept fraction", "share": "Share of the score"}[field],
        texts,
        key=field,
        on_change=lambda: state.update(**{field: steps[texts.index(st.session_state[field])]}),
        help="The kernels with the highest scores are drawn, layers made comparable by their number of positions. "
        "Nothing is computed anew.",
    )


def projection(model: str) -> None:
    """The select box of projections: all that are stored, the active one first shown."""
    found = {str(each["uid"]): each for each in data.projections(model)}
    chosen = _chosen(found)
    if chosen is None:
        return
    st.session_state["projection"] = chosen
    st.selectbox(
        "Projection",
        list(found),
        key="projection",
        format_func=lambda uid: _described(found[uid]),
        on_change=lambda: state.update(projection=st.session_state["projection"]),
        help="What puts filters near each other in a disc; `viscnn project` makes others. Only the page moves: "
        "`viscnn activate` changes the places in the graph.",
    )


def placed(drawing: Drawing, model: str, stamp: str) -> tuple[Drawing, str]:
    """The drawing with its filters where the view's projection puts them, and a name of these places."""
    found = {str(each["uid"]): each for each in data.projections(model)}
    uid = _chosen(found)
    if uid is None:
        return drawing, ""
    made = str(found[uid]["createdAt"])
    where = data.places(stamp, uid, made).reindex(drawing.filters["uid"])
    filters = drawing.filters.assign(u=where["u"].to_numpy(), v=where["v"].to_numpy())
    return replace(drawing, filters=filters), f"{uid}|{made}"


def _chosen(found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The view's projection if it is one of the model's, else the active one."""
    view = state.current().projection
    if view in found:
        return view
    return next((uid for uid, each in found.items() if each["active"]), next(iter(found), None))


def _described(found: Mapping[str, Any]) -> str:
    trust = found["trustworthiness"]
    active = " · active" if found["active"] else ""
    return f"{found['method']}{'' if trust is None else f' · trustworthiness {trust:.2f}'}{active}"


def draw(
    drawing: Drawing,
    layers: pd.DataFrame,
    *,
    revision: str,
    legend: str,
    key: str,
    target: str | None,
    palette: Literal["signs", "comparison"] = "signs",
) -> None:
    """Draw filters, kernels and identities; the selection of the view is highlighted.

    Args:
        revision: names the content of `drawing`.
        key: of the component; its camera stays while the key does.
        target: uid of a filter to be ringed.
        palette: what the signs of the kernels mean (see `network3d`); `signs` has a variant that the view may ask for.
    """
    centres = discs.offsets(drawing.filters, layers)
    nodes = figures.network_nodes(drawing.filters, centres)
    nodes["target"] = nodes["uid"] == target
    network3d(
        nodes,
        figures.network_kernels(drawing.kernels, drawing.identities),
        revision=revision,
        selected=_selected(drawing),
        selected_revision=state.jumps(),
        key=key,
        height=HEIGHT,
        layers=discs.captions(layers, centres),
        legend=f"{len(drawing.kernels):,} kernels drawn",
        palette="safe" if palette == "signs" and state.current().safe else palette,
        on_select=lambda: _take(key),
    )
    left, right = st.columns([2, 1])
    left.caption(legend)
    if palette == "signs":
        with right:
            _colours(key)


def _colours(key: str) -> None:
    """A switch to colours for any kind of colour blindness."""
    widget = f"{key}_safe"
    st.session_state[widget] = state.current().safe
    st.toggle(
        "Safe colours",
        key=widget,
        help="Blue and orange (Okabe and Ito 2008), told apart with any kind of colour blindness",
        on_change=lambda: state.update(safe=st.session_state[widget]),
    )


def _take(key: str) -> None:
    """A click becomes the selection of the view."""
    found = clicked(key)
    if found is None:
        state.select(None, by_click=True)
    elif "uid" in found:
        state.select(found["uid"], by_click=True)
    else:
        state.select(found["target"], found["source"], by_click=True)


def _selected(drawing: Drawing) -> dict[str, object] | None:
    """The view's selection as a row of the drawing; None when it is not drawn."""
    view = state.current()
    if view.selected is None:
        return None
    uids = drawing.filters["uid"]
    if view.source is None:
        rows = drawing.filters.index[uids == view.selected]
        return {"kind": "filter", "index": int(rows[0])} if len(rows) else None
    edges = pd.concat([each[["source", "target"]] for each in (drawing.kernels, drawing.identities)])
    source, target = (uids.iloc[edges[end]].to_numpy() for end in ("source", "target"))
    found = np.flatnonzero((source == view.source) & (target == view.selected))
    return {"kind": "kernel", "index": int(found[0])} if len(found) else None


def find_filter(drawing: Drawing) -> None:
    """A select box of filters: the precise way to pick one; of a large model the best, and any other by its uid."""
    uids = drawing.filters["uid"]
    shown = state.current().selected
    shown = shown if shown in set(uids) else None
    options = _listed(drawing.filters)
    if shown is not None and shown not in options:
        options.insert(0, shown)
    st.session_state["find"] = shown
    st.selectbox(
        "Filter",
        options,
        key="find",
        index=None,
        placeholder="Click a filter in the picture, or type its uid",
        label_visibility="collapsed",
        accept_new_options=len(uids) > MOST_LISTED,
        on_change=lambda: state.select(st.session_state["find"]),
    )
    if state.current().selected not in (None, shown):
        st.caption(f":material/info: This model has no filter {figures.plain(str(state.current().selected))}.")


def _listed(filters: pd.DataFrame) -> list[str]:
    """The uids to choose from: all, or of more than MOST_LISTED those that stand highest in their layers."""
    if len(filters) <= MOST_LISTED:
        return [str(uid) for uid in filters["uid"]]
    best = filters["score"].groupby(filters["layerIndex"]).rank(ascending=False, method="first", na_option="bottom")
    rows = best.nsmallest(MOST_LISTED).index.sort_values()
    return [str(uid) for uid in filters.loc[rows, "uid"]]
