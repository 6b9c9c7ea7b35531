"""Channels written down: as feeds of a layer, or as parts of an operation."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.ingest.maps import Channels, Path
from viscnn.ingest.operations import Unknown
from viscnn.ingest.structure import Feed

__all__ = ["MOST_NESTED", "feeds_of", "parts_of"]

MOST_NESTED = 2_000
"""Operations that one operation may be made up of: each that mixes what was mixed before doubles them, or worse."""


def feeds_of(channels: Channels, target: str, *, addend: int = 0, first: int = 0) -> list[Feed]:
    """The feeds that bring `channels` to a target, in the order of its input channels.

    Args:
        addend: of a sum.
        first: position of the first feed.
    """
    found = []
    for first_of, alike in _kinds(channels.paths).items():
        writes = np.flatnonzero(np.isin(channels.path, alike))
        reads = channels.channel[writes]
        found.append((int(writes[0]), channels.paths[first_of], reads, writes))
    return [
        Feed(
            source=path.source,
            target=target,
            operations=path.operations,
            channels=len(reads),
            position=first + place,
            source_start=int(reads[0]),
            target_start=start,
            addend=addend,
            source_channels=_unless_neighbours(reads),
            target_channels=_unless_neighbours(writes),
        )
        for place, (start, path, reads, writes) in enumerate(sorted(found, key=lambda each: each[0]))
    ]


def _kinds(paths: tuple[Path, ...]) -> dict[int, list[int]]:
    """Numbers of the paths that are alike, by the first of them: a channel that is read twice has two paths."""
    found: dict[int, list[int]] = {}
    for number, path in enumerate(paths):
        same = (e for e in found if paths[e].source == path.source and paths[e].operations == path.operations)
        found.setdefault(next(same, number), []).append(number)
    return found


def _unless_neighbours(numbers: NDArray[np.int64]) -> tuple[int, ...] | None:
    if np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers))):
        return None
    return tuple(numbers.tolist())


def parts_of(channels: Channels) -> list[dict[str, Any]]:
    """The parts that make up `channels`, as they are stored in an operation.

    Raises:
        Unknown: they are more than `MOST_NESTED` operations.
    """
    found: list[dict[str, Any]] = []
    for feed in feeds_of(channels, ""):
        part: dict[str, Any] = {
            "source": feed.source,
            "operations": [each.to_dict() for each in feed.operations],
            "sourceStart": feed.source_start,
            "targetStart": feed.target_start,
            "channels": feed.channels,
        }
        for key, listed in (("sourceChannels", feed.source_channels), ("targetChannels", feed.target_channels)):
            if listed is not None:
                part[key] = list(listed)
        found.append(part)
    if next(itertools.islice(_nested(found), MOST_NESTED, None), None) is not None:
        raise Unknown(f"what it mixes was mixed so often that more than {MOST_NESTED:,} operations describe it")
    return found


def _nested(parts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The operations of parts, and those of their own parts."""
    for part in parts:
        for operation in part["operations"]:
            yield operation
            yield from _nested([*operation.get("by", ()), *(operation.get("of") or ())])
