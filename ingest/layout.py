"""Where filters stand: a deterministic first projection of each layer into its disc, and the unrolled 2-D picture.

1. describe each filter by its incoming kernels, flattened and L2-normalised;
2. take the two leading principal components;
3. assign filters to the points of a sunflower spiral (equal density), minimising the total squared distance to
   their component coordinates, so that filters with similar kernels stand near each other;
4. scale each disc by sqrt(n / largest n): equal density across layers, as in the paper's smoothed layouts.

The filters of a sum stand where those of its first addend do. `u, v` lie in the layer's own disc (radius <= 1), `z` is
depth; `x, y` put the discs side by side by depth, those of one depth above each other.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.ingest.structure import INPUT, Architecture, LayerSpec

__all__ = [
    "METHOD",
    "SPACING",
    "Place",
    "assign",
    "centre",
    "height",
    "input_places",
    "place_layer",
    "places",
    "sunflower",
]

METHOD = "kernel-pca-disc"
SPACING = 2.6
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
ASSIGNED_AT_ONCE = 512
"""Filters whose places are found by one optimal assignment, which takes cubic time; more are split first."""

DECOMPOSED_AT_ONCE = 1024
"""Size of the Gram matrices whose two leading eigenvectors are found directly; those of larger ones by iterations."""

COLUMNS_AT_ONCE = 4096
NO_VARIANCE = 1e-9


@dataclass(frozen=True)
class Place:
    """Coordinates of a layer's filters, (n,) each; unit: the radius of the largest layer's disc."""

    u: NDArray[np.float64]
    v: NDArray[np.float64]


def places(architecture: Architecture) -> Iterator[Place]:
    """Places of the input channels, then of the filters of each layer."""
    largest = max(layer.filters for layer in architecture.layers)
    found = {INPUT: input_places(architecture.input_shape[0])}
    yield found[INPUT]
    for layer in architecture.layers:
        if layer.is_sum:
            place = _first_addend(architecture, layer, found) or _spiral(layer.filters, largest)
        else:
            place = place_layer(architecture.convolution(layer).weight.detach().numpy(), largest=largest)
        found[layer.name] = place
        yield place


def _first_addend(architecture: Architecture, layer: LayerSpec, found: dict[str, Place]) -> Place | None:
    """Places of the first addend's filters, if it is the whole of one layer."""
    feeds = [feed for feed in architecture.feeds_into(layer.name) if feed.addend == 0]
    if len(feeds) == 1 and feeds[0].reads == feeds[0].writes == tuple(range(layer.filters)):
        place = found[feeds[0].source]
        return place if len(place.u) == layer.filters else None
    return None


def place_layer(weights: NDArray[np.float32], *, largest: int) -> Place:
    """Places of a layer's filters from their kernels, shape (filters, inputs, rows, columns)."""
    disc = sunflower(len(weights)) * np.sqrt(len(weights) / largest)
    order = assign(_components(weights.reshape(len(weights), -1)), disc)
    return Place(disc[order, 0], disc[order, 1])


def _spiral(filters: int, largest: int) -> Place:
    """Filters in channel order, from the centre of the disc outwards."""
    disc = sunflower(filters) * np.sqrt(filters / largest)
    return Place(disc[:, 0], disc[:, 1])


def input_places(channels: int) -> Place:
    """Input channels on a small circle."""
    angle = 2 * np.pi * np.arange(channels) / channels + np.pi / 2
    radius = 0.2 if channels > 1 else 0.0
    return Place(radius * np.cos(angle), radius * np.sin(angle))


def height(architecture: Architecture) -> float:
    """How far the centres of a model's topmost and lowest discs are apart in the unrolled picture."""
    return SPACING * (max(_beside(architecture).values()) - 1)


def centre(architecture: Architecture, depth: int, branch: int, row: float) -> tuple[float, float]:
    """`x, y` of a layer's disc: one of several at a depth, stacked around the height `row` of the model's middle."""
    return SPACING * depth, row + SPACING * ((_beside(architecture)[depth] - 1) / 2 - branch)


def _beside(architecture: Architecture) -> Counter[int]:
    """Number of layers by depth."""
    return Counter([0, *(layer.depth for layer in architecture.layers)])


def sunflower(n: int) -> NDArray[np.float64]:
    """`n` points of equal density in the unit disc, shape (n, 2)."""
    i = np.arange(n)
    radius, angle = np.sqrt((i + 0.5) / n), i * GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _components(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The two leading principal components of normalised rows, (n, 2), scaled to unit variance, signs fixed.

    From the smaller of the two Gram matrices, in float64; a component without variance is zero.
    """
    found = np.zeros((len(rows), 2))
    left = _by_rows(rows) if len(rows) <= rows.shape[1] else _by_columns(rows)
    found[:, : left.shape[1]] = left
    for column in found.T:
        column *= np.sign(column[np.argmax(np.abs(column))]) or 1.0
    spread = found.std(axis=0)
    scaled: NDArray[np.float64] = np.divide(found, spread, out=found, where=spread > 0)
    return scaled


def _by_rows(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Components from the (n, n) products of the rows, summed over some columns at a time to save memory."""
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], COLUMNS_AT_ONCE):
        part = rows[:, start : start + COLUMNS_AT_ONCE].astype(np.float64)
        gram += part @ part.T
    norms = np.sqrt(gram.diagonal())
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    gram *= scale[:, None]
    gram *= scale
    gram -= gram.mean(axis=0)
    gram -= gram.mean(axis=1, keepdims=True)
    return _leading(gram, len(rows))


def _by_columns(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Components from the (columns, columns) covariance."""
    unit = rows.astype(np.float64)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    np.divide(unit, norms, out=unit, where=norms > 0)
    unit -= unit.mean(axis=0)
    return unit @ _leading(unit.T @ unit, len(rows))


def _leading(gram: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The up to two eigenvectors of the largest eigenvalues that are not zero beside `count` unit rows."""
    from scipy.linalg import eigh  # slow to import, and only ingest needs it
    from scipy.sparse.linalg import eigsh

    size = len(gram)
    if size > DECOMPOSED_AT_ONCE:  # from a fixed start, and a fraction of the time
        values, vectors = eigsh(gram, k=2, v0=np.random.default_rng(0).normal(size=size))
    else:
        values, vectors = eigh(gram, subset_by_index=[max(0, size - 2), size - 1])
    order = np.argsort(-values)
    kept: NDArray[np.float64] = vectors[:, order[values[order] > count * NO_VARIANCE]]
    return kept


def assign(components: NDArray[np.float64], disc: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each filter the number of its disc point, minimising the summed squared distance."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    scaled = components * (disc.std() or 1.0)
    found = np.zeros(len(disc), dtype=np.int64)
    every = np.arange(len(disc))
    for filters, points in _parts(scaled, disc, every, every, axis=0):
        _, columns = linear_sum_assignment(cdist(scaled[filters], disc[points], "sqeuclidean"))
        found[filters] = points[columns]
    return found


def _parts(
    scaled: NDArray[np.float64],
    disc: NDArray[np.float64],
    filters: NDArray[np.int64],
    points: NDArray[np.int64],
    *,
    axis: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Filters and as many disc points, halved by one coordinate and then by the other until there are few enough."""
    if len(filters) <= ASSIGNED_AT_ONCE:
        yield filters, points
        return
    filters = filters[np.argsort(scaled[filters, axis], kind="stable")]
    points = points[np.argsort(disc[points, axis], kind="stable")]
    half = len(filters) // 2
    yield from _parts(scaled, disc, filters[:half], points[:half], axis=1 - axis)
    yield from _parts(scaled, disc, filters[half:], points[half:], axis=1 - axis)
