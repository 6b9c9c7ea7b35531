"""Bulk loads that are stopped and killed at every step: nothing is lost, and the next load works."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests import bulk
from tests.bulk import assert_whole, contents, untouched
from tests.servers import wait_until
from viscnn import server
from viscnn.graph import Graph
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
from viscnn.errors import ServerError
from viscnn.ingest.bulk import load_in_bulk

def wait(step, done, total):
    print(step, flush=True)
    if step == sys.argv[1]:
        signal.pause()

signal.signal(signal.SIGINT, signal.default_int_handler)
{DIE}
mine = contents("killed")
while True:
    try:
        with Graph(server.connection()) as graph:
            load_in_bulk(graph, mine, progress=wait)
    except (KeyboardInterrupt, ServerError) as error:
        print(f"{{type(error).__name__}}: {{error}}", flush=True)
    input()
"""


@contextmanager
def loading(graph: Graph, *, wait_at: str = "", die_at_rename: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A bulk load in another process that stops at a step, or kills itself at the n-th rename of a database."""
    alone(graph)
    command = [sys.executable, "-c", LOAD, wait_at, str(die_at_rename)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True, cwd=ROOT) as client:
        try:
            if wait_at:
                said(client, wait_at)
            yield client
        finally:
            client.kill()


def alone(graph: Graph) -> None:
    """Close the connections of this process, which would be another program's to the one that loads."""
    graph.reconnect(server.connection())


def said(client: subprocess.Popen[str], beginning: str) -> None:
    """Wait for a line of the client."""
    assert client.stdout is not None
    assert any(line.startswith(beginning) for line in client.stdout), client.communicate()


def again(graph: Graph, client: subprocess.Popen[str]) -> None:
    """Let the client load once more."""
    alone(graph)
    assert client.stdin is not None
    client.stdin.write("\n")
    client.stdin.flush()


def importing() -> list[psutil.Process]:
    """Java of the import that has begun."""
    wait_until(lambda: process.importers(server_home()) != [])
    return process.importers(server_home())


def assert_unfinished(graph: Graph) -> None:
    alone(graph)
    assert [(each["name"], each["status"]) for each in graph.read("read/models")] == [("killed", "ingesting")]


def test_a_client_that_is_killed_while_it_writes_harms_nothing(graph: Graph, bulk_home: Path) -> None:
    with loading(graph, wait_at="writing kernels") as client:
        client.kill()
    assert graph.read("read/database_size")[0]["nodes"] == 0
    assert list(server_home().bulk.glob("rows/*.parquet"))
    server.start()
    untouched(graph, bulk_home)


def test_what_is_stopped_during_the_import_harms_nothing(graph: Graph, bulk_home: Path) -> None:
    """Java is killed, then the client is stopped by Ctrl-C, then killed."""
    pid = server.status().pid
    with loading(graph) as client:
        for java in importing():
            java.kill()
        said(client, "ServerError: neo4j-admin database import failed: ")
        untouched(graph, bulk_home)
        again(graph, client)
        importing()
        client.send_signal(signal.SIGINT)
        said(client, "KeyboardInterrupt")
        untouched(graph, bulk_home)  # Java has ended too
        again(graph, client)
        (java,) = importing()
        client.kill()
    java.suspend()  # it would end by itself some time
    server.start()
    assert not process.alive(java)
    untouched(graph, bulk_home)
    assert server.status().pid == pid


def test_a_client_that_is_killed_between_the_databases_or_at_the_end(graph: Graph, bulk_home: Path) -> None:
    """And the server too."""
    with loading(graph, die_at_rename=3) as client:
        assert client.wait(120) == -signal.SIGKILL
    assert not server.status().running
    assert server_home().exchanging.exists()
    server.start()
    alone(graph)
    untouched(graph, bulk_home)
    with loading(graph, wait_at="indexing") as client:
        client.kill()
    assert_unfinished(graph)
    assert server_home().bulk.exists()
    psutil.Process(server.status().pid).kill()
    wait_until(lambda: not server.status().running)
    server.start()
    assert not server_home().bulk.exists()
    assert_unfinished(graph)
    assert_whole(graph, "killed", load_contents(graph, contents("killed")))


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
    bulk.two_databases(home)

    def run(step: str, die_at: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", EXCHANGE, str(tmp_path), str(die_at), step], check=False
        ).returncode

    assert run("put_in", rename) == -signal.SIGKILL
    put_aside = 2 if rename > 2 else rename - 1
    for again in range(1, put_aside + 1):
        assert run("repair", again) == -signal.SIGKILL, again
    exchange.repair(home)
    assert bulk.stores(home.data) == ["former", "former"]
    assert not home.exchanging.exists()
    assert not exchange.put_back(home)
