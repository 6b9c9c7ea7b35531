"""One layer, from the vectors of its filters to their places in the unit disc."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.projections.embedding import Embedded, embed
from viscnn.engine.projections.quality import Quality, quality
from viscnn.engine.projections.smoothing import to_disc

__all__ = ["LayerPlaces", "place"]


@dataclass(frozen=True)
class LayerPlaces:
    """A layer's filters in the unit disc.

    Attributes:
        embedded: their points before smoothing.
        places: (n, 2) after it; the embedded points themselves for `grid`, which is even already.
        before, after: quality of the embedded points and of the places.
    """

    embedded: Embedded
    places: NDArray[np.float64]
    before: Quality
    after: Quality


def place(vectors: NDArray[np.floating] | NDArray[np.integer], method: str, *, seed: int) -> LayerPlaces:
    """Embed, smooth and judge; raises what `embed` raises."""
    embedded = embed(vectors, method, seed=seed)
    places = embedded.points if method == "grid" else to_disc(embedded.points, dead=embedded.dead)
    before = quality(vectors, embedded.points)
    after = before if method == "grid" else quality(vectors, places)
    return LayerPlaces(embedded, places, before, after)
