"""Class profiles: the mean over each class's own images, all classes in one pass."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from tests import nets, toy
from tests.reads import Reads, stopped_files, stopping, use_small_batches
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA
from viscnn.engine.output import parse_output
from viscnn.engine.profiles import ClassProfiles, class_profiles
from viscnn.engine.scoring import Running, score_images
from viscnn.engine.target import resolve
from viscnn.errors import ExpressionError, ImagesError

COUNTS = {"score/ant": 5, "score/bee": 3, "score/cat": 4}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_small_batches(monkeypatch, tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy.write_pictures(tmp_path / "pictures", counts=COUNTS)


def profiles(bundle: Bundle) -> ClassProfiles:
    return class_profiles(bundle, bundle.collection.select("overall", "score"))


def assert_equal(found: ClassProfiles, expected: ClassProfiles) -> None:
    for one, other in zip(found.filters, expected.filters, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_array_equal(found.images, expected.images)
    assert (found.skipped, found.unlabelled) == (expected.skipped, expected.unlabelled)


def test_profiles_are_the_scores_of_each_class_alone(folder: Path) -> None:
    """Batches of two hold images of several classes, which stand in another order than the folders."""
    bundle = toy.bundle_of(toy.toy_network(), folder)
    target = resolve(parse_output("loss"), model="toy", architecture=bundle.architecture, classes=bundle.classes)
    found = profiles(bundle)
    assert found.images.tolist() == [COUNTS[f"score/{name}"] for name in toy.CLASSES]
    assert [each.shape for each in found.filters] == [(4, 3), (3, 3)]
    for number, name in enumerate(toy.CLASSES):
        alone = score_images(bundle, bundle.collection.select(name, "score"), target, CRITERIA["taylor"])
        for of_layer, expected in zip(found.filters, alone.filters, strict=True):
            np.testing.assert_allclose(of_layer[:, number], expected, rtol=1e-5)
    assert not np.allclose(found.filters[0][:, 0], found.filters[0][:, 1], rtol=1e-2)


def test_a_class_without_images_is_zero_and_other_labels_are_counted(folder: Path) -> None:
    whole = profiles(toy.bundle_of(toy.toy_network(), folder))
    (folder / "score" / "bee").rename(folder / "score" / "yak")
    found = profiles(toy.bundle_of(toy.toy_network(), folder))
    assert found.images.tolist() == [0, 4, 5]
    assert found.unlabelled == 3
    for one, other in zip(found.filters, whole.filters, strict=True):
        assert not one[:, 0].any()
        np.testing.assert_allclose(one[:, 1:], other[:, 1:], rtol=1e-5)


def test_an_image_that_breaks_counts_for_no_class(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    path = bundle.collection.items[bundle.collection.select("cat", "score")[1]].path
    (folder / path).write_bytes(b"no picture")
    found = profiles(bundle)
    assert found.skipped == (path,)
    assert found.images.tolist() == [3, 3, 5]
    (folder / path).unlink()
    sound = profiles(toy.bundle_of(toy.toy_network(), folder))
    for one, other in zip(found.filters, sound.filters, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_batch_takes_one_forward_pass_for_all_classes(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    batches: list[int] = []
    step = bundle.architecture.module.get_submodule("conv1")
    step.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    profiles(bundle)
    assert batches == [2] * 6


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no power")])
def test_stopped_profiles_go_on_where_they_were(folder: Path, error: BaseException) -> None:
    whole = profiles(toy.bundle_of(toy.toy_network(), folder))
    with pytest.raises(type(error)):
        profiles(Reads(folder, stopping(7, error)).bundle)
    assert len(stopped_files()) == 1
    second = Reads(folder)
    told: list[tuple[int, int]] = []
    chosen = second.bundle.collection.select("overall", "score")
    running = Running(progress=lambda step, done, total: told.append((done, total)))
    assert_equal(class_profiles(second.bundle, chosen, running=running), whole)
    assert len(second.paths) == 6
    assert told == [(6, 12), (8, 12), (10, 12), (12, 12)]
    assert stopped_files() == []


def test_a_stopped_file_of_other_profiles_is_ignored(folder: Path) -> None:
    whole = profiles(toy.bundle_of(toy.toy_network(), folder))
    with pytest.raises(KeyboardInterrupt):
        profiles(Reads(folder, stopping(7, KeyboardInterrupt())).bundle)
    (file,) = stopped_files()
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, value in (("1", np.zeros((3, 9))), ("images", np.zeros(9, dtype=np.int64))):
        np.savez(file, **{**arrays, name: value})
        second = Reads(folder)
        assert_equal(profiles(second.bundle), whole)
        assert len(second.paths) == 12


def test_images_of_no_class_and_models_without_logits_are_refused(folder: Path) -> None:
    for name in ("ant", "bee", "cat"):
        (folder / "score" / name).rename(folder / "score" / f"not-{name}")
    with pytest.raises(ImagesError, match="none of the 12 images has a label that is a class of model 'toy'"):
        profiles(toy.bundle_of(toy.toy_network(), folder))
    bare = nets.seeded(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    with pytest.raises(ExpressionError, match="has no logits"):
        profiles(toy.bundle_of(bare, folder, classes=()))
