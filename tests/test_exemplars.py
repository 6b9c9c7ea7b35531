"""Exemplars: the pass against a literal search, and what is stored of it in a real Neo4j."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests import nets, toy
from tests.reads import Reads, stopped_files, stopping, use_small_batches
from viscnn.engine import streaming
from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.engine.extremes import Extremes, LayerExtremes, extremes
from viscnn.engine.scoring import Running
from viscnn.errors import ImagesError, StoredDataError
from viscnn.ingest.architecture import read_architecture

Ranked = list[tuple[float, int, int, int]]
"""Value, image, row and column, best first."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_small_batches(monkeypatch, tmp_path / "home", per_batch=5)


def ranked(of: LayerExtremes, side: int, channel: int) -> Ranked:
    """What was found of a filter; side 0 is the top."""
    arrays = (of.activation, of.image, of.row, of.column)
    return list(zip(*(each[side, channel].tolist() for each in arrays), strict=True))


def literal(maps: list[np.ndarray[Any, Any]], channel: int, count: int) -> tuple[Ranked, Ranked]:
    """By going through all positions of a filter's maps, (filters, rows, columns) per image: the first of the best."""
    found: tuple[Ranked, Ranked] = ([], [])
    for image, each in enumerate(maps):
        best = lowest = (float(each[channel, 0, 0]), image, 0, 0)
        for row, column in itertools.product(range(each.shape[1]), range(each.shape[2])):
            value = float(each[channel, row, column])
            if value > best[0]:
                best = (value, image, row, column)
            if value < lowest[0]:
                lowest = (value, image, row, column)
        found[0].append(best)
        found[1].append(lowest)
    found[0].sort(key=lambda entry: (-entry[0], entry[1]))
    found[1].sort(key=lambda entry: (entry[0], entry[1]))
    return found[0][:count], found[1][:count]


def assert_literal(bundle: Bundle, found: Extremes, indices: tuple[int, ...], count: int) -> None:
    maps = batchwise(bundle, indices)
    for layer, of in zip(bundle.architecture.layers, found.layers, strict=True):
        for channel in range(layer.filters):
            for side, expected in enumerate(literal(maps[layer.name], channel, count)):
                assert ranked(of, side, channel) == [(v, indices[n], r, c) for v, n, r, c in expected]


def batchwise(bundle: Bundle, indices: tuple[int, ...]) -> dict[str, list[np.ndarray[Any, Any]]]:
    """The maps of each image, computed in the batches of the pass: so their bits are the same."""
    size = streaming.batch_size(bundle)
    maps: dict[str, list[np.ndarray[Any, Any]]] = {layer.name: [] for layer in bundle.architecture.layers}
    for start in range(0, len(indices), size):
        pictures = [bundle.collection.read(index) for index in indices[start : start + size]]
        batch = torch.stack([bundle.preprocess.apply(each) for each in pictures])
        for name, of in record(bundle.architecture, batch, gradients=False).maps.items():
            maps[name] += list(of.numpy())
    return maps


def everything(bundle: Bundle) -> tuple[int, ...]:
    return tuple(range(len(bundle.collection.items)))


class Gated(nn.Module):
    """A convolution, a squeeze-and-excite gate, and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.squeeze, self.expand = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.back = nn.Conv2d(4, 4, (3, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.stem(images))
        gate = torch.sigmoid(self.expand(torch.relu(self.squeeze(maps.mean((2, 3), keepdim=True)))))
        return torch.as_tensor(self.back(maps + maps * gate))


def gated() -> nn.Module:
    return nets.seeded(Gated).eval()


# --- the pass ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 21, 50])
def test_the_pass_finds_what_a_literal_search_finds(tmp_path: Path, count: int) -> None:
    bundle = toy.bundle_of(toy.toy_network(), toy.split_pictures(tmp_path / "pictures"))
    indices = everything(bundle)
    assert len(indices) == 21
    found = extremes(bundle, indices, count, key="a")
    assert found.images == 21
    assert found.layers[0].activation.shape == (2, 4, min(count, 21))
    assert_literal(bundle, found, indices, count)


def test_sums_and_gates_have_exemplars_too(tmp_path: Path) -> None:
    bundle = toy.bundle_of(gated(), toy.split_pictures(tmp_path / "pictures"))
    layers = bundle.architecture.layers
    assert any(layer.is_sum for layer in layers)
    assert any(layer.gate for layer in layers)
    assert_literal(bundle, extremes(bundle, everything(bundle), 3, key="a"), everything(bundle), 3)


def test_of_equal_values_the_first_image_and_position_count(tmp_path: Path) -> None:
    """All images of a kind are the same, and even: whole maps are equal."""
    folder = tmp_path / "pictures"
    for name, grey in (("ant", 200), ("bee", 10), ("cat", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), grey).save(folder / name / f"{number}.png")
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(128, 3))
    with torch.no_grad():
        convolution = network[0]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        convolution.weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
        convolution.bias.zero_()
    bundle = toy.bundle_of(network.eval(), folder)
    (found,) = extremes(bundle, everything(bundle), 6, key="a").layers
    assert found.image[:, 0].tolist() == [[0, 1, 2, 3, 8, 9], [4, 5, 6, 7, 0, 1]]
    assert found.image[:, 1].tolist() == [[0, 1, 2, 3, 4, 5]] * 2, "a dead filter"
    assert not found.row.any()
    assert not found.column.any()
    assert_literal(bundle, extremes(bundle, everything(bundle), 6, key="a"), everything(bundle), 6)


@pytest.mark.parametrize("per_batch", [1, 2, 21])
def test_the_size_of_the_batches_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int
) -> None:
    bundle = toy.bundle_of(gated(), toy.split_pictures(tmp_path / "pictures"))
    expected = extremes(bundle, everything(bundle), 4, key="a")
    floats = sum(layer.filters * layer.positions for layer in bundle.architecture.layers)
    monkeypatch.setattr(streaming, "BATCH_FLOATS", per_batch * floats)
    found = extremes(bundle, everything(bundle), 4, key="a")
    for one, other in zip(found.layers, expected.layers, strict=True):
        assert (one.image == other.image).all()
        assert (one.row == other.row).all()
        assert (one.column == other.column).all()
        np.testing.assert_allclose(one.activation, other.activation, rtol=1e-5, atol=1e-6)


def test_two_passes_find_the_same(tmp_path: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), toy.split_pictures(tmp_path / "pictures"))
    one, other = (extremes(bundle, everything(bundle), 4, key="a") for _ in range(2))
    for left, right in zip(one.layers, other.layers, strict=True):
        for name in ("activation", "image", "row", "column"):
            assert (getattr(left, name) == getattr(right, name)).all()


def test_a_pass_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = toy.split_pictures(tmp_path / "pictures")
    expected = extremes(toy.bundle_of(toy.toy_network(), folder), tuple(range(21)), 4, key="whole")
    first = Reads(folder, stopping(12, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        extremes(first.bundle, everything(first.bundle), 4, key="a")
    assert len(stopped_files()) == 1
    second = Reads(folder)
    told: list[int] = []
    running = Running(progress=lambda step, done, total: told.append(done))
    found = extremes(second.bundle, everything(second.bundle), 4, key="a", running=running)
    assert len(second.paths) == 21 - 10
    assert told[0] == 10
    assert stopped_files() == []
    for left, right in zip(found.layers, expected.layers, strict=True):
        for name in ("activation", "image", "row", "column"):
            assert (getattr(left, name) == getattr(right, name)).all()


def test_a_stopped_pass_of_another_count_is_not_taken_up(tmp_path: Path) -> None:
    folder = toy.split_pictures(tmp_path / "pictures")
    first = Reads(folder, stopping(12, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        extremes(first.bundle, everything(first.bundle), 4, key="a")
    second = Reads(folder)
    found = extremes(second.bundle, everything(second.bundle), 3, key="a")
    assert len(second.paths) == 21
    assert_literal(second.bundle, found, everything(second.bundle), 3)


def test_images_that_cannot_be_decoded_are_said_and_left_out(tmp_path: Path) -> None:
    folder = toy.split_pictures(tmp_path / "pictures")
    bundle = toy.bundle_of(toy.toy_network(), folder)
    indices = everything(bundle)
    gone = [bundle.collection.items[index].path for index in (0, 7, 20)]
    for path in gone:
        (folder / path).write_bytes(b"no picture")
    found = extremes(bundle, indices, 4, key="a")
    assert found.undecoded == tuple(gone)
    assert found.images == 18
    left = tuple(index for index in indices if index not in (0, 7, 20))
    assert_literal(bundle, found, left, 4)


class Fragile(nn.Module):
    """Its maps overflow for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1)
        nn.init.constant_(self.one.weight, 1.0)
        nn.init.constant_(self.two.weight, 3e37)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.two(torch.relu(self.one(images))))


def shades(folder: Path, greys: list[int]) -> Path:
    (folder / "ant").mkdir(parents=True)
    for number, grey in enumerate(greys):
        Image.new("L", (8, 8), grey).save(folder / "ant" / f"{number:02}.png")
    return folder


def fragile(folder: Path) -> Bundle:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    return replace(bundle, architecture=read_architecture(nets.seeded(Fragile).eval(), toy.SHAPE, check=False))


def test_images_whose_maps_overflow_are_said_and_left_out(tmp_path: Path) -> None:
    greys = [100 + number for number in range(12)]
    greys[2] = greys[7] = greys[11] = 255
    bundle = fragile(shades(tmp_path / "pictures", greys))
    found = extremes(bundle, everything(bundle), 4, key="a")
    assert found.not_finite == ("ant/02.png", "ant/07.png", "ant/11.png")
    assert found.images == 9
    assert np.isfinite(found.layers[1].activation).all()
    assert found.layers[1].image[0, 0].tolist() == [10, 9, 8, 6]
    assert 2 not in found.layers[0].image


def test_images_that_all_overflow_are_an_error(tmp_path: Path) -> None:
    bundle = fragile(shades(tmp_path / "pictures", [255, 254, 253]))
    with pytest.raises(StoredDataError, match="maps of all 3 images hold NaN or infinity"):
        extremes(bundle, everything(bundle), 4, key="a")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    bundle = toy.bundle_of(gated(), toy.split_pictures(tmp_path / "pictures", size=(12, 12)))
    loose = replace(bundle, preprocess=replace(bundle.preprocess, size=None))
    with pytest.raises(ImagesError, match="maps of 6x6 in layer stem, and the model was read with 4x4"):
        extremes(loose, everything(loose), 4, key="a")


# --- memory ------------------------------------------------------------------------------------------------------


def test_what_is_kept_does_not_grow_with_the_images(tmp_path: Path) -> None:
    sizes = []
    for images in (20, 200):
        folder = toy.write_pictures(tmp_path / str(images), counts={"ant": images})
        reads = Reads(folder, stopping(images - 1, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            extremes(reads.bundle, everything(reads.bundle), 3, key="a")
        (file,) = stopped_files()
        sizes.append(file.stat().st_size)
        file.unlink()
    assert sizes[0] == sizes[1]
