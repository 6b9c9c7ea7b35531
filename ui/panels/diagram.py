"""The diagram of the shown circuit, with its caption and its files; a click selects."""

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from viscnn.api_diagram import FilterPicture, Format
from viscnn.ui import data, data_visualize, state
from viscnn.ui.diagram import clicked, diagram
from viscnn.ui.panels.errors import plain, shown_errors
from viscnn.ui.panels.network import safe_colours
from viscnn.ui.panels.progress import phases
from viscnn.ui.pictures import pictures

if TYPE_CHECKING:
    from viscnn.diagram.layout import Diagram

__all__ = ["HEIGHT", "draw"]

HEIGHT = 480
KEY = "circuit_diagram"
_FILES: dict[Format, str] = {"svg": "image/svg+xml", "png": "image/png", "html": "text/html"}


def draw(model: str, stamp: str, circuit: dict[str, Any]) -> None:
    """Draw a stored circuit, given by its properties; the selection of the view is isolated."""
    uid = str(circuit["uid"])
    laid = _laid(stamp, uid, str(circuit["createdAt"]))
    shown = pictures(stamp, model, [each.uid for each in laid.filters], circuit=uid)
    svg, revision = _drawn(stamp, uid, str(circuit["createdAt"]), shown, laid)
    diagram(
        svg,
        circuit=uid,
        revision=revision,
        selected=_selected(laid),
        selected_revision=state.jumps(),
        key=KEY,
        height=HEIGHT,
        safe=state.current().safe,
        on_select=_take,
    )
    left, right = st.columns([2, 1], vertical_alignment="top")
    with right:
        safe_colours(KEY)
        with st.popover("Save", icon=":material/download:", width="stretch"):
            _files(laid, shown)
    with left:
        st.caption(plain(data.session().diagram_caption(laid, shown)))
        with shown_errors("render_circuit"):
            _missing(stamp, model, laid)


def _missing(stamp: str, model: str, laid: "Diagram") -> None:
    """A button that renders the visualisations of all drawn filters that have none from this circuit."""
    circuit = str(laid.circuit["uid"])
    into = [laid.filters[row].uid for row in sorted({edge.target for edge in laid.edges})]
    missing = data_visualize.missing(stamp, model, into, circuit=circuit)
    if not missing:
        return
    what = f"{len(missing):,} visualisation{'' if len(missing) == 1 else 's'}"
    pressed = st.button(
        f"Render {what} from this circuit",
        key="render_circuit",
        icon=":material/auto_fix_high:",
        help="Images that drive the drawn filters in the network with only the circuit's kernels. Whatever else you do "
        "on this page stops it; those that are done stay.",
    )
    if not pressed:
        return
    with phases(f"Rendering {what}", "Rendered") as progress:
        data_visualize.render_each(model, missing, circuit=circuit, progress=progress)
    st.toast(f"Rendered {what}")
    st.rerun()


@st.cache_resource(show_spinner="Laying out the circuit", max_entries=16)
def _laid(stamp: str, uid: str, made: str) -> "Diagram":
    """Frozen, so that all visitors share one; copies of large ones would take as long as drawing them."""
    return data.session().circuit_diagram(uid)


@st.cache_data(show_spinner="Drawing the circuit", max_entries=16)
def _drawn(stamp: str, uid: str, made: str, shown: dict[str, FilterPicture], _laid: "Diagram") -> tuple[str, str]:
    """The drawing, and a name of its content."""
    svg = data.session().draw_diagram(_laid, "svg", pictures=shown, captioned=False)
    return svg.decode(), hashlib.sha256(svg).hexdigest()


def _files(laid: "Diagram", shown: dict[str, FilterPicture]) -> None:
    """Buttons that make a file when they are pressed, in the colours that are seen."""
    colours = {"dark": st.context.theme.type == "dark", "safe": state.current().safe}
    name = str(laid.circuit["uid"]).replace("/", "-")
    for kind, mime in _FILES.items():
        st.download_button(
            kind.upper(),
            partial(data.session().draw_diagram, laid, kind, pictures=shown, **colours),
            f"{name}.{kind}",
            mime,
            key=f"save_{kind}",
            on_click="ignore",
            width="stretch",
        )


def _take() -> None:
    """A click becomes the selection of the view."""
    found = clicked(KEY)
    if found is None:
        state.select(None, by_click=True)
    elif "uid" in found:
        state.select(found["uid"], by_click=True)
    else:
        state.select(found["target"], found["source"], by_click=True)


def _selected(laid: "Diagram") -> dict[str, str] | None:
    """The view's selection where it is drawn."""
    view = state.current()
    drawn = {each.uid for each in laid.filters}
    if view.selected not in drawn:
        return None
    if view.source is None:
        return {"kind": "filter", "uid": str(view.selected)}
    return {"kind": "kernel", "source": view.source, "target": str(view.selected)}
