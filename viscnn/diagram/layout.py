"""The diagram of a circuit: its filters in columns by layer, its kernels between them, as plain data.

Pure: `circuit.py` reads a stored circuit from the graph, `svg.py` and `html.py` draw it. What a
filter looks like is the caller's to say.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from viscnn.diagram.order import Order, crossings, layered, reduced
from viscnn.diagram.places import Bend, Point, Request, heights, kernel_places, routes, steps

__all__ = ["IDENTITY", "Column", "Diagram", "DrawnFilter", "Edge", "KernelPicture", "Weights", "laid"]

IDENTITY = 2
"""The sign of an identity, as in the 3-D view."""
IDENTITY_WIDTH = 1.4
WIDEST, NARROWEST = 10.0, 0.5
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A layer: `x` is its middle, `drawn` its filters in the diagram, of `included` in the circuit and `filters`."""

    layer: str
    x: float
    drawn: int
    included: int
    filters: int


@dataclass(frozen=True)
class DrawnFilter:
    """A filter, input channel or channel of a sum (`kind`: filter, input, sum) with its middle and its `label`."""

    uid: str
    layer: str
    label: str
    kind: str
    column: int
    x: float
    y: float
    score: float
    target: bool


@dataclass(frozen=True)
class Edge:
    """A kernel, or an identity, between two rows of `Diagram.filters`.

    Attributes:
        input: index of the kernel's input, or of the addend.
        shown: score over the largest in its layer's part of the circuit, 0 to 1.
        sign: -1 inhibitory, 0 mixed, 1 excitatory, 2 an identity.
        width: pixels.
        bends: its curves between neighbouring columns, from left to right.
    """

    source: int
    target: int
    input: int
    score: float
    shown: float
    sign: int
    width: float
    bends: tuple[Bend, ...] = field(repr=False)


@dataclass(frozen=True)
class KernelPicture:
    """The weights of an edge's kernel as a square on it: middle, side; `limit` is the end of its layer's scale."""

    edge: int
    at: Point
    size: float
    limit: float
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class Diagram:
    """A circuit laid out; x runs right, y down, from 0 to `width` and `height` around the filters' middles.

    Attributes:
        circuit: the stored circuit's properties.
        pictures: kernel pictures that found a place.
        filters_total, kernels_total, identities_total: what the circuit includes.
        kernels: kernels among `edges`.
        without_place: kernel pictures that found none; `without_weights`: kernels whose weights are not stored.
        not_stored: kernels of the circuit that were left out of the graph when the model was ingested.
        crossings: of the edges in this order; `crossings_by_channel`: with the filters in the order of their channels.
    """

    circuit: dict[str, Any] = field(repr=False)
    columns: tuple[Column, ...]
    filters: tuple[DrawnFilter, ...]
    edges: tuple[Edge, ...]
    pictures: tuple[KernelPicture, ...]
    width: float
    height: float
    filters_total: int
    kernels_total: int
    identities_total: int
    kernels: int
    without_place: int
    without_weights: int
    not_stored: int
    crossings: int
    crossings_by_channel: int

    @property
    def filters_left_out(self) -> int:
        """Filters of the circuit that are not drawn."""
        return self.filters_total - len(self.filters)

    def facts(self) -> dict[str, Any]:
        """What is drawn and what is left out, in numbers."""
        return {
            "circuit": self.circuit["uid"],
            "filters": len(self.filters),
            "filtersLeftOut": self.filters_left_out,
            "kernels": self.kernels,
            "kernelsLeftOut": self.kernels_total - self.kernels,
            "identities": len(self.edges) - self.kernels,
            "identitiesLeftOut": self.identities_total - len(self.edges) + self.kernels,
            "kernelPictures": len(self.pictures),
            "kernelPicturesWithoutPlace": self.without_place,
            "kernelsWithoutWeights": self.without_weights,
            "kernelsNotStored": self.not_stored,
            "crossings": self.crossings,
            "crossingsByChannel": self.crossings_by_channel,
        }

    @property
    def caption(self) -> str:
        """What the drawing shows and what it leaves out, in one line."""
        found = self.facts()
        parts = [
            f"{_count(len(self.filters), 'filter')}",
            f"{_count(self.kernels, 'kernel')}",
        ]
        if found["identities"]:
            parts.append(_count(found["identities"], "identity", "identities"))
        line = [", ".join(parts)]
        if self.filters_left_out:
            line.append(
                f"{_count(self.filters_left_out, 'filter')} of the circuit left out: "
                f"those drawn have the highest scores and stay connected"
            )
        if found["kernelsLeftOut"]:
            weaker = "" if self.filters_left_out else "weaker "
            line.append(f"{_count(found['kernelsLeftOut'], f'{weaker}kernel')} left out")
        if found["identitiesLeftOut"]:
            line.append(f"{_count(found['identitiesLeftOut'], 'identity', 'identities')} left out")
        if self.without_place:
            line.append(f"{_count(self.without_place, 'kernel picture')} without a free place")
        if self.without_weights:
            line.append(f"{_count(self.without_weights, 'kernel')} without a picture: weights are not stored")
        if self.not_stored:
            line.append(f"{_count(self.not_stored, 'kernel')} not stored (left out when the model was ingested)")
        return "; ".join(line)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


# -- layout ------------------------------------------------------------------------------------------------------------


def laid(
    filters: pd.DataFrame,
    edges: pd.DataFrame,
    layers: pd.DataFrame,
    weights: dict[tuple[str, int], Weights],
    *,
    circuit: dict[str, Any],
    every: pd.DataFrame | None = None,
) -> Diagram:
    """Lay out filters and edges: columns by layer, few crossings, kernel pictures where there is room.

    Args:
        filters: uid, layer, channel, inputChannel, sum, score, target; in the order of execution and of channels.
        edges: source, target (rows of `filters`), input, score, shown (0 to 1), sign.
        layers: depth, branch, index, filters by name.
        weights: (rows, columns) of kernels by uid of the target and input; without one no picture.
        circuit: properties of the circuit.
        every: the filters of the whole circuit where not all are drawn.
    """
    names = _column_names(filters, layers)
    number = {name: place for place, name in enumerate(names)}
    pairs = list(zip(edges["source"].tolist(), edges["target"].tolist(), strict=True))
    graph = layered([number[name] for name in filters["layer"]], pairs)
    order = reduced(graph)
    y = heights(graph, order)
    tall = float(y.max())
    x = steps(order, tall)
    lines = _lines(edges, routes(graph, order, x, y))
    wanted = _requests(filters, edges, lines, weights)
    pictures = _pictures(wanted, filters, lines, weights)
    counts = (every if every is not None else filters)["layer"].value_counts()
    return Diagram(
        circuit=circuit,
        columns=_columns(names, x, filters, layers, counts),
        filters=_drawn(filters, order, x, y),
        edges=lines,
        pictures=pictures,
        width=float(x[-1]),
        height=tall,
        filters_total=len(every if every is not None else filters),
        kernels_total=int((edges["sign"] != IDENTITY).sum()),
        identities_total=int((edges["sign"] == IDENTITY).sum()),
        kernels=int((edges["sign"] != IDENTITY).sum()),
        without_place=len(wanted) - len(pictures),
        without_weights=int((edges["sign"] != IDENTITY).sum()) - len(wanted),
        not_stored=0,
        crossings=crossings(graph, order),
        crossings_by_channel=crossings(graph, graph.columns),
    )


def _column_names(filters: pd.DataFrame, layers: pd.DataFrame) -> list[str]:
    """The layers that are drawn, by depth, then branch."""
    drawn = layers.loc[layers["name"].isin(filters["layer"])]
    return [str(name) for name in drawn.sort_values(["depth", "branch", "index"])["name"]]


def _columns(
    names: list[str], x: NDArray[np.float64], filters: pd.DataFrame, layers: pd.DataFrame, counts: "pd.Series[int]"
) -> tuple[Column, ...]:
    drawn, totals = filters["layer"].value_counts(), layers["filters"].to_dict()
    return tuple(
        Column(name, float(middle), int(drawn[name]), int(counts[name]), int(totals[name]))
        for name, middle in zip(names, x, strict=True)
    )


def _drawn(
    filters: pd.DataFrame, order: Order, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[DrawnFilter, ...]:
    column = {node: number for number, nodes in enumerate(order) for node in nodes}
    return tuple(
        DrawnFilter(
            uid=str(each["uid"]),
            layer=str(each["layer"]),
            label=str(each["uid"]).rpartition("/")[2],
            kind="input" if each["inputChannel"] else "sum" if each["sum"] else "filter",
            column=column[row],
            x=float(x[column[row]]),
            y=float(y[row]),
            score=float(each["score"]),
            target=bool(each["target"]),
        )
        for row, each in enumerate(filters.to_dict("records"))
    )


def _lines(edges: pd.DataFrame, bends: list[list[Bend]]) -> tuple[Edge, ...]:
    return tuple(
        Edge(
            source=int(each["source"]),
            target=int(each["target"]),
            input=int(each["input"]),
            score=float(each["score"]),
            shown=float(each["shown"]),
            sign=int(each["sign"]),
            width=_width(each["shown"]) if each["sign"] != IDENTITY else IDENTITY_WIDTH,
            bends=tuple(way),
        )
        for each, way in zip(edges.to_dict("records"), bends, strict=True)
    )


def _width(shown: float) -> float:
    """Of a line: max(.5, 10 * score^(2/3)), the score relative to its layer's largest."""
    return float(max(NARROWEST, WIDEST * shown ** (2 / 3)))


def _requests(
    filters: pd.DataFrame, edges: pd.DataFrame, lines: tuple[Edge, ...], weights: dict[tuple[str, int], Weights]
) -> list[Request]:
    """The kernels that have weights, the strongest first."""
    uids = filters["uid"].tolist()
    known = [
        (row, weights[uids[line.target], line.input])
        for row, line in enumerate(lines)
        if line.sign != IDENTITY and (uids[line.target], line.input) in weights
    ]
    known.sort(key=lambda pair: (-lines[pair[0]].shown, pair[0]))
    leaving, arriving = Counter(line.source for line in lines), Counter(line.target for line in lines)
    return [
        Request(
            row,
            lines[row].bends[-1],
            _side(values),
            _emptier(leaving[lines[row].source], arriving[lines[row].target]),
        )
        for row, values in known
    ]


def _emptier(leaving: int, arriving: int) -> float:
    """Where along an edge there is most room: away from the end at which many others meet."""
    return 0.5 + 0.22 * (leaving - arriving) / (leaving + arriving)


def _side(weights: Weights) -> float:
    """Of a kernel picture: larger kernels get a little more room."""
    return float(min(15.0 + 2.5 * (max(weights.shape) - 1), 34.0))


def _pictures(
    wanted: list[Request],
    filters: pd.DataFrame,
    lines: tuple[Edge, ...],
    weights: dict[tuple[str, int], Weights],
) -> tuple[KernelPicture, ...]:
    uids, layers = filters["uid"].tolist(), filters["layer"].tolist()
    values = {each.edge: weights[uids[lines[each.edge].target], lines[each.edge].input] for each in wanted}
    limits: dict[str, float] = {}
    for edge, kernel in values.items():
        layer = layers[lines[edge].target]
        limits[layer] = max(limits.get(layer, 0.0), float(np.abs(kernel).max(initial=0.0)))
    places, sizes = kernel_places(wanted), {each.edge: each.size for each in wanted}
    return tuple(
        KernelPicture(edge, at, sizes[edge], limits[layers[lines[edge].target]] or 1.0, values[edge])
        for edge, at in places.items()
    )
