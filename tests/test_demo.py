"""`viscnn demo` as a newcomer runs it, in a process of its own: it ends with a page, and stops what it started."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from viscnn import server

PATIENCE = 150.0


@pytest.mark.parametrize("number", [signal.SIGINT], ids=lambda number: number.name)
def test_demo_ends_with_a_page_and_stops_what_it_started(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "viscnn", "demo", "--no-browser"]
        demo = subprocess.Popen(command, stdout=stream, stderr=stream, env=os.environ)
        try:
            text = printed(log, demo)
            page = re.search(r"^page +(http://127\.0\.0\.1:\d+)$", text, re.MULTILINE)
            assert page is not None, text
            assert urllib.request.urlopen(f"{page[1]}/_stcore/health").read() == b"ok"
            status = server.status()
            assert f"Bolt      {status.uri}" in text
            assert str(status.password_file) in text
            assert server.connection().password not in text
        finally:
            demo.send_signal(number)
            demo.wait(timeout=60)
    assert demo.returncode == 0
    assert not server.status().running
    with pytest.raises(OSError, match=r"refused|reset"):
        urllib.request.urlopen(page[1])


def printed(log: Path, demo: "subprocess.Popen[bytes]") -> str:
    """What was printed until the page is up."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        text = log.read_text()
        if "Ctrl-C stops it" in text:
            return text
        assert demo.poll() is None, text
        time.sleep(0.3)
    raise AssertionError(log.read_text())
