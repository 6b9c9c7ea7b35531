"""Receptive fields: which pixels of the image, or positions of another layer's maps, can influence a unit.

A *unit* is a filter at a position. It reads a set of positions in each layer before; the union over all paths, followed
back to the input, is its receptive field. Three things are computed from the same links (`links.py`):

- for one unit the set itself, position by position: the smallest box that holds it, and whether it fills that box;
- for all units of a layer their boxes. Rows and columns are independent, so there is one interval for each row and one
  for each column of the layer's maps;
- the same boxes as they would be if no maps had borders (*unclipped*): what lies outside the image is padding.

Nothing here needs the model: layers and feeds, as the graph stores them, are enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.links import Link, Linked, Structure, linked
from viscnn.engine.spatial import Step
from viscnn.errors import InputError, NotInGraph, nearest
from viscnn.ingest.structure import INPUT

__all__ = ["Interval", "LayerFields", "ReceptiveField", "ReceptiveFields"]

Interval = tuple[int, int]
"""First and last row or column."""

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
_NEVER = np.iinfo(np.int64).max

T = TypeVar("T")
Carry = Callable[[Link, T], T]
Join = Callable[[T, T], T]


@dataclass(frozen=True)
class ReceptiveField:
    """What one unit can be influenced by.

    Attributes:
        layer, channel, position: the unit; position is (row, column).
        towards: the layer that is looked at, `input` for the image, whose maps have `size` (rows, columns).
        rows, columns: the smallest box that holds every position that can influence the unit, within the maps; None
            where the unit reads nothing but padding.
        unclipped_rows, unclipped_columns: the box if no maps on the way had borders.
        pixels: number of positions that can influence the unit.
    """

    layer: str
    channel: int
    position: tuple[int, int]
    towards: str
    size: tuple[int, int]
    rows: Interval | None
    columns: Interval | None
    unclipped_rows: Interval
    unclipped_columns: Interval
    pixels: int

    @property
    def full(self) -> bool:
        """Whether every position of the box can influence the unit: no holes of a dilation, no wrapped borders."""
        if self.rows is None or self.columns is None:
            return False
        return self.pixels == (self.rows[1] - self.rows[0] + 1) * (self.columns[1] - self.columns[0] + 1)

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """How much of the unclipped box lies outside the maps: rows above and below, columns to the left and right."""
        (top, bottom), (left, right) = self.unclipped_rows, self.unclipped_columns
        rows, columns = self.size
        return max(-top, 0), max(bottom - rows + 1, 0), max(-left, 0), max(right - columns + 1, 0)

    def facts(self) -> dict[str, Any]:
        """Everything as JSON has it."""
        return {
            "layer": self.layer,
            "channel": self.channel,
            "position": list(self.position),
            "towards": self.towards,
            "size": list(self.size),
            "rows": None if self.rows is None else list(self.rows),
            "columns": None if self.columns is None else list(self.columns),
            "unclippedRows": list(self.unclipped_rows),
            "unclippedColumns": list(self.unclipped_columns),
            "padding": dict(zip(("top", "bottom", "left", "right"), self.padding, strict=True)),
            "pixels": self.pixels,
            "full": self.full,
        }


@dataclass(frozen=True, eq=False)
class LayerFields:
    """Boxes of all units of a layer whose maps have P rows and Q columns.

    The box of unit (r, c) is rows[r] by columns[c], first and last; 0 and -1 where nothing but padding is read.

    Attributes:
        towards, size: the layer that is looked at, and (rows, columns) of its maps.
        rows, columns: (P, 2) and (Q, 2), within the maps.
        unclipped_rows, unclipped_columns: (P, 2) and (Q, 2), if no maps had borders.
    """

    towards: str
    size: tuple[int, int]
    rows: Integers
    columns: Integers
    unclipped_rows: Integers
    unclipped_columns: Integers


class ReceptiveFields:
    """The receptive fields of a network's units; which layer reads which is worked out once.

    Raises:
        StoredDataError: an operation whose reads are not known, or layers and feeds that do not fit together.
    """

    def __init__(self, structure: Structure) -> None:
        self._layers = linked(structure)
        self._spans: dict[tuple[str, int], dict[str, Integers]] = {}

    def unit(self, layer: str, channel: int, position: tuple[int, int], *, towards: str = INPUT) -> ReceptiveField:
        """The receptive field of filter `channel` of `layer` at `position` (row, column), in the maps of `towards`.

        Raises:
            NotInGraph: there is no such layer or filter.
            InputError: the position lies outside the layer's maps, or the unit does not depend on `towards`.
        """
        own, other = self._layer(layer), self._layer(towards)
        classes = [self._class(own, channel)]
        for place, size, what in zip(position, own.size, ("row", "column"), strict=True):
            if not 0 <= place < size:
                raise InputError(f"{what} {place} lies outside the maps of {layer}; its {what}s are 0 to {size - 1}")
        reached = np.zeros(own.size, dtype=np.bool_)
        reached[position] = True
        row, column = np.nonzero(self._back(own, dict.fromkeys(classes, reached), other, _reads, np.logical_or))
        unclipped = [
            self._unclipped(own, classes, other, axis, np.array([place]))[0].tolist()
            for axis, place in enumerate(position)
        ]
        empty = len(row) == 0
        return ReceptiveField(
            layer=layer,
            channel=channel,
            position=position,
            towards=towards,
            size=other.size,
            rows=None if empty else (int(row.min()), int(row.max())),
            columns=None if empty else (int(column.min()), int(column.max())),
            unclipped_rows=(int(unclipped[0][0]), int(unclipped[0][1])),
            unclipped_columns=(int(unclipped[1][0]), int(unclipped[1][1])),
            pixels=len(row),
        )

    def layer(self, layer: str, *, channel: int | None = None, towards: str = INPUT) -> LayerFields:
        """The boxes of all units of a layer (of one filter, or those that hold every filter's).

        They are as small as can be unless some path from the unit reads only padding along one axis: what that path
        reads along the other axis is in the box all the same.

        Raises:
            NotInGraph: there is no such layer or filter.
            InputError: the layer does not depend on `towards`.
        """
        own, other = self._layer(layer), self._layer(towards)
        classes = list(range(own.classes)) if channel is None else [self._class(own, channel)]
        unclipped = [self._unclipped(own, classes, other, axis, np.arange(own.size[axis])) for axis in (0, 1)]
        boxes = [self._clipped(own, classes, other, axis) for axis in (0, 1)]
        return LayerFields(towards, other.size, boxes[0], boxes[1], unclipped[0], unclipped[1])

    def _layer(self, name: str) -> Linked:
        if name not in self._layers:
            raise NotInGraph(f"there is no layer {name!r}{nearest(name, tuple(self._layers))}")
        return self._layers[name]

    def _class(self, layer: Linked, channel: int) -> int:
        if not 0 <= channel < len(layer.member):
            raise NotInGraph(f"{layer.name} has no filter {channel}; its filters are 0 to {len(layer.member) - 1}")
        return int(layer.member[channel])

    def _between(self, other: Linked, own: Linked) -> list[Linked]:
        """The layers behind `other`, up to `own`, in the order of execution."""
        names = list(self._layers)
        return [self._layers[each] for each in names[names.index(other.name) + 1 : names.index(own.name) + 1]]

    def _back(self, own: Linked, start: dict[int, T], other: Linked, carry: Carry[T], join: Join[T]) -> T:
        """What a value of some classes of `own` becomes when it is carried back to `other` on all paths."""
        values = {own.name: start}
        for layer in reversed(self._between(other, own)):
            mine = values.get(layer.name, {})
            for link in layer.links if mine else ():
                theirs = values.setdefault(link.source, {})
                for number in range(link.reads.shape[1]):
                    found = [value for each, value in mine.items() if link.reads[each, number]]
                    if found:
                        carried = carry(link, reduce(join, found))
                        theirs[number] = join(theirs[number], carried) if number in theirs else carried
        if not values.get(other.name):
            raise InputError(f"{own.name} does not depend on {other.name}: no path leads from there to it")
        return reduce(join, values[other.name].values())

    def _unclipped(self, own: Linked, classes: list[int], other: Linked, axis: int, places: Integers) -> Integers:
        """(places, 2) first and last along an axis if no maps had borders."""

        def carry(link: Link, spans: Integers) -> Integers:
            low, high = spans[0], -spans[1]
            for step in (link.rows, link.columns)[axis]:
                low, high = step.unbounded(low, high)
            return np.stack([low, -high])

        start = dict.fromkeys(classes, np.stack([places, -places]))
        return _pairs(self._back(own, start, other, carry, np.minimum))

    def _clipped(self, own: Linked, classes: list[int], other: Linked, axis: int) -> Integers:
        """(positions, 2) first and last along an axis within the maps; 0 and -1 where nothing is read."""
        key = (other.name, axis)
        if key not in self._spans:
            self._spans[key] = self._forward(other, axis)
        return _pairs(self._spans[key][own.name][:, classes].min(axis=1))

    def _forward(self, other: Linked, axis: int) -> dict[str, Integers]:
        """By layer, (first and minus last, classes, positions) of what is read of `other` along an axis."""
        places = np.arange(other.size[axis])
        found = {other.name: np.stack([places, -places])[:, None].repeat(other.classes, axis=1)}
        for layer in self._layers.values():
            if layer.name in found:
                continue
            spans = np.full((2, layer.classes, layer.size[axis]), _NEVER)
            for link in layer.links:
                if link.source in found:
                    np.minimum(spans, _through(link, found[link.source], axis), out=spans)
            found[layer.name] = spans
        return found


def _reads(link: Link, mask: Bools) -> Bools:
    """What is read of a link's source by the positions of a mask."""
    for step in link.rows:
        mask = step.reads.T @ mask
    for step in link.columns:
        mask = (step.reads.T @ mask.T).T
    return mask


def _through(link: Link, spans: Integers, axis: int) -> Integers:
    """Spans (2, classes, positions) of a link's source, as the link's target has them."""
    for step in reversed((link.rows, link.columns)[axis]):
        spans = _read(step, spans)
    never = np.full_like(spans[:, :1], _NEVER)
    return np.stack([np.concatenate([spans[:, row], never], axis=1).min(axis=1) for row in link.reads], axis=1)


def _read(step: Step, spans: Integers) -> Integers:
    """Spans (..., positions) of a step's input, joined as its results read them."""
    found = np.full((*spans.shape[:-1], step.results), _NEVER)
    starts, counts = step.reads.indptr[:-1], np.diff(step.reads.indptr)
    if counts.any():
        found[..., counts > 0] = np.minimum.reduceat(spans[..., step.reads.indices], starts[counts > 0], axis=-1)
    return found


def _pairs(spans: Integers) -> Integers:
    """(2, positions) of first and minus last, as (positions, 2) of first and last."""
    return np.where(spans[0] == _NEVER, np.array([[0], [-1]]), np.stack([spans[0], -spans[1]])).T
