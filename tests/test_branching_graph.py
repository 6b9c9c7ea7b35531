"""Networks that branch in a real Neo4j: scores of kernels and identities, circuits, paths and subgraphs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import branches, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.circuit import CircuitReport
from viscnn.engine.run import read_scores
from viscnn.engine.wiring import filter_uids, layer_network
from viscnn.graph import Graph
from viscnn.reports import query_json
from viscnn.subgraph import Subgraph

NAMES = ("residual", "gated", "sums")
Edge = tuple[str, str, int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("graph"), score=3, check=11, size=branches.SHAPE[1:])


@pytest.fixture(scope="module")
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    own: dict[str, Any] = {"input_shape": branches.SHAPE, "classes": toy.CLASSES, "mean": (0.4,), "std": (0.3,)}
    with VISCNN(server) as session:
        for name in NAMES:
            source = f"{branches.__file__}:{name}"
            session.ingest(source, name=f"g-{name}", weights="random", images=str(folder), **own)
        yield session
        for name in NAMES:
            session.drop(f"g-{name}")


def edges(graph: Graph, model: str, kind: str, key: str) -> dict[Edge, float]:
    """A property of all relationships of a type by source, target and input."""
    table = graph.fetch(
        f"MATCH (a)-[k:{kind}]->(b:Filter {{model: $model}}) RETURN a.uid, b.uid, k.input, k.{key} AS value",
        {"model": model},
        limit=100_000,
        timeout=30,
    )
    return {(source, target, number): score for source, target, number, score in table.rows}


def expected(v: VISCNN, model: str, kernels: tuple[Any, ...], *, identities: bool) -> dict[Edge, float]:
    """Scores of all that the graph has, by the architecture."""
    architecture = v.bundle(model).architecture
    uids = filter_uids(model, architecture)
    return {
        (uids[number], uids[one.target_of[o]], i): float(one.kernel[o, i])
        for one in layer_network(model, architecture, kernels)
        if one.identity == identities
        for (o, i), number in np.ndenumerate(one.source_of)
    }


@pytest.mark.parametrize("name", NAMES)
def test_activation_and_importance_reach_kernels_and_identities(v: VISCNN, graph: Graph, name: str) -> None:
    model = f"g-{name}"
    important = v.query("overall", model=model, activate=False)
    report = v.query("cat", model=model, criterion="taylor-signed")
    for key, of in (("score", report), ("importance", important)):
        assert edges(graph, model, "KERNEL", key) == expected(v, model, of.kernels, identities=False)
        assert edges(graph, model, "IDENTITY", key) == expected(v, model, of.kernels, identities=True)
    kernels = v.bundle(model).architecture.kernels
    filters = sum(layer.filters for layer in v.bundle(model).architecture.layers)
    assert v.activate(report.uid) == {"filters": filters, "kernels": kernels}


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_read_back_as_they_were_computed(v: VISCNN, graph: Graph, name: str) -> None:
    report = v.query("bee", model=f"g-{name}", criterion="gradient", activate=False)
    layers = report.architecture.layers
    kernels, filters = read_scores(graph, report.uid, [layer.filters for layer in layers])
    for layer, ours, theirs in zip(layers, (*report.kernels, *report.filters), (*kernels, *filters), strict=False):
        np.testing.assert_array_equal(ours, theirs, err_msg=layer.name)
    rows = graph.read("read/query_scores", uid=report.uid)
    assert [row["uid"] for row in rows] == filter_uids(f"g-{name}", report.architecture)[1:]


def test_a_report_names_the_filters_that_kernels_read(v: VISCNN, graph: Graph) -> None:
    for name in NAMES:
        report = v.query("cat", model=f"g-{name}", activate=False)
        stored = edges(graph, f"g-{name}", "KERNEL", "l1")
        found = query_json(report, top=1000)
        listed = {(each["source"], each["target"], each["input"]) for each in found["kernels"]}
        assert listed == stored.keys()
        assert {each["uid"] for each in found["filters"]} == set(filter_uids(f"g-{name}", report.architecture)[1:])


# --- circuits ----------------------------------------------------------------------------------------------------


def kept(report: CircuitReport, v: VISCNN, *, identities: bool) -> set[Edge]:
    architecture = v.bundle(report.model).architecture
    uids = filter_uids(report.model, architecture)
    return {
        (uids[one.source_of[o, i]], uids[one.target_of[o]], int(i))
        for one, mask in zip(layer_network(report.model, architecture), report.selection.mask, strict=True)
        if one.identity == identities
        for o, i in np.argwhere(mask)
    }


@pytest.mark.parametrize("keep", [0.15, 0.4, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_circuit_is_its_mask_and_its_paths(v: VISCNN, graph: Graph, name: str, keep: float) -> None:
    report = v.circuit("loss", model=f"g-{name}", input="cat", keep=keep)
    kernels, identities = (kept(report, v, identities=each) for each in (False, True))
    rows = {kind: graph.read(f"read/circuit_{kind}", uid=report.uid) for kind in ("kernels", "identities")}
    assert {(row["source"], row["target"], row["input"]) for row in rows["kernels"]} == kernels
    assert {(row["source"], row["target"], row["input"]) for row in rows["identities"]} == identities
    scores = edges_of_query(v, report)
    assert all(row["score"] == scores[row["source"], row["target"], row["input"]] for row in rows["identities"])
    (stored,) = graph.read("read/circuit", uid=report.uid)
    assert stored["circuit"]["kernels"] == len(kernels) == report.selection.kernels
    assert stored["circuit"]["filters"] == len({target for _, target, _ in kernels | identities})
    walked: set[Edge] = set()
    for row in graph.read("read/circuit_paths", uid=report.uid, limit=100_000):
        uids = [node["properties"]["uid"] for node in row["path"]["nodes"]]
        inputs = [edge["properties"]["input"] for edge in row["path"]["relationships"]]
        walked |= set(zip(uids, uids[1:], inputs, strict=False))
    assert walked == kernels | identities


def edges_of_query(v: VISCNN, report: CircuitReport) -> dict[Edge, float]:
    query = v.query("cat", model=report.model, output=report.target, activate=False)
    assert query.uid == report.query
    return expected(v, report.model, query.kernels, identities=True)


@pytest.mark.parametrize("name", NAMES)
def test_paths_pass_identities_for_nothing(v: VISCNN, graph: Graph, name: str) -> None:
    """The strongest paths to a filter, against an enumeration of all of them."""
    model = f"g-{name}"
    report = v.query("cat", model=model)
    target = f"{model}/{report.architecture.layers[-1].name}/1"
    into: dict[str, list[tuple[str, float]]] = {}
    for identities in (False, True):
        for (source, to, _), score in expected(v, model, report.kernels, identities=identities).items():
            into.setdefault(to, []).append((source, np.inf if identities else score))

    def weakest(uid: str) -> Iterator[float]:
        if uid == f"{model}/input/gray":
            yield np.inf
        for source, score in into.get(uid, []):
            yield from (min(score, each) for each in weakest(source))

    every = sorted(weakest(target), reverse=True)
    rows = graph.read("read/path_from_input", source=f"{model}/input/gray", target=target, minimum=0.0, limit=7)
    np.testing.assert_allclose([row["weakest"] for row in rows], every[:7], rtol=1e-12)
    for row in rows:
        scores = [k["properties"]["score"] for k in row["path"]["relationships"] if k["type"] == "KERNEL"]
        assert min(scores) == row["weakest"]
        assert row["path"]["nodes"][-1]["properties"]["uid"] == target


# --- subgraphs ---------------------------------------------------------------------------------------------------


def drawn(found: Subgraph, frame: str) -> set[Edge]:
    uids = found.filters["uid"]
    rows = getattr(found, frame).to_dict("records")
    return {(uids[int(row["source"])], uids[int(row["target"])], int(row["input"])) for row in rows}


@pytest.mark.parametrize("output", ["loss", "filter:g-MODEL/LAYER/1"])
@pytest.mark.parametrize("keep", [0.1, 0.4, 1.0])
@pytest.mark.parametrize(("name", "layer"), [("residual", "plus1.add"), ("gated", "out"), ("sums", "second.add")])
def test_a_subgraph_is_joined_by_its_identities(v: VISCNN, name: str, layer: str, keep: float, output: str) -> None:
    model = f"g-{name}"
    output = output.replace("MODEL", name).replace("LAYER", layer)
    report = v.query("cat", model=model, output=output, activate=False)
    scores = expected(v, model, report.kernels, identities=False)
    found = v.subgraph(report.uid, keep=keep, scale="raw")
    positive = sorted((score for score in scores.values() if score > 0), reverse=True)
    count = min(len(positive), max(1, round(keep * len(scores))))
    kernels = drawn(found, "kernels")
    assert (found.total, len(kernels), found.left_out, found.not_stored) == (len(scores), count, 0, 0)
    assert sorted((scores[each] for each in kernels), reverse=True) == positive[:count]
    assert found.score_share == pytest.approx(sum(positive[:count]) / sum(positive))
    identities = expected(v, model, report.kernels, identities=True)
    assert drawn(found, "identities") == between(found, kernels, set(identities), report.output)
    for row in found.identities.to_dict("records"):
        ends = (found.filters["uid"][int(row[end])] for end in ("source", "target"))
        assert row["score"] == identities[(*ends, int(row["input"]))]
    part = v.subgraph(report.uid, keep=keep, scale="raw", limit=2)
    assert len(part.identities) <= 2
    assert part.left_out == count - len(part.kernels)


def between(found: Subgraph, kernels: set[Edge], identities: set[Edge], output: str) -> set[Edge]:
    """Identities with something drawn (or the image) behind them, and something drawn (or the target) before them."""

    def behind(uid: str) -> bool:
        own = uid.split("/")[1] == "input" or any(target == uid for _, target, _ in kernels)
        return own or any(behind(source) for source, target, _ in identities if target == uid)

    def before(uid: str) -> bool:
        own = uid in goals or any(source == uid for source, _, _ in kernels)
        return own or any(before(target) for source, target, _ in identities if source == uid)

    last = max(row["layerIndex"] for row in found.filters.to_dict("records") if row["score"] != 0)
    goals = {row["uid"] for row in found.filters.to_dict("records") if row["layerIndex"] == last and row["score"] != 0}
    return {edge for edge in identities if behind(edge[0]) and before(edge[1])}


@pytest.mark.parametrize("name", NAMES)
def test_the_subgraph_of_a_circuit_has_its_identities(v: VISCNN, name: str) -> None:
    report = v.circuit("loss", model=f"g-{name}", input="bee", keep=0.4)
    found = v.circuit_subgraph(report.uid)
    assert drawn(found, "kernels") == kept(report, v, identities=False)
    assert drawn(found, "identities") == kept(report, v, identities=True)
    assert (found.left_out, found.not_stored, found.identities_left_out) == (0, 0, 0)


# --- kernels that are not stored ---------------------------------------------------------------------------------


def test_kernels_that_were_left_out_of_the_graph_keep_their_place(v: VISCNN, graph: Graph, folder: Path) -> None:
    own: dict[str, Any] = {"input_shape": branches.SHAPE, "classes": toy.CLASSES, "mean": (0.4,), "std": (0.3,)}
    source = f"{branches.__file__}:residual"
    v.ingest(source, name="g-few", weights="random", images=str(folder), top_kernels=40, importance=False, **own)
    try:
        report = v.query("cat", model="g-few")
        scores = expected(v, "g-few", report.kernels, identities=False)
        stored = edges(graph, "g-few", "KERNEL", "score")
        assert len(stored) == 40 < len(scores)
        assert all(scores[each] == score for each, score in stored.items())
        assert v.activate(report.uid)["kernels"] == 40
        found = v.subgraph(report.uid, keep=1.0)
        positive = {each for each, score in scores.items() if score > 0}
        assert drawn(found, "kernels") == positive & stored.keys()
        assert (found.total, found.not_stored) == (len(scores), len(positive - stored.keys()))
        circuit = v.circuit("loss", model="g-few", input="cat", keep=0.5)
        drawn_circuit = v.circuit_subgraph(circuit.uid)
        assert drawn(drawn_circuit, "kernels") == kept(circuit, v, identities=False) & stored.keys()
        assert drawn_circuit.not_stored == circuit.selection.kernels - len(drawn_circuit.kernels)
    finally:
        v.drop("g-few")
