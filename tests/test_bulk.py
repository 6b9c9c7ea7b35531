"""The bulk load on real servers: the same graph as over Bolt, refused where it could harm, and killed at every step."""

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets, toy
from tests.servers import own_home, servers_of, wait_until
from viscnn import VISCNN, server
from viscnn.errors import ConfigError, InputError, ModelError, ServerError
from viscnn.graph import Graph
from viscnn.ingest import bulk, bulk_rows
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.bulk import load_in_bulk
from viscnn.ingest.contents import Contents
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import LoadReport, drop_model, load_contents
from viscnn.server import exchange, process
from viscnn.server.bulk import other_clients, replacement
from viscnn.server.home import Home, server_home

ROOT = Path(__file__).parents[1]
SHAPE = (3, 12, 12)


class Branching(nn.Module):
    """All that rows can be: sums, addends of several sources, groups, channel lists, a head, kernels of three sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding="same", bias=False)
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 2, (3, 1), padding=(1, 0))
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.last = nn.Conv2d(6, 4, 3, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        stem = F.relu(self.stem(x))
        both = torch.cat([self.left(stem), F.relu(self.right(stem))], 1)
        mixed = F.channel_shuffle(both, 2)
        maps = F.relu(self.grouped(mixed)) + stem
        pooled = F.local_response_norm(self.last(maps), 2).mean((2, 3))
        return self.head(pooled)  # type: ignore[no-any-return]


def contents(name: str, extent: Extent | None = None, *, seed: int = 0) -> Contents:
    network = nets.seeded(Branching, seed=seed).eval()
    zoo = toy.zoo_of(network, SHAPE, classes=("ant", "bee; cow", 'cat "x"\n'))
    return Contents(name, zoo, read_architecture(network, SHAPE, heads=True), extent or Extent(), heads=True)


@pytest.fixture(scope="module")
def bulk_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running server of its own, whose path is awkward."""
    with own_home(tmp_path_factory.mktemp("bulk é:")) as home:
        server.start()
        yield home


@pytest.fixture
def graph(bulk_home: Path) -> Iterator[Graph]:
    """The empty database of that server; whatever happened to it, it runs."""
    server.start()
    with Graph(server.connection()) as opened:
        yield opened
        for each in opened.read("read/models"):
            drop_model(opened, each["name"])


def everything(graph: Graph) -> tuple[list[str], list[str]]:
    """All nodes and relationships with values and their Cypher types, without what depends on the time."""
    types = "[key IN keys(x) | [key, valueType(x[key])]]"
    nodes = graph.fetch(f"MATCH (x) RETURN labels(x), properties(x), {types}", {}, limit=10**6, timeout=60)
    ends = "coalesce(a.uid, a.name), coalesce(b.uid, b.name)"
    edges = graph.fetch(
        f"MATCH (a)-[x]->(b) RETURN type(x), properties(x), {types}, {ends}", {}, limit=10**6, timeout=60
    )
    return tuple(sorted(repr(_ordered(row)) for row in table.rows) for table in (nodes, edges))  # type: ignore[return-value]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _ordered(each)) for key, each in sorted(value.items()) if key != "createdAt"]
    if isinstance(value, tuple):
        return [_ordered(each) for each in value]
    return sorted(value) if isinstance(value, list) and all(isinstance(each, list) for each in value) else value


def untouched(graph: Graph, home: Path) -> None:
    """The database is empty and works, one server runs, and no file of a bulk load is left."""
    assert graph.read("read/database_size")[0]["nodes"] == 0
    assert servers_of(home) == [server.status().pid]
    assert not server_home().bulk.exists()
    assert process.importers(server_home()) == []


def assert_whole(graph: Graph, name: str, found: LoadReport) -> None:
    assert (found.model, found.layers, found.filters, found.sums) == (name, 6, 25, 6)
    assert (found.kernels, found.identities) == (18 + 24 + 12 + 12 + 24 + 12, 12)
    assert graph.read("read/model", model=name)[0]["status"] == "complete"


# --- the same graph ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extent", [Extent(), Extent(weights=False, top=40)], ids=["all", "some, without weights"])
def test_the_graph_is_the_one_that_bolt_writes(graph: Graph, bulk_home: Path, extent: Extent) -> None:
    load_contents(graph, contents("same", extent))
    expected = everything(graph)
    drop_model(graph, "same")
    found = load_in_bulk(graph, contents("same", extent))
    assert Counter(everything(graph)[0]) == Counter(expected[0])
    assert Counter(everything(graph)[1]) == Counter(expected[1])
    assert found.kernels == (40 if extent.top else 102)
    assert not server_home().bulk.exists()


def test_all_around_a_bulk_load_is_as_before_and_asking_again_changes_nothing(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_contents(graph, contents("before"))
    indexes, connection = _indexes(graph), server.connection()
    drop_model(graph, "before")
    monkeypatch.setattr(bulk_rows, "_GROUP_BYTES", 1)  # each block becomes a row group
    seen: list[tuple[str, int, int]] = []
    assert_whole(graph, "after", load_in_bulk(graph, contents("after"), progress=lambda *each: seen.append(each)))
    assert _indexes(graph) == indexes
    assert {row[2] for row in indexes} == {"ONLINE"}
    assert server.connection() == connection
    _assert_told(seen)
    stored, pid = everything(graph), server.status().pid
    assert load_in_bulk(graph, contents("after")).already_complete
    assert (everything(graph), server.status().pid) == (stored, pid)
    with pytest.raises(ModelError, match="'after' is stored with other weights"):
        load_in_bulk(graph, contents("after", seed=1))


def _indexes(graph: Graph) -> list[tuple[Any, ...]]:
    columns = "name, type, state, entityType, labelsOrTypes, properties, owningConstraint"
    return sorted(graph.fetch(f"SHOW INDEXES YIELD {columns} RETURN {columns}", {}, limit=100, timeout=10).rows)


def _assert_told(seen: list[tuple[str, int, int]]) -> None:
    steps = ["importing nodes", "importing kernels", "linking kernels", "counting", "indexing"]
    assert list(dict.fromkeys(step for step, _, _ in seen)) == ["writing kernels", *steps]
    assert [done for step, done, _ in seen if step == "writing kernels"] == [18, 42, 54, 66, 90, 102]
    assert {total for step, _, total in seen if step == "writing kernels"} == {102}


def test_a_session_goes_on_after_a_bulk_load(graph: Graph, bulk_home: Path) -> None:
    settings: dict[str, Any] = {"input_shape": toy.SHAPE, "classes": toy.CLASSES, "mean": (0.4,), "std": (0.3,)}
    with VISCNN() as session:
        session.ingest(toy.SOURCE, name="toy", weights="random", bulk=True, **settings)
        assert [each["status"] for each in session.models()] == ["complete"]
        assert session.replay("toy").worst < 1e-4
        session.drop("toy")
        assert session.models() == []


def test_a_large_model_is_told_that_a_bulk_load_is_faster(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    bulk.load(graph, contents("small"), advise=said.append)
    drop_model(graph, "small")
    assert said == []
    monkeypatch.setattr(bulk, "WORTH_KERNELS", 101)
    bulk.load(graph, contents("large"), advise=said.append)
    assert len(said) == 1
    assert re.fullmatch(r"hint: 102 kernels; --bulk stores them about \d times faster", said[0])
    bulk.load(graph, contents("larger"), advise=said.append)  # the database is not empty any more
    assert len(said) == 1


# --- refused -----------------------------------------------------------------------------------------------------


def test_another_server_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCNN_HOME", str(tmp_path))
        with pytest.raises(
            ConfigError, match=r"into the managed server only, and not into bolt://.*; leave out --bulk"
        ):
            load_in_bulk(graph, contents("elsewhere"))


def test_a_database_with_a_model_or_any_node_is_refused(graph: Graph, bulk_home: Path) -> None:
    load_contents(graph, contents("first"))
    before = everything(graph)
    with pytest.raises(InputError, match=r"empty database only, and it holds 1 model \(first\) of 47 nodes; leave out"):
        load_in_bulk(graph, contents("second"))
    assert everything(graph) == before
    drop_model(graph, "first")
    _write("CREATE (:Person {name: 'Ada'})")
    try:
        with pytest.raises(InputError, match="it holds 1 nodes; leave out --bulk"):
            load_in_bulk(graph, contents("second"))
    finally:
        _write("MATCH (n:Person) DELETE n")
    untouched(graph, bulk_home)


def _write(text: str) -> None:
    """Run a write statement in a process of its own, gone when this returns."""
    code = "import sys, neo4j; from viscnn import server; c = server.connection()\n"
    code += "with neo4j.GraphDatabase.driver(c.uri, auth=(c.username, c.password)) as d: d.execute_query(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, text], check=True)


WAITING = """
from viscnn import server
from viscnn.graph import Graph
with Graph(server.connection()) as graph:
    graph.verify()
    print("connected", flush=True)
    input()
"""


def test_a_server_that_another_program_uses_is_refused(graph: Graph, bulk_home: Path) -> None:
    graph.verify()
    assert other_clients() == []
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "connected\n"
        with pytest.raises(InputError, match=rf"python.* \(pid {other.pid}\) is connected to it; close that first"):
            load_in_bulk(graph, contents("busy"))
        other.stdin.write("\n")
    untouched(graph, bulk_home)


def test_a_full_disk_is_told_before_anything_is_written(graph: Graph, bulk_home: Path) -> None:
    with replacement() as load, pytest.raises(ServerError, match=r"but a bulk load of this model needs 1000000.0 GB"):
        load.require(10**15)
    assert bulk_rows.disk_bytes(contents("small")) < 10**9
    untouched(graph, bulk_home)


def test_one_bulk_load_at_a_time(graph: Graph, bulk_home: Path) -> None:
    with replacement() as load:
        (load.rows / "0.parquet").write_bytes(b"mine")
        with pytest.raises(ServerError, match="another bulk load goes on"), replacement():
            pass
        server.start()
        assert (load.rows / "0.parquet").exists()
    untouched(graph, bulk_home)


def test_rows_that_neo4j_refuses_leave_the_empty_database(graph: Graph, bulk_home: Path) -> None:
    pid = server.status().pid

    def load() -> None:
        with replacement() as load:
            with bulk_rows.RowFiles(load.rows) as files:
                files.add("Filter", {":ID": [0]}, [{"uid": "a"}])
                files.add("KERNEL", {":START_ID": [0], ":END_ID": [7]}, [{"input": 0}])
            load.run(files.nodes, files.relationships)

    with pytest.raises(ServerError, match="neo4j-admin database import failed: "):
        load()
    untouched(graph, bulk_home)
    assert server.status().pid == pid


# --- killed ------------------------------------------------------------------------------------------------------

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
from tests.test_bulk import contents
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
    if not over_bolt:  # what was killed leaves files until here
        server.start()
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
