"""Queries that write, each on a toy graph of its own in a real Neo4j."""

from itertools import product

from tests import toy
from viscnn.graph import Graph
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
            written = graph.write("write/activate_query", model="toy", uid=f"toy/query/{uid}")
            assert written == [{"filters": 7, "kernels": 16}]
            assert graph.read("read/model")[0]["activeQuery"] == f"toy/query/{uid}"
            assert _active_kernels(graph) == toy.kernel_scores(rows)
            active = {row["uid"]: row["score"] for row in graph.read("read/filters") if not row["inputChannel"]}
            assert active == {row["uid"]: row["score"] for row in rows}


def _active_kernels(graph: Graph) -> dict[tuple[str, str, int], float]:
    keys = [{"key": row["key"], "minimum": -1e9} for row in graph.read("read/layers")]
    rows = graph.read("read/subgraph_active", layers=keys)
    return {(row["source"], row["target"], row["input"]): row["score"] for row in rows}


def test_incomplete_scores_do_not_make_a_query_complete(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        graph.write("write/save_query", uid="toy/query/second", properties={"criterion": "taylor"})
        rows = [*found.one[:3], found.one[3] | {"uid": "toy/conv9/0"}]
        assert graph.write("write/save_scores", uid="toy/query/second", rows=rows) == [{"written": 3}]
        assert graph.read("read/query", uid="toy/query/second")[0]["status"] == "scoring"
        assert graph.read("read/query_scores", uid="toy/query/second") == []
        assert graph.write("write/activate_query", uid="toy/query/second") == []
        assert graph.write("write/save_scores", uid="toy/query/second", rows=found.two) == [{"written": 7}]
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
                properties={"model": "toy", "query": "toy/query/one", "targetLayerIndex": 2},
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
