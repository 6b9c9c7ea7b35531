"""Places in the disc: even at every radius and in every direction, with neighbours still side by side."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness

from viscnn.engine.projections import smoothing
from viscnn.engine.projections.smoothing import to_disc
from viscnn.errors import InputError
from viscnn.ingest.layout import sunflower

Points = NDArray[np.float64]


def normal(n: int, *, seed: int = 0) -> Points:
    return np.random.default_rng(seed).normal(size=(n, 2))


ANGLE = np.linspace(0, 6, 200)
CLOUDS: dict[str, Points] = {
    "normal": normal(300),
    "long": normal(200) * [8, 1],
    "two clumps": np.concatenate([normal(60) * 0.01 + [5, 5], normal(140, seed=1)]),
    "half of them equal": np.concatenate([normal(100), np.zeros((100, 2))]),
    "heavy tails": np.random.default_rng(2).standard_cauchy(size=(200, 2)),
    "line": np.stack([np.arange(64.0), np.zeros(64)], axis=1),
    "ring": np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1),
    "all equal": np.full((100, 2), 3.0),
    "far away": normal(100) * 1e-3 + 1e6,
    "huge": normal(100) * 1e200,
    "16": normal(16),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_the_density_is_even(name: str) -> None:
    n, places = len(CLOUDS[name]), to_disc(CLOUDS[name])
    radius, angle = np.hypot(*places.T), np.arctan2(places[:, 1], places[:, 0])
    np.testing.assert_allclose(np.sort(radius) ** 2, (np.arange(n) + 0.5) / n)  # at every radius, and below one
    halves = [np.count_nonzero(np.cos(angle - turn) > 0) for turn in np.linspace(0, 2 * np.pi, 12)]
    assert min(halves) >= 0.4 * n
    distances = cdist(places, places)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    assert nearest.std() < 0.2 * nearest.mean()  # of random points it is 0.52
    assert nearest.min() > 0.5 / np.sqrt(n)


@pytest.mark.parametrize(("name", "least"), [("normal", 0.97), ("two clumps", 0.9), ("long", 0.9), ("ring", 0.9)])
def test_neighbours_stay_neighbours(name: str, least: float) -> None:
    points = CLOUDS[name]
    places = to_disc(points)
    assert trustworthiness(points, places, n_neighbors=5) > least
    assert trustworthiness(places, points, n_neighbors=5) > least
    shuffled = np.random.default_rng(4).permutation(places)
    assert trustworthiness(points, shuffled, n_neighbors=5) < 0.6  # by chance


def test_what_is_even_hardly_moves() -> None:
    """Not by a whole spacing."""
    even = sunflower(200)
    assert np.hypot(*(to_disc(even) - even).T).max() < 1 / np.sqrt(200)


def test_place_and_size_of_the_cloud_do_not_matter() -> None:
    points = normal(80)
    np.testing.assert_allclose(to_disc(points * 4 + [3, -2]), to_disc(points), atol=1e-8)
    order = np.random.default_rng(3).permutation(80)
    moved = to_disc(points[order])
    assert np.hypot(*(moved - to_disc(points)[order]).T).mean() < 0.1 / np.sqrt(80)  # they part by channel first


def test_the_same_points_give_the_same_bits() -> None:
    points = normal(120)
    np.testing.assert_array_equal(to_disc(points), to_disc(points.copy()))
    np.testing.assert_array_equal(points, normal(120))  # and are left as they were


def test_layers_of_few_filters() -> None:
    assert to_disc(np.zeros((0, 2))).shape == (0, 2)
    assert to_disc(np.array([[7.0, 7.0]])).tolist() == [[0, 0]]
    for n in (2, 3):
        places = to_disc(normal(n))
        np.testing.assert_allclose(np.sort((places**2).sum(axis=1)), (np.arange(n) + 0.5) / n)
    one, other = to_disc(np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert one[0] < 0 < other[0]
    assert abs(one[1]) + abs(other[1]) < 0.01


def test_dead_filters_share_the_rim() -> None:
    dead = np.isin(np.arange(50), [3, 10, 11, 49])
    points = normal(50)
    places = to_disc(points, dead=dead)
    np.testing.assert_array_equal(places[dead], sunflower(50)[46:])
    np.testing.assert_allclose(places[~dead], to_disc(points[~dead]) * np.sqrt(46 / 50))
    assert np.hypot(*places[~dead].T).max() < np.hypot(*places[dead].T).min()


def test_layers_of_dead_filters_and_one() -> None:
    dead = np.array([True, False, True])
    np.testing.assert_array_equal(to_disc(normal(3), dead=dead), np.insert(sunflower(3)[1:], 1, [0, 0], axis=0))
    np.testing.assert_array_equal(to_disc(normal(3), dead=np.ones(3, dtype=bool)), sunflower(3))
    assert to_disc(normal(1), dead=np.array([True])).tolist() == [[0, 0]]


def test_forces_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the formula, one pair after the other; in one block and in many."""
    points, n = normal(23), 23
    push, apart = np.zeros((n, 2)), np.full(n, np.inf)
    for i in range(n):
        for j in range(n):
            if i != j:
                difference = points[i] - points[j]
                push[i] += difference / (difference @ difference + smoothing.SOFTENING / n) / n
                apart[i] = min(apart[i], np.sqrt(difference @ difference))
    for pairs in (smoothing.PAIRS_AT_ONCE, 50, 1):
        monkeypatch.setattr(smoothing, "PAIRS_AT_ONCE", pairs)
        found = smoothing._forces(points)
        np.testing.assert_allclose(found[0], push, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[1], apart, rtol=1e-12)


def test_points_that_are_none_are_refused() -> None:
    points = normal(4)
    points[2, 1] = np.nan
    with pytest.raises(InputError, match="point 2 of a layer is not finite"):
        to_disc(points)
    with pytest.raises(InputError, match=r"points of shape \(4, 3\) for 4 filters"):
        to_disc(np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"points of shape \(4, 2\) for 3 filters"):
        to_disc(np.zeros((4, 2)), dead=np.zeros(3, dtype=bool))
