"""Pictures of every projection, before and after smoothing (the paper's Fig. 12), for `docs/projections.md`.

    python benchmarks/projection_pictures.py [NET=LAYER ...] [--per-class 50] [--folder docs/images]

For every net (by default cifar10=conv4 and googlenet-bvlc=inception_4d_3x3, of $VISCNN_DATA) two files:
`projections-NET.png` shows one layer by every method, a row each, its filters coloured by their best class and by the
eccentricity and the polar angle that they had before smoothing; `discs-NET.png` shows all layers by `class-umap`,
coloured by best class, the discs' areas in proportion to their filters. Vectors are kept in the cache folder.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from projection import bundle_of
from projection_meaning import SEED, images, vectors

from viscnn.engine.bundle import Bundle
from viscnn.engine.projections.layer import LayerPlaces, place
from viscnn.engine.projections.project import METHODS as ALL

NETS = ("cifar10=conv4", "googlenet-bvlc=inception_4d_3x3")
METHODS = {name: how for name, how in ALL.items() if how[0] != "visualisations"}
"""Those that need no rendered visualisations."""
INCHES, DPI, DOT = 1.7, 80, 9
Points = NDArray[np.float64]
Colours = dict[str, Any]
"""What `Axes.scatter` is told of colours."""


def by_class(profiles: NDArray[Any], classes: int) -> Colours:
    """The best class of each filter: ten colours, or a scale over the classes in ImageNet's order."""
    best = profiles.argmax(axis=1)
    return {
        "c": best,
        "cmap": "tab10" if classes <= 10 else "turbo",
        "vmin": 0,
        "vmax": 9 if classes <= 10 else classes,
    }


def by_eccentricity(points: Points) -> Colours:
    """Distance from the centre."""
    return {"c": np.hypot(*points.T), "cmap": "viridis"}


def by_angle(points: Points) -> Colours:
    """Polar angle, on a scale that closes."""
    return {"c": np.arctan2(points[:, 1], points[:, 0]), "cmap": "hsv", "vmin": -math.pi, "vmax": math.pi}


def disc(axes: Axes, points: Points, colours: Colours, *, dot: float = DOT) -> None:
    """Filters in their disc, whatever the extent of the points."""
    axes.scatter(*(points / np.hypot(*points.T).max()).T, s=dot, linewidths=0, **colours)
    axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal")
    axes.set_axis_off()


def methods(bundle: Bundle, of_kind: dict[str, list[NDArray[Any]]], layer: int) -> Figure:
    """One layer by every method."""
    profiles = of_kind["classes"][layer]
    live = profiles.any(axis=1)
    columns = [
        f"{what},\n{when}" for what in ("best class", "eccentricity", "polar angle") for when in ("before", "after")
    ]
    figure, grid = plt.subplots(len(METHODS), 6, figsize=(6 * INCHES, len(METHODS) * INCHES), layout="constrained")
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=10)
    for row, (method, (kind, embedding)) in zip(grid, METHODS.items(), strict=True):
        found = place(of_kind[kind][layer], embedding, seed=SEED)
        before, after = found.embedded.points[live], found.places[live]
        every = [by_class(profiles[live], len(bundle.classes)), by_eccentricity(before), by_angle(before)]
        for number, colours in enumerate(every):
            disc(row[2 * number], before, colours)
            disc(row[2 * number + 1], after, colours)
        row[0].text(-1.35, 0, method, rotation=90, va="center", ha="center", fontsize=10)
    return figure


def discs(bundle: Bundle, profiles: list[NDArray[Any]]) -> Figure:
    """All layers by `class-umap`."""
    layers = bundle.architecture.layers
    found: list[LayerPlaces] = [place(each, "umap", seed=SEED) for each in profiles]
    columns = min(len(layers), 10)
    shape = (math.ceil(len(layers) / columns), columns)
    figure, grid = plt.subplots(*shape, figsize=(shape[1] * INCHES, shape[0] * INCHES * 1.1), layout="constrained")
    largest = max(layer.filters for layer in layers)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, layer, each, profile in zip(grid.flat, layers, found, profiles, strict=False):
        live = profile.any(axis=1)
        colours = by_class(profile[live], len(bundle.classes))
        axes.scatter(*each.places[live].T * math.sqrt(layer.filters / largest), s=5, linewidths=0, **colours)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        axes.set_title(layer.name.removeprefix("inception_"), fontsize=8)
    if len(bundle.classes) <= 10:
        shown = [
            plt.Line2D([], [], marker="o", ls="", color=plt.get_cmap("tab10")(n)) for n in range(len(bundle.classes))
        ]
        figure.legend(shown, bundle.classes, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def main() -> None:
    """Parse the command line, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET=LAYER")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    options = parser.parse_args()
    for name, _, layer in (each.partition("=") for each in options.nets):
        bundle = bundle_of(name)
        chosen, label = images(bundle, options.per_class, others=False), f"{options.per_class}-same"
        of_kind = {kind: vectors(bundle, kind, chosen, label) for kind, _ in METHODS.values()}
        number = [each.name for each in bundle.architecture.layers].index(layer)
        for what, figure in (
            ("projections", methods(bundle, of_kind, number)),
            ("discs", discs(bundle, of_kind["classes"])),
        ):
            path = options.folder / f"{what}-{name}.png"
            figure.savefig(path, dpi=DPI)
            print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
