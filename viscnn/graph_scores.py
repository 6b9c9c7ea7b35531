"""The scores of saved queries: written as lists, read back as arrays, activated.

A query's scores lie in SCORED, one relationship for every filter. They are written and read in parts of so many scores,
whatever the size of the network. A writing has a name (`scoresRun`): of two writings of one query the later holds, and
the earlier waits for it. Until all is written and counted the query is `scoring`, and its scores are not read; one that
was cut off stays so, and the next writing begins anew.

Each complete writing has a stamp of its own, so that what this process wrote or read last need not be read again:
scores are remembered by their stamp, never by the query's uid, and the database alone says which stamp a query has now.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph

__all__ = [
    "QueryScores",
    "ScoredLayer",
    "activate_scores",
    "query_scores",
    "save_importance",
    "save_scores",
    "stored_scores",
]

PART_SCORES = 100_000
"""Scores that are sent or fetched at a time (one filter's at least): as Python numbers a few megabytes."""
MOST_FILTERS, MOST_UPDATES = 50, 15_000
"""Filters, and scores of kernels, that one transaction of an activation sets; a score takes nearly 2 kB of heap."""
STALLED_SECONDS = 20.0
"""When another process's writing has made no progress for so long, it is taken over."""
_POLL_SECONDS = 0.1
_REMEMBERED_BYTES = 256 * 1024**2
_remembered: "OrderedDict[str, QueryScores]" = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ScoredLayer:
    """What is written of one layer: its uid, the scores of its filters (O,) and of their incoming kernels (O, I).

    Of a sum the latter are those of its identities, (O, addends).
    """

    uid: str
    filters: NDArray[np.float64]
    kernels: NDArray[np.float64]


@dataclass(frozen=True)
class QueryScores:
    """All scores of a query; do not change the arrays.

    Attributes:
        uids: the F scored filters.
        filters: their scores, (F,).
        kernels: scores of all K incoming kernels, filter by filter and by `input` within each, (K,).
        starts: where each filter's kernels begin in `kernels`, and the end, (F + 1,).
    """

    uids: tuple[str, ...]
    filters: NDArray[np.float64]
    kernels: NDArray[np.float64]
    starts: NDArray[np.int64]


def save_scores(graph: Graph, uid: str, layers: Sequence[ScoredLayer], *, replace: bool = True) -> None:
    """Write the scores of the saved query `uid` and mark it complete; memory does not grow with their number.

    Args:
        replace: write scores anew that are complete already; else only those of a query that is not.

    Raises:
        StoredDataError: the query, or some of the filters, are not in the graph; the query stays incomplete.
    """
    filters = sum(len(layer.filters) for layer in layers)
    while True:
        started = graph.stream("write/start_scores", uid=uid, replace=replace)
        if not started:
            raise StoredDataError(f"query {uid} is not in the graph (any more); run it again")
        run = started[0]["run"]
        found = _sent(graph, uid, run, layers) and graph.write("write/finish_scores", uid=uid, run=run, filters=filters)
        if found:
            break
        if _completed_elsewhere(graph, uid):
            return
    if found[0]["written"] != filters:
        raise StoredDataError(
            f"query {uid}: scores of {filters} filters were sent, {found[0]['written']} stored; run it again"
        )
    _remember(found[0]["stamp"], _as_scores(layers))


def _sent(graph: Graph, uid: str, run: str, layers: Sequence[ScoredLayer]) -> bool:
    """Write all scores part by part; False when a later writing has begun, or the query was removed."""
    return all(
        graph.write("write/save_scores", uid=uid, run=run, rows=rows)[0]["mine"] for rows in _parts_to_send(layers)
    )


def _parts_to_send(layers: Sequence[ScoredLayer]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    scores = 0
    for layer in layers:
        for channel, (score, kernels) in enumerate(zip(layer.filters.tolist(), layer.kernels, strict=True)):
            if rows and scores + len(kernels) > PART_SCORES:
                yield rows
                rows, scores = [], 0
            rows.append({"uid": f"{layer.uid}/{channel}", "score": score, "kernelScores": kernels.tolist()})
            scores += len(kernels)
    yield rows


def _completed_elsewhere(graph: Graph, uid: str) -> bool:
    """Wait for the writing that has overtaken this one; False when it makes no progress any more.

    Raises:
        StoredDataError: the query was removed.
    """
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < STALLED_SECONDS:
        found = graph.read("read/query_progress", uid=uid)
        if not found:
            raise StoredDataError(f"query {uid} was removed while it was stored; run it again")
        if found[0]["status"] == "complete":
            return True
        if found[0]["scored"] != seen:
            seen, since = found[0]["scored"], time.monotonic()
        time.sleep(_POLL_SECONDS)
    return False


def _as_scores(layers: Sequence[ScoredLayer]) -> QueryScores:
    return QueryScores(
        tuple(f"{layer.uid}/{channel}" for layer in layers for channel in range(len(layer.filters))),
        np.concatenate([layer.filters for layer in layers], dtype=np.float64),
        np.concatenate([layer.kernels.ravel() for layer in layers], dtype=np.float64),
        _starts([layer.kernels.shape[1] for layer in layers for _ in layer.filters]),
    )


def query_scores(graph: Graph, uid: str, *, stamp: str | None = None) -> QueryScores:
    """The scores of a complete query, filters in the order of execution and by channel.

    Args:
        stamp: the query's `scoresStamp`, just read; remembered scores of this stamp are not read again.

    Raises:
        NotInGraph: no complete query of that uid.
        StoredDataError: scores are missing, or they change again and again while they are read.
    """
    with _lock:
        found = _remembered.get(stamp or "")
        if found is not None:
            _remembered.move_to_end(stamp or "")
            return found
    for _ in range(3):
        layers = graph.read("read/query_layers", uid=uid)
        if not layers:
            raise NotInGraph(f"no complete query {uid!r} is stored")
        scores = _fetched(graph, uid, layers)
        now = graph.read("read/query_progress", uid=uid)
        if scores is not None and now and now[0]["stamp"] == layers[0]["stamp"]:
            if now[0]["stamp"] is not None:
                _remember(now[0]["stamp"], scores)
            return scores
    raise StoredDataError(f"query {uid} has no scores of some filters, or they change all the time; run it again")


def stored_scores(graph: Graph, uid: str) -> QueryScores:
    """`query_scores` of whatever stamp the query has now."""
    found = graph.read("read/query_progress", uid=uid)
    if not found or found[0]["status"] != "complete":
        raise NotInGraph(f"no complete query {uid!r} is stored")
    return query_scores(graph, uid, stamp=found[0]["stamp"])


def _fetched(graph: Graph, uid: str, layers: list[dict[str, Any]]) -> QueryScores | None:
    """The scores of these layers, page by page; None when not all of them are there."""
    starts = _starts([layer["inputs"] for layer in layers for _ in range(layer["filters"])])
    uids: list[str] = []
    filters, kernels = np.empty(len(starts) - 1), np.empty(int(starts[-1]))
    for pieces in _pages(layers):
        rows = graph.read("read/query_page", uid=uid, pieces=pieces)
        first, end = len(uids), len(uids) + sum(piece["count"] for piece in pieces)
        values = [value for row in rows for value in row["kernelScores"]]
        if len(rows) != end - first or len(values) != starts[end] - starts[first]:
            return None
        uids += [row["uid"] for row in rows]
        filters[first:end] = [row["score"] for row in rows]
        kernels[starts[first] : starts[end]] = values
    return QueryScores(tuple(uids), filters, kernels, starts)


def _pages(layers: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Pieces of layers that make up at most PART_SCORES scores each, or one filter."""
    pieces: list[dict[str, Any]] = []
    room = PART_SCORES
    for layer in layers:
        first = 0
        while first < layer["filters"]:
            if pieces and room < layer["inputs"]:
                yield pieces
                pieces, room = [], PART_SCORES
            count = min(layer["filters"] - first, max(1, room // layer["inputs"]))
            pieces.append({"layer": layer["uid"], "first": first, "count": count})
            first, room = first + count, room - count * layer["inputs"]
    yield pieces


def activate_scores(graph: Graph, uid: str) -> dict[str, Any]:
    """Copy a saved query's scores to `score` of filters and kernels, on the server, in many small transactions.

    Meanwhile the model's `activeQuery` is null: `score` is not valid. It stays null when the activation is cut off, and
    activating anything again puts it right. Of two activations at the same time the one that began last holds: the
    other gives way, as if it had been done before.

    Returns:
        Numbers of `filters` and `kernels` that were set; kernels that are not stored have no `score`.

    Raises:
        NotInGraph: no complete query of that uid, or its model is incomplete.
        StoredDataError: the query or its model was removed meanwhile.
    """
    found = graph.stream("write/activate_scores", uid=uid, batch=_batch(graph, uid))
    if not found:
        raise NotInGraph(f"no complete query {uid!r} of a complete model is stored")
    if found[0]["outcome"] == "removed":
        raise StoredDataError(f"query {uid} was removed while it was activated; run it again")
    return {key: found[0][key] for key in ("filters", "kernels")}


def save_importance(graph: Graph, uid: str) -> None:
    """Copy a saved query's scores to the cached `importance` of filters and kernels, in many small transactions.

    Meanwhile, and when it is cut off, the model's `importanceQuery` is null. A query or model that is removed
    meanwhile, or a later call, leaves nothing to be said here: whoever did that knows.

    Raises:
        NotInGraph: no complete query of that uid.
    """
    if not graph.stream("write/save_importance", uid=uid, batch=_batch(graph, uid)):
        raise NotInGraph(f"no complete query {uid!r} is stored")


def _batch(graph: Graph, uid: str) -> int:
    """Filters per transaction, so that four of these at a time fit into a small heap."""
    inputs = max((layer["inputs"] for layer in graph.read("read/query_layers", uid=uid)), default=1)
    return max(1, min(MOST_FILTERS, MOST_UPDATES // inputs))


def _starts(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _remember(stamp: str, scores: QueryScores) -> None:
    """Keep scores until newer ones need the room."""
    with _lock:
        _remembered[stamp] = scores
        _remembered.move_to_end(stamp)
        while len(_remembered) > 1 and sum(each.kernels.nbytes for each in _remembered.values()) > _REMEMBERED_BYTES:
            _remembered.popitem(last=False)
