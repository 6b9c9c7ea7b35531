"""Where filters stand: a deterministic first projection of each layer into its disc, and the unrolled 2-D picture.

1. describe each filter by its incoming kernels, flattened and L2-normalised;
2. take the two leading principal components;
3. assign filters to the points of a sunflower spiral (equal density), minimising the total squared distance to
   their component coordinates, so that filters with similar kernels stand near each other;
4. scale each disc by sqrt(n / largest n): equal density across layers, as in the paper's smoothed layouts.

`u, v` lie in the layer's own disc (radius <= 1), `z` is depth; `x, y` put the discs side by side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Place", "input_places", "place_layer", "unrolled"]

METHOD = "kernel-pca-disc"
SPACING = 2.6
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


@dataclass(frozen=True)
class Place:
    """Coordinates of a layer's filters, (n,) each; unit: the radius of the largest layer's disc."""

    u: NDArray[np.float64]
    v: NDArray[np.float64]


def place_layer(weights: NDArray[np.float32], *, largest: int) -> Place:
    """Places of a layer's filters from their kernels, shape (filters, inputs, rows, columns)."""
    disc = sunflower(len(weights)) * np.sqrt(len(weights) / largest)
    order = _assign(_components(weights.reshape(len(weights), -1).astype(np.float64)), disc)
    return Place(disc[order, 0], disc[order, 1])


def input_places(channels: int) -> Place:
    """Input channels on a small circle."""
    angle = 2 * np.pi * np.arange(channels) / channels + np.pi / 2
    radius = 0.2 if channels > 1 else 0.0
    return Place(radius * np.cos(angle), radius * np.sin(angle))


def unrolled(place: Place, depth: int, row: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`x, y` of filters at `depth` of a model whose picture is centred at height `row`."""
    return SPACING * depth + place.u, row + place.v


def sunflower(n: int) -> NDArray[np.float64]:
    """`n` points of equal density in the unit disc, shape (n, 2)."""
    i = np.arange(n)
    radius, angle = np.sqrt((i + 0.5) / n), i * GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _components(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two leading principal components of normalised rows, (n, 2), scaled to unit variance, signs fixed."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    left, _, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    found = np.zeros((len(rows), 2))
    width = min(2, left.shape[1])
    found[:, :width] = left[:, :width]
    for column in found.T:
        column *= np.sign(column[np.argmax(np.abs(column))]) or 1.0
    spread = found.std(axis=0)
    scaled: NDArray[np.float64] = np.divide(found, spread, out=found, where=spread > 0)
    return scaled


def _assign(components: NDArray[np.float64], disc: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each filter the number of its disc point, minimising the summed squared distance."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only ingest needs it

    scaled = components * (disc.std() or 1.0)
    cost = ((scaled[:, None, :] - disc[None, :, :]) ** 2).sum(axis=2)
    _, columns = linear_sum_assignment(cost)
    return np.asarray(columns, dtype=np.int64)
