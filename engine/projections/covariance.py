"""Kernels between the discs of two layers, as the few numbers that turning the discs depends on.

For a kernel of weight w from a filter at p to one at q, and matrices R, S that turn their layers' discs,

    w |R p - S q|^2 = w (|p|^2 + |q|^2) - 2 w trace(R p q^T S^T)

so that all kernels between two layers come down to the sum of w p q^T, a 2x2 matrix, and one constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import StoredDataError

__all__ = ["CrossCovariance", "Pairs"]


@dataclass(frozen=True)
class Pairs:
    """Connected pairs of layers, by source and then by target.

    Attributes:
        layers: how many layers there are, connected or not.
        sources, targets: (k,) numbers of the layers of each pair.
        products: (k, 2, 2) sum of w p q^T over the kernels from source to target.
        constants: (k,) sum of w (|p|^2 + |q|^2).
        weight: sum of w over all pairs.
    """

    layers: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    products: NDArray[np.float64]
    constants: NDArray[np.float64]
    weight: float


class CrossCovariance:
    """Adds up kernels as they come, in parts of any size; memory grows with connected pairs of layers alone.

    Args:
        points: (n, 2) per layer in the order of execution, the input's channels first; scaled as they will be drawn.
            Filters are numbered through all of them, as in `Architecture.numbers`.
    """

    def __init__(self, points: Sequence[NDArray[np.float64]]) -> None:
        self._places = np.concatenate([np.zeros((0, 2)), *points])
        self._layer_of = np.repeat(np.arange(len(points)), [len(each) for each in points])
        self._layers = len(points)
        self._sums: dict[int, NDArray[np.float64]] = {}

    def add(self, sources: NDArray[np.int64], targets: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        """Add kernels: numbers of the filters that they start at and end in, and how much each counts, (k,) each.

        Raises:
            StoredDataError: no such filter, both in one layer, or a weight that is negative or not finite.
        """
        self._check(sources, targets, weights)
        p, q = self._places[sources], self._places[targets]
        terms = np.column_stack(
            [
                weights[:, None] * (p[:, :, None] * q[:, None, :]).reshape(-1, 4),
                weights * ((p**2).sum(axis=1) + (q**2).sum(axis=1)),
                weights,
            ]
        )
        keys, group = np.unique(self._layer_of[sources] * self._layers + self._layer_of[targets], return_inverse=True)
        sums = np.zeros((len(keys), 6))
        np.add.at(sums, group, terms)
        for key, each in zip(keys.tolist(), sums, strict=True):
            self._sums[key] = self._sums.get(key, np.zeros(6)) + each

    def pairs(self) -> Pairs:
        """What has been added so far; pairs of layers whose kernels all weigh nothing are left out."""
        keys = np.array(sorted(key for key, sums in self._sums.items() if sums[5] > 0), dtype=np.int64)
        sums = np.array([self._sums[key] for key in keys.tolist()]).reshape(-1, 6)
        sources, targets = np.divmod(keys, max(self._layers, 1))
        return Pairs(
            layers=self._layers,
            sources=sources,
            targets=targets,
            products=sums[:, :4].reshape(-1, 2, 2),
            constants=sums[:, 4],
            weight=float(sums[:, 5].sum()),
        )

    def _check(self, sources: NDArray[np.int64], targets: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        for numbers in (sources, targets):
            wrong = (numbers < 0) | (numbers >= len(self._places))
            if wrong.any():
                raise StoredDataError(
                    f"a kernel names filter {int(numbers[wrong][0])}, and the layers have {len(self._places)}"
                )
        within = self._layer_of[sources] == self._layer_of[targets]
        if within.any():
            raise StoredDataError(f"a kernel starts and ends in layer {int(self._layer_of[sources[within][0]])}")
        wrong = ~((weights >= 0) & np.isfinite(weights))
        if wrong.any():
            raise StoredDataError(f"a kernel weighs {float(weights[wrong][0])}; 0 or a positive number is needed")
