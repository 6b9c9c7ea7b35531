"""Start the page in a process of its own: what `viscnn ui` does.

Settings travel as flags, so that it works from any folder and from a wheel.
"""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import TracebackType
from typing import Self

from viscnn.errors import ConfigError, ServerError

__all__ = ["DEFAULT_PORT", "Page", "command", "launch"]

DEFAULT_PORT = 8501
START_SECONDS = 60.0
_SETTINGS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.baseRadius": "small",
    "theme.light.primaryColor": "#0a57a8",
    "theme.dark.primaryColor": "#5b9be0",
}


@dataclass
class Page:
    """A running page; a context manager that stops it."""

    url: str
    pid: int
    _process: "subprocess.Popen[bytes]" = field(repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait until it ends; returns its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def command(*, address: str, port: int) -> list[str]:
    """The command line that serves the page."""
    app = resources.files("viscnn.ui").joinpath("app.py")
    settings = _SETTINGS | {"server.address": address, "server.port": str(port)}
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    # -P: a file in the current folder that is called like a library is not taken for it
    return [sys.executable, "-P", "-m", "streamlit", "run", str(app), *flags]


def launch(
    *,
    address: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Page:
    """Serve the page and return once it answers.

    Args:
        address: to listen at.
        port: None takes 8501, or any free one when that is taken.
        browser: open it in the user's browser.
        environment: of the process; by default that of this one.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine.
        ServerError: the page did not start.
    """
    chosen = _free_port(address, port)
    process = subprocess.Popen(
        command(address=address, port=chosen),
        env=dict(environment) if environment is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    page = Page(f"http://{address}:{chosen}", process.pid, process)
    try:
        _wait(page)
    except BaseException:
        page.stop()
        raise
    if browser:
        webbrowser.open(page.url)
    return page


def _free_port(address: str, port: int | None) -> int:
    for wanted in (DEFAULT_PORT, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, wanted))
            except (OSError, OverflowError) as error:
                reason = error
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(f"the page cannot listen at {address}:{port}: {reason}; choose another with --port") from reason


def _wait(page: Page) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not page.running:
            raise ServerError(f"the page ended at once with code {page.wait()}; its messages are above")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{page.url}/_stcore/health", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise ServerError(f"the page did not answer at {page.url} within {START_SECONDS:.0f} s")
