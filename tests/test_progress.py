"""Time left, and how the command line and the page show it."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest
from streamlit.testing.v1 import AppTest

from viscnn.progress import time_left


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (0, 100, 5.0, ""),
        (100, 100, 5.0, ""),
        (101, 100, 5.0, ""),
        (5, 0, 5.0, ""),
        (5, 100, 0.0, ""),
        (50, 100, 12.0, "12 s left"),
        (99, 100, 0.5, "1 s left"),
        (1, 60, 1.0, "59 s left"),
        (1, 61, 1.0, "1 min left"),
        (100, 1000, 100.0, "15 min left"),
        (1000, 50_000, 60.0, "49 min left"),
        (1, 60, 60.0, "59 min left"),
        (1, 61, 60.0, "1 h 0 min left"),
        (100, 50_000, 10.0, "1 h 23 min left"),
    ],
)
def test_time_left(done: int, total: int, seconds: float, text: str) -> None:
    assert time_left(done, total, seconds) == text


COMMAND = """
import time
from viscnn.console import Output

output = Output(as_json=False)
for done in range(4000, 4041):
    output.progress("images", done, 4050)
    time.sleep(0.05)
output.close()
"""


def test_the_command_line_shows_pace_and_time_left() -> None:
    """In a real terminal, of a run that goes on where another has stopped."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    subprocess.run([sys.executable, "-c", COMMAND], stderr=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    pattern = r"images [^\r]* (\d+)/4050 +([\d.]+)/s +0:00:0\d +0:00:0\d left"
    found = [(int(done), float(pace)) for done, pace in re.findall(pattern, plain)]
    assert len(found) > 5
    assert all(1 < pace < 40 for _, pace in found), "4,000 images of an earlier run are not in the pace"


def _page() -> None:
    from viscnn.ui.panels.progress import phases

    with phases("Running", "Done") as progress:
        progress("images", 40_000, 50_000)
        time.sleep(0.2)
        progress("images", 45_000, 50_000)
        raise ValueError("so that the bar is still there to be looked at")


def test_the_page_shows_the_time_left() -> None:
    script = f"import time\n{_source(_page)}\n_page()"
    page = AppTest.from_string(script, default_timeout=30).run()
    assert page.exception[0].message == "so that the bar is still there to be looked at"
    (bar,) = page.get("progress")
    assert re.fullmatch(r"images: 45,000 of 50,000, \d s left", bar.proto.text)


def _source(function: object) -> str:
    import inspect

    return inspect.getsource(function)  # type: ignore[arg-type]
