"""The 3-D network with its kept fraction, legend and colours; a click selects."""

import pandas as pd
import streamlit as st

from viscnn.ui import figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.network3d import clicked, network3d

__all__ = ["HEIGHT", "draw", "find_filter", "kept_fraction"]

HEIGHT = 480


def kept_fraction() -> float:
    """The slider of the drawn share of all kernels; nothing is computed anew."""
    steps = [figures.percent(step) for step in state.KEPT_FRACTIONS]
    shown = state.nearest_fraction(state.current().keep)
    st.session_state["keep"] = figures.percent(shown)
    st.select_slider(
        "Kept fraction",
        steps,
        key="keep",
        on_change=lambda: state.update(keep=state.KEPT_FRACTIONS[steps.index(st.session_state["keep"])]),
        help="The share of all kernels that is drawn: those with the highest scores, layers made comparable by their "
        "number of positions. Nothing is computed anew.",
    )
    return shown


def draw(drawing: Drawing, layers: pd.DataFrame, *, revision: str, legend: str, key: str, target: str | None) -> None:
    """Draw filters and kernels; the selection of the view is highlighted.

    Args:
        revision: names the content of `drawing`.
        key: of the component; its camera stays while the key does.
        target: uid of a filter to be ringed.
    """
    nodes = figures.network_nodes(drawing.filters)
    nodes["target"] = nodes["uid"] == target
    network3d(
        nodes,
        figures.network_kernels(drawing.kernels),
        revision=revision,
        selected=_selected(drawing),
        selected_revision=state.jumps(),
        key=key,
        height=HEIGHT,
        layers=_captions(layers),
        on_select=lambda: _take(key),
    )
    st.caption(legend)


def _captions(layers: pd.DataFrame) -> list[str]:
    """Name and number of filters of each depth; a branching network has several layers at one."""
    found: dict[int, list[str]] = {}
    for row in layers.sort_values("index").to_dict("records"):
        found.setdefault(int(row["index"]), []).append(f"{row['name']} · {row['filters']}")
    return [" + ".join(found.get(depth, [])) for depth in range(max(found) + 1)]


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
    kernels = drawing.kernels
    ends = (uids.iloc[kernels["source"]].to_numpy() == view.source) & (
        uids.iloc[kernels["target"]].to_numpy() == view.selected
    )
    rows = kernels.index[ends]
    return {"kind": "kernel", "index": int(rows[0])} if len(rows) else None


def find_filter(drawing: Drawing) -> None:
    """A select box of all filters: the precise way to pick one."""
    uids = drawing.filters["uid"].tolist()
    shown = state.current().selected
    st.session_state["find"] = shown if shown in uids else None
    st.selectbox(
        "Filter",
        uids,
        key="find",
        index=None,
        placeholder="Click a filter in the picture, or type its uid",
        label_visibility="collapsed",
        on_change=lambda: state.select(st.session_state["find"]),
    )
