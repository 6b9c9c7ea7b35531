"""Which filter reads which, position by position: a network's layers and feeds compiled to links.

A *link* says what each position of a layer's maps reads of the maps of one layer before it, through everything that
lies between. A layer has one for each feed, and more of them where an operation reads other maps (a gate, a norm over a
concatenation). Filters of a layer that read the same are one *class*: an ordinary layer has one class only, a grouped
layer behind a split has several, and links say which class reads which.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.spatial import Steps, convolution_steps, repeated, rule_of
from viscnn.errors import StoredDataError
from viscnn.ingest.operations import Operation
from viscnn.ingest.structure import INPUT, Feed, LayerSpec

__all__ = ["Link", "Linked", "Structure", "linked"]

Bools = NDArray[np.bool_]


class Structure(Protocol):
    """Layers and feeds, in the order of execution; an `Architecture` is one."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of the images."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every layer behind those that it reads."""

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """What each layer reads."""


@dataclass(frozen=True, eq=False)
class Link:
    """What maps read of the maps of one layer.

    Attributes:
        rows, columns: steps from positions of the maps back to those of `source`.
        reads: (classes of the maps, classes of the source), true where one reads the other; while a layer's inputs
            are followed, every channel of the maps is a class of its own.
    """

    source: str
    rows: Steps
    columns: Steps
    reads: Bools


@dataclass(frozen=True, eq=False)
class Linked:
    """A layer with all that it reads.

    Attributes:
        size: (rows, columns) of its maps.
        member: (filters,) the class of each filter.
        links: none for the input.
    """

    name: str
    size: tuple[int, int]
    member: NDArray[np.int64]
    links: tuple[Link, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes of filters."""
        return int(self.member.max()) + 1


@dataclass(frozen=True, eq=False)
class _Maps:
    """Maps between two layers: their size, and what each of the channels reads of the layers before."""

    size: tuple[int, int]
    links: tuple[Link, ...]


def linked(structure: Structure) -> dict[str, Linked]:
    """All layers by name, the input first, with what they read.

    Raises:
        StoredDataError: an operation without a rule, or maps that do not fit together.
    """
    channels, *size = structure.input_shape
    found = {INPUT: Linked(INPUT, (size[0], size[1]), np.zeros(channels, dtype=np.int64))}
    feeds: dict[str, list[Feed]] = {}
    for feed in structure.feeds:
        feeds.setdefault(feed.target, []).append(feed)
    for layer in structure.layers:
        found[layer.name] = _linked(layer, feeds.get(layer.name, []), found)
    return found


def _linked(layer: LayerSpec, feeds: Sequence[Feed], before: Mapping[str, Linked]) -> Linked:
    groups = layer.filters if layer.is_sum else layer.groups
    channels = layer.filters if layer.is_sum else layer.in_channels
    links: list[Link] = []
    for feed in feeds:
        maps = _followed(feed.source, feed.operations, before)
        rows, columns = (convolution_steps(layer, axis, maps.size[axis]) for axis in (0, 1))
        for each in _placed(maps, feed.reads, feed.writes, channels).links:
            reads: Bools = np.logical_or.reduce(each.reads.reshape(groups, -1, each.reads.shape[1]), axis=1)
            links.append(Link(each.source, rows + each.rows, columns + each.columns, reads))
    # filters of one group read the same; so do groups whose rows are equal in every link
    patterns = np.concatenate([np.zeros((groups, 1), dtype=np.bool_), *(each.reads for each in links)], axis=1)
    _, first, classes = np.unique(patterns, axis=0, return_index=True, return_inverse=True)
    member = classes.reshape(-1).repeat(layer.filters // groups)
    return Linked(
        layer.name, layer.output_size, member, tuple(replace(each, reads=each.reads[first]) for each in links)
    )


def _followed(source: str, operations: Iterable[Operation], before: Mapping[str, Linked]) -> _Maps:
    """All maps of a layer after some operations."""
    if source not in before:
        raise StoredDataError(f"FEEDS reads the layer {source!r}, which does not lie before the layer that it feeds")
    layer = before[source]
    itself = np.eye(layer.classes, dtype=np.bool_)[layer.member]
    maps = _Maps(layer.size, (Link(source, (), (), itself),))
    for operation in operations:
        try:
            maps = _through(maps, operation, before)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            stored = operation.to_json()[:200]
            raise StoredDataError(f"the operation {stored} does not say what it reads: {error!r}") from error
    return maps


def _through(maps: _Maps, operation: Operation, before: Mapping[str, Linked]) -> _Maps:
    """Maps after one more operation."""
    rule, settings = rule_of(operation), dict(operation.settings)
    if operation.name == "gate":
        factor = _taken(_assembled(settings["by"], before), settings["at"])
        return _Maps(maps.size, maps.links + _spread(factor, maps.size).links)
    mixed = settings.get("of")
    given = maps if mixed is None else _assembled(mixed, before)
    rows, columns = (rule.space(settings, axis, given.size) for axis in (0, 1))
    size = tuple(steps[0].results if steps else size for steps, size in zip((rows, columns), given.size, strict=True))
    links = tuple(
        Link(each.source, rows + each.rows, columns + each.columns, rule.channels(settings, each.reads))
        for each in given.links
    )
    result = _Maps((size[0], size[1]), links)
    return result if mixed is None else _taken(result, settings["at"])


def _assembled(parts: Iterable[Mapping[str, Any]], before: Mapping[str, Linked]) -> _Maps:
    """The maps that the parts of an operation make up (the form is that of `operations.assemble`)."""
    pieces = [
        (part, _followed(part["source"], [Operation.from_dict(each) for each in part["operations"]], before))
        for part in parts
    ]
    sizes = {maps.size for _, maps in pieces}
    if len(sizes) != 1:
        raise StoredDataError(f"the parts of an operation have the sizes {sorted(sizes)}; they must be of one size")
    channels = 1 + max(number for part, _ in pieces for number in _channels(part, "target"))
    links: list[Link] = []
    for part, maps in pieces:
        links += _placed(maps, _channels(part, "source"), _channels(part, "target"), channels).links
    return _Maps(sizes.pop(), tuple(links))


def _channels(part: Mapping[str, Any], end: str) -> Sequence[int]:
    start = part[f"{end}Start"]
    return part.get(f"{end}Channels") or range(start, start + part["channels"])


def _placed(maps: _Maps, reads: Sequence[int], writes: Sequence[int], channels: int) -> _Maps:
    """The channels `reads` as the channels `writes` of so many; the others read nothing."""
    found = []
    for each in maps.links:
        placed = np.zeros((channels, each.reads.shape[1]), dtype=np.bool_)
        placed[list(writes)] = each.reads[list(reads)]
        found.append(replace(each, reads=placed))
    return replace(maps, links=tuple(found))


def _taken(maps: _Maps, at: Sequence[int]) -> _Maps:
    """The channels `at`, in that order; -1 is one that nobody reads."""
    chosen = np.array(at)
    kept = [replace(each, reads=each.reads[chosen] & (chosen >= 0)[:, None]) for each in maps.links]
    return replace(maps, links=tuple(kept))


def _spread(maps: _Maps, size: tuple[int, int]) -> _Maps:
    """Maps that multiply others of `size`: one position stands for all of an axis."""
    if any(own not in (1, wanted) for own, wanted in zip(maps.size, size, strict=True)):
        raise StoredDataError(f"a gate of {maps.size} positions does not fit maps of {size}")
    rows, columns = (repeated(own, wanted) for own, wanted in zip(maps.size, size, strict=True))
    return _Maps(
        size, tuple(replace(each, rows=rows + each.rows, columns=columns + each.columns) for each in maps.links)
    )
