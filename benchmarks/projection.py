"""How good projections are: methods of smoothing by what they keep of the neighbours, and how short kernels become.

    python benchmarks/projection.py [NET ...] [--methods umap,mds,pca] [--per-class 20] [--scored 100] [--json]

For every net (bundled, or of $VISCNN_DATA) two kinds of vectors: `profiles`, each filter's class profile from at most
`--per-class` images of a class, and `kernels`, its incoming weights. Each layer of 11 filters or more is embedded by
every method and smoothed by

    none          the embedded points themselves
    paper         the force field of the paper's tool: 99 steps, constants as there, vectorised
    assignment    optimal assignment to a sunflower grid, as the first projection of `ingest.layout` has it
    ours          `engine.projections.smoothing`

and judged by trustworthiness and continuity (5 neighbours, means over the layers), by the spread of nearest distances
relative to their mean (0.52 at random, 0 for a lattice), by how far the share of points within any radius is off its
share of the unit disc's area, and by seconds over all layers. Where UMAP is among the methods
it also embeds from its own, spectral start (`umap-spectral`). Then the weighted mean squared length of all kernels:
discs as they are, by the paper's greedy method, and by ours; weights are `taylor` scores towards the loss of
`--scored` images. Profiles are kept in the cache folder.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from viscnn.config import cache_folder
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA
from viscnn.engine.output import parse_output
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.profiles import class_profiles
from viscnn.engine.projections.covariance import CrossCovariance
from viscnn.engine.projections.embedding import UMAP_FILTERS, embed
from viscnn.engine.projections.quality import NEIGHBOURS, quality
from viscnn.engine.projections.rotation import Alignment, align
from viscnn.engine.projections.smoothing import to_disc
from viscnn.engine.projections.vectors import unit_rows
from viscnn.engine.scoring import score_images
from viscnn.engine.target import resolve
from viscnn.engine.wiring import layer_network
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.layout import assign, input_places, sunflower
from viscnn.ingest.zoo import Recipe, build, class_names

Points = NDArray[np.float64]
NETS = ("mnist", "cifar10")
METHODS = ("umap", "mds", "pca")
SEED = 0
PAPER_STEPS = 99


# --- contenders --------------------------------------------------------------------------------------------------


def paper(points: Points) -> Points:
    """Explicit Euler steps of the paper's force field (`get_graph_positions.py`, lines 263 to 385)."""
    n = len(points)
    now = (points - points.mean(axis=0)) / (np.abs(points).max() or 1)
    now += 1e-6 * sunflower(n)  # it divides by distances
    others = ~np.eye(n, dtype=bool)
    for step in range(PAPER_STEPS):
        difference = now[:, None] - now
        distance = np.sqrt((difference**2).sum(axis=2))
        mean, least = distance[others].mean(), distance[others].min()
        distance[~others] = 1
        away = (mean / distance**2)[:, :, None] * difference  # of length mean / r
        to_centre = (now.mean(axis=0) - now) * n * least / 2
        now = now + min(1e-4 + step * 1e-5, 1e-3) * (away.sum(axis=1) + to_centre)
    now -= now.mean(axis=0)
    return now / np.hypot(*now.T).max()


def assignment(points: Points) -> Points:
    """The sunflower points of least summed squared distance to the centred, scaled points."""
    centred, disc = points - points.mean(axis=0), sunflower(len(points))
    return disc[assign(centred / (centred.std() or 1), disc)]


SMOOTHED: dict[str, Callable[[Points], Points]] = {
    "none": lambda points: points,
    "paper": paper,
    "assignment": assignment,
    "ours": to_disc,
}


def umap_from_spectral(vectors: NDArray[Any]) -> Points:
    """UMAP with its own start; small layers as `embed` does them."""
    unit = unit_rows(vectors).unit
    if len(unit) < UMAP_FILTERS:
        return embed(vectors, "umap", seed=SEED).points
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a graph falls into parts
        from umap import UMAP

        return UMAP(metric="cosine", random_state=SEED, n_jobs=1).fit_transform(unit).astype(np.float64)


# --- vectors and weights -----------------------------------------------------------------------------------------


def bundle_of(name: str) -> Bundle:
    """A zoo model and its images, without a graph."""
    zoo = build(Recipe(name))
    architecture = read_architecture(zoo.module, zoo.input_shape)
    classes = class_names(zoo.classes, architecture.logits)
    preprocess = Preprocess.from_json(zoo.preprocess)
    return Bundle(name, architecture, classes, preprocess, zoo.weights_hash, zoo.images)


def profiles(bundle: Bundle, per_class: int) -> list[NDArray[Any]]:
    """Class profiles (filters, classes) per layer, from the first `per_class` images of each class."""
    kept = cache_folder() / f"projection-{bundle.name}-{bundle.weights_hash[:12]}-{per_class}.npz"
    if kept.exists():
        with np.load(kept) as stored:
            return [stored[str(number)] for number in range(len(stored.files))]
    of_class: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(bundle.class_numbers()):
        if number is not None:
            of_class[number].append(index)
    indices = sorted(index for each in of_class.values() for index in each[:per_class])
    found = class_profiles(bundle, tuple(indices)).filters
    np.savez(kept, **{str(number): each for number, each in enumerate(found)})
    return list(found)


def kernels(bundle: Bundle) -> list[NDArray[Any]]:
    """Incoming weights (filters, inputs * rows * columns) per layer; a sum has none."""
    architecture = bundle.architecture
    return [
        np.zeros((layer.filters, 0))
        if layer.is_sum
        else architecture.convolution(layer).weight.detach().numpy().reshape(layer.filters, -1)
        for layer in architecture.layers
    ]


def scores(bundle: Bundle, images: int) -> tuple[NDArray[np.float64], ...]:
    """`taylor` scores (filters, inputs per group) per layer towards the loss, of so many images spread over all."""
    every = range(len(bundle.collection.items))
    indices = tuple(every[:: max(1, len(every) // images)][:images])
    target = resolve(parse_output("loss"), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)
    return score_images(bundle, indices, target, CRITERIA["taylor"]).kernels


def rotation(bundle: Bundle, places: list[Points], weights: tuple[NDArray[np.float64], ...]) -> Alignment:
    """Discs of equal density, turned."""
    start = input_places(bundle.architecture.input_shape[0])
    largest = max(map(len, places))
    discs = [np.stack([start.u, start.v], axis=1), *(each * np.sqrt(len(each) / largest) for each in places)]
    sums = CrossCovariance(discs)
    for layer in layer_network(bundle.name, bundle.architecture, weights):
        real = layer.source_of >= 0
        targets = np.broadcast_to(layer.target_of[:, None], real.shape)
        sums.add(layer.source_of[real], targets[real], layer.kernel[real])
    return align(sums.pairs())


# --- measures ----------------------------------------------------------------------------------------------------


def spread(places: Points) -> float:
    """Standard deviation of nearest distances over their mean."""
    distances = cdist(places, places)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    return float(nearest.std() / nearest.mean())


def unevenness(places: Points) -> float:
    """Largest difference between the share of points within a radius and its share of the unit disc's area."""
    area = np.sort((places**2).sum(axis=1))
    return float(np.abs(area - (np.arange(len(area)) + 0.5) / len(area)).max())


def embedded(vectors: list[NDArray[Any]], method: str) -> Iterator[tuple[NDArray[Any], Points, float]]:
    """Vectors of the live filters of each layer that is large enough, their points, and seconds."""
    for each in vectors:
        live = each[~unit_rows(each).dead]
        if len(live) > 2 * NEIGHBOURS and not unit_rows(live).all_alike:
            began = time.perf_counter()
            points = umap_from_spectral(live) if method == "umap-spectral" else embed(live, method, seed=SEED).points
            yield live, points, time.perf_counter() - began


def smoothing_rows(vectors: list[NDArray[Any]], method: str) -> list[dict[str, Any]]:
    """One row per way of smoothing."""
    layers, rows = list(embedded(vectors, method)), []
    for name, smooth in SMOOTHED.items():
        began = time.perf_counter()
        places = [smooth(points) for _, points, _ in layers]
        seconds = time.perf_counter() - began
        found = [quality(live, each) for (live, _, _), each in zip(layers, places, strict=True)]
        rows.append(
            {
                "method": method,
                "smoothing": name,
                "layers": len(layers),
                "trustworthiness": float(np.mean([each.trustworthiness for each in found])),
                "continuity": float(np.mean([each.continuity for each in found])),
                "spread": float(np.mean([spread(each) for each in places])),
                "unevenness": float(np.mean([unevenness(each) for each in places])),
                "seconds": seconds,
                "embeddingSeconds": sum(each for *_, each in layers),
            }
        )
    return rows


def rotation_row(bundle: Bundle, vectors: list[NDArray[Any]], method: str, weights: Any) -> dict[str, Any]:
    """Lengths with all layers placed by one method."""
    found = [embed(each, method, seed=SEED) for each in vectors]
    places = [to_disc(each.points, dead=each.dead) for each in found]
    began = time.perf_counter()
    turned = rotation(bundle, places, weights)
    seconds = time.perf_counter() - began
    sides = {
        "sweeps": turned.sweeps,
        "start": turned.start,
        "mirrored": int((np.linalg.det(turned.matrices) < 0).sum()),
    }
    return {"method": method, **asdict(turned.lengths), **sides, "layers": len(places), "seconds": seconds}


def measured(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows of one net."""
    bundle = bundle_of(name)
    weights = scores(bundle, options.scored)
    methods = options.methods.split(",")
    for kind, vectors in (("profiles", profiles(bundle, options.per_class)), ("kernels", kernels(bundle))):
        label = {"net": name, "vectors": kind}
        for method in [*methods, *(["umap-spectral"] if "umap" in methods else [])]:
            yield from ({"table": "smoothing", **label, **row} for row in smoothing_rows(vectors, method))
        for method in methods:
            yield {"table": "rotation", **label, **rotation_row(bundle, vectors, method, weights)}


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    if row["table"] == "smoothing":
        start = f"{row['net']:15} {row['vectors']:8} {row['method']:13} {row['smoothing']:10} layers {row['layers']:3}"
        judged = f"trust {row['trustworthiness']:.4f}  continuity {row['continuity']:.4f}  spread {row['spread']:.3f}"
        judged += f"  uneven {row['unevenness']:.3f}"
        return f"{start}  {judged}  {row['seconds']:.2f} s (embedding {row['embeddingSeconds']:.1f} s)"
    lengths = f"unrotated {row['unrotated']:.5f}  greedy {row['greedy']:.5f}  ours {row['ours']:.5f}"
    shorter = f"ours/greedy {row['ours'] / row['greedy']:.4f}" if row["greedy"] else ""
    how = f"{row['sweeps']} sweeps from {row['start']}, {row['mirrored']} of {row['layers']} mirrored"
    return f"{row['net']:15} {row['vectors']:8} {row['method']:13} {lengths}  {shorter}  {how}  {row['seconds']:.2f} s"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--scored", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if "umap" in options.methods:
        embed(np.eye(UMAP_FILTERS), "umap", seed=SEED)  # compiled before it is timed
    rows = []
    for name in options.nets:
        for row in measured(name, options):
            rows.append(row)
            if not options.json:
                print(line(row), flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
