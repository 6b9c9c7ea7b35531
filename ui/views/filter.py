"""Filter: all that is known of one filter or kernel, on the whole page."""

import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.panels.activation import activation_panel
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.exemplars import exemplar_panel
from viscnn.ui.panels.facts import class_profile, scores, similar_filters
from viscnn.ui.panels.filter import filter_facts, kernels_into
from viscnn.ui.panels.interventions import interventions
from viscnn.ui.panels.kernel import kernel_panel
from viscnn.ui.panels.kernels import outgoing_kernels
from viscnn.ui.panels.models import choose_model, run_anew_if_changed
from viscnn.ui.panels.network import find_filter
from viscnn.ui.panels.query_bar import saved_queries
from viscnn.ui.panels.visualization import visualization_panel

__all__ = ["page"]


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("filter"):
        model = choose_model()
        if model is None:
            return
        stamp = data.stamp(model)
        with st.sidebar:
            query = saved_queries(model)
        _inspector(model, stamp, query)


@st.fragment
def _inspector(model: str, stamp: str, query: str | None) -> None:
    """A fragment: what is chosen on the page leaves the rest alone, but for another query."""
    with shown_errors("inspector"):
        run_anew_if_changed(model, stamp)
        if state.current().query != query:
            st.rerun()
        drawing = _drawing(model, stamp, query)
        find_filter(drawing)
        view = state.current()
        if view.selected is None or view.selected not in set(drawing.filters["uid"]):
            st.caption("Pick a filter above, or click one in the picture on the page Explore.")
        elif view.source is not None:
            left, right = st.columns([3, 2], gap="large")
            with left:
                shown = kernel_panel(stamp, model, drawing, view.source, view.selected)
            with right:
                interventions(stamp, model, shown)
        else:
            _filter(model, stamp, drawing, view.selected)


def _drawing(model: str, stamp: str, query: str | None) -> Drawing:
    """The filters with their scores; the kernels are asked for one filter at a time."""
    if query is None:
        return data.unscored(stamp, model)
    found = data.subgraph(stamp, query, data.Kept(state.KEPT_FRACTIONS[0]))
    return Drawing(query, found.filters, found.kernels, found.identities)


def _filter(model: str, stamp: str, drawing: Drawing, uid: str) -> None:
    st.markdown(f"##### Filter {figures.code(uid)}")
    layer = filter_facts(stamp, model, drawing, uid)
    if layer is None:
        outgoing_kernels(stamp, model, drawing, uid, None)
        return
    left, right = st.columns(2, gap="large")
    with left:
        exemplar_panel(stamp, model, uid)
        shown = activation_panel(stamp, model, uid)
        kernels_into(stamp, model, drawing, uid, layer, shown)
        outgoing_kernels(stamp, model, drawing, uid, shown)
    with right:
        visualization_panel(stamp, model, uid)
        class_profile(stamp, model, uid)
        similar_filters(stamp, uid)
        scores(stamp, uid)
        interventions(stamp, model, shown)
