"""A real Chromium and real Streamlit servers for tests; everything listens on 127.0.0.1 only."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, sync_playwright

__all__ = ["PATIENCE_MS", "chromium", "chromium_path", "new_page", "serve"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--disable-background-networking")
PATIENCE_MS = 30_000
_open: list[Playwright] = []


def chromium_path() -> str:
    """The installed Chromium or Chrome; skips the test where there is none."""
    for name in (os.environ.get("VISCNN_CHROMIUM", ""), *_NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip("no Chromium or Chrome is installed (set VISCNN_CHROMIUM to its path)")


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A headless Chromium that draws WebGL in software."""
    path = chromium_path()
    with _shared_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=False, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _shared_playwright() -> Iterator[Playwright]:
    """The one Playwright of this thread: a second one inside it is refused, but it may drive many browsers."""
    if _open:
        yield _open[0]
        return
    with sync_playwright() as playwright:
        _open.append(playwright)
        try:
            yield playwright
        finally:
            _open.clear()


@contextmanager
def new_page(
    browser: Browser, *, width: int = 1280, height: int = 800, theme: str = "light"
) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the list of what went wrong in it.

    The list fills with addresses outside 127.0.0.1 that the page asked for (they are blocked), uncaught exceptions
    and errors on the console.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
    )
    problems: list[str] = []

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            problems.append(f"outside address: {route.request.url}")
            route.abort()

    context.route(lambda address: not address.startswith(("data:", "blob:")), guard)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
    page.on("console", lambda line: problems.append(f"console: {line.text}") if line.type == "error" else None)
    try:
        yield page, problems
    finally:
        context.close()


@contextmanager
def serve(script: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Streamlit script in a process of its own; yields the address of its page."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(script)),
        *("--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"),
        *(("--", *arguments) if arguments else ()),
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"streamlit ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"streamlit did not answer at {address} within 60 s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
