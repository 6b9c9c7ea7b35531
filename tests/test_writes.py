"""Queries that write, each on a toy graph of its own in a real Neo4j."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Any

import neo4j
import numpy as np
import pytest

from tests import toy
from tests.servers import wait_until
from viscnn.errors import NotInGraph, StoredDataError, ViscnnError
from viscnn.graph import Graph
from viscnn.graph_scores import QueryScores, ScoredLayer, activate_scores, query_scores, save_scores
from viscnn.ingest.load import drop_model
from viscnn.queries import catalogue

WRITES = [query for query in catalogue().values() if query.mode == "write"]


def test_every_write_runs_with_its_defaults(graph: Graph) -> None:
    """On a toy graph of its own; the defaults of removals name things that are not there."""
    with toy.toy_graph(graph):
        before = graph.read("read/model_counts")
        try:
            for query in WRITES:
                run = graph.stream if "TRANSACTIONS" in query.text else graph.write
                for row in run(query.name):
                    assert tuple(row) == query.columns, query.name
        finally:
            drop_model(graph, "toy-2", missing_ok=True)
        assert graph.read("read/model_counts") == before


def test_activation_copies_every_score_exactly(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        for uid, rows in (("two", found.two), ("one", found.one), ("two", found.two)):
            assert activate_scores(graph, f"toy/query/{uid}") == {"filters": 7, "kernels": 16}
            assert graph.read("read/model")[0]["activeQuery"] == f"toy/query/{uid}"
            assert _active_kernels(graph) == toy.kernel_scores(rows)
            active = {row["uid"]: row["score"] for row in graph.read("read/filters") if not row["inputChannel"]}
            assert active == {row["uid"]: row["score"] for row in rows}


def _active_kernels(graph: Graph) -> dict[tuple[str, str, int], float]:
    keys = [{"key": row["key"], "minimum": -1e9} for row in graph.read("read/layers")]
    rows = graph.read("read/subgraph_active", layers=keys)
    return {(row["source"], row["target"], row["input"]): row["score"] for row in rows}


@contextmanager
def held_up(graph: Graph) -> Iterator[neo4j.Session]:
    """A session whose transaction holds the lock of a filter: no activation can end before the block does."""
    connection = graph.connection
    auth = (connection.username, connection.password)
    with (
        neo4j.GraphDatabase.driver(connection.uri, auth=auth) as driver,
        driver.session() as holder,
        driver.session() as other,
        holder.begin_transaction() as transaction,
    ):
        transaction.run("MATCH (f:Filter {uid: 'toy/conv2/1'}) SET f.channel = f.channel").consume()
        yield other


def _begin(graph: Graph, pool: ThreadPoolExecutor, uid: str) -> "Future[dict[str, Any]]":
    """An activation that has begun, in another thread."""
    before = _activation(graph)
    running = pool.submit(activate_scores, graph, uid)
    wait_until(lambda: running.done() or _activation(graph) != before)
    return running


def _activation(graph: Graph) -> Any:
    return graph.fetch("MATCH (m:Model {name: 'toy'}) RETURN m.activation", {}, limit=1, timeout=10).rows[0][0]


def test_scores_are_not_valid_while_they_are_copied(graph: Graph) -> None:
    with toy.toy_graph(graph) as found, ThreadPoolExecutor() as pool:
        activate_scores(graph, "toy/query/one")
        with held_up(graph):
            running = _begin(graph, pool, "toy/query/two")
            assert graph.read("read/model")[0]["activeQuery"] is None
            assert not running.done()
        assert running.result() == {"filters": 7, "kernels": 16}
        assert graph.read("read/model")[0]["activeQuery"] == "toy/query/two"
        assert _active_kernels(graph) == toy.kernel_scores(found.two)


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_of_two_activations_the_later_holds(graph: Graph, order: tuple[str, str]) -> None:
    with toy.toy_graph(graph) as found, ThreadPoolExecutor() as pool:
        with held_up(graph):
            runs = [_begin(graph, pool, f"toy/query/{name}") for name in order]
        assert [run.result()["filters"] for run in runs][1] == 7
        assert graph.read("read/model")[0]["activeQuery"] == f"toy/query/{order[1]}"
        assert _active_kernels(graph) == toy.kernel_scores({"one": found.one, "two": found.two}[order[1]])


def test_an_activation_that_was_cut_off_is_seen_and_put_right(graph: Graph) -> None:
    with toy.toy_graph(graph) as found, ThreadPoolExecutor() as pool:
        with held_up(graph) as other:
            running = _begin(graph, pool, "toy/query/two")
            mine = "SHOW TRANSACTIONS YIELD transactionId AS id, currentQuery AS text WHERE text CONTAINS 'activation'"
            ids = [row["id"] for row in other.run(f"{mine} AND NOT text CONTAINS 'SHOW' RETURN id").data()]
            other.run("TERMINATE TRANSACTIONS $ids", ids=ids).consume()
            with pytest.raises(ViscnnError, match="terminated"):
                running.result()
        assert graph.read("read/model")[0]["activeQuery"] is None
        activate_scores(graph, "toy/query/two")
        assert graph.read("read/model")[0]["activeQuery"] == "toy/query/two"
        assert _active_kernels(graph) == toy.kernel_scores(found.two)


def test_a_model_that_is_removed_meanwhile_has_no_active_query(graph: Graph) -> None:
    with toy.toy_graph(graph), ThreadPoolExecutor() as pool:
        with held_up(graph):
            running = _begin(graph, pool, "toy/query/two")
            graph.write("write/mark_dropping", model="toy")
        with pytest.raises(StoredDataError, match="toy/query/two was removed"):
            running.result()
        assert graph.read("read/model")[0]["activeQuery"] is None
        with pytest.raises(NotInGraph, match="no complete query 'toy/query/two'"):
            activate_scores(graph, "toy/query/two")


def _layers(rows: list[dict[str, Any]]) -> list[ScoredLayer]:
    parts = {name: [row for row in rows if f"/{name}/" in row["uid"]] for name in ("conv1", "conv2")}
    return [
        ScoredLayer(
            f"toy/{name}",
            np.array([row["score"] for row in part]),
            np.array([row["kernelScores"] for row in part]),
        )
        for name, part in parts.items()
    ]


def _stamp(graph: Graph, uid: str) -> str:
    return str(graph.read("read/subgraph_query", uid=uid)[0]["stamp"])


def test_remembered_scores_are_the_stored_ones(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        save_scores(graph, "toy/query/one", _layers(found.two))
        assert graph.read("read/query_scores", uid="toy/query/one") == found.two
        remembered = query_scores(graph, "toy/query/one", stamp=_stamp(graph, "toy/query/one"))
        read = query_scores(graph, "toy/query/one", stamp=None)
        assert remembered is not read
        for scores in (remembered, read):
            assert _as_rows(scores) == found.two


def test_scores_that_were_written_anew_are_read_anew(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        seen = [query_scores(graph, "toy/query/one", stamp=_stamp(graph, "toy/query/one")) for _ in range(2)]
        assert seen[0] is seen[1]
        toy.write_scores(graph, "toy/query/one", found.two)
        assert _as_rows(query_scores(graph, "toy/query/one", stamp=_stamp(graph, "toy/query/one"))) == found.two


def _as_rows(scores: QueryScores) -> list[dict[str, Any]]:
    return [
        {
            "uid": uid,
            "score": scores.filters[number],
            "kernelScores": scores.kernels[scores.starts[number] : scores.starts[number + 1]].tolist(),
        }
        for number, uid in enumerate(scores.uids)
    ]


def test_scores_of_unknown_filters_are_refused(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        layers = [*_layers(found.one), ScoredLayer("toy/conv3", np.ones(2), np.ones((2, 3)))]
        with pytest.raises(StoredDataError, match="scores of 9 filters were sent, 7 stored"):
            save_scores(graph, "toy/query/one", layers)
        with pytest.raises(StoredDataError, match="query toy/query/gone is not in the graph"):
            save_scores(graph, "toy/query/gone", layers)


def test_incomplete_scores_do_not_make_a_query_complete(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        graph.write("write/save_query", uid="toy/query/second", properties={"criterion": "taylor"})
        rows = [*found.one[:3], found.one[3] | {"uid": "toy/conv9/0"}]
        assert toy.write_scores(graph, "toy/query/second", rows) == 3
        assert graph.read("read/query", uid="toy/query/second")[0]["status"] == "scoring"
        assert graph.read("read/query_scores", uid="toy/query/second") == []
        assert graph.stream("write/activate_scores", uid="toy/query/second") == []
        assert toy.write_scores(graph, "toy/query/second", found.two) == 7
        assert graph.read("read/query_scores", uid="toy/query/second") == found.two


def test_removing_a_query_removes_its_scores_and_circuits(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        assert graph.write("write/drop_query", uid="toy/query/one") == [{"uid": "toy/query/one"}]
        assert graph.read("read/query_scores", uid="toy/query/one") == []
        assert graph.read("read/circuits") == []
        assert graph.read("read/model")[0]["activeQuery"] is None
        assert graph.read("read/query_scores", uid="toy/query/two") == found.two
        assert graph.write("write/drop_query", uid="toy/query/one") == []


def test_a_saved_circuit_replaces_the_one_of_its_uid(graph: Graph) -> None:
    with toy.toy_graph(graph):
        rows = [{"uid": f"toy/conv{layer}/{c}", "kernelInputs": [0]} for layer, c in product((1, 2), (0, 2))]
        for _ in range(2):
            written = graph.write(
                "write/save_circuit",
                uid="toy/circuit/one",
                properties={"model": "toy", "query": "toy/query/one", "targetLayers": ["conv2"]},
                rows=rows,
            )
            assert written == [{"filters": 4, "kernels": 4}]
        assert len(graph.read("read/circuits")) == 1
        assert toy.uids(graph.read("read/circuit_paths")) == {
            ("toy/input/gray", "toy/conv1/0", f"toy/conv2/{c}") for c in (0, 2)
        }
        known = {"model": "toy", "query": "toy/query/one"}
        empty = {"uid": "toy/circuit/empty", "properties": known, "rows": []}
        assert graph.write("write/save_circuit", **empty) == [{"filters": 0, "kernels": 0}]


def test_nothing_is_saved_for_a_model_or_query_that_is_gone(graph: Graph) -> None:
    with toy.toy_graph(graph):
        before = toy.snapshot(graph)
        for properties in ({"model": "toy", "query": "gone"}, {"model": "gone", "query": "toy/query/one"}):
            assert graph.write("write/save_circuit", uid="toy/circuit/x", properties=properties) == []
        assert graph.write("write/save_query", model="gone", uid="gone/query/x") == []
        assert toy.snapshot(graph) == before
        graph.write("write/mark_dropping", model="toy")
        marked = toy.snapshot(graph)
        known = {"model": "toy", "query": "toy/query/one"}
        assert graph.write("write/save_circuit", uid="toy/circuit/x", properties=known) == []
        assert graph.write("write/save_query", model="toy", uid="toy/query/x") == []
        assert toy.snapshot(graph) == marked
