"""Every query file against a real Neo4j: header, plan, columns, and what it finds in the toy graph."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests import toy
from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.queries import Query, catalogue, load, parse

QUERIES = catalogue()
OF_SUMS = {"read/circuit_identities", "read/subgraph_identities"}
"""They find nothing in the toy graph, which has no sums; test_branching_graph.py has one."""

READS = [name for name, query in QUERIES.items() if query.mode == "read" and name not in OF_SUMS]


@pytest.fixture(scope="module")
def stored(graph: Graph) -> Iterator[toy.Toy]:
    with toy.toy_graph(graph) as found:
        yield found


def arguments(query: Query) -> dict[str, Any]:
    return query.arguments({})


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
def test_a_header_is_complete(name: str) -> None:
    query = QUERIES[name]
    assert name.startswith(f"{query.mode}/")
    assert query.title
    assert query.description.endswith(".")
    used = set(re.findall(r"\$\(?\$?(\w+)", query.text)) - {""}
    assert used == {parameter.name for parameter in query.parameters}
    assert all(parameter.description for parameter in query.parameters)
    assert query.text.startswith("CYPHER 25\n")
    assert "//" not in query.text.splitlines()[0]
    assert bool(query.columns) == (query.mode != "schema")


@pytest.mark.parametrize("name", QUERIES)
def test_the_planned_columns_are_those_of_the_header(name: str, graph: Graph, stored: toy.Toy) -> None:
    query = QUERIES[name]
    table = graph.fetch(f"EXPLAIN {query.text}", arguments(query), limit=1, timeout=10)
    assert table.columns == query.columns


@pytest.mark.parametrize("name", QUERIES)
def test_the_plan_does_what_the_mode_says(name: str, graph: Graph, stored: toy.Toy) -> None:
    query = QUERIES[name]
    plan = graph.explain(query.text, arguments(query))
    assert plan.query_type in {"read": {"r"}, "write": {"w", "rw"}, "schema": {"s"}}[query.mode]
    leaves = {each for each in plan.operators if "Scan" in each or "Seek" in each}
    assert "AllNodesScan" not in leaves
    if "CartesianProduct" in plan.operators:  # of single nodes only
        assert all(each.startswith("NodeUniqueIndexSeek") for each in leaves)
    if query.mode == "read":  # filters and kernels are never scanned, whatever else is
        scanned = [d for o, d in zip(plan.operators, plan.details, strict=True) if "Scan" in o and "Index" not in o]
        few = r"\w+:(Model|Layer|Query|Circuit|ImageSet|Projection|InputChannel)"
        assert all(re.fullmatch(few, each) for each in scanned)


@pytest.mark.parametrize("name", READS)
def test_a_read_finds_something_in_the_toy_graph(name: str, graph: Graph, stored: toy.Toy) -> None:
    rows = graph.read(name)
    assert rows
    assert tuple(rows[0]) == QUERIES[name].columns


def test_a_query_is_found_by_its_short_name_or_suggested() -> None:
    assert load("top_kernels") is load("read/top_kernels")
    with pytest.raises(NotInGraph, match="no query is called 'top_kernel'; did you mean top_kernels"):
        load("top_kernel")
    with pytest.raises(NotInGraph, match=r"has no parameter 'modle' \(it has: model, above, limit\)"):
        load("top_kernels").arguments({"modle": "toy"})


@pytest.mark.parametrize(
    "text",
    [
        "RETURN 1",
        "// title: T\n// description: D.\n// mode: admin\n// columns: a\nRETURN 1 AS a",
        "// title: T\n// description: D.\n// mode: read\nRETURN 1 AS a",
        "// title: T\n// description: D.\n// mode: read\n// parameter: x\n// columns: a\nRETURN $x AS a",
    ],
)
def test_an_incomplete_header_is_refused(text: str) -> None:
    with pytest.raises(StoredDataError, match=r"cypher/read/mine.cypher"):
        parse("read/mine", text)


# --- what each finds ---------------------------------------------------------------------------------------------


def test_top_kernels(graph: Graph, stored: toy.Toy) -> None:
    found = graph.read("read/top_kernels", model="toy", above=0.5, limit=3)
    scores = toy.kernel_scores(stored.one)
    for layer in ("conv1", "conv2"):
        mine = {key: score for key, score in scores.items() if f"/{layer}/" in key[1] and score > 0.5}
        best = sorted(mine, key=lambda key: -mine[key])[:3]
        rows = [row for row in found if row["layer"] == layer]
        assert [(row["source"], row["target"], row["input"]) for row in rows] == best
        assert [row["score"] for row in rows] == [mine[key] for key in best]


def test_top_filters(graph: Graph, stored: toy.Toy) -> None:
    found = graph.read("read/top_filters", layer="toy/conv1", limit=2)
    best = sorted((row for row in stored.one if "/conv1/" in row["uid"]), key=lambda row: -row["score"])[:2]
    assert [(row["uid"], row["score"]) for row in found] == [(row["uid"], row["score"]) for row in best]
    importance = {row["uid"]: row["score"] for row in stored.two}
    assert [row["importance"] for row in found] == [importance[row["uid"]] for row in found]


@pytest.mark.parametrize("query", ["one", "two"])
def test_incoming_kernels_have_a_saved_querys_scores(graph: Graph, stored: toy.Toy, query: str) -> None:
    found = graph.read("read/incoming_kernels", uid="toy/conv2/1", query=f"toy/query/{query}", limit=3)
    row = next(row for row in getattr(stored, query) if row["uid"] == "toy/conv2/1")
    best = sorted(range(4), key=lambda i: -row["kernelScores"][i])[:3]
    assert [(each["input"], each["score"]) for each in found] == [(i, row["kernelScores"][i]) for i in best]
    weight = stored.architecture.convolution(stored.architecture.layer("conv2")).weight
    for each in found:
        assert each["source"] == f"toy/conv1/{each['input']}"
        assert each["weights"] == weight[1, each["input"]].flatten().tolist()


def test_incoming_kernels_without_a_query_come_by_weight(graph: Graph, stored: toy.Toy) -> None:
    found = graph.read("read/incoming_kernels", uid="toy/conv2/1", query="")
    assert len(found) == 4
    assert [row["score"] for row in found] == [None] * 4
    assert [row["l1"] for row in found] == sorted((row["l1"] for row in found), reverse=True)


def test_paths_from_an_input_channel_to_a_filter(graph: Graph, stored: toy.Toy) -> None:
    scores = toy.kernel_scores(stored.one)
    expected = {}
    for i in range(4):
        weakest = min(scores["toy/input/gray", f"toy/conv1/{i}", 0], scores[f"toy/conv1/{i}", "toy/conv2/2", i])
        if weakest >= 0.2:
            expected["toy/input/gray", f"toy/conv1/{i}", "toy/conv2/2"] = weakest
    found = graph.read("read/path_from_input", target="toy/conv2/2", minimum=0.2, limit=10)
    assert toy.uids(found) == expected.keys()
    assert [row["weakest"] for row in found] == sorted(expected.values(), reverse=True)


def test_the_circuit_of_a_filter_above_a_score(graph: Graph, stored: toy.Toy) -> None:
    scores = toy.kernel_scores(stored.one)
    expected: set[tuple[str, ...]] = set()
    for i in range(4):
        if scores[f"toy/conv1/{i}", "toy/conv2/0", i] >= 0.5:
            expected.add(("toy/conv2/0", f"toy/conv1/{i}"))
            if scores["toy/input/gray", f"toy/conv1/{i}", 0] >= 0.5:
                expected.add(("toy/conv2/0", f"toy/conv1/{i}", "toy/input/gray"))
    found = graph.read("read/circuit_above_score", uid="toy/conv2/0", minimum=0.5)
    assert {tuple(sorted(path)) for path in toy.uids(found)} == {tuple(sorted(path)) for path in expected}


def test_a_circuit_is_its_own_kernels_and_paths(graph: Graph, stored: toy.Toy) -> None:
    kernels = {(row["source"], row["target"], row["input"]) for row in graph.read("read/circuit_kernels")}
    assert kernels == {
        ("toy/input/gray", "toy/conv1/1", 0),
        ("toy/input/gray", "toy/conv1/3", 0),
        ("toy/conv1/1", "toy/conv2/0", 1),
        ("toy/conv1/3", "toy/conv2/0", 3),
    }
    assert toy.uids(graph.read("read/circuit_paths")) == {
        ("toy/input/gray", f"toy/conv1/{i}", "toy/conv2/0") for i in (1, 3)
    }
    assert graph.read("read/circuit")[0]["circuit"]["pearson"] == 0.9
    assert [row["uid"] for row in graph.read("read/circuits")] == ["toy/circuit/one"]


def test_what_two_queries_share(graph: Graph, stored: toy.Toy) -> None:
    one, two = ({row["uid"]: row["score"] for row in rows} for rows in (stored.one, stored.two))
    expected = {}
    for layer in ("conv1", "conv2"):
        mine = [uid for uid in one if f"/{layer}/" in uid]
        totals = [sum(max(scores[uid], 0) for uid in mine) for scores in (one, two)]
        for uid in mine:
            shared = min(one[uid] / totals[0], two[uid] / totals[1])
            if shared > 0:
                expected[uid] = shared
    found = graph.read("read/shared_by_queries", limit=100)
    assert {row["uid"]: row["shared"] for row in found} == pytest.approx(expected)
    assert [row["shared"] for row in found] == sorted((row["shared"] for row in found), reverse=True)


@pytest.mark.parametrize("minima", [(0.0, 0.0), (0.8, 1.1), (-9.0, 9.0)])
def test_the_active_and_the_saved_subgraph_are_the_same(
    graph: Graph, stored: toy.Toy, minima: tuple[float, float]
) -> None:
    layers = [row for row in graph.read("read/layers", model="toy") if row["kind"] == "convolution"]
    active = graph.read(
        "read/subgraph_active",
        layers=[{"key": each["key"], "minimum": low} for each, low in zip(layers, minima, strict=True)],
    )
    saved = graph.read(
        "read/subgraph_scored",
        layers=[{"uid": each["uid"], "minimum": low} for each, low in zip(layers, minima, strict=True)],
    )
    low = dict(zip(("conv1", "conv2"), minima, strict=True))
    expected = {
        (*key, score) for key, score in toy.kernel_scores(stored.one).items() if score >= low[key[1].split("/")[1]]
    }
    for rows in (active, saved):
        assert {(row["source"], row["target"], row["input"], row["score"]) for row in rows} == expected
        assert len(rows) == len(expected)


def test_the_stored_scores_come_in_the_order_of_the_network(graph: Graph, stored: toy.Toy) -> None:
    for uid, rows in (("toy/query/one", stored.one), ("toy/query/two", stored.two)):
        assert graph.read("read/query_scores", uid=uid) == rows


def test_one_filter(graph: Graph, stored: toy.Toy) -> None:
    (found,) = graph.read("read/filter", uid="toy/conv2/1", query="toy/query/two")
    one, two = (next(row for row in rows if row["uid"] == "toy/conv2/1") for rows in (stored.one, stored.two))
    assert (found["score"], found["kernelScores"], found["activeScore"], found["importance"]) == (
        two["score"],
        two["kernelScores"],
        one["score"],
        two["score"],
    )
    assert (found["layerUid"], found["channel"], found["inputChannel"]) == ("toy/conv2", 1, False)
    (gray,) = graph.read("read/filter", uid="toy/input/gray")
    assert (gray["inputChannel"], gray["score"], gray["bias"]) == (True, None, None)
    assert graph.read("read/filter", uid="toy/conv2/9") == []


def test_lists_and_counts(graph: Graph, stored: toy.Toy) -> None:
    (counts,) = graph.read("read/model_counts")
    assert [counts[key] for key in ("layers", "filters", "inputChannels", "kernels")] == [2, 8, 1, 16]
    assert [counts[key] for key in ("feeds", "sums", "identities", "logits")] == [2, 0, 0, 0]
    assert [row["uid"] for row in graph.read("read/filters")][:2] == ["toy/input/gray", "toy/conv1/0"]
    assert [row["name"] for row in graph.read("read/layers")] == ["input", "conv1", "conv2"]
    assert [row["name"] for row in graph.read("read/image_sets")] == ["overall", "ant", "bee", "cat", "my ants"]
    assert [(row["uid"], row["active"]) for row in graph.read("read/queries")] == [
        ("toy/query/two", False),
        ("toy/query/one", True),
    ]
    (model,) = [row for row in graph.read("read/models") if row["name"] == "toy"]
    assert (model["layers"], model["filters"], model["status"]) == (2, 7, "complete")


@pytest.mark.parametrize("uid", ["toy/query/absent", "other/query/one"])
def test_activating_what_is_not_there_changes_nothing(graph: Graph, stored: toy.Toy, uid: str) -> None:
    assert graph.stream("write/activate_scores", uid=uid) == []
    assert graph.read("read/model")[0]["activeQuery"] == "toy/query/one"
