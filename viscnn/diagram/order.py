"""Columns of a layered drawing, and an order within them that has few crossings (Sugiyama, Tagawa and Toda 1981).

An edge over several columns gets a dummy place in each of those between, so that it runs beside the filters there; all
edges of one filter share their dummies. Orders are swept by barycentres and by medians, improved by exchanging
neighbours, and the best one is kept. No chance is involved: the same circuit gives the same order.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median_low

__all__ = ["Layered", "crossings", "layered", "reduced"]

SWEEPS = 12
"""Back and forth, by each of the two rules."""
EXCHANGES = 8
Order = list[list[int]]
_Rule = Callable[[list[int]], float]


@dataclass(frozen=True)
class Layered:
    """Nodes in columns and segments between neighbouring columns.

    Attributes:
        columns: nodes from top to bottom; those from `real` on are dummies.
        real: number of nodes that are no dummies.
        left, right: for each node its neighbours in the column before and in the one after.
        routes: for each edge its nodes from source to target.
    """

    columns: Order
    real: int
    left: list[list[int]]
    right: list[list[int]]
    routes: list[list[int]]


def layered(columns: Sequence[int], edges: Sequence[tuple[int, int]]) -> Layered:
    """Nodes 0 and on in the columns named, in their order, and dummies below the filters that need them.

    Args:
        columns: (nodes,) number of each node's column.
        edges: source and target; the target's column lies behind the source's.
    """
    order: Order = [[] for _ in range(max(columns, default=-1) + 1)]
    for node, column in enumerate(columns):
        order[column].append(node)
    routes, dummies = [], dict[tuple[int, int], int]()
    for source, target in edges:
        between = [(source, column) for column in range(columns[source] + 1, columns[target])]
        for place in between:
            if place not in dummies:
                dummies[place] = len(columns) + len(dummies)
                order[place[1]].append(dummies[place])
        routes.append([source, *(dummies[place] for place in between), target])
    left, right = _neighbours(routes, len(columns) + len(dummies))
    return Layered(order, len(columns), left, right, routes)


def _neighbours(routes: list[list[int]], nodes: int) -> tuple[list[list[int]], list[list[int]]]:
    segments = dict.fromkeys(pair for route in routes for pair in pairwise(route))
    left: list[list[int]] = [[] for _ in range(nodes)]
    right: list[list[int]] = [[] for _ in range(nodes)]
    for source, target in segments:
        right[source].append(target)
        left[target].append(source)
    return left, right


def crossings(graph: Layered, order: Order) -> int:
    """Pairs of segments that cross when the columns stand in this order."""
    places = _places(order)
    total = 0
    for column in order[:-1]:
        ends: list[int] = []
        for node in column:
            mine = sorted(places[each] for each in graph.right[node])
            total += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return total


def reduced(graph: Layered) -> Order:
    """The order with the fewest crossings that was found; never more than the graph's own has."""
    best = [list(column) for column in graph.columns]
    fewest = crossings(graph, best)
    for rule in (fmean, lambda places: float(median_low(places))):
        order = [list(column) for column in graph.columns]
        for sweep in range(SWEEPS):
            _sweep(graph, order, rule, forward=sweep % 2 == 0)
            found = crossings(graph, order)
            if found < fewest:
                best, fewest = [list(column) for column in order], found
    _exchange(graph, best)
    return best


def _places(order: Order) -> dict[int, int]:
    return {node: place for column in order for place, node in enumerate(column)}


def _sweep(graph: Layered, order: Order, rule: _Rule, *, forward: bool) -> None:
    """Sort column after column by the places of the neighbours in the one before; who has none stays."""
    neighbours = graph.left if forward else graph.right
    numbers = range(1, len(order)) if forward else range(len(order) - 2, -1, -1)
    for number in numbers:
        places = {node: place for place, node in enumerate(order[number - 1 if forward else number + 1])}
        keys = {
            node: rule([places[each] for each in neighbours[node]]) if neighbours[node] else float(place)
            for place, node in enumerate(order[number])
        }
        order[number].sort(key=keys.__getitem__)


def _exchange(graph: Layered, order: Order) -> None:
    """Exchange neighbours in a column as long as that takes crossings away."""
    places = _places(order)
    for _ in range(EXCHANGES):
        changed = False
        for column in order:
            for place in range(len(column) - 1):
                upper, lower = column[place], column[place + 1]
                if _gain(graph, places, upper, lower) > 0:
                    column[place : place + 2] = lower, upper
                    places[upper], places[lower] = place + 1, place
                    changed = True
        if not changed:
            return


def _gain(graph: Layered, places: dict[int, int], upper: int, lower: int) -> int:
    """Crossings fewer when two neighbours of a column change places."""
    gain = 0
    for side in (graph.left, graph.right):
        over = sorted(places[each] for each in side[upper])
        under = sorted(places[each] for each in side[lower])
        for end in under:
            gain += (len(over) - bisect_right(over, end)) - bisect_left(over, end)
    return gain
