"""Several processes score what one scores, to 1e-6; whatever ends one of them ends all, and nothing is stored."""

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import ranks, toy
from tests.ranks import BATCH, CRITERIA, Ended, everything, scored, surroundings
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.bundle import Bundle
from viscnn.engine.profiles import class_profiles
from viscnn.engine.run import QueryReport, QuerySpec, read_scores, score_query
from viscnn.engine.sums import SetScores
from viscnn.graph import Graph

MODEL = "ranks-toy"
TOLERANCE = 1e-6
Arrays = Mapping[str, Any]


def difference(found: Any, expected: Any) -> float:
    """Largest difference of two arrays, relative to the largest value."""
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


# --- functions -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures; in `half` every second batch is broken, so that one of two processes can decode none."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in ("sound", "half"):
        toy.split_pictures(folder / name, score=7, check=3)
    bundle = half(folder)
    for place, index in enumerate(everything(bundle)):
        if place % (2 * BATCH) >= BATCH:
            spoil(folder / "half" / bundle.collection.items[index].path)
    return folder


def spoil(picture: Path) -> None:
    """Make a JPEG of it that is cut off: listed as a picture, it cannot be decoded."""
    whole = io.BytesIO()
    noise = np.random.default_rng(int(picture.stem)).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    picture.write_bytes(whole.getvalue()[:2000])


def half(folder: Path) -> Bundle:
    return toy.bundle_of(toy.toy_network(), folder / "half")


@pytest.fixture(scope="module")
def alone(folder: Path) -> Bundle:
    return toy.bundle_of(toy.toy_network(), folder / "sound")


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Arrays]:
    """What each of two processes with homes of their own finds."""
    homes = tmp_path_factory.mktemp("homes")
    envs = [surroundings(homes / str(rank)) for rank in range(2)]
    ended = ranks.machines(envs, ["-m", "tests.ranks", "functions", str(folder), str(homes / "found")])
    assert [each.code for each in ended] == [0, 0], ended
    return [dict(np.load(homes / f"found{rank}.npz")) for rank in range(2)]


def assert_scores(arrays: Arrays, name: str, expected: SetScores) -> None:
    for number, (kernels, filters) in enumerate(zip(expected.kernels, expected.filters, strict=True)):
        assert difference(arrays[f"{name}/kernels{number}"], kernels) < TOLERANCE
        assert difference(arrays[f"{name}/filters{number}"], filters) < TOLERANCE
    np.testing.assert_allclose(arrays[f"{name}/totals"], expected.totals, rtol=1e-6)
    assert arrays[f"{name}/skipped"].tolist() == sorted(expected.skipped)


def test_every_process_has_the_scores_of_one(found: list[Arrays], alone: Bundle) -> None:
    """Several criteria in one pass, and one of two rounds, whose masks all processes must share."""
    for text, expected in zip(CRITERIA, scored(alone, CRITERIA, None), strict=True):
        for arrays in found:
            assert_scores(arrays, text, expected)


def test_all_processes_have_the_same_bits(found: list[Arrays]) -> None:
    assert found[0].keys() == found[1].keys()
    for name in found[0].keys() - {"begun"}:
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_class_profiles_are_those_of_one(found: list[Arrays], alone: Bundle) -> None:
    expected = class_profiles(alone, everything(alone))
    for number, filters in enumerate(expected.filters):
        assert difference(found[0][f"profiles/{number}"], filters) < TOLERANCE
    assert found[0]["profiles/images"].tolist() == expected.images.tolist() == [7, 7, 7]


def test_a_process_whose_images_are_all_broken_leaves_them_out(found: list[Arrays], folder: Path) -> None:
    (expected,) = scored(half(folder), ["taylor"], None)
    assert len(expected.skipped) == 10
    assert_scores(found[0], "broken", expected)


def test_each_process_goes_on_where_it_was_stopped(found: list[Arrays], alone: Bundle) -> None:
    """After 2 images in the one and 4 in the other, told as twice as many."""
    assert [int(arrays["begun"]) for arrays in found] == [4, 8]
    assert_scores(found[0], "gradient", scored(alone, ["gradient"], None)[0])


def test_scores_that_only_one_process_has_are_made_again(found: list[Arrays], alone: Bundle) -> None:
    for arrays in found:
        assert_scores(arrays, "weight", scored(alone, ["weight"], None)[0])
        assert arrays["cached"].all()


def test_processes_with_unlike_images_do_not_score(found: list[Arrays]) -> None:
    for arrays in found:
        assert str(arrays["unlike"]).startswith("the processes do not see the same images")


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    """More pictures than a batch holds, so that two processes have some."""
    pictures = toy.split_pictures(tmp_path_factory.mktemp("pictures"), score=30, check=3)
    with toy.ingested(server, MODEL, pictures, importance=False) as opened:
        yield opened


def home_of(folder: Path, home: Path) -> Path:
    """A data folder that knows the models of `home`, and has nothing in its cache."""
    folder.mkdir()
    shutil.copy(home / "registry.json", folder)
    return folder


def assert_stored(v: VISCNN, graph: Graph, uid: str, expected: QueryReport) -> float:
    """Largest difference of the stored scores from those of one process."""
    assert uid == expected.uid
    kernels, filters = read_scores(graph, uid, [4, 3])
    worst = max(
        difference(*pair)
        for pair in (*zip(kernels, expected.kernels, strict=True), *zip(filters, expected.filters, strict=True))
    )
    assert worst < TOLERANCE
    return worst


def test_torchrun_stores_what_one_process_would(
    v: VISCNN, graph: Graph, server: Connection, home: Path, tmp_path: Path
) -> None:
    criteria = ("taylor", "taylor-signed", "force(rounds=2)")
    line = [MODEL, "cat - overall", *(f"--criterion={each}" for each in criteria), "--backend=gloo", "--json"]
    ended = ranks.torchrun(2, line, surroundings(home_of(tmp_path / "home", home), server))
    assert ended.code == 0, ended
    said = json.loads(ended.out)
    assert (said["processes"], said["backend"]) == (2, "gloo")
    assert [each["activated"] for each in said["queries"]] == [True, False, False]
    worst = []
    for criterion, each in zip(criteria, said["queries"], strict=True):
        expected = score_query(v.bundle(MODEL), QuerySpec("cat - overall", criterion=criterion))
        assert (each["images"], each["effectiveImages"]) == (90, pytest.approx(expected.effective_images))
        worst.append(assert_stored(v, graph, each["query"], expected))
    print("largest relative differences of 2 processes from 1:", dict(zip(criteria, worst, strict=True)))
    assert v.model(MODEL)["activeQuery"] == said["queries"][0]["query"]


def test_more_processes_than_images_of_which_one_reaches_neo4j(
    v: VISCNN, graph: Graph, server: Connection, home: Path, tmp_path: Path
) -> None:
    envs = [surroundings(home_of(tmp_path / str(rank), home), None if rank else server) for rank in range(3)]
    line = [MODEL, "bee", "--max-images=2", "--no-activate", "--json"]
    ended = ranks.machines(envs, [*ranks.COMMAND, *line])
    assert [(each.code, each.err) for each in ended] == [(0, "")] * 3
    assert [each.out for each in ended[1:]] == ["", ""]
    (query,) = json.loads(ended[0].out)["queries"]
    assert (query["images"], query["activated"]) == (2, False)
    assert_stored(v, graph, query["query"], score_query(v.bundle(MODEL), QuerySpec("bee", max_images=2)))


@pytest.fixture(scope="module")
def endings(
    v: VISCNN, graph: Graph, server: Connection, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Ended]]:
    """How two processes end by commands that store nothing; the second one does not know the model `ranks-unknown`."""
    folder = tmp_path_factory.mktemp("endings")
    broken = toy.write_pictures(folder / "broken", counts={"score/cat": 3, "check/cat": 1})
    for path in (broken / "score").rglob("*.png"):
        spoil(path)
    overflow = folder / "net.py"
    overflow.write_text(OVERFLOW, encoding="utf-8")
    homes = [home_of(folder / "0", home), home_of(folder / "1", home)]
    images = v.bundle(MODEL).images
    settings: dict[str, Any] = {"input_shape": toy.SHAPE, "classes": toy.CLASSES, "images": images, "importance": False}
    lines = {
        "expression": [MODEL, "dog", "--json"],
        "model": ["nothing", "cat"],
        "images": [MODEL, "cat", f"--images={broken}"],
        "overflow": ["ranks-overflow", "cat", "--json"],
        "one process": ["ranks-unknown", "cat"],
        "wrong call": [MODEL],
        "backend": [MODEL, "cat", "--backend=mpi"],
        "no graph": [MODEL, "ant", "--no-graph", "--json"],
    }
    v.ingest(f"{overflow}:net", name="ranks-overflow", **settings)
    shutil.copy(home / "registry.json", homes[0])
    shutil.copy(home / "registry.json", homes[1])
    v.ingest(toy.SOURCE, name="ranks-unknown", weights="random", **settings)
    shutil.copy(home / "registry.json", homes[0])
    try:
        before = toy.snapshot(graph)
        envs = [surroundings(homes[0], server), surroundings(homes[1])]
        ended = ranks.commands(envs, list(lines.values()))
        assert toy.snapshot(graph) == before
    finally:
        v.drop("ranks-overflow")
        v.drop("ranks-unknown")
    return dict(zip(lines, ended, strict=True))


OVERFLOW = """
import torch
from torch import nn


def net():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    network[0].weight.data[:] = 1e30
    network[3].weight.data[:] = 1e30
    return network
"""

EXPECTED = {
    "expression": (2, "no image set"),
    "model": (2, "no complete model 'nothing' is stored"),
    "images": (2, "none of the 3 images can be decoded"),
    "overflow": (1, "holds NaN or infinity"),
    "one process": (2, "process 1: model 'ranks-unknown' is not registered on this machine"),
    "wrong call": (2, "Missing argument"),
    "backend": (2, "--backend 'mpi' is none"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_whatever_ends_one_process_ends_all(endings: dict[str, list[Ended]], kind: str) -> None:
    code, message = EXPECTED[kind]
    assert [each.code for each in endings[kind]] == [code, code]
    said = "".join(each.err for each in endings[kind]).splitlines()
    assert said[0].startswith("viscnn: ")
    assert message in said[0]


@pytest.mark.parametrize("kind", ["expression", "model", "images", "overflow", "one process"])
def test_one_process_tells_of_it_in_one_line(endings: dict[str, list[Ended]], kind: str) -> None:
    assert sorted(len(each.err.splitlines()) for each in endings[kind]) == [0, 1]


def test_the_first_process_tells_it_as_json(endings: dict[str, list[Ended]]) -> None:
    first, second = endings["overflow"]
    assert json.loads(first.out)["exitCode"] == 1
    assert second.out == ""


def test_without_the_graph_the_scores_are_those_of_a_query(endings: dict[str, list[Ended]], v: VISCNN) -> None:
    first, second = endings["no graph"]
    assert (first.code, second.code, second.out) == (0, 0, "")
    (said,) = json.loads(first.out)["queries"]
    expected = v.query("ant", model=MODEL, activate=False)
    assert (said["query"], said["images"], said["activated"]) == (expected.uid, expected.images, False)
