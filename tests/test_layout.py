"""The first projection: inside the disc, evenly dense, the same every time, like kernels side by side."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import built
from viscnn.ingest import layout
from viscnn.ingest.layout import Place, centre, height, input_places, place_layer, places, sunflower
from viscnn.ingest.structure import Feed


def kernels(filters: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(filters, 3, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("filters", [1, 2, 3, 16, 100])
def test_a_layer_fills_its_disc(filters: int) -> None:
    place = place_layer(kernels(filters), largest=100)
    radius = np.hypot(place.u, place.v)
    assert place.u.shape == place.v.shape == (filters,)
    assert radius.max() <= np.sqrt(filters / 100)
    assert len({(round(u, 9), round(v, 9)) for u, v in zip(place.u, place.v, strict=True)}) == filters


def test_density_is_that_of_the_disc() -> None:
    radius = np.sort(np.hypot(*sunflower(400).T))
    np.testing.assert_allclose(radius**2, (np.arange(400) + 0.5) / 400)  # as many points as area, at every radius
    angle = np.arctan2(*sunflower(400).T)
    assert np.histogram(angle, bins=8)[0].min() >= 45


def test_places_are_the_same_every_time_and_follow_the_filters() -> None:
    weights = kernels(30)
    one, again = place_layer(weights, largest=30), place_layer(weights.copy(), largest=30)
    np.testing.assert_array_equal(one.u, again.u)
    order = np.random.default_rng(1).permutation(30)
    moved = place_layer(weights[order], largest=30)
    np.testing.assert_allclose(moved.u, one.u[order], atol=1e-6)
    np.testing.assert_allclose(moved.v, one.v[order], atol=1e-6)


def test_the_strength_of_a_kernel_does_not_move_it() -> None:
    weights = kernels(20)
    strong = weights * np.linspace(0.5, 4, 20, dtype=np.float32)[:, None, None, None]
    np.testing.assert_allclose(place_layer(strong, largest=20).u, place_layer(weights, largest=20).u, atol=1e-6)


def test_like_kernels_stand_side_by_side() -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(4), 10)
    weights = (kernels(4)[groups] + generator.normal(scale=0.05, size=(40, 3, 3, 3))).astype(np.float32)
    place = place_layer(weights, largest=40)
    points = np.stack([place.u, place.v], axis=1)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = groups[:, None] == groups[None]
    np.fill_diagonal(same, False)
    assert distance[same].mean() < 0.6 * distance[groups[:, None] != groups[None]].mean()


@pytest.mark.parametrize("weights", [np.zeros((5, 1, 1, 1), np.float32), np.ones((6, 2, 3, 3), np.float32)])
def test_layers_of_equal_kernels_have_places_too(weights: NDArray[np.float32]) -> None:
    place = place_layer(weights, largest=6)
    assert np.isfinite([place.u, place.v]).all()
    assert len(set(place.u.round(9))) == len(weights)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_input_channels_stand_on_a_small_circle(channels: int) -> None:
    place = input_places(channels)
    np.testing.assert_allclose(np.hypot(place.u, place.v), 0.2 if channels > 1 else 0.0, atol=1e-12)
    assert len({(round(u, 9), round(v, 9)) for u, v in zip(place.u, place.v, strict=True)}) == channels


def test_large_layers_are_split_and_still_fill_the_disc_with_like_beside_like(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = kernels(100)
    whole = place_layer(weights, largest=100)
    monkeypatch.setattr(layout, "ASSIGNED_AT_ONCE", 30)
    split = place_layer(weights, largest=100)
    assert {(u, v) for u, v in zip(split.u, split.v, strict=True)} == set(zip(whole.u, whole.v, strict=True))
    components = layout._components(weights.reshape(100, -1)) * sunflower(100).std()

    def cost(place: Place) -> float:
        return float(((components - np.stack([place.u, place.v], axis=1)) ** 2).sum())

    shuffled = Place(np.roll(whole.u, 1), np.roll(whole.v, 1))
    assert cost(whole) <= cost(split) < 1.3 * cost(whole) < cost(shuffled)


@pytest.mark.parametrize("inputs", [3, 40])
def test_components_are_those_of_a_full_decomposition(inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more filters than weights and of fewer, directly and by iterations."""
    rows = np.random.default_rng(3).normal(size=(60, inputs * 9)).astype(np.float32)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    left, _, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    expected = left[:, :2] / left[:, :2].std(axis=0)
    for at_once in (1024, 20):
        monkeypatch.setattr(layout, "DECOMPOSED_AT_ONCE", at_once)
        monkeypatch.setattr(layout, "COLUMNS_AT_ONCE", 100)
        found = layout._components(rows)
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)


def test_discs_do_not_overlap_in_the_unrolled_picture() -> None:
    made = built.branching()
    discs = [(0, 0), *((layer.depth, layer.branch) for layer in made.layers)]
    centres = np.array([centre(made, depth, branch, -7.0) for depth, branch in discs])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 2  # a disc has a radius of at most 1
    for depth in range(6):
        heights = [y for (x, y), each in zip(centres, discs, strict=True) if each[0] == depth]
        assert np.mean(heights) == pytest.approx(-7.0)
    assert np.ptp(centres[:, 1]) == pytest.approx(height(made))


def test_a_sum_stands_where_its_first_addend_does() -> None:
    made = built.branching()
    found = dict(zip(["input", *(layer.name for layer in made.layers)], places(made), strict=True))
    np.testing.assert_array_equal(found["block.add"].u, found["left"].u)
    np.testing.assert_array_equal(found["block.add"].v, found["left"].v)


def test_a_sum_of_parts_of_layers_has_places_of_its_own() -> None:
    layers = [
        built.convolution("a", 2, 6, depth=1),
        built.addition("a.add", 3, 2, depth=2),
        built.addition("b.add", 4, 2, depth=3),
    ]
    feeds = [
        Feed("input", "a", (), 2),
        Feed("a", "a.add", (), 3),
        Feed("a", "a.add", (), 3, position=1, source_start=3, addend=1),
        Feed("a.add", "b.add", (), 3),
        Feed("a", "b.add", (), 4, position=1, addend=1),
    ]
    *_, first, second = places(built.architecture(layers, feeds))
    for place, filters in ((first, 3), (second, 4)):
        expected = sunflower(filters) * np.sqrt(filters / 6)
        np.testing.assert_array_equal(np.stack([place.u, place.v], axis=1), expected)
