"""What of a circuit is drawn: all of it, or of a large one the filters with the highest scores that stay connected."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["MOST_KERNELS", "Choice", "choose"]

MOST_KERNELS = 2000
"""Lines of kernels in one diagram; the browser moves so many at once without effort."""


@dataclass(frozen=True)
class Choice:
    """Rows of the circuit's tables that are drawn.

    Attributes:
        filters: rows of filters, in their order.
        edges: rows of edges, in their order.
    """

    filters: NDArray[np.int64]
    edges: NDArray[np.int64]


def choose(scores: NDArray[np.float64], edges: pd.DataFrame, *, limit: int, kernels: int = MOST_KERNELS) -> Choice:
    """At most `limit` filters and about as many edges as `kernels`, strongest first; none loses its way to both ends.

    A filter brings along its strongest path from the image and to the target; one for which there is no room is
    skipped. Of the edges between drawn filters the strongest are kept, and of each filter the strongest on each side.

    Args:
        scores: (filters,) comparable between layers.
        edges: source, target (rows of the filters), strength, comparable between layers.
    """
    kept = _filters(scores, edges, limit)
    inside = np.flatnonzero(kept[edges["source"].to_numpy()] & kept[edges["target"].to_numpy()])
    return Choice(np.flatnonzero(kept), _edges(edges.iloc[inside], inside, kernels))


def _filters(scores: NDArray[np.float64], edges: pd.DataFrame, limit: int) -> NDArray[np.bool_]:
    kept = np.ones(len(scores), dtype=np.bool_)
    if len(scores) <= limit:
        return kept
    kept[:] = False
    onward, back = (_strongest(edges, side, other) for side, other in (("source", "target"), ("target", "source")))
    room = limit
    for row in np.argsort(-scores, kind="stable").tolist():
        if room == 0:
            break
        new = [each for each in {*_chain(row, onward), *_chain(row, back)} if not kept[each]]
        if len(new) <= room:
            kept[new] = True
            room -= len(new)
    return kept


def _strongest(edges: pd.DataFrame, side: str, other: str) -> dict[int, int]:
    """For each filter at `side` of an edge the filter at the other side of its strongest edge."""
    order = edges.sort_values("strength", ascending=False, kind="stable").drop_duplicates(side)
    return dict(zip(order[side].tolist(), order[other].tolist(), strict=True))


def _chain(row: int, following: dict[int, int]) -> list[int]:
    """A filter and those that follow it, to the end."""
    found = [row]
    while (after := following.get(found[-1])) is not None:
        found.append(after)
    return found


def _edges(edges: pd.DataFrame, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(edges) <= most:
        return rows
    ranked = edges.assign(row=rows).sort_values("strength", ascending=False, kind="stable")
    needed = pd.concat([ranked.drop_duplicates("source"), ranked.drop_duplicates("target")])["row"]
    chosen = list(dict.fromkeys([*needed.tolist(), *ranked["row"].tolist()]))[: max(most, needed.nunique())]
    return np.sort(np.array(chosen, dtype=np.int64))
