"""Progress of a long call: a status box with the running phase, a bar and the time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from viscnn.progress import Progress, time_left

__all__ = ["phases"]


@contextmanager
def phases(label: str, done: str) -> Iterator[Progress]:
    """A progress callback that shows the running phase; the box says `done` at the end, or that it failed."""
    box = st.status(label, expanded=True)
    bar = box.progress(0.0, text="starting")

    began: dict[str, tuple[float, int]] = {}  # by step: when, and what an earlier run had done already

    def show(step: str, at: int, total: int) -> None:
        since, before = began.setdefault(step, (time.monotonic(), at))
        left = time_left(at - before, total - before, time.monotonic() - since)
        count = f"{step}: {at:,} of {total:,}" if total else step
        bar.progress(min(1.0, at / total) if total else 0.0, text=f"{count}, {left}" if left else count)

    try:
        yield show
    except Exception:
        box.update(label=f"{label}: failed", state="error", expanded=False)
        raise
    bar.empty()
    box.update(label=done, state="complete", expanded=False)
