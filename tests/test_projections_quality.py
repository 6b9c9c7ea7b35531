"""Trustworthiness and continuity by their definition (Venna & Kaski 2001), one pair after the other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from viscnn.engine.projections.layer import place
from viscnn.engine.projections.quality import Quality, quality


def table(n: int, d: int, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d))


def ranks(rows: NDArray[np.float64], i: int) -> list[int]:
    """The other rows by their distance to row i, the nearest first."""
    return sorted((j for j in range(len(rows)) if j != i), key=lambda j: float(((rows[i] - rows[j]) ** 2).sum()))


def literal(rows: NDArray[np.float64], points: NDArray[np.float64], k: int) -> float:
    """One less the ranks among the rows of neighbours in the plane that are none among the rows, scaled to 0..1."""
    n, penalty = len(rows), 0
    for i in range(n):
        true = ranks(rows, i)
        penalty += sum(true.index(j) + 1 - k for j in ranks(points, i)[:k] if j not in true[:k])
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty


@pytest.mark.parametrize(("n", "neighbours"), [(30, 5), (30, 3), (11, 5)])
def test_quality_is_that_of_the_definition(n: int, neighbours: int) -> None:
    vectors, points = table(n, 6), table(n, 2, seed=1)
    points[:, 0] = vectors[:, 0]
    unit = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    found = quality(vectors * np.linspace(1, 9, n)[:, None], points, neighbours=neighbours)
    assert found.trustworthiness == pytest.approx(literal(unit, points, neighbours), abs=1e-12)
    assert found.continuity == pytest.approx(literal(points, unit, neighbours), abs=1e-12)
    assert found.trustworthiness != pytest.approx(found.continuity, abs=1e-6)


def test_points_that_lose_nothing_are_perfect() -> None:
    angle = np.random.default_rng(2).uniform(0, 6, size=20)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert quality(circle * 3, circle) == Quality(1.0, 1.0)


def test_dead_filters_are_in_no_neighbourhood() -> None:
    vectors, points = table(20, 6), table(20, 2, seed=1)
    more, places = np.insert(vectors, [4, 9], [[0.0] * 6, [np.nan] * 6], axis=0), np.insert(points, [4, 9], 0.1, axis=0)
    assert quality(more, places) == quality(vectors, points)


@pytest.mark.parametrize("vectors", [table(10, 4), np.zeros((30, 4)), np.ones((30, 4)), np.zeros((0, 4))])
def test_where_there_are_no_neighbourhoods_there_is_no_quality(vectors: NDArray[np.float64]) -> None:
    assert quality(vectors, table(len(vectors), 2)) == Quality(None, None)


def test_a_layer_says_what_smoothing_costs() -> None:
    vectors = table(60, 5)
    found = place(vectors, "mds", seed=0)
    assert found.before == quality(vectors, found.embedded.points)
    assert found.after == quality(vectors, found.places)
    assert found.before.trustworthiness is not None
    assert found.after.trustworthiness is not None
    assert 0.6 < found.after.trustworthiness < found.before.trustworthiness


def test_a_grid_is_not_smoothed() -> None:
    found = place(table(30, 5), "grid", seed=0)
    np.testing.assert_array_equal(found.places, found.embedded.points)
    assert found.before == found.after
