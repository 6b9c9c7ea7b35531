"""Vectors of a layer's filters, ready to be compared: L2-normalised, and without those that have no direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import InputError

__all__ = ["Rows", "unit_rows"]


@dataclass(frozen=True)
class Rows:
    """The vectors of a layer.

    Attributes:
        unit: (live, d) the finite, non-zero ones at length one, in channel order; float32 if they were, else float64.
        zero: (n,) vectors that are all zero: filters that do nothing.
        broken: (n,) vectors with a NaN or an infinite number.
    """

    unit: NDArray[np.floating]
    zero: NDArray[np.bool_]
    broken: NDArray[np.bool_]

    @property
    def dead(self) -> NDArray[np.bool_]:
        """(n,) filters without a direction, which are in no neighbourhood."""
        return self.zero | self.broken

    @property
    def all_alike(self) -> bool:
        """Whether no live vector differs from another beyond rounding."""
        if len(self.unit) < 2:
            return True
        return bool(np.ptp(self.unit, axis=0).max() <= 8 * np.finfo(self.unit.dtype).eps)


def unit_rows(vectors: NDArray[np.floating] | NDArray[np.integer]) -> Rows:
    """Normalise vectors (n, d), one row per filter; the paper divides class-wise vectors by their L2 norm, too.

    Raises:
        InputError: not a table.
    """
    if vectors.ndim != 2:
        raise InputError(f"vectors of shape {vectors.shape} are no table; give one row per filter")
    rows = vectors if vectors.dtype == np.float32 else vectors.astype(np.float64)
    broken = np.logical_not(np.isfinite(rows).all(axis=1))
    largest: NDArray[np.floating] = np.abs(np.where(broken[:, None], 0, rows)).max(axis=1, initial=0)
    zero = np.logical_and(~broken, largest == 0)
    live = ~(zero | broken)
    unit = rows[live] / largest[live, None]  # first by the largest entry: squares of tiny or huge ones are 0 or inf
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return Rows(unit, zero, broken)
