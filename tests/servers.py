"""Helpers of the server tests: homes of their own, starters in other processes, a Maven mirror on this machine."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from viscnn import server
from viscnn.graph import Graph
from viscnn.server.jars import Jar

START = """
import signal
from viscnn import server
signal.signal(signal.SIGINT, signal.default_int_handler)
print(server.start().uri)
"""


QUICK = "-XX:TieredStopAtLevel=1 -Xlog:aot*=off"
"""Java's options for servers that live for minutes: code is compiled once, quickly."""
_LEARNT: dict[str, Path] = {}


def learn(folder: Path) -> None:
    """Give every Java from now on the classes of Neo4j, read and linked: a third of the work of a start is left.

    Costs one start and stop in `folder`, once a session (Java's ahead-of-time cache, JEP 514).
    """
    if _LEARNT:
        return
    _LEARNT["cache"] = cache = folder / "neo4j.aot"
    with own_home(folder / "learning"):
        os.environ["VISCNN_JAVA_OPTIONS"] = f"{QUICK} {shlex.quote(f'-XX:AOTCacheOutput={cache}')}"
        server.start()
        with Graph(server.connection()) as graph:
            graph.read("read/models")
        server.stop()
    os.environ["VISCNN_JAVA_OPTIONS"] = f"{QUICK} {shlex.quote(f'-XX:AOTCache={cache}')}"


@contextmanager
def own_home(folder: Path) -> Iterator[Path]:
    """Make `folder` the data folder; whatever server runs there at the end is stopped, and its data removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCNN_HOME", str(folder))
        try:
            yield folder
        finally:
            server.stop()
            shutil.rmtree(folder / "server", ignore_errors=True)


def start_elsewhere() -> subprocess.Popen[str]:
    """Start the server of the present home from another process, which prints its address."""
    return subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def servers_of(home: Path) -> list[int]:
    """Process ids of all Neo4j servers that run on this data folder."""
    wanted = f"--home-dir={(home / 'server').resolve()}"
    found = []
    for process in psutil.process_iter():
        try:
            if wanted in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Return once `condition` holds; fails the test when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


@dataclass
class Mirror:
    """A Maven repository on this machine: its folder, its address, the jars asked for, and how it misbehaves."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    cut_after: int | None = None
    address: str = ""

    def add(self, artifact: str, content: bytes) -> Jar:
        """Publish a jar `org.example:ARTIFACT:1.0`."""
        jar = Jar("org.example", artifact, "1.0", "", len(content), hashlib.sha256(content).hexdigest())
        path = self.folder / jar.repository_path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return jar


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, mirror: Mirror) -> None:
        self.mirror = mirror
        super().__init__(*arguments, directory=str(mirror.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.endswith(".jar"):
            self.mirror.asked.append(self.path.rpartition("/")[2])
        if self.mirror.cut_after is None or not self.path.endswith(".jar"):
            super().do_GET()
            return
        content = (self.mirror.folder / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.mirror.cut_after])

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep the test's output quiet."""


@contextmanager
def mirror_of(folder: Path) -> Iterator[Mirror]:
    """Serve `folder` as the only Maven repository there is: VISCNN_MAVEN names it, and Maven's own cache is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    mirror = Mirror(folder)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, mirror=mirror))
    mirror.address = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCNN_MAVEN", mirror.address)
        patch.setenv("M2_REPO", str(folder / os.pardir / "no-maven-cache"))
        try:
            yield mirror
        finally:
            httpd.shutdown()
            thread.join()
            httpd.server_close()
