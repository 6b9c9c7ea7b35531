"""From vectors to points: what each method does exactly, filters without a direction, and the same bits every time."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from viscnn.engine.projections.embedding import METHODS, embed
from viscnn.engine.projections.layer import place
from viscnn.errors import InputError

LEARNT = ("umap", "mds", "pca")


def vectors(n: int, d: int = 8, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d))


def radii(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(points[:, 0], points[:, 1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 15, 16, 40])
def test_layers_of_any_size_have_points_in_the_disc(method: str, n: int) -> None:
    found = embed(vectors(n), method, seed=0)
    assert found.points.shape == (n, 2)
    assert found.points.dtype == np.float64
    assert found.dead.tolist() == [False] * n
    assert radii(found.points).max(initial=0) <= 1 + 1e-12
    if n == 1:
        assert found.points.tolist() == [[0, 0]]
    if n > 1:
        assert pdist(found.points).min() > 1e-6
        assert radii(found.points).max() == pytest.approx(1)
    short = method == "umap" and 2 <= n <= 15
    expected = f"{n} live filters are too few for UMAP (16 or more): MDS in its place"
    assert found.note == (expected if short else None)


def test_a_small_layer_is_embedded_by_mds_instead_of_umap() -> None:
    for n in (2, 15):
        np.testing.assert_array_equal(embed(vectors(n), "umap", seed=0).points, embed(vectors(n), "mds", seed=0).points)
    assert not np.allclose(embed(vectors(16), "umap", seed=0).points, embed(vectors(16), "mds", seed=0).points)


@pytest.mark.parametrize("shape", [(30, 8), (600, 520)])
def test_pca_is_the_decomposition_of_normalised_rows(shape: tuple[int, int]) -> None:
    """Directly, and by iterations where both sides are large."""
    scales = np.linspace(4, 1, shape[1])  # so that the components are well apart
    data = vectors(*shape) * scales
    unit = np.array([row / np.sqrt(sum(row**2)) for row in data])
    centred = unit - unit.mean(axis=0)
    left, values, _ = np.linalg.svd(centred)
    expected = left[:, :2] * values[:2]
    expected /= radii(expected).max()
    found = embed(data, "pca", seed=0).points
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(cdist(found, found), cdist(expected, expected), atol=1e-6)


@pytest.mark.parametrize("method", ["mds", "pca"])
def test_what_lies_in_a_plane_keeps_its_distances(method: str) -> None:
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, size=25)
    flat = np.zeros((25, 6))
    flat[:, [1, 4]] = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.linspace(1, 9, 25)[:, None]
    found = pdist(embed(flat, method, seed=0).points)
    expected = pdist(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-3)


def test_mds_keeps_distances_better_than_pca() -> None:
    data = vectors(60, 12, seed=3)
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    wanted = pdist(unit)

    def stress(method: str) -> float:
        got = pdist(embed(data, method, seed=0).points)
        got *= (got @ wanted) / (got @ got)  # at its best scale
        return float(((got - wanted) ** 2).sum())

    assert stress("mds") < 0.9 * stress("pca")


@pytest.mark.parametrize("method", LEARNT)
def test_like_vectors_have_neighbouring_points(method: str) -> None:
    groups = np.repeat(np.arange(3), 20)
    data = vectors(3, 10, seed=4)[groups] + vectors(60, 10, seed=5) * 0.1
    points = embed(data * np.linspace(1, 50, 60)[:, None], method, seed=0).points
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).all()


@pytest.mark.parametrize("method", LEARNT)
def test_only_the_direction_of_a_vector_counts(method: str) -> None:
    """A power of two changes no bit; and neither overflow nor underflow makes a vector broken or dead."""
    data = vectors(20)
    scaled = data * 2.0 ** np.arange(-10, 10)[:, None]
    scaled[3] *= 2.0**900
    scaled[4] *= 2.0**-900
    np.testing.assert_array_equal(embed(data, method, seed=0).points, embed(scaled, method, seed=0).points)


@pytest.mark.parametrize("method", ["mds", "pca"])
def test_the_order_of_the_filters_does_not_matter(method: str) -> None:
    data = vectors(30)
    order = np.random.default_rng(6).permutation(30)
    one, other = embed(data, method, seed=0).points[order], embed(data[order], method, seed=0).points
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-6)  # an axis may point the other way
    np.testing.assert_allclose(cdist(one, one), cdist(other, other), atol=1e-6)


@pytest.mark.parametrize("method", LEARNT)
def test_filters_without_a_direction_stand_on_the_rim_and_move_no_other(method: str) -> None:
    data = vectors(24)
    alone = embed(data, method, seed=0)
    more = np.insert(data, [0, 5, 5, 24], [[0.0] * 8, [np.nan] * 8, [0.0] * 8, [1, np.inf, *[0] * 6]], axis=0)
    found = embed(more, method, seed=0)
    assert np.flatnonzero(found.dead).tolist() == [0, 6, 7, 27]
    np.testing.assert_allclose(found.points[~found.dead], alone.points * 0.85, atol=1e-12)
    np.testing.assert_allclose(found.points[found.dead], [[0, 1], [-1, 0], [0, -1], [1, 0]], atol=1e-12)
    assert found.note == (
        "2 filters with an all-zero vector on the rim; 2 filters with a NaN or infinite number on the rim"
    )


@pytest.mark.parametrize("method", LEARNT)
def test_layers_of_dead_filters_alone_have_points_too(method: str) -> None:
    found = embed(np.zeros((4, 3)), method, seed=0)
    assert found.dead.all()
    np.testing.assert_allclose(found.points, [[0, 1], [-1, 0], [0, -1], [1, 0]], atol=1e-12)
    assert found.note == "4 filters with an all-zero vector on the rim"
    single = embed(np.full((1, 3), np.nan), method, seed=0)
    assert (single.points.tolist(), single.note) == ([[0, 0]], "1 filter with a NaN or infinite number on the rim")
    empty = embed(np.zeros((3, 0)), method, seed=0)
    assert empty.dead.all()


@pytest.mark.parametrize("method", LEARNT)
def test_vectors_that_are_all_alike_are_said(method: str) -> None:
    alike = np.outer(np.arange(1, 21), [0.3, -0.1, 2.0])
    found = embed(alike, method, seed=0)
    assert not found.points.any()
    assert found.note == "all 20 live filters have the same vector, so their places mean nothing"
    assert place(alike, method, seed=0).places.std() > 0.1


@pytest.mark.parametrize("method", LEARNT)
@pytest.mark.parametrize(
    "data",
    [
        np.repeat(vectors(3), 20, axis=0),  # more equal ones than a filter has neighbours
        np.sign(vectors(40, 1)) * [1.0, 2.0, 3.0],  # opposite ones: cosine distance 2
        vectors(20, 1),
        np.eye(20),
        vectors(20).astype(np.float32),
        np.random.default_rng(0).integers(0, 5, size=(20, 9)),
    ],
    ids=["equal", "opposite", "one number", "orthogonal", "float32", "integers"],
)
def test_awkward_vectors_break_nothing(method: str, data: NDArray[np.float64]) -> None:
    found = embed(data, method, seed=0)
    assert np.isfinite(found.points).all()
    assert radii(found.points).max() == pytest.approx(1)


def test_the_grid_is_in_channel_order_and_leaves_everyone_in_his_cell() -> None:
    data = vectors(5)
    data[2] = 0
    found = embed(data, "grid", seed=0)
    half = np.array([[-1, 0.5], [0, 0.5], [1, 0.5], [-1, -0.5], [0, -0.5]]) / np.sqrt(1.25)
    np.testing.assert_allclose(found.points, half, atol=1e-12)
    assert (found.dead.tolist(), found.note) == ([False, False, True, False, False], None)


def test_the_seed_matters_to_umap_alone() -> None:
    data = vectors(30)
    same = {}
    for method in METHODS:
        one, other = (embed(data, method, seed=seed).points for seed in (0, 1))
        same[method] = np.array_equal(one, other)
    assert same == {"umap": False, "mds": True, "pca": True, "grid": True}


CODE = """
import hashlib
import numpy as np
from viscnn.engine.projections.layer import place
data = np.random.default_rng(0).normal(size=(60, 300))
found = [place(data, method, seed=7) for method in ("umap", "mds", "pca")]
print(hashlib.sha256(b"".join(each.embedded.points.tobytes() + each.places.tobytes() for each in found)).hexdigest())
"""


def test_another_process_with_another_number_of_threads_gives_the_same_bits() -> None:
    data = np.random.default_rng(0).normal(size=(60, 300))
    here = [place(data, method, seed=7) for method in LEARNT]
    digest = hashlib.sha256(b"".join(each.embedded.points.tobytes() + each.places.tobytes() for each in here))
    threads = "2" if os.environ.get("OMP_NUM_THREADS") == "1" else "1"
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == digest.hexdigest()


def test_what_cannot_be_embedded_is_refused() -> None:
    with pytest.raises(InputError, match=r"no projection method 'unap'; use umap, mds, pca, grid; did you mean umap"):
        embed(vectors(3), "unap", seed=0)
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=f"seed {seed} is not in 0..4294967295"):
            embed(vectors(3), "pca", seed=seed)
    with pytest.raises(InputError, match=r"vectors of shape \(3,\) are no table"):
        embed(np.ones(3), "pca", seed=0)
