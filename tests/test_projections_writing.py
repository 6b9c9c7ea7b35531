"""Projections in the graph whatever happens meanwhile: made anew while active, cut off, two at once; their numbers."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from tests import built, nets, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.bundle import Bundle
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.projections.project import _aligned
from viscnn.engine.projections.sources import kernel_vectors
from viscnn.errors import StoredDataError
from viscnn.graph import Graph
from viscnn.graph_projections import Places, save_profiles, save_projection
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.layout import places as first_places

MODEL = "written"
PCA = f"{MODEL}/projection/pca"
LAYERS = {"input": 1, "conv1": 4, "conv2": 3}


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("written"))) as session:
        yield session


def made_up(value: float) -> list[Places]:
    return [Places(f"{MODEL}/{name}", np.full(n, value), np.full(n, -value)) for name, n in LAYERS.items()]


def properties(created: str) -> dict[str, str]:
    return {"createdAt": created}


def stored(graph: Graph, uid: str) -> set[tuple[float, float]]:
    return {(row["u"], row["v"]) for row in graph.read("read/places", uid=uid)}


def shown(v: VISCNN) -> set[tuple[float, float]]:
    return {(row["u"], row["v"]) for row in v.filters(MODEL)}


def nodes(graph: Graph) -> int:
    text = "MATCH (p:Projection {model: $m, method: 'pca'}) RETURN count(p)"
    return int(graph.fetch(text, {"m": MODEL}, limit=1, timeout=9).rows[0][0])


def test_the_active_projection_made_anew_moves_the_filters(v: VISCNN, graph: Graph) -> None:
    assert v.project(MODEL, method="pca", activate=True).active
    save_projection(graph, MODEL, "pca", made_up(0.25), properties("2030-01-01"))
    assert shown(v) == stored(graph, PCA) == {(0.25, -0.25)}
    text = "MATCH (l:Layer {model: $m}) RETURN l.name, l.x, l.y"
    centres = {name: (x, y) for name, x, y in graph.fetch(text, {"m": MODEL}, limit=9, timeout=9).rows}
    for row in v.filters(MODEL):
        x, y = centres[row["layer"]]
        assert (row["x"], row["y"]) == pytest.approx((x + 0.25, y - 0.25))
    assert v.project(MODEL, method="pca").active
    assert shown(v) == stored(graph, PCA)


def test_one_that_is_cut_off_leaves_the_earlier_one(v: VISCNN, graph: Graph) -> None:
    v.project(MODEL, method="pca", activate=True)
    before = stored(graph, PCA)
    graph.write("write/start_projection", model=MODEL, uid=PCA, properties={"method": "pca", "createdAt": "2000-01-01"})
    with pytest.raises(StoredDataError, match="4 of 8 filters have a place"):
        save_projection(graph, MODEL, "pca", made_up(0.5)[1:2], properties("2000-01-02"))
    assert stored(graph, PCA) == before == shown(v)
    assert [each["uid"] for each in v.projections(MODEL) if each["active"]] == [PCA]
    assert nodes(graph) == 3
    v.project(MODEL, method="pca")
    assert nodes(graph) == 1, "what was left of them is gone"


def test_of_two_at_once_one_holds_as_a_whole(v: VISCNN, graph: Graph) -> None:
    runs = []
    for created in ("2031-01-01", "2031-01-02"):
        found = graph.write(
            "write/start_projection", model=MODEL, uid=PCA, properties={"method": "pca", "createdAt": created}
        )
        runs.append(found[0]["run"])
    for layer, filters in LAYERS.items():
        for run, value in zip(runs, (0.1, 0.2), strict=True):
            values = [value] * filters
            graph.write("write/save_places", run=run, rows=[{"uid": f"{MODEL}/{layer}", "u": values, "v": values}])
    assert graph.write("write/finish_projection", run=runs[1], uid=PCA) == [{"filters": 8, "written": 8}]
    assert graph.write("write/finish_projection", run=runs[0], uid=PCA) == [], "the later holds"
    assert stored(graph, PCA) == {(0.2, 0.2)}
    assert nodes(graph) == 1


def test_of_two_writings_of_profiles_the_later_holds(v: VISCNN, graph: Graph) -> None:
    first = graph.write("write/start_profiles", model=MODEL)[0]["run"]
    layers = [(f"{MODEL}/{name}", np.eye(n, 3)) for name, n in LAYERS.items() if name != "input"]
    save_profiles(graph, MODEL, layers, toy.CLASSES, profiles="later", images=7)
    row = {"uid": f"{MODEL}/conv1/0", "profile": [0.0, 0.0, 1.0], "best": "ant", "selectivity": 1.0}
    assert graph.write("write/save_profiles", model=MODEL, run=first, rows=[row]) == [{"written": 0}]
    assert graph.write("write/finish_profiles", model=MODEL, run=first, profiles="earlier", images=1) == []
    assert v.model(MODEL)["profiles"] == "later"
    assert v.class_profile(f"{MODEL}/conv1/0") is not None
    graph.write("write/start_profiles", model=MODEL)
    assert v.class_profile(f"{MODEL}/conv1/0") is None, "half-written ones are not shown"
    assert graph.read("read/filters_like", uid=f"{MODEL}/conv1/0") == []
    assert graph.read("read/class_selective_filters", model=MODEL) == []


def test_fewer_images_than_before_are_said(v: VISCNN) -> None:
    v.project(MODEL, method="pca")
    images = v.model(MODEL)["profileImages"]
    notes = v.project(MODEL, method="pca", max_images=2).notes
    assert f"class profiles of 2 images replace those of {images}" in notes
    assert any("classes have no image" in note for note in notes)


def test_the_weighted_length_is_that_of_the_stored_places(v: VISCNN, graph: Graph) -> None:
    report = v.project(MODEL, method="mds", activate=True)
    text = """MATCH (a:Filter {model: $m})-[k:KERNEL]->(b:Filter)
    RETURN sum(abs(k.importance) * ((a.u - b.u) ^ 2 + (a.v - b.v) ^ 2)) / sum(abs(k.importance))"""
    (found,) = graph.fetch(text, {"m": MODEL}, limit=1, timeout=9).rows[0]
    assert found == pytest.approx(report.lengths.ours, rel=1e-9)


def test_areas_are_in_proportion_to_filters(v: VISCNN, graph: Graph) -> None:
    uid = v.project(MODEL, method="pca").uid
    rows = graph.read("read/places", uid=uid)
    for layer, filters in (("conv1", 4), ("conv2", 3)):
        radius = max(np.hypot(row["u"], row["v"]) for row in rows if row["layer"] == layer)
        assert radius**2 == pytest.approx((filters - 0.5) / 4)  # the outermost holds the middle of its ring


def test_without_its_query_importance_gives_way_to_weights(v: VISCNN, graph: Graph) -> None:
    query = v.model(MODEL)["importanceQuery"]
    graph.write("write/drop_query", uid=query)
    report = v.project(MODEL, method="grid")
    assert report.weights == "l1"
    assert any(query in note for note in report.notes)
    v.query("overall", model=MODEL)


def test_identities_hold_a_residual_network_together() -> None:
    made = built.branching()
    points = [np.stack([place.u, place.v], axis=1) for place in first_places(made)]
    found = _aligned(Bundle("m", made, (), Preprocess(), "", None), None, points)
    assert np.isfinite(found.lengths.ours)
    assert found.lengths.ours <= found.lengths.greedy <= found.lengths.unrotated


def test_filters_of_different_groups_have_no_input_in_common() -> None:
    torch.manual_seed(0)
    grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
    grouped.weight.data[4:] = grouped.weight.data[:4]
    network = nets.chain(grouped, nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), shape=(4, 8, 8))
    wide, depthwise = kernel_vectors(read_architecture(network, (4, 8, 8)))
    assert wide.shape == (8, 4 * 9)
    assert np.abs(wide[:4] @ wide[4:].T).max() == 0
    np.testing.assert_allclose(wide[:4, :18], grouped.weight.detach()[:4].flatten(1))
    np.testing.assert_allclose(wide[4:, 18:], grouped.weight.detach()[4:].flatten(1))
    assert depthwise.shape == (8, 9)
