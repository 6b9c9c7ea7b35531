"""Exemplars in the graph: written as lists per filter, read back by rank.

A writing has a name (`exemplarsRun`): of two writings for one model the later holds. Until all is written and counted
the model's `exemplars` is null, and none are shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypedDict, TypeVar

from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.progress import Progress, silent

__all__ = ["Exemplars", "FilterRow", "ImageRow", "excited_filters", "exemplars", "image_uid", "save_exemplars"]

IMAGES_AT_ONCE = 2_000
EXEMPLARS_AT_ONCE = 10_000
"""Relationships that one transaction writes (those of one filter at least)."""


T = TypeVar("T")


class ImageRow(TypedDict):
    """An image as it is stored."""

    uid: str
    path: str
    label: str | None
    hash: str


class FilterRow(TypedDict):
    """The exemplars of a filter by its uid: the top ones, best first, then as many bottom ones, lowest first.

    Uids of the images; the extreme values, and where they are in the map.
    """

    uid: str
    images: list[str]
    activations: list[float]
    rows: list[int]
    columns: list[int]


@dataclass(frozen=True)
class Exemplars:
    """The exemplars of a model.

    Attributes:
        key: names what they depend on.
        looked_at: how many images were looked at.
        count: exemplars of each kind that every filter has.
        filters: how many filters have some.
        images: those that are an exemplar of some filter.
        rows: the exemplars of each filter; asked for once.
    """

    key: str
    looked_at: int
    count: int
    filters: int
    images: Sequence[ImageRow]
    rows: Iterable[FilterRow]


def image_uid(model: str, path: str) -> str:
    """The uid of an image of a model."""
    return f"{model}/image/{path}"


def save_exemplars(graph: Graph, model: str, found: Exemplars, *, progress: Progress = silent) -> None:
    """Write the exemplars of a model in place of earlier ones; what is cut off is not shown.

    Raises:
        NotInGraph: the model is not stored, or not complete.
        StoredDataError: another writing has begun since, or some filters or images are not in the graph.
    """
    started = graph.write("write/start_exemplars", model=model)
    if not started:
        raise NotInGraph(f"no complete model {model!r} is stored (viscnn models lists them)")
    run = started[0]["run"]
    graph.stream("write/drop_exemplars", model=model, run=run)
    for images in _batches(found.images, IMAGES_AT_ONCE):
        _hold(model, graph.write("write/save_images", model=model, run=run, rows=images))
    ranks = [*range(found.count), *range(-1, -found.count - 1, -1)]
    done = 0
    for rows in _batches(found.rows, max(1, EXEMPLARS_AT_ONCE // len(ranks))):
        _hold(model, graph.write("write/save_exemplars", model=model, run=run, ranks=ranks, rows=rows))
        done += len(rows)
        progress("storing exemplars", done, found.filters)
    expected = found.filters * len(ranks)
    how: dict[str, Any] = {"expected": expected, "exemplars": found.key, "images": found.looked_at}
    written = _hold(model, graph.write("write/finish_exemplars", model=model, run=run, **how))
    if written != expected:
        raise StoredDataError(
            f"model {model!r}: {expected} exemplars were sent but {written} are stored; find them again"
        )


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def _hold(model: str, answer: list[dict[str, Any]]) -> int:
    """How many were written; raises StoredDataError when it is another's turn, or the model is gone."""
    if not answer[0]["mine"]:
        raise StoredDataError(
            f"another run stores the exemplars of model {model!r} now, or the model was removed; nothing is lost but"
            " this run"
        )
    return int(answer[0]["written"])


def exemplars(graph: Graph, uid: str) -> list[dict[str, Any]]:
    """The exemplars of a filter, the top ones first: rank, activation, row, column, path, label, hash, image.

    Raises:
        NotInGraph: no such filter, an input channel, or no exemplars of its model are stored.
    """
    found = graph.read("read/exemplars", uid=uid)
    if found:
        return found
    filters = graph.read("read/filter", uid=uid, query="")
    if not filters:
        raise NotInGraph(f"there is no filter {uid!r} in the graph (uids look like mnist/conv2/5)")
    if filters[0]["inputChannel"]:
        raise NotInGraph(f"{uid!r} is an input channel, which has no exemplars; name a filter of a layer")
    raise _none(filters[0]["model"])


def excited_filters(graph: Graph, model: str, path: str, *, limit: int = 1000) -> list[dict[str, Any]]:
    """The filters that have an image among their exemplars, top ranks first: uid, layer, channel, rank, activation...

    Raises:
        NotInGraph: no exemplars of the model are stored.
    """
    properties = graph.read("read/model", model=model)
    if not properties or properties[0]["exemplars"] is None:
        raise _none(model)
    return graph.read("read/excited_filters", uid=image_uid(model, path), limit=limit)


def _none(model: str) -> NotInGraph:
    return NotInGraph(f"no exemplars of model {model!r} are stored (yet); find them with: viscnn exemplars {model}")
