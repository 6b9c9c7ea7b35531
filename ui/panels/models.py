"""Choosing a model, models that are being ingested, and the first model of an empty database."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from viscnn.errors import NotInGraph
from viscnn.ui import data, state
from viscnn.ui.panels.errors import plain, shown_errors
from viscnn.ui.panels.progress import phases

__all__ = [
    "MODELS_PAGE",
    "UNFINISHED",
    "choose_model",
    "first_run",
    "ingest",
    "run_anew_if_changed",
    "unfinished_models",
]

MODELS_PAGE = "viscnn_models_page"
"""Where the session keeps the page Models, for links to it."""

UNFINISHED = "it is being ingested (or dropped) now, or that was cut off; run `viscnn ingest` again to finish it."
ABOUT = (
    "VISCNN shows a convolutional network as a graph, filter by filter and kernel by kernel, and finds the circuits "
    "in it: ask what matters for *three - overall*, look at the filters that do, and at what they see."
)
START = (
    "The bundled digit classifier takes a few seconds. On the command line: `viscnn ingest mnist`, or a model of your "
    "own, `viscnn ingest path/to/file.py:function`."
)
LOOK_S = 5.0
"""So often the page looks whether a model that is being ingested is complete."""


def choose_model() -> str | None:
    """A select box of the complete models, in the sidebar; None (and the first-run message) when there is none."""
    stored = data.models()
    names = [str(each["name"]) for each in stored if each["status"] == "complete"]
    unfinished = unfinished_models(stored)
    if not names:
        first_run(unfinished)
        return None
    shown = state.current().model
    if shown not in names:
        if shown is not None:
            _not_shown(shown, names[0], unfinished)
        shown = names[0]
        state.open_model(shown)
    # set before the widget exists: the view decides, and the widget has forgotten it after a change of page
    st.session_state["model"] = shown
    with st.sidebar:
        st.selectbox("Model", names, key="model", on_change=_switch)
        if unfinished:
            _waiting(unfinished)
    return shown


def unfinished_models(stored: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The names of those that are being ingested or dropped, or for which that was cut off."""
    return tuple(str(each["name"]) for each in stored if each["status"] != "complete")


def _not_shown(name: str, instead: str, unfinished: Sequence[str]) -> None:
    """Why the model of the view is not shown."""
    if name in unfinished:
        text = f"Model {name!r} is not complete: {UNFINISHED}"
    else:
        text = f"Model {name!r} is not in this database (any more)."
    st.warning(plain(f"{text} {instead!r} is shown instead."), icon=":material/info:")


def _switch() -> None:
    state.open_model(st.session_state["model"])


@st.fragment(run_every=LOOK_S)
def _waiting(unfinished: tuple[str, ...], *, prominent: bool = False) -> None:
    """Names models that are not complete; the page runs anew when that has changed."""
    with shown_errors("waiting"):
        if unfinished_models(data.models()) != unfinished:
            st.rerun()
        if prominent:
            st.info(f"{plain(', '.join(unfinished))}: {UNFINISHED}", icon=":material/hourglass_top:")
            return
        for name in unfinished:
            st.caption(f":material/hourglass_top: {plain(name)} is being ingested", help=f"{plain(name)}: {UNFINISHED}")


def run_anew_if_changed(model: str, stamp: str) -> None:
    """At the start of a fragment: when its model was dropped or replaced meanwhile, run the page anew, which says so.

    Args:
        stamp: of the model when the page was run.
    """
    try:
        if data.stamp(model) == stamp:
            return
    except NotInGraph:
        pass
    st.rerun()


def first_run(unfinished: tuple[str, ...] = ()) -> None:
    """What to do with a database without a complete model; `unfinished` are the names of the others."""
    st.subheader("No complete model in this database yet" if unfinished else "No model in this database yet")
    st.markdown(ABOUT)
    if unfinished:
        _waiting(unfinished, prominent=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button("Ingest the bundled MNIST model", type="primary", icon=":material/download:")
        if MODELS_PAGE in st.session_state:
            st.page_link(st.session_state[MODELS_PAGE], label="Other models", icon=":material/layers:", width="content")
    st.caption(START)
    if asked:
        ingest("mnist")
        st.rerun()


def ingest(name: str) -> None:
    """Ingest a model of the zoo, with progress, and show it."""
    with phases(f"Ingesting {name}", f"{name} is stored") as progress:
        report: Any = data.ingest(name, progress)
    st.toast(f"{plain(report.model)}: {report.filters:,} filters, {report.kernels:,} kernels in {report.seconds:.1f} s")
    state.open_model(report.model)
