"""The first projection: inside the disc, evenly dense, the same every time, like kernels side by side."""

import numpy as np
import pytest
from numpy.typing import NDArray

from viscnn.ingest.layout import input_places, place_layer, sunflower, unrolled


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


def test_discs_do_not_overlap_in_the_unrolled_picture() -> None:
    place = place_layer(kernels(50), largest=50)
    left, right = unrolled(place, 1, -2.6), unrolled(place, 2, -2.6)
    assert left[0].max() < right[0].min()
    below = unrolled(place, 1, -5.2)
    assert below[1].max() < left[1].min()
