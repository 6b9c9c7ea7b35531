"""Where everything of a diagram stands: filters, the ways of edges, kernel pictures. Unit: one pixel at full size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from viscnn.diagram.order import Layered, Order

__all__ = ["FILTER", "KERNEL_GAP", "Bend", "Point", "Request", "heights", "kernel_places", "point", "routes", "steps"]

FILTER = 46.0
"""Side of a filter's picture."""
BETWEEN = 21.0
"""Between two filters of a column: room for the number below one."""
BESIDE = 13.0
"""Between an edge that passes a column and what is next to it."""
PORTS = 0.32
"""Edges end within this share of a filter's side above and below its middle."""
KERNEL_GAP = 3.0
"""Between two kernel pictures."""
NEAREST, FARTHEST = 150.0, 2500.0
"""Between two columns, from picture to picture."""
WIDE = 1.3
"""Width of a tall figure over its height."""
ROUNDS = 10
ALONG = tuple(place / 100 for place in range(18, 83, 4))
"""Where along its edge a kernel picture is tried: the place it prefers first, then those nearest to that."""
Point = tuple[float, float]
Bend = tuple[Point, Point]


# -- filters -----------------------------------------------------------------------------------------------------------


def heights(graph: Layered, order: Order) -> NDArray[np.float64]:
    """(nodes,) the middle of each node, from 0 down; near its neighbours, in the order given, nothing overlapping.

    Column after column is put where the squared lengths of its edges are least (isotonic regression), a few times.
    """
    places = np.zeros(len(graph.left))
    spaces = [_spaces(column, graph.real) for column in order]
    tallest = max(float(each[-1]) for each in spaces)
    for column, space in zip(order, spaces, strict=True):
        places[column] = space + (tallest - space[-1]) / 2
    for turn in range(ROUNDS):
        numbers = range(len(order)) if turn % 2 == 0 else range(len(order) - 1, -1, -1)
        for number in numbers:
            sides = (graph.left, graph.right) if turn > 1 else ((graph.left, graph.right)[turn % 2],)
            wanted, weights = _wanted(order[number], places, sides, graph.real)
            places[order[number]] = _fitted(wanted, weights, spaces[number], tallest)
    found: NDArray[np.float64] = places - places.min()
    return found


def _spaces(column: Sequence[int], real: int) -> NDArray[np.float64]:
    """The middles of a column's nodes when they stand as close as they may."""
    above = [
        0.0,
        *(
            FILTER + BETWEEN if a < real and b < real else BESIDE if a >= real and b >= real else FILTER / 2 + BESIDE
            for a, b in pairwise(column)
        ),
    ]
    return np.cumsum(above)


def _wanted(
    column: Sequence[int], places: NDArray[np.float64], sides: Iterable[list[list[int]]], real: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the nodes of a column would like to be, and how much: an edge that passes shall be straight."""
    found, weights = [], []
    for node in column:
        ends = [each for side in sides for each in side[node]]
        pull = np.array([4.0 if node >= real and each >= real else 1.0 for each in ends])
        found.append(float(np.average(places[ends], weights=pull)) if ends else float(places[node]))
        weights.append(float(pull.sum()) if ends else 0.01)
    return np.array(found), np.array(weights)


def _fitted(
    wanted: NDArray[np.float64], weights: NDArray[np.float64], space: NDArray[np.float64], tallest: float
) -> NDArray[np.float64]:
    """The places nearest to those wanted that keep their distances and the height of the figure."""
    from scipy.optimize import isotonic_regression

    slack = isotonic_regression(wanted - space, weights=weights).x
    found: NDArray[np.float64] = np.clip(slack, 0, tallest - space[-1]) + space
    return found


def steps(order: Order, tall: float) -> NDArray[np.float64]:
    """The middles of the columns; a tall figure becomes wide as well, within bounds."""
    count = max(len(order) - 1, 1)
    gap = min(max(WIDE * tall / count - FILTER, NEAREST), FARTHEST)
    return np.arange(len(order), dtype=np.float64) * (FILTER + gap)


# -- edges -------------------------------------------------------------------------------------------------------------


def routes(graph: Layered, order: Order, x: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[Bend]]:
    """For each edge its bends from column to column; between them it passes the columns in straight lines."""
    column = {node: number for number, nodes in enumerate(order) for node in nodes}
    leaving = _ports(graph.right, y, graph.real)
    arriving = _ports(graph.left, y, graph.real)
    half = FILTER / 2
    return [
        [((x[column[a]] + half, leaving[a, b]), (x[column[b]] - half, arriving[b, a])) for a, b in pairwise(route)]
        for route in graph.routes
    ]


def _ports(side: list[list[int]], y: NDArray[np.float64], real: int) -> dict[tuple[int, int], float]:
    """Where each edge meets its filter: spread over the side in the order of the other ends."""
    found = {}
    for node, ends in enumerate(side):
        spread = FILTER * PORTS if node < real else 0.0
        ordered = sorted(ends, key=lambda end: (y[end], end))
        for place, end in enumerate(ordered):
            share = 2 * (place + 0.5) / len(ordered) - 1
            found[node, end] = float(y[node]) + spread * share
    return found


def point(bend: Bend, share: float) -> Point:
    """A point of a bend: a cubic curve that leaves and arrives level."""
    (x0, y0), (x1, y1) = bend
    rest = 1 - share
    near, far = 3 * rest * rest * share, 3 * rest * share * share
    middle = (x0 + x1) / 2
    x = rest**3 * x0 + (near + far) * middle + share**3 * x1
    return x, (rest**3 + near) * y0 + (far + share**3) * y1


# -- kernels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A kernel picture that wants a place: its edge, the last bend of the edge, its side, and where it likes to be."""

    edge: int
    bend: Bend
    size: float
    prefers: float = 0.5


def kernel_places(requests: Iterable[Request]) -> dict[int, Point]:
    """The middles of kernel pictures by edge, the first request served first; who finds no free place has none.

    Pictures lie on the last bend of their edge, between two columns, so that they can only meet each other.
    """
    found, taken = {}, dict[tuple[float, int], list[tuple[Point, float]]]()
    for request in requests:
        (left, _), (right, _) = request.bend
        margin = request.size / 2 + KERNEL_GAP
        for share in sorted(ALONG, key=lambda share: abs(share - request.prefers)):
            x, y = point(request.bend, share)
            if not left + margin <= x <= right - margin:
                continue
            cells = [(left, int(y // FILTER) + shift) for shift in (-1, 0, 1)]
            near = (each for cell in cells for each in taken.get(cell, ()))
            if all(_apart((x, y), request.size, *each) for each in near):
                found[request.edge] = (x, y)
                taken.setdefault(cells[1], []).append(((x, y), request.size))
                break
    return found


def _apart(one: Point, size: float, other: Point, other_size: float) -> bool:
    distance = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
    return distance >= (size + other_size) / 2 + KERNEL_GAP
