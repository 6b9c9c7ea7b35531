"""The bulk load on real servers: the same graph as over Bolt, refused where it could harm, and killed at every step."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import toy
from tests.bulk import assert_whole, contents, untouched
from viscnn import VISCNN, server
from viscnn.errors import ConfigError, InputError, ModelError, ServerError
from viscnn.graph import Graph
from viscnn.ingest import bulk, bulk_rows
from viscnn.ingest.bulk import load_in_bulk
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import drop_model, load_contents
from viscnn.server.bulk import other_clients, replacement
from viscnn.server.home import server_home

ROOT = Path(__file__).parents[1]


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
