"""Where discs stand in the 3-D view, and their captions: layers of one depth side by side. Pure functions.

The graph has a filter's place in the disc of its own layer (`u`, `v`) and its depth; two layers of one depth would lie
on top of each other. Here each layer of a depth gets a place of its own, by `branch`: the first on the axis of the
network, the others above and below it in turn.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["MOST_IN_A_COLUMN", "captions", "offsets"]

GAP = 0.25
"""Between the rims of two discs, in radii of the largest layer's disc."""
SMALLEST_RADIUS = 0.16
MOST_IN_A_COLUMN = 6
LONGEST_CAPTION = 26


def offsets(filters: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Centre (`u`, `v`) of the disc of each layer, by its index; discs of one depth do not overlap.

    Args:
        filters: layerIndex, u, v of each filter; unit: the radius of the largest layer's disc.
        layers: index, depth, branch of each layer.
    """
    distances = pd.Series(np.hypot(filters["u"].to_numpy(), filters["v"].to_numpy()))
    radii = distances.groupby(filters["layerIndex"].to_numpy()).max().clip(lower=SMALLEST_RADIUS)
    centres = pd.DataFrame(0.0, index=layers["index"].to_numpy(), columns=["u", "v"])
    for _, beside in layers.sort_values("branch").groupby("depth"):
        indices = beside["index"].tolist()
        sizes = [float(radii.get(index, SMALLEST_RADIUS)) for index in indices]
        centres.loc[indices] = _column(sizes) if len(sizes) <= MOST_IN_A_COLUMN else _grid(sizes)
    return centres


def _column(radii: Sequence[float]) -> list[tuple[float, float]]:
    """Centres of discs above each other, the first at zero, the others below and above it in turn."""
    found = [(0.0, 0.0)]
    top, bottom = radii[0], -radii[0]
    for number, radius in enumerate(radii[1:]):
        if number % 2:
            found.append((0.0, bottom - GAP - radius))
            bottom -= GAP + 2 * radius
        else:
            found.append((0.0, top + GAP + radius))
            top += GAP + 2 * radius
    return found


def _grid(radii: Sequence[float]) -> list[tuple[float, float]]:
    """Centres of many discs in a square, row by row from the top."""
    across = int(np.ceil(np.sqrt(len(radii))))
    cell = 2 * max(radii) + GAP
    middle = (across - 1) / 2
    return [((number % across - middle) * cell, (middle - number // across) * cell) for number in range(len(radii))]


def captions(layers: pd.DataFrame, centres: pd.DataFrame) -> list[str]:
    """The caption of each layer by its index: one for all layers of a depth, at the lowest; empty at the others.

    Args:
        layers: index, name, filters, depth of each layer.
        centres: see `offsets`.
    """
    found = [""] * (int(layers["index"].max()) + 1)
    for _, beside in layers.sort_values("index").groupby("depth"):
        lowest = int(centres.loc[beside["index"], "v"].idxmin())
        found[lowest] = _caption(beside["name"].tolist(), beside["filters"].tolist())
    return found


def _caption(names: Sequence[str], filters: Sequence[int]) -> str:
    """Name and number of filters of one layer; of several what their names have in common and how many they are."""
    if len(names) == 1:
        return f"{_short(names[0])} · {filters[0]}"
    common = _common(names)
    if common:
        return f"{_short(common)} · {len(names)} layers"
    every = " + ".join(names)
    return every if len(every) <= LONGEST_CAPTION else f"{_short(names[0])} + {len(names) - 1} more"


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to a dot or underscore."""
    least, most = min(names), max(names)  # in the order of letters: what these two share, all share
    differ = (at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b)
    shared = least[: next(differ, len(least))]
    return shared[: max(shared.rfind("."), shared.rfind("_"), 0)]


def _short(name: str) -> str:
    """The end of a long name, from a dot on where there is one."""
    if len(name) <= LONGEST_CAPTION:
        return name
    end = name[-LONGEST_CAPTION:]
    return "…" + (end.partition(".")[2] or end)
