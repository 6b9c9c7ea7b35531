"""Progress of a long call: a status box with the running phase and a bar."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from viscnn.api import Progress

__all__ = ["phases"]


@contextmanager
def phases(label: str, done: str) -> Iterator[Progress]:
    """A progress callback that shows the running phase; the box says `done` at the end, or that it failed."""
    box = st.status(label, expanded=True)
    bar = box.progress(0.0, text="starting")

    def show(step: str, at: int, total: int) -> None:
        share = min(1.0, at / total) if total else 0.0
        bar.progress(share, text=f"{step}: {at:,} of {total:,}" if total else step)

    try:
        yield show
    except Exception:
        box.update(label=f"{label}: failed", state="error", expanded=False)
        raise
    bar.empty()
    box.update(label=done, state="complete", expanded=False)
