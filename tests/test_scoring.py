"""Scores of image sets: means over real picture files against the oracles, labels by name, and the cache."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests import oracles, toy
from viscnn.config import cache_folder
from viscnn.engine import streaming
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import score_images
from viscnn.engine.sums import SetScores
from viscnn.engine.target import resolve
from viscnn.errors import ImagesError, StoredDataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy.split_pictures(tmp_path / "pictures")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "scores"


def scored(
    bundle: Bundle, name: str = "overall", *, output: str = "loss", criterion: str = "taylor", part: Any = "score"
) -> SetScores:
    target = resolve(parse_output(output), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)
    return score_images(bundle, bundle.collection.select(name, part), target, CRITERIA[criterion])


def literal(folder: Path, sets: list[str], target: Callable[[list[int]], oracles.T], criterion: str) -> list[Any]:
    """Mean scores per layer of the pictures of some sets, straight from the files."""
    paths = [path for each in sets for path in sorted((folder / "score" / each).iterdir())]
    images = torch.stack([toy.pixels(path) for path in paths])
    labels = [toy.CLASSES.index(path.parent.name) for path in paths]
    found = oracles.scores(criterion, oracles.layers(toy.toy_network(), images, target(labels)))
    return [found["conv1"], found["conv2"]]


def assert_scores(found: SetScores, expected: list[Any]) -> None:
    for kernels, filters, (literal_kernels, literal_filters) in zip(
        found.kernels, found.filters, expected, strict=True
    ):
        np.testing.assert_allclose(kernels, literal_kernels, rtol=1e-4, atol=1e-6 * np.abs(literal_kernels).max())
        np.testing.assert_allclose(filters, literal_filters, rtol=1e-4, atol=1e-6 * np.abs(literal_filters).max())


@pytest.mark.parametrize("criterion", oracles.LITERAL)
@pytest.mark.parametrize("sets", [["ant"], ["cat"], ["ant", "bee", "cat"]])
def test_scores_of_picture_files(folder: Path, sets: list[str], criterion: str) -> None:
    """A set that is not the first has labels of its own; the classes are not in the folders' order."""
    found = scored(
        toy.bundle_of(toy.toy_network(), folder), sets[0] if len(sets) == 1 else "overall", criterion=criterion
    )
    assert_scores(found, literal(folder, sets, oracles.loss, criterion))
    assert (found.skipped, found.cached) == ((), False)
    assert len(found.totals) == 4 * len(sets)


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("class:bee", lambda labels: oracles.logit(0)),
        ("filter:toy/conv2/1", lambda labels: oracles.filter_mean("conv2", 1)),
        ("filter:toy/conv2/2@max", lambda labels: oracles.filter_max("conv2", 2)),
        ("filter:toy/conv2/0@3,1", lambda labels: oracles.filter_at("conv2", 0, 3, 1)),
        ("layer:LAST", lambda labels: oracles.layer_mean("conv2")),
    ],
)
def test_scores_towards_other_outputs(folder: Path, output: str, target: Callable[[list[int]], oracles.T]) -> None:
    found = scored(toy.bundle_of(toy.toy_network(), folder), output=output)
    assert_scores(found, literal(folder, ["ant", "bee", "cat"], target, "taylor"))


def test_layers_beyond_the_target_score_nothing(folder: Path) -> None:
    for criterion in CRITERIA:
        found = scored(toy.bundle_of(toy.toy_network(), folder), output="filter:toy/conv1/2", criterion=criterion)
        assert found.kernels[0].any() == (criterion != "grasp")  # T is linear in conv1's weights: nothing curves
        assert not found.kernels[1].any()
        assert not found.filters[1].any()
        assert found.kernels[1].shape == (3, 4)


def test_totals_are_each_images_own_sum(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    found = scored(bundle)
    for index, total in zip(bundle.collection.select("overall", "score"), found.totals, strict=True):
        path = bundle.collection.items[index].path
        label = toy.CLASSES.index(Path(path).parent.name)
        image = toy.pixels(folder / path).unsqueeze(0)
        one = oracles.scores("taylor", oracles.layers(toy.toy_network(), image, oracles.loss([label])))
        assert total == pytest.approx(sum(filters.sum() for _, filters in one.values()), rel=1e-4)


def test_a_label_that_is_no_class_is_the_models_own_prediction(folder: Path) -> None:
    (folder / "score" / "ant").rename(folder / "score" / "yak")
    found = scored(toy.bundle_of(toy.toy_network(), folder), "yak")
    images = torch.stack([toy.pixels(path) for path in sorted((folder / "score" / "yak").iterdir())])
    labels = oracles.run(toy.toy_network(), images).logits.argmax(dim=1).tolist()
    expected = oracles.scores("taylor", oracles.layers(toy.toy_network(), images, oracles.loss(labels)))
    assert_scores(found, [expected["conv1"], expected["conv2"]])


def test_batches_of_one_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    assert streaming.batch_size(bundle) == 64
    whole = scored(bundle)
    monkeypatch.setattr(streaming, "BATCH_FLOATS", 1)
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "other"))
    assert streaming.batch_size(bundle) == 1
    single = scored(bundle)
    assert not single.cached
    for one, other in zip(whole.kernels, single.kernels, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(whole.totals, single.totals, rtol=1e-5)


def test_images_that_break_after_listing_are_left_out(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    first = bundle.collection.select("bee", "score")[1]
    path = bundle.collection.items[first].path
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[: len(whole) // 2])
    found = scored(bundle, "bee")
    assert found.skipped == (path,)
    assert len(found.totals) == 3
    (folder / path).unlink()
    (folder / "moved.png").unlink(missing_ok=True)
    assert_scores(found, literal(folder, ["bee"], oracles.loss, "taylor"))


def test_a_set_whose_images_all_break_is_refused(folder: Path, own_cache: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    bundle.collection.select("cat", "score")
    for path in (folder / "score" / "cat").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ImagesError, match="none of the 4 images can be decoded"):
        scored(bundle, "cat")
    assert not list(own_cache.glob("*"))


def test_a_head_that_is_not_finite_is_an_error_and_not_zeros(folder: Path, own_cache: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    bundle.architecture.module.get_parameter("logits.weight").data[:] = 3e38
    for criterion in ("taylor", "taylor-signed", "gradient"):
        with pytest.raises(StoredDataError, match="NaN or infinity"):
            scored(bundle, criterion=criterion)
    assert not list(own_cache.glob("*"))


# --- the cache ---------------------------------------------------------------------------------------------------


def assert_equal(one: SetScores, other: SetScores) -> None:
    for left, right in zip((*one.kernels, *one.filters), (*other.kernels, *other.filters), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.totals, other.totals)
    assert one.skipped == other.skipped


def test_the_second_time_comes_from_the_cache(folder: Path) -> None:
    first, second = (scored(toy.bundle_of(toy.toy_network(), folder)) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert_equal(first, second)


CHANGES: dict[str, Callable[[Bundle], Bundle]] = {
    "weights": lambda b: toy.bundle_of(_changed_weights(), Path(str(b.images))),
    "activation": lambda b: toy.bundle_of(_other_activation(), Path(str(b.images))),
    "preprocessing": lambda b: replace(b, preprocess=replace(b.preprocess, mean=(0.1,))),
    "class names": lambda b: replace(b, classes=("cat", "bee", "ant")),
}


def _changed_weights() -> nn.Sequential:
    network = toy.toy_network()
    network.get_parameter("conv2.bias").data[0] += 1
    return network


def _other_activation() -> nn.Sequential:
    """The same names, shapes and values of all weights; another function."""
    network = toy.toy_network()
    network.relu1 = nn.LeakyReLU(0.5)
    return network


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_scores_depend_on_is_part_of_the_key(folder: Path, change: str) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    before = scored(bundle)
    after = scored(CHANGES[change](bundle))
    assert not after.cached
    assert not np.allclose(before.kernels[0], after.kernels[0], rtol=1e-3)


def test_images_outputs_and_criteria_are_part_of_the_key(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    found = [
        scored(bundle),
        scored(bundle, "ant"),
        scored(bundle, part="check"),
        scored(bundle, output="class:ant"),
        scored(bundle, criterion="taylor-signed"),
    ]
    assert not any(each.cached for each in found)


def test_a_class_of_the_same_name_and_another_logit_is_another_output(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    turned = replace(bundle, classes=(bundle.classes[1], bundle.classes[0], *bundle.classes[2:]))
    first, second = (scored(each, output=f"class:{bundle.classes[0]}") for each in (bundle, turned))
    assert not second.cached
    assert not np.allclose(first.kernels[0], second.kernels[0])


def test_labels_are_part_of_the_key_only_towards_the_loss(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    relabelled = replace(bundle, classes=("bee", "dog", "ant"))
    scored(bundle, output="class:ant")
    scored(bundle)
    assert scored(relabelled, output="class:ant").cached
    assert not scored(relabelled).cached


def test_an_edited_picture_is_scored_again(folder: Path) -> None:
    scored(toy.bundle_of(toy.toy_network(), folder))
    path = next((folder / "score" / "ant").iterdir())
    toy.write_pictures(folder, counts={"score/ant": 1}, seed=99)
    assert path.name == "000.png" or path.exists()
    assert not scored(toy.bundle_of(toy.toy_network(), folder)).cached


def _other_arrays(file: Path) -> None:
    np.savez(file, kernels0=np.zeros((2, 2)), filters0=np.zeros(2), totals=np.zeros(1), skipped=np.array([""]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-200]),
    "garbage": lambda file: file.write_bytes(b"PK\x03\x04" + b"x" * 500),
    "text": lambda file: file.write_text("not scores", encoding="utf-8"),
    "changed bytes": lambda file: file.write_bytes(file.read_bytes().replace(b"kernels0", b"kernelsX")),
    "other arrays": _other_arrays,
    "not finite": lambda file: _poison(file),
    "pickled": lambda file: np.savez(file, kernels0=np.array([{}], dtype=object)),
}


def _poison(file: Path) -> None:
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["kernels0"][0, 0] = np.nan
    np.savez(file, **arrays)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_file_is_made_again(folder: Path, own_cache: Path, damage: str) -> None:
    first = scored(toy.bundle_of(toy.toy_network(), folder))
    (file,) = own_cache.glob("*.npz")
    DAMAGES[damage](file)
    again = scored(toy.bundle_of(toy.toy_network(), folder))
    assert not again.cached
    assert_equal(first, again)
    assert scored(toy.bundle_of(toy.toy_network(), folder)).cached


def test_many_at_once_do_not_disturb_each_other(folder: Path, own_cache: Path) -> None:
    bundles = [toy.bundle_of(toy.toy_network(), folder) for _ in range(6)]
    found: list[SetScores] = []
    threads = [threading.Thread(target=lambda each=bundle: found.append(scored(each))) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for each in found[1:]:
        np.testing.assert_allclose(each.kernels[0], found[0].kernels[0], rtol=1e-5)
    assert [file.suffix for file in own_cache.iterdir()] == [".npz"]
    assert cache_folder() / "scores" == own_cache


def test_the_order_of_the_indices_does_not_matter(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    target = resolve(parse_output("loss"), model="toy", architecture=bundle.architecture, classes=bundle.classes)
    indices = bundle.collection.select("overall", "score")
    first = score_images(bundle, indices, target, CRITERIA["taylor"])
    assert score_images(bundle, indices[::-1], target, CRITERIA["taylor"]).cached
    assert not first.cached
