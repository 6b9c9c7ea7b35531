"""Circuit: extract a circuit that reaches a target, look at its diagram, and see what speaks for it."""

from typing import Any

import streamlit as st

from viscnn.errors import NotInGraph
from viscnn.ui import data, state
from viscnn.ui.panels import diagram, network
from viscnn.ui.panels.circuit_bar import circuit_form, compare_circuits, stored_circuits
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.evidence import correlations, details, kernel_table
from viscnn.ui.panels.filter import panel_switch, selection_panel
from viscnn.ui.panels.models import choose_model, run_anew_if_changed
from viscnn.ui.panels.query_bar import target_filter

__all__ = ["page"]

_DRAWINGS = {"diagram": "Diagram", "network": "3-D network"}


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("circuit"):
        model = choose_model()
        if model is None:
            return
        stamp = data.stamp(model)
        with st.sidebar:
            circuit_form(model, stamp)
        uid = stored_circuits(model)
        if uid is not None:
            found = data.circuit_properties(uid)
            if found is None:
                raise NotInGraph(f"circuit {uid!r} is not stored any more; extract it again")
            _explorer(model, stamp, found)
            compare_circuits(model)


@st.fragment
def _explorer(model: str, stamp: str, circuit: dict[str, Any]) -> None:
    with shown_errors("circuit_explorer"):
        run_anew_if_changed(model, stamp)
        drawing = data.circuit_drawing(stamp, circuit["uid"])
        picture, panel = st.columns([3, 2], gap="medium")
        with picture:
            if _chosen() == "diagram":
                diagram.draw(model, stamp, circuit)
            else:
                _network(model, stamp, circuit, drawing)
            details(circuit)
        with panel:
            correlations(circuit)
            network.find_filter(drawing)
            selected = panel_switch("Kernels")
            with st.container(key="panel_box"):
                if selected:
                    selection_panel(stamp, model, drawing, circuit=str(circuit["uid"]))
                else:
                    kernel_table(drawing)


def _chosen() -> str:
    """The switch between the diagram and the 3-D network."""
    st.session_state["drawing"] = state.current().drawing
    return str(
        st.segmented_control(
            "Drawing",
            state.DRAWINGS,
            key="drawing",
            required=True,
            label_visibility="collapsed",
            format_func=_DRAWINGS.__getitem__,
            on_change=lambda: state.update(drawing=st.session_state["drawing"]),
        )
    )


def _network(model: str, stamp: str, circuit: dict[str, Any], drawing: data.Drawing) -> None:
    """The circuit inside the whole network, in 3-D."""
    legend = f"{len(drawing.kernels):,} kernels of the circuit"
    if len(drawing.identities):
        legend += f" and {len(drawing.identities):,} identities (addends of sums)"
    shown, places = network.placed(drawing, model, stamp)
    network.draw(
        shown,
        data.layers(stamp, model),
        revision=f"{stamp}|{circuit['uid']}|{circuit['createdAt']}|{places}",
        legend=legend,
        key="circuit_network",
        target=target_filter(str(circuit["target"])),
    )
