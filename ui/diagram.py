"""The diagram of a circuit as a Streamlit component: an SVG that isolates what is clicked, and can be moved and zoomed.

The drawing is made by the API (the same that goes into files); the script is `viscnn/diagram/diagram.js`, as in
exported HTML.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

import streamlit as st

__all__ = ["clicked", "diagram"]


def diagram(
    svg: str,
    *,
    circuit: str,
    revision: str,
    selected: Mapping[str, str] | None = None,
    selected_revision: int = 0,
    key: str = "diagram",
    height: int = 520,
    safe: bool = False,
    on_select: Callable[[], None] = lambda: None,
) -> None:
    """Show a drawing.

    Args:
        circuit: what is seen of it (place and zoom) stays as long as this does.
        revision: names the content of `svg`; the browser takes it anew when it changes.
        selected: the page's selection: {"kind": "filter", "uid"} or {"kind": "kernel", "source", "target"}.
        selected_revision: count it up when Python, not a click, changes the selection; only then it is sent.
        key: Streamlit's key of the component.
        height: CSS pixels.
        safe: signs in colours for any kind of colour blindness; the drawing has them with it.
        on_select: called before the rerun that a click starts; `clicked(key)` is the click.
    """
    settings = {
        "circuit": circuit,
        "revision": revision,
        "selected": _jump(key, selected, f"{selected_revision}|{revision}"),
        "selectedRevision": selected_revision,
        "height": height,
        "safe": safe,
    }
    _component()(
        key=key,
        data={"svg": svg, "cfg": settings},
        default={"selected": None},
        on_selected_change=on_select,
    )


def clicked(key: str = "diagram") -> dict[str, str] | None:
    """The last click by uid: {"uid"} of a filter, {"source", "target"} of a kernel, None for empty space."""
    state = st.session_state.get(key)
    value = cast(dict[str, Any] | None, state.get("selected") if isinstance(state, Mapping) else None)
    if value is None or value["kind"] is None:
        return None
    names = ("uid",) if value["kind"] == "filter" else ("source", "target")
    return {name: str(value[name]) for name in names}


@cache
def _component() -> Callable[..., Any]:
    """The mounting function; registered once a process."""
    parts = (
        resources.files("viscnn.diagram").joinpath("diagram.js"),
        resources.files("viscnn.ui").joinpath("diagram_mount.js"),
    )
    script = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    return st.components.v2.component("viscnn_diagram", js=script)


def _jump(key: str, selected: Mapping[str, str] | None, revision: str) -> dict[str, str] | None:
    """The selection to send: as it was when `revision` changed or the component was first drawn.

    Anything else would change the component's data at every click, and so send the drawing again.
    """
    memory = f"{key}:selected"
    known = st.session_state.get(memory)
    if known is None or known["revision"] != revision or key not in st.session_state:
        known = st.session_state[memory] = {"revision": revision, "selected": dict(selected) if selected else None}
    return cast(dict[str, str] | None, known["selected"])
