"""A projection of a stored model: vectors, places, rotations, and all of it into the graph."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.bundle import Bundle
from viscnn.engine.projections.covariance import CrossCovariance
from viscnn.engine.projections.embedding import LARGEST_SEED
from viscnn.engine.projections.layer import LayerPlaces, place
from viscnn.engine.projections.profiled import stored_profiles
from viscnn.engine.projections.rotation import Alignment, Lengths, align
from viscnn.engine.projections.sources import exemplar_vectors, kernel_vectors, visualization_vectors
from viscnn.engine.visualize.render import Renderer
from viscnn.engine.visualize.settings import Settings
from viscnn.engine.visualize.views import Normalisation
from viscnn.engine.wiring import sources_of
from viscnn.errors import ExpressionError, ImagesError, InputError, NotInGraph, nearest
from viscnn.graph import Graph
from viscnn.graph_projections import Places, activate_projection, save_projection
from viscnn.graph_scores import QueryScores, stored_scores
from viscnn.ingest.kernels import identity_blocks, kernel_blocks
from viscnn.ingest.layout import input_places
from viscnn.ingest.structure import INPUT, Architecture
from viscnn.progress import Progress, silent

__all__ = ["METHODS", "ProjectionReport", "project"]

METHODS = {
    "class-umap": ("classes", "umap"),
    "exemplar-umap": ("exemplars", "umap"),
    "featureviz-umap": ("visualisations", "umap"),
    "kernel-umap": ("kernels", "umap"),
    "mds": ("classes", "mds"),
    "pca": ("classes", "pca"),
    "grid": ("kernels", "grid"),
}
"""By name, which vectors are embedded and how; `mds` and `pca` take kernels where a model has no class profiles."""


@dataclass(frozen=True)
class ProjectionReport:
    """What was made; the weighted lengths are explained at `rotation.Lengths`.

    Attributes:
        trustworthiness, continuity: after smoothing, means over the layers weighted by filters; None where all layers
            are too small. `_before`: before it.
        weights: what kernels weigh: `importance` (absolute values), or `l1` where the model has none; then identities
            weigh the mean of it.
        active: whether the filters stand there now; making the active projection anew moves them.
        notes: what was done otherwise than asked for, by layer.
    """

    uid: str
    model: str
    method: str
    seed: int
    seconds: float
    trustworthiness: float | None
    continuity: float | None
    trustworthiness_before: float | None
    continuity_before: float | None
    lengths: Lengths
    weights: str
    active: bool
    notes: tuple[str, ...] = ()

    def properties(self) -> dict[str, Any]:
        """What is stored of it, by the names of `:Projection`."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "trustworthiness": self.trustworthiness,
            "continuity": self.continuity,
            "trustworthinessBefore": self.trustworthiness_before,
            "continuityBefore": self.continuity_before,
            "weightedLength": self.lengths.ours,
            "weightedLengthGreedy": self.lengths.greedy,
            "weightedLengthUnrotated": self.lengths.unrotated,
            "weights": self.weights,
            "notes": list(self.notes),
            "createdAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }


def project(
    graph: Graph,
    bundle: Bundle,
    method: str,
    *,
    seed: int = 0,
    max_images: int = 0,
    activate: bool = False,
    progress: Progress = silent,
) -> ProjectionReport:
    """Make a projection of a stored model, and store it in place of an earlier one by this method.

    Args:
        max_images: at most so many images; 0 for all.

    Raises:
        InputError: an unknown method, a wrong seed, or visualisations that have not been rendered; it says how.
        ImagesError, ExpressionError: the method needs images, or labels, that the model lacks; it says what works.
    """
    began = time.monotonic()
    _check(method, seed)
    scores, said = _weights_of(graph, bundle)
    vectors, notes = _vectors(graph, bundle, method, max_images, progress)
    notes = [*said, *notes]
    layers = list(_placed(bundle.architecture, vectors, METHODS[method][1], seed, progress))
    notes += [
        f"{layer.name}: {each.embedded.note}"
        for layer, each in zip(bundle.architecture.layers, layers, strict=True)
        if each.embedded.note
    ]
    points = _scaled(bundle.architecture, layers)
    found = _aligned(bundle, scores, points)
    report = ProjectionReport(
        uid=f"{bundle.name}/projection/{method}",
        model=bundle.name,
        method=method,
        seed=seed,
        seconds=time.monotonic() - began,
        lengths=found.lengths,
        weights="l1" if scores is None else "importance",
        active=activate,
        notes=tuple(notes),
        **_summary(layers, bundle.architecture),
    )
    places = _turned(bundle, points, found)
    save_projection(graph, bundle.name, method, places, report.properties())
    if activate:
        activate_projection(graph, report.uid)
    active = graph.read("read/model", model=bundle.name)[0]["activeProjection"] == report.uid
    return replace(report, active=active)


def _turned(bundle: Bundle, points: list[NDArray[np.float64]], found: Alignment) -> list[Places]:
    """The places of all layers, input channels first, as the alignment turns them."""
    uids = [f"{bundle.name}/{name}" for name in (INPUT, *(layer.name for layer in bundle.architecture.layers))]
    turned = [points_of @ matrix.T for points_of, matrix in zip(points, found.matrices, strict=True)]
    return [Places(uid, each[:, 0], each[:, 1]) for uid, each in zip(uids, turned, strict=True)]


def _check(method: str, seed: int) -> None:
    if method not in METHODS:
        raise InputError(
            f"no projection method {method!r}{nearest(method, list(METHODS))} (there are {', '.join(METHODS)})"
        )
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed {seed} is not in 0..{LARGEST_SEED}")


# --- vectors and places ------------------------------------------------------------------------------------------


def _vectors(
    graph: Graph, bundle: Bundle, method: str, max_images: int, progress: Progress
) -> tuple[Iterable[NDArray[np.floating]], list[str]]:
    """The vectors layer by layer, and what is to be said of them."""
    wanted, _ = METHODS[method]
    if wanted == "kernels":
        return kernel_vectors(bundle.architecture), []
    if wanted == "visualisations":
        stored = graph.read("read/model", model=bundle.name)[0]["preprocess"]
        renderer = Renderer(bundle, Settings(), Normalisation.from_json(stored))
        return visualization_vectors(renderer, progress=progress), []
    try:
        indices = bundle.collection.select("overall", "score", max_images or None, required=True)
        if wanted == "exemplars":
            return exemplar_vectors(bundle, indices, progress=progress), []
        return stored_profiles(graph, bundle, indices, progress=progress)
    except (ImagesError, ExpressionError) as error:
        if method in {"mds", "pca"}:
            return kernel_vectors(bundle.architecture), [
                f"of incoming kernels, as there are no class profiles ({error})"
            ]
        other = "kernel-umap" if wanted == "exemplars" else "exemplar-umap (no labels) or kernel-umap (no images)"
        raise type(error)(f"{error}; without them there is {other}") from error


def _placed(
    architecture: Architecture, vectors: Iterable[NDArray[np.floating]], method: str, seed: int, progress: Progress
) -> Iterator[LayerPlaces]:
    done, total = 0, sum(layer.filters for layer in architecture.layers)
    for layer, rows in zip(architecture.layers, vectors, strict=True):
        yield place(rows, method, seed=seed)
        done += layer.filters
        progress("placing filters", done, total)


def _scaled(architecture: Architecture, layers: list[LayerPlaces]) -> list[NDArray[np.float64]]:
    """(n, 2) per layer, the input channels first; the area of a disc is in proportion to its filters."""
    largest = max(layer.filters for layer in architecture.layers)
    first = input_places(architecture.input_shape[0])
    return [
        np.stack([first.u, first.v], axis=1),
        *(each.places * np.sqrt(len(each.places) / largest) for each in layers),
    ]


def _summary(layers: list[LayerPlaces], architecture: Architecture) -> dict[str, float | None]:
    """Qualities of the whole: means over the layers that have them, weighted by their filters."""
    counts = np.array([layer.filters for layer in architecture.layers], dtype=np.float64)
    found: dict[str, float | None] = {}
    for when, suffix in (("after", ""), ("before", "_before")):
        for name in ("trustworthiness", "continuity"):
            values = [getattr(getattr(each, when), name) for each in layers]
            known = np.array([value is not None for value in values])
            chosen = np.array([value for value in values if value is not None])
            found[f"{name}{suffix}"] = float(np.average(chosen, weights=counts[known])) if known.any() else None
    return found


# --- rotations ---------------------------------------------------------------------------------------------------


def _weights_of(graph: Graph, bundle: Bundle) -> tuple[QueryScores | None, list[str]]:
    """The scores that importance is of; None where there are none, or they are not stored any more, which is said."""
    query = graph.read("read/model", model=bundle.name)[0]["importanceQuery"]
    if query is None:
        return None, []
    try:
        return stored_scores(graph, query), []
    except NotInGraph:
        return None, [f"kernels weigh their L1 norm: query {query}, which importance is of, is not stored any more"]


def _aligned(bundle: Bundle, scores: QueryScores | None, points: list[NDArray[np.float64]]) -> Alignment:
    """The rotations; kernels weigh their importance, or without scores their L1 norm, and identities the mean of it."""
    kernels = CrossCovariance(points)
    if scores is not None:
        for sources, targets, weights in _important(bundle, scores):
            kernels.add(sources, targets, weights)
        return align(kernels.pairs())
    total, count = 0.0, 0
    for block in kernel_blocks(bundle.architecture):
        kernels.add(block.sources, block.outputs + bundle.architecture.numbers[block.layer.name], block.l1)
        total, count = total + float(block.l1.sum()), count + len(block.l1)
    for identities in identity_blocks(bundle.architecture):
        targets = identities.outputs + bundle.architecture.numbers[identities.layer.name]
        kernels.add(identities.sources, targets, np.full(len(targets), total / count))
    return align(kernels.pairs())


def _important(
    bundle: Bundle, scores: QueryScores
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Kernels and identities of each scored layer: where they start and end, and their scores' absolute values."""
    place = {uid: number for number, uid in enumerate(scores.uids)}
    for layer in bundle.architecture.layers:
        number = place.get(f"{bundle.name}/{layer.name}/0")
        if number is None:
            continue
        weights = np.abs(scores.kernels[scores.starts[number] : scores.starts[number + layer.filters]])
        sources = sources_of(bundle.architecture, layer).ravel()
        kept = (sources >= 0) & np.isfinite(weights)
        targets = np.repeat(np.arange(layer.filters), layer.inputs) + bundle.architecture.numbers[layer.name]
        yield sources[kept], targets[kept], weights[kept]
