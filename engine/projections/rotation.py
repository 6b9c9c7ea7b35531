"""Turning and mirroring the discs of a network's layers so that its heavy kernels are short.

Minimised is the sum over kernels of w |R_l p - R_m q|^2 (`covariance`), over an orthogonal matrix per layer. Given the
other layers, the best matrix of one layer is known in closed form (orthogonal Procrustes). Layer after layer is set to
its best, forward and back, until that no longer helps. As such sweeps end in a local optimum they start several times:

- from the discs as they are;
- from the paper's greedy method: in order, each layer at the best of 64 angles to the layers before it, no mirroring;
- from its closed form with mirroring, which is optimal already where no two paths join (a chain);
- from the two leading eigenvectors of all pairs' matrices together (spectral synchronisation, Singer 2011).

The best end is kept, and sweeps never lengthen, so ours <= greedy by construction. Turning all layers that hang
together changes nothing: the first of them keeps its places.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.projections.covariance import Pairs

__all__ = ["ANGLES", "Alignment", "Lengths", "align", "length"]

ANGLES = 64
MOST_SWEEPS = 100
IMPROVES = 1e-6

Matrices = NDArray[np.float64]  # (layers, 2, 2)


@dataclass(frozen=True)
class Lengths:
    """Mean squared length of the kernels, weighted by importance; unit: the squared radius of the largest disc.

    All are 0 where no kernel weighs anything.
    """

    unrotated: float
    greedy: float
    ours: float


@dataclass(frozen=True)
class Alignment:
    """How the discs are turned: `places @ matrices[layer].T`.

    Attributes:
        matrices: (layers, 2, 2) orthogonal; determinant -1 where a disc is mirrored; the identity without kernels.
        sweeps: forward and back counted as one, from the start that won.
        start: the name of that start.
    """

    matrices: Matrices
    lengths: Lengths
    sweeps: int
    start: str


def align(pairs: Pairs) -> Alignment:
    """The best matrices found (see above)."""
    network = _Network(pairs)
    greedy = network.in_order(_best_angle)
    starts = {
        "closed form": network.in_order(_best_matrix),  # first: where several end alike, it wins
        "unrotated": _identities(pairs.layers),
        "greedy": greedy,
        "spectral": network.spectral(),
    }
    ends = {name: network.swept(start) for name, start in starts.items()}
    lengths = {name: length(pairs, matrices) for name, (matrices, _) in ends.items()}
    start = min(lengths, key=lambda name: lengths[name])
    matrices, sweeps = ends[start]
    unrotated = length(pairs, _identities(pairs.layers))
    found = Lengths(unrotated=unrotated, greedy=length(pairs, greedy), ours=lengths[start])
    return Alignment(network.anchored(matrices), found, sweeps, start)


def length(pairs: Pairs, matrices: Matrices) -> float:
    """Weighted mean squared length of the kernels when each layer is turned by its matrix (layers, 2, 2)."""
    if pairs.weight == 0:
        return 0.0
    kept = np.einsum("kab,kbc,kac->", matrices[pairs.sources], pairs.products, matrices[pairs.targets])
    return max(0.0, float(pairs.constants.sum() - 2 * kept) / pairs.weight)


def _identities(layers: int) -> Matrices:
    return np.tile(np.eye(2), (layers, 1, 1))


class _Network:
    """The pairs of layers, seen from each layer."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._before: list[list[tuple[int, NDArray[np.float64]]]] = [[] for _ in range(pairs.layers)]
        self._after: list[list[tuple[int, NDArray[np.float64]]]] = [[] for _ in range(pairs.layers)]
        for source, target, product in zip(pairs.sources, pairs.targets, pairs.products, strict=True):
            self._before[target].append((int(source), product.T))
            self._after[source].append((int(target), product))

    def in_order(self, best: Callable[[NDArray[np.float64]], NDArray[np.float64] | None]) -> Matrices:
        """Each layer at its best against those before it alone, in the order of execution."""
        matrices = _identities(self._pairs.layers)
        for layer, before in enumerate(self._before):
            found = best(_pull(before, matrices))
            if found is not None:
                matrices[layer] = found
        return matrices

    def swept(self, start: Matrices) -> tuple[Matrices, int]:
        """Sweeps forward and back until the length improves by less than one millionth; and how many there were."""
        best, shortest = start, length(self._pairs, start)
        for sweep in range(1, MOST_SWEEPS + 1):
            matrices = best.copy()
            for layer in self._there_and_back():
                found = _best_matrix(_pull(self._before[layer] + self._after[layer], matrices))
                if found is not None:
                    matrices[layer] = found
            now = length(self._pairs, matrices)
            if now >= shortest:  # by rounding
                return best, sweep
            improved = now < shortest * (1 - IMPROVES)
            best, shortest = matrices, now
            if not improved:
                return best, sweep
        return best, MOST_SWEEPS

    def _there_and_back(self) -> Iterator[int]:
        yield from range(self._pairs.layers)
        yield from reversed(range(self._pairs.layers))

    def spectral(self) -> Matrices:
        """The orthogonal matrices nearest to the rows of the two leading eigenvectors of all products together."""
        from scipy.linalg import eigh
        from threadpoolctl import threadpool_limits

        pairs, n = self._pairs, self._pairs.layers
        if not len(pairs.sources):
            return _identities(n)
        blocks = np.zeros((n, n, 2, 2))
        np.add.at(blocks, (pairs.sources, pairs.targets), pairs.products)
        blocks += blocks.transpose(1, 0, 3, 2)
        whole = blocks.transpose(0, 2, 1, 3).reshape(2 * n, 2 * n)
        strength = np.abs(whole).sum(axis=1).reshape(n, 2).sum(axis=1).repeat(2)  # else heavy layers are all it sees
        scale = np.divide(1.0, np.sqrt(strength), out=np.zeros_like(strength), where=strength > 0)
        with threadpool_limits(1):  # the same to the bit whatever OMP_NUM_THREADS is
            _, vectors = eigh(whole * scale[:, None] * scale, subset_by_index=[2 * n - 2, 2 * n - 1])
        matrices = _identities(n)
        for layer, block in enumerate(vectors.reshape(n, 2, 2)):
            found = _best_matrix(block)
            if found is not None:
                matrices[layer] = found
        return matrices

    def anchored(self, matrices: Matrices) -> Matrices:
        """The same relative to one another, with the first layer of each connected part as it is."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = self._pairs
        links = coo_array((np.ones(len(pairs.sources)), (pairs.sources, pairs.targets)), shape=(pairs.layers,) * 2)
        _, parts = connected_components(links, directed=False) if pairs.layers else (0, np.zeros(0, dtype=np.int64))
        _, first = np.unique(parts, return_index=True)
        found: Matrices = matrices[first[parts]].transpose(0, 2, 1) @ matrices
        return found


def _pull(neighbours: list[tuple[int, NDArray[np.float64]]], matrices: Matrices) -> NDArray[np.float64]:
    """A, for which trace(R A) is what the matrix R of a layer should make large: the sum of M S^T over neighbours."""
    found = np.zeros((2, 2))
    for layer, product in neighbours:
        found += product @ matrices[layer].T
    return found


def _best_matrix(pull: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The orthogonal matrix of largest trace(R A), by the closed form in two dimensions; None where all are equal.

    The best rotation reaches the length of (a + d, b - c), the best mirror image that of (a - d, b + c), for
    A = [[a, b], [c, d]]; where they are equal it is the rotation.
    """
    (a, b), (c, d) = pull.tolist()
    turned, mirrored = np.hypot(a + d, b - c), np.hypot(a - d, b + c)
    if turned == 0 and mirrored == 0:
        return None
    if turned >= mirrored:
        cos, sin = (a + d) / turned, (b - c) / turned
        return np.array([[cos, -sin], [sin, cos]])
    cos, sin = (a - d) / mirrored, (b + c) / mirrored
    return np.array([[cos, sin], [sin, -cos]])


def _best_angle(pull: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The best of 64 rotations, the smallest angle where several are; None where all are equal."""
    (a, b), (c, d) = pull.tolist()
    if a + d == 0 and b - c == 0:
        return None
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    angle = angles[np.argmax(np.cos(angles) * (a + d) + np.sin(angles) * (b - c))]
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
