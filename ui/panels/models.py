"""Choosing a model, and the first model of an empty database."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from viscnn.ui import data, state
from viscnn.ui.panels.progress import phases

__all__ = ["UNFINISHED", "choose_model", "first_run", "ingest"]

UNFINISHED = "it is being ingested (or dropped) now, or that was cut off; run `viscnn ingest` again to finish it."


def choose_model() -> str | None:
    """A select box of the complete models, in the sidebar; None (and the first-run message) when there is none."""
    status = {str(each["name"]): each["status"] for each in data.models()}
    names = [name for name, each in status.items() if each == "complete"]
    if not names:
        first_run(list(status))
        return None
    shown = state.current().model
    if shown in status and shown not in names:
        st.warning(f"Model {shown!r} is not complete: {UNFINISHED}", icon=":material/hourglass_top:")
    elif shown is not None and shown not in names:
        st.warning(f"Model {shown!r} is not in this database (any more).", icon=":material/info:")
    if shown not in names:
        shown = names[0]
        state.open_model(shown)
    # set before the widget exists: the view decides, and the widget has forgotten it after a change of page
    st.session_state["model"] = shown
    st.sidebar.selectbox("Model", names, key="model", on_change=_switch)
    return shown


def _switch() -> None:
    state.open_model(st.session_state["model"])


def first_run(unfinished: Sequence[str] = ()) -> None:
    """What to do with a database without a complete model; `unfinished` are the names of the others."""
    st.subheader("No complete model in this database yet" if unfinished else "No model in this database yet")
    if unfinished:
        st.info(f"{', '.join(unfinished)}: {UNFINISHED}", icon=":material/hourglass_top:")
    st.markdown(
        "VISCNN writes a convolutional network into Neo4j, filter by filter and kernel by kernel, and scores what "
        "matters for a question such as *three - overall*. Start with the bundled digit classifier, which takes "
        "a few seconds, or ingest your own model on the command line: `viscnn ingest path/to/file.py:function`."
    )
    if st.button("Ingest the bundled MNIST model", type="primary", icon=":material/download:"):
        ingest("mnist")
        st.rerun()


def ingest(name: str) -> None:
    """Ingest a model of the zoo, with progress, and show it."""
    with phases(f"Ingesting {name}", f"{name} is stored") as progress:
        report: Any = data.ingest(name, progress)
    st.toast(f"{report.model}: {report.filters:,} filters, {report.kernels:,} kernels in {report.seconds:.1f} s")
    state.open_model(report.model)
