"""The 3-D network with its kept fraction, legend and colours; a click selects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import streamlit as st

from viscnn.ui import data, discs, figures, state
from viscnn.ui.data import Drawing, Kept
from viscnn.ui.network3d import clicked, network3d

__all__ = ["HEIGHT", "STORED", "draw", "find_filter", "kept", "placed", "projection", "safe_colours"]

HEIGHT = 480
KERNELS, SCORE = "kernels", "score"
STORED = ""
"""Stands for the places that the graph has, in u and v of the filters, where those are no projection's."""
DEFAULT_SHARE = 0.5
MOST_LISTED = 2000
"""Filters that the select box lists: the browser takes every one of them anew at each click."""


def kept() -> Kept:
    """The slider of what is drawn, by a share of all kernels or of the total score; nothing is computed anew."""
    view = state.current()
    steps = state.KEPT_FRACTIONS if view.share is None else state.SCORE_SHARES
    shown = state.nearest(steps, view.keep if view.share is None else view.share)
    with st.container(horizontal=True):  # the switch has its own width, whatever is left is the slider's
        _measure()
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
    """The select box of projections: all that are stored, the active one first shown, else the graph's own places."""
    found = _projections(model)
    if not found:
        return
    active = any(each["active"] for each in found.values())
    st.session_state["projection"] = _chosen(found)
    st.selectbox(
        "Projection",
        [*([] if active else [STORED]), *found],
        key="projection",
        format_func=lambda uid: _described(found[uid]) if uid else "as stored in the graph",
        on_change=lambda: state.update(projection=st.session_state["projection"] or None),
        help="What puts filters near each other in a disc; `viscnn project` makes others. Only the page moves: "
        "`viscnn activate` changes the places in the graph.",
    )


def placed(drawing: Drawing, model: str, stamp: str) -> tuple[Drawing, str]:
    """The drawing with its filters where the view's projection puts them, and a name of these places.

    The graph's own places are read anew each time: nothing tells when somebody moves filters by Cypher.
    """
    found = _projections(model)
    uid = _chosen(found)
    if uid == STORED:
        where = data.stored_places(model)
        name = f"stored|{pd.util.hash_pandas_object(where).sum()}"
    else:
        made = str(found[uid]["createdAt"])
        where, name = data.places(stamp, uid, made), f"{uid}|{made}"
    where = where.reindex(drawing.filters["uid"])
    filters = drawing.filters.assign(u=where["u"].to_numpy(), v=where["v"].to_numpy())
    return replace(drawing, filters=filters), name


def _projections(model: str) -> dict[str, dict[str, Any]]:
    return {str(each["uid"]): each for each in data.projections(model)}


def _chosen(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The view's projection if it is one of the model's, else the active one; STORED where none is active."""
    view = state.current().projection
    if view is not None and view in found:
        return view
    return next((uid for uid, each in found.items() if each["active"]), STORED)


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
    nodes, kernels, captions = _tables(revision, target, drawing, layers)
    network3d(
        nodes,
        kernels,
        revision=revision,
        selected=_selected(),
        selected_revision=state.jumps(),
        key=key,
        height=HEIGHT,
        layers=captions,
        legend=f"{len(drawing.kernels):,} kernels drawn",
        palette="safe" if palette == "signs" and state.current().safe else palette,
        on_select=lambda: _take(key),
    )
    left, right = st.columns([2, 1])
    left.caption(legend)
    if palette == "signs":
        with right:
            safe_colours(key)


@st.cache_resource(show_spinner=False, max_entries=16)
def _tables(
    revision: str, target: str | None, _drawing: Drawing, _layers: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Filters, kernels and captions for `network3d`; read only: clicks and other visitors share them."""
    centres = discs.offsets(_drawing.filters, _layers)
    nodes = figures.network_nodes(_drawing.filters, centres)
    nodes["target"] = nodes["uid"] == target
    return nodes, figures.network_kernels(_drawing.kernels, _drawing.identities), discs.captions(_layers, centres)


def safe_colours(key: str) -> None:
    """A switch to colours for any kind of colour blindness, of the 3-D view and of diagrams alike.

    Args:
        key: of the component beside it.
    """
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


def _selected() -> dict[str, str] | None:
    """The view's selection, drawn or not."""
    view = state.current()
    if view.selected is None:
        return None
    if view.source is None:
        return {"kind": "filter", "uid": view.selected}
    return {"kind": "kernel", "source": view.source, "target": view.selected}


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
