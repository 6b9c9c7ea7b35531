"""How much of a response a circuit preserves: correlations of its maps with those of the whole network.

A constant map has no correlation. Such results are NaN and are *counted*: leaving them out would make a collapsed
circuit look better than a weak one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from viscnn.errors import StoredDataError

__all__ = ["CorrelationSummary", "PearsonSums", "pearson", "spearman", "summarise"]


@dataclass(frozen=True)
class PearsonSums:
    """What Pearson's r needs of two paired series; batches are merged with `+`, so that no map has to be kept.

    Sums of squares about the mean, merged pairwise (Chan, Golub and LeVeque 1983), in float64. The extremes tell a
    constant series from one whose variance is rounding error.
    """

    count: int = 0
    mean_a: float = 0.0
    mean_b: float = 0.0
    squares_a: float = 0.0
    squares_b: float = 0.0
    products: float = 0.0
    range_a: tuple[float, float] = (math.inf, -math.inf)
    range_b: tuple[float, float] = (math.inf, -math.inf)

    @classmethod
    def of(cls, a: ArrayLike, b: ArrayLike) -> Self:
        """Sums of one batch: two arrays of the same shape, flattened.

        Raises:
            StoredDataError: when the shapes differ.
        """
        first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if first.shape != second.shape:
            raise StoredDataError(f"cannot correlate maps of shapes {first.shape} and {second.shape}: they must match")
        if first.size == 0:
            return cls()
        with np.errstate(invalid="ignore", over="ignore"):  # maps that are not finite give NaN, which is counted
            mean_a, mean_b = float(first.mean()), float(second.mean())
            rest_a, rest_b = first.ravel() - mean_a, second.ravel() - mean_b
            return cls(
                count=first.size,
                mean_a=mean_a,
                mean_b=mean_b,
                squares_a=float((rest_a * rest_a).sum()),
                squares_b=float((rest_b * rest_b).sum()),
                products=float((rest_a * rest_b).sum()),
                range_a=(float(first.min()), float(first.max())),
                range_b=(float(second.min()), float(second.max())),
            )

    def __add__(self, other: "PearsonSums") -> "PearsonSums":
        if self.count == 0:
            return other
        if other.count == 0:
            return self
        count = self.count + other.count
        step_a, step_b = other.mean_a - self.mean_a, other.mean_b - self.mean_b
        share = other.count / count
        weight = self.count * share
        return PearsonSums(
            count=count,
            mean_a=self.mean_a + step_a * share,
            mean_b=self.mean_b + step_b * share,
            squares_a=self.squares_a + other.squares_a + step_a * step_a * weight,
            squares_b=self.squares_b + other.squares_b + step_b * step_b * weight,
            products=self.products + other.products + step_a * step_b * weight,
            range_a=_wider(self.range_a, other.range_a),
            range_b=_wider(self.range_b, other.range_b),
        )

    @property
    def r(self) -> float:
        """Pearson's r; NaN for a constant series, fewer than two values, or values that are not finite."""
        constant = self.range_a[0] == self.range_a[1] or self.range_b[0] == self.range_b[1]
        norm = math.sqrt(self.squares_a) * math.sqrt(self.squares_b)
        if self.count < 2 or constant or norm == 0 or not math.isfinite(self.products / norm):
            return math.nan
        return min(1.0, max(-1.0, self.products / norm))


def _wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's r of two arrays of the same shape, flattened; NaN (no warning) where either is constant."""
    return PearsonSums.of(a, b).r


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rho (Pearson's r of the ranks, ties averaged) of two flattened arrays; NaN as in `pearson`.

    Raises:
        StoredDataError: when the shapes differ.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise StoredDataError(f"cannot correlate maps of shapes {first.shape} and {second.shape}: they must match")
    return pearson(stats.rankdata(first.ravel()), stats.rankdata(second.ravel()))


@dataclass(frozen=True)
class CorrelationSummary:
    """Correlations of many circuits; mean, sd (n - 1) and median are over the defined ones.

    `zero_filled_mean` takes an undefined correlation as 0: the fair figure where circuits collapse.
    """

    count: int
    nan_count: int
    mean: float
    sd: float
    median: float
    zero_filled_mean: float


def summarise(correlations: Iterable[float]) -> CorrelationSummary:
    """Count, NaN count and averages; an average without any value is NaN."""
    values = np.array(list(correlations), dtype=np.float64)
    defined = values[~np.isnan(values)]
    return CorrelationSummary(
        count=values.size,
        nan_count=values.size - defined.size,
        mean=float(defined.mean()) if defined.size else math.nan,
        sd=float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        median=float(np.median(defined)) if defined.size else math.nan,
        zero_filled_mean=float(np.nan_to_num(values).mean()) if values.size else math.nan,
    )
