"""Progress of a long call: a status box with the running phase, a bar, the time left, and a button that stops it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from viscnn.progress import Progress, time_left
from viscnn.ui import data
from viscnn.ui.panels.errors import plain

__all__ = ["phases"]


@contextmanager
def phases(label: str, done: str) -> Iterator[Progress]:
    """A progress callback that shows the running phase; the box says `done` at the end, or that it failed.

    A click anywhere on the page, the button's among them, asks Streamlit to run the page anew: it does so from inside
    the next call of the callback, by an exception that ends the work. In a fragment clicks inside of it end the work,
    and those outside of all fragments.
    """
    box = st.status(label, expanded=True)
    bar, stop = box.progress(0.0, text="starting"), box.empty()
    stop.button("Stop", key=f"stop {label}", icon=":material/stop_circle:", on_click=_stopped, args=(label,))

    began: dict[str, tuple[float, int]] = {}  # by step: when, and what an earlier run had done already

    def show(step: str, at: int, total: int) -> None:
        since, before = began.setdefault(step, (time.monotonic(), at))
        left = time_left(at - before, total - before, time.monotonic() - since)
        count = f"{step}: {at:,} of {total:,}" if total else step
        text = plain(f"{count}, {left}" if left else count)  # a step may name an image set
        bar.progress(min(1.0, at / total) if total else 0.0, text=text)
        _give_way()

    try:
        with data.remembering(False):  # it may wait for what another program writes
            yield show
    except Exception:
        box.update(label=f"{label}: failed", state="error", expanded=False)
        raise
    bar.empty()
    stop.empty()
    box.update(label=done, state="complete", expanded=False)


def _give_way() -> None:
    """End a fragment that a click asks for anew: Streamlit itself would let the click wait until the fragment is done.

    It has no public way to see such a click; the pinned version keeps it where this looks.
    """
    run = get_script_run_ctx()
    if run is None or run.script_requests is None or not run.fragment_ids_this_run:
        return
    requests = run.script_requests
    asked = requests._rerun_data.fragment_id_queue if requests._state is ScriptRequestType.RERUN else []
    if not set(asked).isdisjoint(run.fragment_ids_this_run):
        raise StopException  # `st.stop` would forget the click


def _stopped(label: str) -> None:
    st.toast(f"{label}: stopped")
