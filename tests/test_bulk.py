"""The bulk load on real servers: the same graph as over Bolt, and refused where it could harm."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from tests import bulk as shared
from tests.bulk import CLASSES, SHAPE, contents, untouched, write
from viscnn import VISCNN, server
from viscnn.cli import app
from viscnn.errors import ConfigError, InputError, ModelError, ServerError
from viscnn.graph import Graph
from viscnn.ingest import bulk, bulk_rows
from viscnn.ingest.bulk import load_in_bulk
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import drop_model, load_contents
from viscnn.progress import silent
from viscnn.server import exchange, managed, process
from viscnn.server.bulk import other_clients, replacement
from viscnn.server.home import Home, server_home

SOURCE = f"{shared.__file__}:branching"


@pytest.fixture
def graph(bulk_graph: Graph) -> Graph:
    """The empty database of a server of its own."""
    return bulk_graph


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


# --- the same graph ----------------------------------------------------------------------------------------------


def test_all_is_as_with_a_load_over_bolt_and_a_session_goes_on(
    graph: Graph, bulk_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_rows, "_GROUP_BYTES", 1)  # each block becomes a row group
    seen: list[tuple[str, int, int]] = []
    how: dict[str, Any] = {"name": "same", "weights": "random", "input_shape": SHAPE, "classes": CLASSES, "heads": True}
    graph.close()  # it would be another program to the session
    with VISCNN() as session:
        session.ingest(SOURCE, **how)
        expected, indexes, connection = everything(session._graph), _indexes(session._graph), server.connection()
        session.drop("same")
        found = session.ingest(SOURCE, bulk=True, progress=lambda *each: seen.append(each), **how)
        assert (found.kernels, found.filters, found.sums, found.identities) == (102, 25, 6, 12)
        assert_same(session._graph, expected)
        assert _indexes(session._graph) == indexes
        assert {row[2] for row in indexes} == {"ONLINE"}
        assert server.connection() == connection
        assert not server_home().bulk.exists()
        _assert_told(seen)
        assert session.replay("same").worst < 1e-4
        pid = server.status().pid
        assert session.ingest(SOURCE, bulk=True, **how).already_complete
        assert server.status().pid == pid
        with pytest.raises(ModelError, match="'same' is stored with other weights"):
            load_in_bulk(session._graph, contents("same", seed=1))
        assert_same(session._graph, expected)
        session.drop("same")
        assert session.models() == []
    graph.reconnect(server.connection())


def assert_same(graph: Graph, expected: tuple[list[str], list[str]]) -> None:
    for found, wanted in zip(everything(graph), expected, strict=True):
        assert Counter(found) == Counter(wanted)


def _indexes(graph: Graph) -> list[tuple[Any, ...]]:
    columns = "name, type, state, entityType, labelsOrTypes, properties, owningConstraint"
    return sorted(graph.fetch(f"SHOW INDEXES YIELD {columns} RETURN {columns}", {}, limit=100, timeout=10).rows)


def _assert_told(seen: list[tuple[str, int, int]]) -> None:
    steps = ["importing nodes", "importing kernels", "linking kernels", "counting", "indexing"]
    assert list(dict.fromkeys(step for step, _, _ in seen)) == ["writing kernels", *steps]
    assert [done for step, done, _ in seen if step == "writing kernels"] == [18, 42, 54, 66, 90, 102]
    assert {total for step, _, total in seen if step == "writing kernels"} == {102}


def test_some_kernels_over_what_a_stopped_removal_left_and_stopped_at_the_end(
    graph: Graph, bulk_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = contents("same", Extent(weights=False, top=40))
    load_contents(graph, some)
    expected = everything(graph)
    with monkeypatch.context() as patch:
        real = graph.stream
        patch.setattr(graph, "stream", lambda name, **each: real(name, **each) if "kernels" in name else _ctrl_c())
        with pytest.raises(KeyboardInterrupt):
            drop_model(graph, "same")
    assert bulk._content(graph) == ""
    write("MATCH (f:Filter {layer: 'last'}), (l:Layer {name: 'left'}) DETACH DELETE f, l")  # stopped in the next step
    assert bulk._content(graph) == ""
    with pytest.raises(KeyboardInterrupt):
        load_in_bulk(graph, some, progress=_write_and_stop)
    assert [(each["name"], each["status"], each["kernels"]) for each in graph.read("read/models")] == [
        ("same", "ingesting", None)
    ]
    assert not server_home().bulk.exists()
    with pytest.raises(InputError, match="it holds 1 nodes; leave out --bulk"):
        load_in_bulk(graph, some)
    write("MATCH (n:Person {name: 'Ada'}) DELETE n")
    bulk._finish(graph, some, silent)  # what the first lacked; check_counts fails where anything else does
    assert_same(graph, expected)


def _write_and_stop(step: str, done: int, total: int) -> None:
    """Somebody writes into the new database, then comes Ctrl-C."""
    if step == "indexing":
        write("CREATE (:Person {name: 'Ada'})")
        raise KeyboardInterrupt


def _ctrl_c(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def test_a_large_model_is_told_that_a_bulk_load_is_faster(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def ingest(name: str) -> str:
        shape = "x".join(map(str, SHAPE))
        arguments = ["ingest", SOURCE, "--name", name, "--input", shape, "--weights", "random", "--heads", "--json"]
        result = CliRunner().invoke(app, arguments)
        assert json.loads(result.stdout)["kernels"] == 102, result.output
        return "".join(line for line in result.stderr.splitlines() if "hint" in line)

    assert ingest("small") == ""
    drop_model(graph, "small")
    monkeypatch.setattr(bulk, "WORTH_KERNELS", 101)
    monkeypatch.setattr(bulk, "TIMES_FASTER", 7)
    assert ingest("large") == "hint: 102 kernels; --bulk stores them about 7 times faster"
    assert ingest("larger") == ""  # the database is not empty any more


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
    write("CREATE (:Person {name: 'Ada'})")
    try:
        with pytest.raises(InputError, match="it holds 1 nodes; leave out --bulk"):
            load_in_bulk(graph, contents("second"))
    finally:
        write("MATCH (n:Person) DELETE n")
    untouched(graph, bulk_home)


@pytest.mark.parametrize(
    ("theirs", "gone", "said"),
    [
        (
            "CREATE INDEX mine FOR (p:Person) ON (p.name)",
            "DROP INDEX mine",
            "holds the index or constraint mine; leave",
        ),
        (
            "CREATE CONSTRAINT only FOR (p:Person) REQUIRE p.name IS UNIQUE",
            "DROP CONSTRAINT only",
            "holds the index or constraint only; leave",
        ),
        (
            "CREATE (:Model {name: 'x/../../evil', status: 'ingesting'})",
            "MATCH (n) DELETE n",
            r"holds 1 model \(x/../../evil\) of 1 nodes; leave",
        ),
        (
            "CREATE (:Model {name: 5, status: 'ingesting'}), (:Person {model: '5'})",
            "MATCH (n) DELETE n",
            r"holds 1 model \(5\) of 2 nodes; leave",
        ),
    ],
)
def test_what_somebody_else_made_is_refused(graph: Graph, bulk_home: Path, theirs: str, gone: str, said: str) -> None:
    write(theirs)
    try:
        with pytest.raises(InputError, match=said):
            load_in_bulk(graph, contents("second"))
        assert not list(bulk_home.rglob("*evil*lock*"))
    finally:
        write(gone)
    untouched(graph, bulk_home)


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


def test_connections_that_cannot_be_seen_are_no_reason_to_go_on(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: psutil.Process, kind: str) -> list[Any]:
        raise psutil.AccessDenied(self.pid)

    def hidden(self: psutil.Process, kind: str) -> list[Any]:
        return []

    for each in (denied, hidden):
        monkeypatch.setattr(psutil.Process, "net_connections", each)
        with pytest.raises(ServerError, match=r"does not say which programs are connected .* leave out --bulk"):
            other_clients()


# --- while the server is stopped ---------------------------------------------------------------------------------


def test_what_is_written_before_the_server_has_stopped_is_kept(
    graph: Graph, bulk_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.terminate

    def late(*arguments: Any, **settings: Any) -> None:
        monkeypatch.undo()
        write("CREATE (:Person {name: 'Ada'})")
        real(*arguments, **settings)

    monkeypatch.setattr(process, "terminate", late)
    with replacement() as load, pytest.raises(InputError, match="another program wrote to the database while"):
        load.exchange(lambda: bulk._refuse_if_used(graph, "second"))
    graph.reconnect(server.connection())
    assert graph.fetch("MATCH (n) RETURN n.name", {}, limit=9, timeout=10).rows == (("Ada",),)
    write("MATCH (n:Person) DELETE n")
    untouched(graph, bulk_home)


def test_ctrl_c_while_the_server_stops_starts_it_again(
    graph: Graph, bulk_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(running: psutil.Process, home: Home) -> None:
        monkeypatch.undo()
        running.terminate()
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "terminate", interrupted)
    with replacement() as load, pytest.raises(KeyboardInterrupt):
        load.exchange(lambda: None)
    graph.reconnect(server.connection())
    untouched(graph, bulk_home)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ServerError("Neo4j stopped while starting"), "former"), (KeyboardInterrupt(), "imported")],
    ids=["does not open", "Ctrl-C"],
)
def test_only_a_database_that_no_server_opens_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: str
) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))
    home = server_home()
    home.prepare()
    shared.two_databases(home)
    booted: list[list[str]] = []

    def boot(home: Home, jars: Path) -> None:
        booted.append(shared.stores(home.data))
        if len(booted) == 1:
            raise error

    monkeypatch.setattr(managed, "_boot", boot)
    with pytest.raises(type(error)), managed.stopped() as stopped:
        exchange.put_in(stopped)
    assert booted == [["imported", "imported"], [expected, expected]]
    assert not home.exchanging.exists()
