"""Discs turned and mirrored: the length by definition, closed forms against brute force, never worse than greedy."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from tests import built
from viscnn.engine.projections.covariance import CrossCovariance, Pairs
from viscnn.engine.projections.rotation import Lengths, _best_angle, _best_matrix, align, length
from viscnn.errors import StoredDataError
from viscnn.ingest.kernels import identity_blocks, kernel_blocks
from viscnn.ingest.layout import places

Array = NDArray[np.float64]
MIRROR = np.diag([1.0, -1.0])


def turn(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@dataclass(frozen=True)
class Net:
    """Points per layer and kernels as (source, target, weight) with filters numbered through all layers."""

    points: list[Array]
    kernels: list[tuple[int, int, float]]

    def pairs(self) -> Pairs:
        sums = CrossCovariance(self.points)
        sums.add(*self.arrays())
        return sums.pairs()

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        sources, targets, weights = zip(*self.kernels, strict=True)
        return np.array(sources), np.array(targets), np.array(weights, dtype=float)

    def length(self, matrices: list[Array] | Array) -> float:
        """The definition: each kernel in turn."""
        turned = [matrix @ point for matrix, points in zip(matrices, self.points, strict=True) for point in points]
        total = sum(w * float(((turned[i] - turned[j]) ** 2).sum()) for i, j, w in self.kernels)
        return total / sum(w for *_, w in self.kernels)


def net(sizes: list[int], links: list[tuple[int, int]], *, seed: int = 0) -> Net:
    """Random points and weights, with a kernel between any two filters of linked layers."""
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0, *sizes])
    points = [generator.normal(size=(n, 2)) for n in sizes]
    kernels = [
        (int(starts[a] + i), int(starts[b] + j), float(generator.exponential() ** 3))
        for a, b in links
        for i in range(sizes[a])
        for j in range(sizes[b])
    ]
    return Net(points, kernels)


CHAIN = [(0, 1), (1, 2), (2, 3)]
DIAMOND = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]
DENSE = list(itertools.combinations(range(7), 2))
NETS = {
    "chain": net([3, 8, 6, 5], CHAIN),
    "diamond": net([4, 7, 6, 5], DIAMOND),
    "dense": net([3, 4, 5, 6, 5, 4, 3], DENSE),
    "apart": net([4, 5, 4, 5], [(0, 1), (2, 3)]),
    "alone": net([4, 5, 4], [(0, 2)]),
}


def every_matrix(steps: int) -> Iterator[Array]:
    for angle in 2 * np.pi * np.arange(steps) / steps:
        yield turn(angle)
        yield turn(angle) @ MIRROR


# --- moments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_length_is_that_of_every_kernel_in_turn(name: str) -> None:
    made = NETS[name]
    generator = np.random.default_rng(1)
    for _ in range(3):
        matrices = [
            turn(generator.uniform(0, 7)) @ (MIRROR if generator.random() < 0.5 else np.eye(2)) for _ in made.points
        ]
        assert length(made.pairs(), np.array(matrices)) == pytest.approx(made.length(matrices), rel=1e-12)


def test_kernels_may_come_in_any_parts() -> None:
    made = NETS["dense"]
    whole, parts = made.pairs(), CrossCovariance(made.points)
    sources, targets, weights = made.arrays()
    order = np.random.default_rng(2).permutation(len(sources))
    for part in np.array_split(order, 9):
        parts.add(sources[part], targets[part], weights[part])
    parts.add(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    found = parts.pairs()
    np.testing.assert_array_equal(found.sources, whole.sources)
    np.testing.assert_array_equal(found.targets, whole.targets)
    np.testing.assert_allclose(found.products, whole.products, rtol=1e-10)
    np.testing.assert_allclose(found.constants, whole.constants, rtol=1e-12)
    assert found.weight == pytest.approx(whole.weight, rel=1e-12)


def test_pairs_are_the_sums_over_their_kernels() -> None:
    points = [np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 4.0]]), np.zeros((0, 2)), np.array([[1.0, 1.0]])]
    sums = CrossCovariance(points)
    sums.add(np.array([0, 1, 2, 0]), np.array([2, 2, 3, 3]), np.array([0.5, 2.0, 0.0, 1.0]))
    found = sums.pairs()
    assert list(zip(found.sources.tolist(), found.targets.tolist(), strict=True)) == [(0, 1), (0, 3)]  # a zero is none
    assert found.products.tolist() == [[[1.5, 2.0], [12.0, 16.0]], [[1.0, 1.0], [0.0, 0.0]]]
    assert found.constants.tolist() == [0.5 * 26 + 2 * 29, 3.0]
    assert (found.layers, found.weight) == (4, 3.5)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ((-1, 1, 1.0), "a kernel names filter -1, and the layers have 4"),
        ((0, 4, 1.0), "a kernel names filter 4, and the layers have 4"),
        ((2, 3, 1.0), "a kernel starts and ends in layer 1"),
        ((0, 2, -0.5), "a kernel weighs -0.5"),
        ((0, 2, np.nan), "a kernel weighs nan"),
        ((0, 2, np.inf), "a kernel weighs inf"),
    ],
)
def test_kernels_that_cannot_be_are_refused(kernel: tuple[int, int, float], message: str) -> None:
    sums = CrossCovariance([np.zeros((2, 2)), np.zeros((2, 2))])
    source, target, weight = kernel
    with pytest.raises(StoredDataError, match=message):
        sums.add(np.array([0, source]), np.array([2, target]), np.array([1.0, weight]))
    assert sums.pairs().weight == 0


# --- one layer -----------------------------------------------------------------------------------------------------


def test_the_closed_form_is_orthogonal_procrustes() -> None:
    for seed in range(50):
        pull = np.random.default_rng(seed).normal(size=(2, 2))
        found = _best_matrix(pull)
        expected, _ = orthogonal_procrustes(np.eye(2), pull)  # maximises trace(R^T A)
        assert found is not None
        np.testing.assert_allclose(found, expected.T, atol=1e-12)


def test_without_a_pull_there_is_no_best() -> None:
    assert _best_matrix(np.zeros((2, 2))) is None
    assert _best_angle(np.zeros((2, 2))) is None
    assert _best_angle(MIRROR) is None  # every rotation is as good


def test_a_disc_is_mirrored_only_where_that_is_better() -> None:
    for pull, expected in ((MIRROR, MIRROR), (np.eye(2), np.eye(2)), (np.diag([1.0, 0.0]), np.eye(2))):
        found = _best_matrix(pull)
        assert found is not None
        np.testing.assert_allclose(found, expected)


# --- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_ours_is_no_longer_than_greedy_and_what_it_says(name: str) -> None:
    made = NETS[name]
    found = align(made.pairs())
    for matrix in found.matrices:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-12)
    assert found.lengths.ours <= found.lengths.greedy < found.lengths.unrotated
    assert found.lengths.ours == pytest.approx(made.length(found.matrices), rel=1e-12)
    assert found.lengths.unrotated == pytest.approx(made.length([np.eye(2)] * len(made.points)), rel=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_greedy_is_the_best_of_64_angles_layer_after_layer(name: str) -> None:
    """By the definition of the length over the kernels from earlier layers."""
    made = NETS[name]
    first = np.repeat(np.arange(len(made.points)), [len(each) for each in made.points])
    matrices = [np.eye(2) for _ in made.points]
    for layer in range(1, len(made.points)):
        into = [kernel for kernel in made.kernels if first[kernel[1]] == layer]
        if into:
            tried = [[*matrices[:layer], turn(k * 2 * np.pi / 64), *matrices[layer + 1 :]] for k in range(64)]
            matrices = min(tried, key=lambda each: Net(made.points, into).length(each))
    assert align(made.pairs()).lengths.greedy == pytest.approx(made.length(matrices), rel=1e-12)


def test_two_layers_are_at_the_best_of_all_angles_and_mirrors() -> None:
    made = net([6, 7], [(0, 1)], seed=4)
    found = align(made.pairs()).lengths.ours
    tried = [made.length([np.eye(2), matrix]) for matrix in every_matrix(720)]
    assert min(tried) - 2e-4 < found <= min(tried) + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_a_triangle_is_at_the_best_of_all_angles_and_mirrors(seed: int) -> None:
    made = net([4, 5, 4], [(0, 1), (1, 2), (0, 2)], seed=seed)
    pairs = made.pairs()
    assert pairs.sources.tolist() == [0, 0, 1]
    every = np.array(list(every_matrix(90)))
    (ab, ac, bc), kept = pairs.products, 0.0
    for second in every:
        both = np.einsum("ab,kab->k", ac, every) + np.einsum("ab,kab->k", second @ bc, every)
        kept = max(kept, float(both.max() + (ab * second).sum()))
    best = (pairs.constants.sum() - 2 * kept) / pairs.weight
    assert best - 0.02 < align(pairs).lengths.ours <= best + 1e-12


@pytest.mark.parametrize("name", NETS)
def test_no_layer_alone_can_do_better(name: str) -> None:
    made = NETS[name]
    pairs = made.pairs()
    found = align(pairs)
    for layer in range(len(made.points)):
        for matrix in every_matrix(60):
            other = found.matrices.copy()
            other[layer] = matrix
            assert length(pairs, other) >= found.lengths.ours * (1 - 1e-5)


@pytest.mark.parametrize("links", [CHAIN, DIAMOND], ids=["chain", "diamond"])
def test_turned_and_mirrored_copies_find_back(links: list[tuple[int, int]]) -> None:
    """Every layer the same disc, turned and mirrored, with kernels between copies of a filter."""
    points = np.random.default_rng(5).normal(size=(9, 2))
    hidden = [np.eye(2), turn(2.0) @ MIRROR, turn(-1.1), turn(0.4) @ MIRROR]
    kernels = [(9 * a + i, 9 * b + i, 1.0 + i) for a, b in links for i in range(9)]
    made = Net([points @ matrix.T for matrix in hidden], kernels)
    found = align(made.pairs())
    assert found.lengths.ours < 1e-12
    assert found.lengths.greedy > 0.1
    for matrix, hid in zip(found.matrices, hidden, strict=True):
        np.testing.assert_allclose(matrix @ hid, np.eye(2), atol=1e-6)


def test_the_first_layer_of_what_hangs_together_keeps_its_places() -> None:
    found = align(NETS["apart"].pairs()).matrices
    np.testing.assert_allclose(found[[0, 2]], [np.eye(2)] * 2, atol=1e-12)
    assert not np.allclose(found[1], np.eye(2))
    assert not np.allclose(found[3], np.eye(2))
    np.testing.assert_allclose(align(NETS["alone"].pairs()).matrices[:2], [np.eye(2)] * 2, atol=1e-12)


def test_without_kernels_nothing_turns() -> None:
    for points in ([], [np.zeros((3, 2))], [np.ones((3, 2)), np.ones((2, 2))]):
        sums = CrossCovariance(points)
        found = align(sums.pairs())
        np.testing.assert_array_equal(found.matrices, np.tile(np.eye(2), (len(points), 1, 1)))
        assert found.lengths == Lengths(0.0, 0.0, 0.0)
    sums.add(np.array([0]), np.array([3]), np.array([0.0]))
    assert align(sums.pairs()).lengths == Lengths(0.0, 0.0, 0.0)


def test_layers_at_one_point_keep_the_identity() -> None:
    sums = CrossCovariance([np.zeros((1, 2)), np.ones((2, 2))])
    sums.add(np.array([0, 0]), np.array([1, 2]), np.array([1.0, 3.0]))
    found = align(sums.pairs())
    np.testing.assert_array_equal(found.matrices, [np.eye(2)] * 2)
    assert found.lengths == Lengths(2.0, 2.0, 2.0)


def test_the_same_kernels_give_the_same_bits() -> None:
    one, other = (align(NETS["dense"].pairs()) for _ in range(2))
    np.testing.assert_array_equal(one.matrices, other.matrices)
    assert (one.lengths, one.sweeps, one.start) == (other.lengths, other.sweeps, other.start)


def test_the_kernels_of_a_network_with_sums_fit_as_they_come() -> None:
    made = built.branching()
    points = [np.stack([place.u, place.v], axis=1) for place in places(made)]
    sums = CrossCovariance(points)
    for block in kernel_blocks(made):
        sums.add(block.sources, made.numbers[block.layer.name] + block.outputs, block.l1)
    norms = sum(float(np.abs(made.convolution(x).weight.detach().numpy()).sum()) for x in made.layers if not x.is_sum)
    assert sums.pairs().weight == pytest.approx(norms, rel=1e-5)
    for identity in identity_blocks(made):
        targets = made.numbers[identity.layer.name] + identity.outputs
        sums.add(identity.sources, targets, np.ones(len(targets)))
    linked = {(str(feed.source), feed.target) for feed in made.feeds}
    names = list(made.numbers)
    pairs = sums.pairs()
    assert {(names[a], names[b]) for a, b in zip(pairs.sources, pairs.targets, strict=True)} == linked
    found = align(pairs)
    assert found.lengths.ours <= found.lengths.greedy <= found.lengths.unrotated
