"""Bulk loads that are killed at every step: what was there before comes back, and the next load works."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.bulk import assert_whole, contents, untouched
from tests.servers import wait_until
from viscnn import server
from viscnn.graph import Graph
from viscnn.ingest.bulk import load_in_bulk
from viscnn.ingest.load import load_contents
from viscnn.server import exchange, process
from viscnn.server.home import Home, server_home

ROOT = Path(__file__).parents[1]


@pytest.fixture
def graph(bulk_graph: Graph) -> Graph:
    """The empty database of a server of its own."""
    return bulk_graph


DIE = """
import os, signal, sys

renames = 0

def watch(event, arguments):
    '''Die at the n-th rename of a database.'''
    global renames
    if event == "os.rename" and {"databases", "transactions"} & set(str(arguments[0]).split(os.sep)[-3:]):
        renames += 1
        if renames == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
"""

LOAD = f"""
import signal, sys
from tests.bulk import contents
from viscnn import server
from viscnn.graph import Graph
from viscnn.ingest.bulk import load_in_bulk

def wait(step, done, total):
    print(step, flush=True)
    if step == sys.argv[1]:
        signal.pause()

signal.signal(signal.SIGINT, signal.default_int_handler)
{DIE}
with Graph(server.connection()) as graph:
    load_in_bulk(graph, contents("killed"), progress=wait)
"""


@contextmanager
def loading(graph: Graph, *, wait_at: str = "", die_at_rename: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A bulk load in another process that stops at a step, or kills itself at the n-th rename of a database."""
    graph.reconnect(
        server.connection()
    )  # what this test read before leaves no connection that would be another program's
    command = [sys.executable, "-c", LOAD, wait_at, str(die_at_rename)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as client:
        try:
            if wait_at:
                assert client.stdout is not None
                assert any(line.strip() == wait_at for line in client.stdout), client.stderr
            yield client
        finally:
            client.kill()


def assert_next_works(graph: Graph, *, over_bolt: bool = False) -> None:
    graph.reconnect(server.connection())
    load = load_contents if over_bolt else load_in_bulk
    assert_whole(graph, "killed", load(graph, contents("killed")))
    server.start()
    assert not server_home().bulk.exists()


def test_a_client_that_is_killed_while_it_writes_harms_nothing(graph: Graph, bulk_home: Path) -> None:
    with loading(graph, wait_at="writing kernels") as client:
        client.kill()
    assert graph.read("read/database_size")[0]["nodes"] == 0
    assert list(server_home().bulk.glob("rows/*.parquet"))
    server.start()
    untouched(graph, bulk_home)


def test_a_client_that_is_killed_during_the_import_leaves_java_to_the_next(graph: Graph, bulk_home: Path) -> None:
    with loading(graph) as client:
        wait_until(lambda: process.importers(server_home()) != [])
        client.kill()
    (java,) = process.importers(server_home())
    java.suspend()  # it would end by itself some time
    server.start()
    assert not process.alive(java)
    untouched(graph, bulk_home)


def test_java_that_is_killed_during_the_import_is_an_error(graph: Graph, bulk_home: Path) -> None:
    with loading(graph) as client:
        wait_until(lambda: process.importers(server_home()) != [])
        for java in process.importers(server_home()):
            java.kill()
        assert "ServerError: neo4j-admin database import failed: " in client.communicate(timeout=60)[1]
    untouched(graph, bulk_home)


def test_ctrl_c_during_the_import_ends_java_too(graph: Graph, bulk_home: Path) -> None:
    pid = server.status().pid
    with loading(graph) as client:
        wait_until(lambda: process.importers(server_home()) != [])
        client.send_signal(signal.SIGINT)
        assert client.communicate(timeout=60)[1].strip().endswith("KeyboardInterrupt")
    untouched(graph, bulk_home)
    assert server.status().pid == pid


def test_a_client_that_is_killed_between_the_databases_brings_the_empty_one_back(graph: Graph, bulk_home: Path) -> None:
    with loading(graph, die_at_rename=3) as client:
        assert client.wait(120) == -signal.SIGKILL
    assert not server.status().running
    assert server_home().exchanging.exists()
    server.start()
    graph.reconnect(server.connection())
    untouched(graph, bulk_home)
    assert_next_works(graph)


EXCHANGE = f"""
import sys
from pathlib import Path
from viscnn.server import exchange
from viscnn.server.home import Home
{DIE}
getattr(exchange, sys.argv[3])(Home(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("rename", [1, 2, 3, 4])
def test_an_exchange_that_is_killed_anywhere_is_undone(tmp_path: Path, rename: int) -> None:
    """And the undoing too."""
    home = Home(tmp_path)
    parts = ("databases", "transactions")
    for folder, content in ((home.data, "former"), (home.imported / "data", "imported")):
        for part in parts:
            (folder / part / "neo4j").mkdir(parents=True)
            (folder / part / "neo4j" / "store").write_text(content)

    def run(step: str, die_at: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", EXCHANGE, str(tmp_path), str(die_at), step], check=False
        ).returncode

    assert run("put_in", rename) == -signal.SIGKILL
    put_aside = 2 if rename > 2 else rename - 1
    for again in range(1, put_aside + 1):
        assert run("repair", again) == -signal.SIGKILL, again
    exchange.repair(home)
    assert [(home.data / part / "neo4j" / "store").read_text() for part in parts] == ["former", "former"]
    assert not home.exchanging.exists()
    assert not exchange.is_replaced(home)


@pytest.mark.parametrize("over_bolt", [False, True])
def test_a_client_that_is_killed_at_the_end_leaves_an_unfinished_model(
    graph: Graph, bulk_home: Path, over_bolt: bool
) -> None:
    with loading(graph, wait_at="indexing") as client:
        client.kill()
    graph.reconnect(server.connection())
    assert [(each["name"], each["status"]) for each in graph.read("read/models")] == [("killed", "ingesting")]
    assert server_home().bulk.exists()
    if not over_bolt:
        server.start()  # takes away what was left
        assert not server_home().bulk.exists()
    assert_next_works(graph, over_bolt=over_bolt)


@pytest.mark.parametrize("victim", ["client, by Ctrl-C", "server"])
def test_what_is_stopped_at_the_end_brings_the_empty_database_back(graph: Graph, bulk_home: Path, victim: str) -> None:
    with loading(graph, wait_at="indexing") as client:
        if victim == "server":
            psutil.Process(server.status().pid).kill()
        client.send_signal(signal.SIGINT)
        assert client.communicate(timeout=120)[1].strip().endswith("KeyboardInterrupt")
    graph.reconnect(server.connection())
    untouched(graph, bulk_home)
