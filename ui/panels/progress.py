"""Progress of a long call: a status box with the running phase, a bar, the time left, and a button that stops it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from viscnn.progress import Progress, time_left

__all__ = ["phases"]


@contextmanager
def phases(label: str, done: str) -> Iterator[Progress]:
    """A progress callback that shows the running phase; the box says `done` at the end, or that it failed.

    A click anywhere on the page, the button's among them, asks Streamlit to run the page anew: it does so from inside
    the next call of the callback, by an exception that ends the work.
    """
    box = st.status(label, expanded=True)
    bar, stop = box.progress(0.0, text="starting"), box.empty()
    stop.button("Stop", key=f"stop {label}", icon=":material/stop_circle:", on_click=_stopped, args=(label,))

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
    stop.empty()
    box.update(label=done, state="complete", expanded=False)


def _stopped(label: str) -> None:
    st.toast(f"{label}: stopped")
