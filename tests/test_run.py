"""Queries end to end on a real Neo4j: stored whole, exactly activated, cached, and nothing at all when they fail."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import oracles, toy
from viscnn import VISCNN
from viscnn.config import Connection, cache_folder
from viscnn.engine.run import QueryReport, QuerySpec, score_query
from viscnn.errors import ModelError, NotInGraph
from viscnn.graph import Graph

MODEL = "run-toy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("run"), score=6, check=3)


@pytest.fixture(scope="module")
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    """A session with the toy network, its pictures and its importance."""
    with toy.ingested(server, MODEL, folder) as opened:
        yield opened


class Stopped(Exception):
    """Raised by the tests inside an ingest."""


def literal(folder: Path, name: str, criterion: str = "taylor", limit: int | None = None) -> dict[str, Any]:
    """Mean scores of a set's scoring pictures towards the loss, from the files."""
    paths = sorted((folder / "score").glob("*/*.png" if name == "overall" else f"{name}/*.png"))
    images = torch.stack([toy.pixels(path) for path in paths])
    target = oracles.loss([toy.CLASSES.index(path.parent.name) for path in paths])
    return oracles.scores(criterion, oracles.layers(toy.toy_network(), images, target))


def stored_scores(graph: Graph, uid: str) -> dict[str, tuple[float, list[float]]]:
    return {row["uid"]: (row["score"], row["kernelScores"]) for row in graph.read("read/query_scores", uid=uid)}


def active_scores(graph: Graph, model: str) -> dict[str, tuple[float, list[float]]]:
    """`score` of every filter and of its incoming kernels by input."""
    table = graph.fetch(
        "MATCH (b:Filter {model: $model})<-[k:KERNEL]-() WITH b, k ORDER BY k.input"
        " RETURN b.uid, b.score, collect(k.score)",
        {"model": model},
        limit=10_000,
        timeout=30,
    )
    return {uid: (score, kernels) for uid, score, kernels in table.rows}


def assert_close(found: dict[str, tuple[float, list[float]]], expected: dict[str, Any]) -> None:
    """Stored scores against scores by layer (kernels, filters)."""
    assert len(found) == sum(len(filters) for _, filters in expected.values())
    for layer, (kernels, filters) in expected.items():
        for channel in range(len(filters)):
            score, incoming = found[f"{MODEL}/{layer}/{channel}"]
            assert len(incoming) == kernels.shape[1]
            np.testing.assert_allclose(incoming, kernels[channel], rtol=1e-4, atol=1e-6 * np.abs(kernels).max())
            np.testing.assert_allclose(score, filters[channel], rtol=1e-4, atol=1e-6 * np.abs(filters).max())


@pytest.mark.parametrize("criterion", ["taylor", "taylor-signed", "activation", "gradient", "weight"])
def test_a_query_stores_the_scores_of_every_filter_and_kernel(
    v: VISCNN, graph: Graph, folder: Path, criterion: str
) -> None:
    report = v.query("cat", model=MODEL, criterion=criterion)
    found = stored_scores(graph, report.uid)
    assert_close(found, literal(folder, "cat", criterion))
    assert all(np.isfinite([score, *incoming]).all() for score, incoming in found.values())
    (row,) = graph.read("read/query", uid=report.uid)
    assert (row["status"], row["images"], row["criterion"]) == ("complete", 6, criterion)
    assert (row["input"], row["output"], row["imagesHash"]) == ("cat", "loss", report.images_hash)
    assert row["effectiveImages"] == pytest.approx(report.effective_images)


def test_a_contrast_is_the_linear_combination_of_its_sets(v: VISCNN, graph: Graph, folder: Path) -> None:
    report = v.query("0.5*(cat + bee) - 2*overall", model=MODEL)
    sets = {name: literal(folder, name) for name in ("cat", "bee", "overall")}
    expected = {
        layer: tuple(
            0.5 * (sets["cat"][layer][kind] + sets["bee"][layer][kind]) - 2 * sets["overall"][layer][kind]
            for kind in (0, 1)
        )
        for layer in ("conv1", "conv2")
    }
    assert_close(stored_scores(graph, report.uid), expected)
    assert report.images == 18
    assert min(score for score, _ in stored_scores(graph, report.uid).values()) < 0  # raw and signed


def test_effective_images_are_the_literal_ratio(v: VISCNN, folder: Path) -> None:
    report = v.query("cat", model=MODEL, activate=False)
    totals = []
    for path in sorted((folder / "score" / "cat").iterdir()):
        image, label = toy.pixels(path).unsqueeze(0), [toy.CLASSES.index("cat")]
        one = oracles.scores("taylor", oracles.layers(toy.toy_network(), image, oracles.loss(label)))
        totals.append(sum(float(np.abs(filters).sum()) for _, filters in one.values()))
    assert report.effective_images == pytest.approx(sum(totals) ** 2 / sum(each**2 for each in totals), rel=1e-4)
    assert 1 <= report.effective_images <= 6


def test_a_second_run_is_cached_and_equal(v: VISCNN, graph: Graph) -> None:
    first = v.query("bee - overall", model=MODEL)
    before = toy.snapshot(graph)
    second = v.query("bee - overall", model=MODEL)
    assert second.uid == first.uid
    for one, other in zip((*first.kernels, *first.filters), (*second.kernels, *second.filters), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (first.images, first.effective_images) == (second.images, second.effective_images)
    assert toy.snapshot(graph) == before


def test_a_damaged_cache_is_made_again(v: VISCNN) -> None:
    first = v.query("ant", model=MODEL, criterion="activation")
    for file in (cache_folder() / "scores").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    second = v.query("ant", model=MODEL, criterion="activation")
    assert second.uid == first.uid
    np.testing.assert_array_equal(first.kernels[1], second.kernels[1])


@pytest.mark.parametrize("text", ["Cat", " CAT ", '"cat"', "1*cat", "cat + cat - cat"])
def test_spellings_of_one_query_are_one_query(v: VISCNN, text: str) -> None:
    assert v.query(text, model=MODEL).uid == v.query("cat", model=MODEL).uid


def test_different_queries_have_different_uids(v: VISCNN) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"output": "class:cat"},
        {"output": f"filter:{MODEL}/conv2/0"},
        {"output": f"filter:{MODEL}/conv2/0@max"},
        {"criterion": "activation"},
        {"max_images": 2},
    ]
    uids = {v.query("cat", model=MODEL, activate=False, **each).uid for each in asked}
    assert len(uids) == len(asked)
    assert v.query("ant", model=MODEL, activate=False).uid not in uids


def test_activation_copies_exactly(v: VISCNN, graph: Graph) -> None:
    one, two = v.query("cat", model=MODEL), v.query("bee - cat", model=MODEL, activate=False)
    assert (one.activated, two.activated) == (True, False)
    assert v.model(MODEL)["activeQuery"] == one.uid
    assert active_scores(graph, MODEL) == stored_scores(graph, one.uid)
    assert v.activate(two.uid) == {"filters": 7, "kernels": 16}
    assert v.model(MODEL)["activeQuery"] == two.uid
    assert active_scores(graph, MODEL) == stored_scores(graph, two.uid)


def test_activations_at_the_same_time_end_in_one_of_them(v: VISCNN, graph: Graph, server: Connection) -> None:
    uids = [v.query(text, model=MODEL, activate=False).uid for text in ("cat", "bee")]
    with VISCNN(server) as other:
        for _ in range(5):
            threads = [
                threading.Thread(target=session.activate, args=(uid,))
                for session, uid in zip((v, other), uids, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            active = v.model(MODEL)["activeQuery"]
            assert active in uids
            assert active_scores(graph, MODEL) == stored_scores(graph, active)


def test_the_same_query_at_the_same_time_is_stored_once(v: VISCNN, graph: Graph, server: Connection) -> None:
    reports: list[QueryReport] = []

    def ask() -> None:
        with VISCNN(server) as own:
            reports.append(own.query("overall - ant", model=MODEL, criterion="gradient"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({report.uid for report in reports}) == 1
    assert len(reports) == 4
    assert len(graph.read("read/query_scores", uid=reports[0].uid)) == 7
    assert active_scores(graph, MODEL) == stored_scores(graph, reports[0].uid)


def test_a_query_that_was_stopped_while_it_was_stored_is_completed(v: VISCNN, graph: Graph) -> None:
    report = v.query("ant", model=MODEL, criterion="gradient", activate=False)
    rows = [
        {"uid": f"{MODEL}/conv1/0", "score": 1.0, "kernelScores": [1.0]},
        {"uid": "x", "score": 0, "kernelScores": []},
    ]
    toy.write_scores(graph, report.uid, rows)
    assert graph.read("read/query", uid=report.uid)[0]["status"] == "scoring"
    with pytest.raises(NotInGraph, match="no complete query"):
        v.activate(report.uid)
    v.query("ant", model=MODEL, criterion="gradient", activate=False)
    assert len(stored_scores(graph, report.uid)) == 7
    assert graph.read("read/query", uid=report.uid)[0]["status"] == "complete"


def test_a_single_image_is_used_whatever_its_part(v: VISCNN, graph: Graph, folder: Path) -> None:
    report = v.query('"check/bee/001.png"', model=MODEL)
    image = toy.pixels(folder / "check" / "bee" / "001.png").unsqueeze(0)
    target = oracles.loss([toy.CLASSES.index("bee")])
    expected = oracles.scores("taylor", oracles.layers(toy.toy_network(), image, target))
    assert_close(stored_scores(graph, report.uid), expected)
    assert (report.images, report.available_images) == (1, 1)
    assert report.effective_images == pytest.approx(1.0)


def test_at_most_so_many_images_always_the_same(v: VISCNN, folder: Path) -> None:
    reports = [v.query("overall", model=MODEL, max_images=5, activate=False) for _ in range(2)]
    assert [each.images for each in reports] == [5, 5]
    assert reports[0].images_hash == reports[1].images_hash
    assert any("5 of 18 images were used" in each for each in reports[0].warnings)
    assert v.query("overall", model=MODEL, max_images=0, activate=False).images == 18


def test_check_images_are_never_scored_on(v: VISCNN, folder: Path) -> None:
    bundle = v.bundle(MODEL)
    report = score_query(bundle, QuerySpec("overall", max_images=0))
    assert report.images == 18 == len(list((folder / "score").glob("*/*.png")))


def test_importance_is_the_score_of_overall(v: VISCNN, graph: Graph, folder: Path) -> None:
    def importance() -> dict[str, float]:
        return {row["uid"]: row["importance"] for row in graph.read("read/filters", model=MODEL) if row["layerIndex"]}

    expected = {
        f"{MODEL}/{layer}/{channel}": score
        for layer, (_, filters) in literal(folder, "overall").items()
        for channel, score in enumerate(filters)
    }
    assert importance() == pytest.approx(expected, rel=1e-4)
    before = importance()
    v.query("overall", model=MODEL, max_images=1)
    v.query("cat", model=MODEL)
    v.query("overall", model=MODEL, images=str(folder / "score" / "cat"))
    assert importance() == before


def test_labels_that_are_no_classes_are_counted(v: VISCNN, folder: Path, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path, counts={"score/yak": 2, "score/cat": 2, "check/cat": 1})
    report = v.query("overall - yak", model=MODEL, images=str(pictures), activate=False)
    assert any(each.startswith("2 images have a label that is no class") for each in report.warnings)


def test_a_label_that_changes_is_another_query(v: VISCNN, tmp_path: Path) -> None:
    """The same pictures and the same text, but another label and so another loss."""
    pictures = toy.write_pictures(tmp_path / "pictures", counts={"score/ant": 2, "score/bee": 2, "check/ant": 1})
    first = v.query("overall", model=MODEL, images=str(pictures), activate=False)
    (pictures / "score" / "bee").rename(pictures / "score" / "cat")
    moved = pictures.rename(tmp_path / "moved")
    second = v.query("overall", model=MODEL, images=str(moved), activate=False)
    assert first.images_hash == second.images_hash
    assert first.uid != second.uid


def test_a_folder_that_is_called_like_a_zoo_model_is_no_trouble(
    v: VISCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "random"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert v.ingest("mnist", name="run-folder", weights="random", importance=False).kernels == 2192
    v.drop("run-folder")


def test_a_model_file_that_has_changed_since_is_not_run(
    v: VISCNN, graph: Graph, server: Connection, folder: Path, tmp_path: Path
) -> None:
    """The same weights, but another function: its scores would be stored for the network that is in the graph."""
    file = tmp_path / "net.py"
    text = (
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 3, 3), STEP, nn.Conv2d(3, 2, 3))\n"
    )
    file.write_text(text.replace("STEP", "nn.ReLU()"), encoding="utf-8")
    v.ingest(f"{file}:net", name="run-changed", input_shape=toy.SHAPE, images=str(folder), importance=False)
    try:
        file.write_text(text.replace("STEP", "nn.LeakyReLU()"), encoding="utf-8")
        before = toy.snapshot(graph)
        with VISCNN(server) as later, pytest.raises(NotInGraph, match="layers of model 'run-changed' have changed"):
            later.query("cat", model="run-changed")
        with pytest.raises(ModelError, match="stored with other layers or steps; --replace it"):
            v.ingest(f"{file}:net", name="run-changed", input_shape=toy.SHAPE)
        assert toy.snapshot(graph) == before
    finally:
        v.drop("run-changed")


def test_importance_that_was_stopped_is_computed_by_the_next_ingest(v: VISCNN, graph: Graph, folder: Path) -> None:
    settings: dict[str, Any] = {"input_shape": toy.SHAPE, "classes": toy.CLASSES, "mean": (0.6,), "images": str(folder)}

    def stop(step: str, done: int, total: int) -> None:
        if step == "images":
            raise Stopped

    try:
        with pytest.raises(Stopped):
            v.ingest(toy.SOURCE, name="run-stopped", progress=stop, **settings)
        assert v.model("run-stopped")["status"] == "complete"
        v.ingest(toy.SOURCE, name="run-stopped", **settings)
        importance = [row["importance"] for row in graph.read("read/filters", model="run-stopped") if row["layerIndex"]]
        assert None not in importance
        assert len(v.image_sets("run-stopped")) == 4
    finally:
        v.drop("run-stopped")


def test_an_image_in_two_sets_is_one_image(v: VISCNN) -> None:
    for criterion in ("random", "activation", "taylor"):
        report = v.query("ant - overall", model=MODEL, criterion=criterion, activate=False)
        assert report.effective_images <= report.images


@pytest.mark.parametrize("criterion", ["weight", "magnitude", "random(seed=3)"])
def test_a_contrast_of_what_reads_no_image_is_exactly_nothing(v: VISCNN, criterion: str) -> None:
    report = v.query("ant - overall", model=MODEL, criterion=criterion, activate=False)
    assert not any(each.any() for each in (*report.kernels, *report.filters))
