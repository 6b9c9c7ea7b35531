"""How much of the neighbourhoods among vectors is left among the points that stand for them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.projections.vectors import unit_rows

__all__ = ["NEIGHBOURS", "Quality", "quality"]

NEIGHBOURS = 5


@dataclass(frozen=True)
class Quality:
    """Venna & Kaski 2001; each in 0..1, and 1 where no neighbour is wrong; None where there are too few filters.

    Attributes:
        trustworthiness: whether neighbours in the plane are neighbours among the vectors.
        continuity: whether neighbours among the vectors are neighbours in the plane.
    """

    trustworthiness: float | None
    continuity: float | None


def quality(
    vectors: NDArray[np.floating] | NDArray[np.integer],
    points: NDArray[np.float64],
    *,
    neighbours: int = NEIGHBOURS,
) -> Quality:
    """Quality of points (n, 2) for the vectors (n, d), by normalised vectors as in `embed`; dead filters left out.

    None for both where a filter has no `neighbours` of more than twice as many filters, or all vectors are alike.
    """
    from sklearn.manifold import trustworthiness

    rows = unit_rows(vectors)
    if len(rows.unit) <= 2 * neighbours or rows.all_alike:
        return Quality(None, None)
    live = points[~rows.dead]
    return Quality(
        trustworthiness=float(trustworthiness(rows.unit, live, n_neighbors=neighbours)),
        continuity=float(trustworthiness(live, rows.unit, n_neighbors=neighbours)),
    )
