"""Fixtures of the whole session: one managed Neo4j for all tests, with a data folder of its own.

The jars are shared with the user's own server (or come from VISCNN_JARS), so that a machine fetches them once.
A Neo4j that the user has set by NEO4J_URI is never touched.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun by `&`: programs that tests interrupt would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: small tensors, and Neo4j and Chromium want a core too

from tests.clicks import page_of
from tests.servers import QUICK, learn, own_home
from viscnn import server as managed
from viscnn.config import Connection
from viscnn.graph import Graph
from viscnn.ingest.load import drop_model
from viscnn.server.jars import jars_folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests are skipped, and it is said, unless `-m` or a test's own name asks for them."""
    if "slow" in config.option.markexpr or any("::" in each for each in config.args):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run it with `pytest -m slow`"))


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder (VISCNN_HOME) of this session."""
    folder = tmp_path_factory.mktemp("viscnn-home")
    shared_jars = jars_folder()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NEO4J_URI", "NEO4J_USERNAME", "NEO4J_PASSWORD", "NEO4J_DATABASE"):
            patch.delenv(name, raising=False)
        patch.setenv("VISCNN_HOME", str(folder))
        patch.setenv("VISCNN_JARS", str(shared_jars))
        patch.setenv("VISCNN_HEAP", os.environ.get("VISCNN_HEAP", "512m"))
        patch.setenv("VISCNN_PAGECACHE", os.environ.get("VISCNN_PAGECACHE", "256m"))
        patch.setenv("VISCNN_JAVA_OPTIONS", QUICK)
        yield folder


@pytest.fixture(scope="session")
def quick(home: Path) -> None:
    """Servers that are started from now on start quickly."""
    learn(home / "learnt")


@pytest.fixture(scope="session")
def server(home: Path, quick: None) -> Iterator[Connection]:
    """The connection to the session's managed server."""
    managed.start()
    yield managed.connection()
    managed.stop()
    shutil.rmtree(home / "server", ignore_errors=True)


@pytest.fixture(scope="session")
def graph(server: Connection) -> Iterator[Graph]:
    """An open graph on the session's managed server."""
    with Graph(server) as opened:
        yield opened


@pytest.fixture(scope="session")
def served(server: Connection) -> Iterator[str]:
    """The address of the page on the session's server: one process for all modules that need no other."""
    with page_of(server) as url:
        yield url


@pytest.fixture(scope="module")
def bulk_home(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running server of its own, whose path is awkward."""
    with own_home(tmp_path_factory.mktemp("bulk é:")) as folder:
        managed.start()
        yield folder


@pytest.fixture
def bulk_graph(bulk_home: Path) -> Iterator[Graph]:
    """The empty database of that server; whatever happened to it, it runs."""
    managed.start()
    with Graph(managed.connection()) as opened:
        yield opened
        for each in opened.read("read/models"):
            drop_model(opened, each["name"])
