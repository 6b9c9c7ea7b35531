"""From a vector per filter to a point per filter: UMAP, metric MDS, PCA, or a plain grid.

The same vectors and seed give the same points to the bit on one machine: UMAP has a seed and one thread and starts
from principal components (which keeps as many neighbours as its own spectral start, see `benchmarks/projection.py`,
and cannot fail where the graph of neighbours falls into parts), MDS starts from them too, and BLAS runs on one thread,
because its sums depend on their number. UMAP points depend on the order of the filters, those of MDS and PCA only by
rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.projections.vectors import Rows, unit_rows
from viscnn.errors import InputError, nearest
from viscnn.ingest.layout import sunflower

__all__ = ["LARGEST_SEED", "METHODS", "UMAP_FILTERS", "Embedded", "embed", "grid"]

UMAP_FILTERS = 16
"""Fewer have no 15 neighbours each, and UMAP says little about them; MDS takes its place."""

UMAP_NEIGHBOURS = 15
FLAT = 1e-6
"""Vectors on a line have a second component that is nothing but rounding."""

COSINE_LIMIT = 3.0
"""UMAP cuts the edge between vectors at cosine distance 2, its limit; no distance is above that."""

MDS_STEPS = 3000
"""At most, as in the original tool; it stops where the stress falls by less than 1e-9 of all squared distances."""

MDS_WORK = 4 * 10**8
"""Distances over all steps: large layers get fewer steps, but 100 at least."""

SOLVED_WHOLE = 500
"""The smaller side of a table of vectors up to which all its components are found, directly."""

LIVE_RADIUS = 0.85
"""Live filters stand within this radius where dead ones take the rim."""

LARGEST_SEED = 2**32 - 1

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Embedded:
    """Points of a layer's filters before smoothing.

    Attributes:
        points: (n, 2) in the unit disc, the live ones centred; dead ones on the rim, in channel order.
        dead: (n,) filters whose vector is zero, or has a NaN or infinite number.
        note: what was done otherwise than asked for, in words; None if nothing was.
    """

    points: Points
    dead: NDArray[np.bool_]
    note: str | None = None


def embed(vectors: NDArray[np.floating] | NDArray[np.integer], method: str, *, seed: int) -> Embedded:
    """Embed the vectors (n, d) of a layer's filters by one of `METHODS`.

    Vectors are compared by direction alone: UMAP by cosine distance, MDS and PCA on normalised rows. `grid` looks at
    none of them, so that no filter leaves its cell. A single live filter stands in the centre.

    Raises:
        InputError: an unknown method; a seed that is not in 0..2^32-1; vectors that are no table.
    """
    if method not in METHODS:
        raise InputError(f"no projection method {method!r}; use {', '.join(METHODS)}{nearest(method, METHODS)}")
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed {seed} is not in 0..{LARGEST_SEED}")
    rows = unit_rows(vectors)
    if method == "grid":
        return Embedded(grid(len(rows.dead)), rows.dead)
    live, notes = _live(rows, method, seed)
    points = np.zeros((len(rows.dead), 2))
    ringed = bool(rows.dead.any()) and len(points) > 1
    points[~rows.dead] = _within(live, LIVE_RADIUS if ringed else 1.0)
    if ringed:
        points[rows.dead] = _ring(int(rows.dead.sum()))
    notes += _about_dead(rows)
    return Embedded(points, rows.dead, "; ".join(notes) or None)


def grid(n: int) -> Points:
    """(n, 2) cells of a square in channel order, row by row from the top left; the farthest reach the unit circle."""
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns) if n else 0
    row, column = np.divmod(np.arange(n), max(columns, 1))
    points: Points = np.stack([column - (columns - 1) / 2, (rows - 1) / 2 - row], axis=1)
    return points / max(float(np.hypot(*points.T).max(initial=0)), 0.5)


def _live(rows: Rows, method: str, seed: int) -> tuple[Points, list[str]]:
    """Points (live, 2) of the live filters, and what is to be said about them."""
    from threadpoolctl import threadpool_limits

    n = len(rows.unit)
    if n < 2:
        return np.zeros((n, 2)), []
    if rows.all_alike:
        return np.zeros((n, 2)), [f"all {n} live filters have the same vector, so their places mean nothing"]
    notes = []
    if method == "umap" and n < UMAP_FILTERS:
        method = "mds"
        notes = [f"{n} live filters are too few for UMAP ({UMAP_FILTERS} or more): MDS in its place"]
    with threadpool_limits(1):
        return _METHODS[method](rows.unit, seed), notes


def _about_dead(rows: Rows) -> list[str]:
    counts = ((rows.zero.sum(), "an all-zero vector"), (rows.broken.sum(), "a NaN or infinite number"))
    return [f"{_filters(int(count))} with {fault} on the rim" for count, fault in counts if count]


def _filters(count: int) -> str:
    return "1 filter" if count == 1 else f"{count} filters"


def _within(points: Points, radius: float) -> Points:
    """Centred, and scaled so that the farthest point has this radius."""
    if not len(points):
        return points
    centred: Points = points - points.mean(axis=0)
    farthest = float(np.hypot(*centred.T).max())
    return centred * (radius / farthest) if farthest > 0 else centred


def _ring(n: int) -> Points:
    angle = 2 * np.pi * np.arange(n) / n + np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


# --- methods, for two or more unit rows that are not all alike -------------------------------------------------------


def _pca(unit: NDArray[np.floating], seed: int) -> Points:
    """The two leading principal components; the second is zero where there is one only."""
    from sklearn.decomposition import PCA

    components = min(2, *unit.shape)
    solver = "full" if min(unit.shape) <= SOLVED_WHOLE else "arpack"
    found = PCA(components, svd_solver=solver, random_state=seed).fit_transform(unit)
    points = np.zeros((len(unit), 2))
    points[:, :components] = found
    return points


def _mds(unit: NDArray[np.floating], seed: int) -> Points:
    """Metric MDS of Euclidean distances by SMACOF, from classical MDS, which PCA is for such distances."""
    from sklearn.manifold import smacof
    from sklearn.metrics.pairwise import euclidean_distances

    distances = euclidean_distances(unit).astype(np.float64)
    distances = (distances + distances.T) / 2  # equal but for rounding, and SMACOF wants them equal
    steps = min(MDS_STEPS, max(100, MDS_WORK // distances.size))
    points, _ = smacof(distances, init=_pca(unit, seed), n_init=1, max_iter=steps, eps=1e-9)
    return np.asarray(points, dtype=np.float64)


def _umap(unit: NDArray[np.floating], seed: int) -> Points:
    """UMAP by cosine distance with its usual 15 neighbours."""
    import warnings

    start = _pca(unit, seed)
    if np.ptp(start[:, 1]) <= FLAT * np.ptp(start[:, 0]):  # UMAP stretches both to the same width, and cannot widen 0
        start[:, 1] = sunflower(len(unit))[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that its neural form lacks TensorFlow
        from umap.umap_ import UMAP
    model = UMAP(  # type: ignore[no-untyped-call]
        n_neighbors=min(UMAP_NEIGHBOURS, len(unit) - 1),
        metric="cosine",
        init=start,
        random_state=seed,
        n_jobs=1,
        disconnection_distance=COSINE_LIMIT,
    )
    return np.asarray(model.fit_transform(unit), dtype=np.float64)  # type: ignore[no-untyped-call]


_METHODS: dict[str, Callable[[NDArray[np.floating], int], Points]] = {"umap": _umap, "mds": _mds, "pca": _pca}
METHODS = (*_METHODS, "grid")
