"""Projections and class profiles in a real Neo4j: made by the API, read by Cypher, shown by activation."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import toy
from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.engine.projections.project import METHODS
from viscnn.engine.projections.sources import exemplar_vectors
from viscnn.errors import ImagesError, InputError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.graph_projections import Places, activate_projection, class_selectivity, save_projection

MODEL = "projected"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    pictures = toy.split_pictures(tmp_path_factory.mktemp("projected"))
    with toy.ingested(server, MODEL, pictures) as session:
        yield session


def places_of(graph: Graph, uid: str) -> dict[str, tuple[float, float]]:
    return {row["uid"]: (row["u"], row["v"]) for row in graph.read("read/places", uid=uid)}


def shown(v: VISCNN) -> dict[str, tuple[float, float]]:
    return {row["uid"]: (row["u"], row["v"]) for row in v.filters(MODEL)}


@pytest.mark.parametrize("method", METHODS)
def test_a_projection_places_every_filter_and_is_shown_when_activated(v: VISCNN, graph: Graph, method: str) -> None:
    if method == "featureviz-umap":
        for layer in v.bundle(MODEL).architecture.layers:
            assert len(list(v.visualize_layer(MODEL, layer.name))) == layer.filters
    before = shown(v)
    report = v.project(MODEL, method=method)
    assert (report.uid, report.weights) == (f"{MODEL}/projection/{method}", "importance")
    assert report.lengths.ours <= report.lengths.greedy + 1e-12
    found = places_of(graph, report.uid)
    assert found.keys() == before.keys()
    assert max(np.hypot(*place) for place in found.values()) <= 1 + 1e-9
    assert shown(v) == before, "not activated"
    assert v.activate_projection(report.uid) == {"model": MODEL, "method": method, "filters": len(before)}
    assert shown(v) == found
    centres = graph.fetch("MATCH (l:Layer {model: $m}) RETURN l.name, l.x, l.y", {"m": MODEL}, limit=99, timeout=9).rows
    middle = {name: (x, y) for name, x, y in centres}
    for row in v.filters(MODEL):
        assert (row["x"], row["y"]) == pytest.approx(
            (middle[row["layer"]][0] + row["u"], middle[row["layer"]][1] + row["v"])
        )
    assert [each["uid"] for each in v.projections(MODEL) if each["active"]] == [report.uid]


def test_the_same_seed_gives_the_same_places(v: VISCNN, graph: Graph) -> None:
    first = places_of(graph, v.project(MODEL, method="class-umap", seed=3).uid)
    assert places_of(graph, v.project(MODEL, method="class-umap", seed=3).uid) == first
    stored = next(each for each in v.projections(MODEL) if each["method"] == "class-umap")
    assert stored["seed"] == 3
    assert stored["weightedLength"] <= stored["weightedLengthGreedy"]


def test_class_profiles_are_stored_with_the_best_class(v: VISCNN, graph: Graph) -> None:
    v.project(MODEL, method="pca")
    expected = v.class_profiles(MODEL)
    model = v.model(MODEL)
    assert model["profileImages"] == int(expected.images.sum())
    for layer, values in zip(v.bundle(MODEL).architecture.layers, expected.filters, strict=True):
        rows = graph.read("read/class_profiles", layer=f"{MODEL}/{layer.name}")
        for row, value in zip(rows, values, strict=True):
            norm = np.linalg.norm(value)
            assert row["profile"] == pytest.approx(list(value / norm if norm else value))
            assert row["bestClass"] == (model["classes"][int(np.argmax(value))] if norm else None)
    before = graph.fetch("MATCH (m:Model {name: $m}) RETURN m.profiles", {"m": MODEL}, limit=1, timeout=9).rows
    v.project(MODEL, method="mds")  # reads what is stored
    assert graph.fetch("MATCH (m:Model {name: $m}) RETURN m.profiles", {"m": MODEL}, limit=1, timeout=9).rows == before


def test_queries_over_profiles_are_what_the_profiles_say(v: VISCNN, graph: Graph) -> None:
    v.project(MODEL, method="pca")
    profiles = {
        f"{MODEL}/{layer.name}/{row['channel']}": np.array(row["profile"])
        for layer in v.bundle(MODEL).architecture.layers
        for row in graph.read("read/class_profiles", layer=f"{MODEL}/{layer.name}")
    }
    live = {uid: each for uid, each in profiles.items() if each.any()}
    some = max(live)
    alike = {uid: (1 + each @ live[some]) / 2 for uid, each in live.items() if uid != some}
    rows = graph.read("read/filters_like", uid=some, limit=99)
    assert {row["uid"]: row["similarity"] for row in rows} == pytest.approx(alike, abs=1e-6)
    assert [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    assert graph.read("read/filters_like", uid=some, limit=2) == rows[:2]
    index = {name: number for number, name in enumerate(v.model(MODEL)["classes"])}
    shared = {uid: min(each[index["ant"]], each[index["cat"]]) for uid, each in live.items()}
    rows = graph.read("read/filters_of_two_classes", model=MODEL, first="ant", second="cat", limit=99)
    assert {row["uid"]: row["shared"] for row in rows} == pytest.approx(shared)
    rows = graph.read("read/class_selective_filters", model=MODEL, limit=99)
    assert {row["uid"] for row in rows} == set(live)
    for row in rows:
        each = live[row["uid"]]
        others = (each.sum() - each.max()) / 2
        assert row["classSelectivity"] == pytest.approx((each.max() - others) / (each.max() + others))
    selective = [row["classSelectivity"] for row in rows]
    assert selective == sorted(selective, reverse=True)
    assert graph.read("read/class_selective_filters", model=MODEL, limit=2) == rows[:2]
    own = graph.read("read/class_selective_filters", model=MODEL, limit=99, best="ant")
    assert {row["uid"] for row in own} == {row["uid"] for row in rows if row["bestClass"] == "ant"}


def test_selectivity_of_one_class_all_classes_and_none() -> None:
    profiles = np.array([[1.0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 0]])
    assert class_selectivity(profiles).tolist() == [1.0, 0.0, 0.0]
    seen = np.array([True, True, False])
    assert class_selectivity(np.array([[0.5, 0.5, 0.0]]), seen).tolist() == [0.0]


def test_exemplar_vectors_are_the_maps_at_the_peaks(v: VISCNN) -> None:
    import torch

    from viscnn.engine.capture import record

    bundle = v.bundle(MODEL)
    indices = bundle.collection.select("overall", "score", None)
    found = exemplar_vectors(bundle, indices)
    images = torch.stack([bundle.preprocess.apply(bundle.collection.read(each)) for each in indices])
    for layer, vectors in zip(bundle.architecture.layers, found, strict=True):
        maps = record(bundle.architecture, images, gradients=False).maps[layer.name].flatten(2)
        for j in range(layer.filters):
            image, position = divmod(int(maps[:, j].argmax()), maps.shape[2])
            assert vectors[:, j] == pytest.approx(maps[image, :, position].numpy(), abs=1e-6)


def test_a_model_without_images_or_labels(server: Connection) -> None:
    settings: dict[str, Any] = {"input_shape": toy.SHAPE, "classes": toy.CLASSES, "mean": (0.4,), "std": (0.3,)}
    with VISCNN(server) as session:
        session.ingest(toy.SOURCE, name="blind", weights="random", **settings)
        try:
            with pytest.raises(ImagesError, match=r"exemplar-umap .* or kernel-umap"):
                session.project("blind", method="class-umap")
            report = session.project("blind", method="mds", activate=True)
            assert (report.weights, report.active) == ("l1", True)
            assert report.notes[0].startswith("of incoming kernels, as there are no class profiles")
        finally:
            session.drop("blind")


def test_mistakes_are_told_and_change_nothing(v: VISCNN, graph: Graph) -> None:
    before = v.projections(MODEL)
    with pytest.raises(InputError, match=r"no projection method 'umapp'.*class-umap"):
        v.project(MODEL, method="umapp")
    with pytest.raises(InputError, match="seed -1"):
        v.project(MODEL, method="grid", seed=-1)
    with pytest.raises(NotInGraph, match="viscnn projections MODEL"):
        activate_projection(graph, f"{MODEL}/projection/none")
    with pytest.raises(NotInGraph, match="no complete model 'nobody'"):
        save_projection(graph, "nobody", "pca", [], {})
    assert v.projections(MODEL) == before


def test_a_projection_with_too_few_places_is_never_shown(v: VISCNN, graph: Graph) -> None:
    active = [each["uid"] for each in v.projections(MODEL) if each["active"]]
    with pytest.raises(StoredDataError, match=f"projection {MODEL}/projection/half: 1 of "):
        save_projection(graph, MODEL, "half", [Places(f"{MODEL}/input", np.zeros(1), np.zeros(1))], {"seed": 0})
    with pytest.raises(NotInGraph):
        activate_projection(graph, f"{MODEL}/projection/half")
    assert [each["uid"] for each in v.projections(MODEL) if each["active"]] == active
    assert "half" not in {each["method"] for each in v.projections(MODEL)}


def test_the_command_line(v: VISCNN) -> None:
    runner = CliRunner()
    made = runner.invoke(app, ["project", MODEL, "--method", "kernel-umap", "--activate", "--json"])
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    lengths = {"weightedLength", "weightedLengthGreedy", "weightedLengthUnrotated"}
    assert found.keys() >= {"model", "method", "seconds", "trustworthiness", *lengths}
    assert found["active"]
    listed = json.loads(runner.invoke(app, ["projections", MODEL, "--json"]).stdout)["projections"]
    assert [each["uid"] for each in listed if each["active"]] == [found["uid"]]
    back = runner.invoke(app, ["activate", f"{MODEL}/projection/kernel-pca-disc", "--json"])
    assert json.loads(back.stdout)["method"] == "kernel-pca-disc"
    wrong = runner.invoke(app, ["project", MODEL, "--method", "nothing"])
    assert (wrong.exit_code, wrong.stderr.count("viscnn: ")) == (2, 1)
