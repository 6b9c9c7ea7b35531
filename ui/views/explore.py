"""Explore: ask a question, see its subgraph, click through filters and kernels."""

from concurrent.futures import wait

import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.panels import network
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.filter import panel_switch, selection_panel, top_filters
from viscnn.ui.panels.models import choose_model, run_anew_if_changed
from viscnn.ui.panels.query_bar import filter_output, query_form, saved_queries

__all__ = ["page"]

_EXPLAINED = "viscnn_explained"
PATIENCE_S = 1.0
"""A new query of a small model is active when the page has run; of a large one the activation goes on beside it."""


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("explore"):
        model = choose_model()
        if model is None:
            return
        stamp = data.stamp(model)
        with st.sidebar:
            query_form(model, stamp)
            query = saved_queries(model)
        _explorer(model, stamp, query)
    with shown_errors("activation"):
        _activate()


@st.fragment
def _explorer(model: str, stamp: str, query: str | None) -> None:
    """A fragment: clicks and the slider leave the query bar alone."""
    with shown_errors("explorer"):
        run_anew_if_changed(model, stamp)
        if state.current().query != query or st.session_state.pop(_EXPLAINED, False):
            st.rerun()
        picture, panel = st.columns([3, 2], gap="medium")
        with picture:
            drawing = _filters_only(model, stamp) if query is None else _subgraph(model, stamp, query)
        with panel:
            network.find_filter(drawing)
            selected = panel_switch("Top filters")
            with st.container(key="panel_box"):
                if selected:
                    _offer()
                    selection_panel(stamp, model, drawing)
                else:
                    top_filters(drawing)


def _offer() -> None:
    """A button that makes the selected filter the output of the query bar; a click in the picture leaves that alone."""
    view = state.current()
    if view.selected is None or view.source is not None or "/input/" in view.selected:
        return
    st.button(
        "Explain this filter",
        key="explain",
        type="tertiary",
        icon=":material/target:",
        help="Makes it the output of the query bar: what matters to this filter?",
        on_click=_explain,
        args=(view.selected,),
    )


def _explain(uid: str) -> None:
    st.session_state["output"] = filter_output(uid)
    st.session_state[_EXPLAINED] = True  # the query bar is outside of the fragment


def _subgraph(model: str, stamp: str, query: str) -> data.Drawing:
    """Draw the scored subgraph of a query."""
    fraction, placing = st.columns([7, 3], gap="medium")
    with fraction:
        kept = network.kept()
    with placing:
        network.projection(model)
    found = data.subgraph(stamp, query, kept)
    drawing = data.Drawing(query, found.filters, found.kernels, found.identities)
    legend = figures.legend(
        len(found.kernels),
        found.total,
        found.score_share,
        left_out=found.left_out,
        not_stored=found.not_stored,
        identities=len(found.identities),
        identities_left_out=found.identities_left_out,
    )
    _draw(drawing, model, stamp, revision=f"{stamp}|{query}|{kept}", legend=legend)
    return drawing


def _filters_only(model: str, stamp: str) -> data.Drawing:
    """Draw the filters of a model without a query."""
    network.projection(model)
    drawing = data.unscored(stamp, model)
    legend = f"{len(drawing.filters):,} filters; kernels are drawn by their scores, once a query is run"
    _draw(drawing, model, stamp, revision=stamp, legend=legend)
    return drawing


def _draw(drawing: data.Drawing, model: str, stamp: str, *, revision: str, legend: str) -> None:
    layers = data.layers(stamp, model)
    shown, places = network.placed(drawing, model, stamp)
    revision = f"{revision}|{places}"
    network.draw(shown, layers, revision=revision, legend=legend, key="explore_network", target=None)


def _activate() -> None:
    """Activate the query that was just run, after its picture is drawn; then the page says that it is active."""
    running = data.begun_activation()
    if running is None:
        return
    wait([running], timeout=PATIENCE_S)
    if running.done():
        data.forget_activation()
        running.result()
        st.rerun()
    _watch()


@st.fragment(run_every=PATIENCE_S)
def _watch() -> None:
    """Runs the page once more when the activation is done."""
    running = data.begun_activation()
    if running is None or running.done():
        st.rerun()
    st.caption(":material/bolt: The scores are being activated for Cypher; the page does not need them.")
