"""The scores of saved queries: written as lists, read back as arrays, activated.

A query's scores lie in SCORED, one relationship for every filter. Each writing of them gets a stamp of its own, so
that what this process wrote or read last need not be read again: scores are remembered by their stamp, never by the
query's uid, and the database alone says which stamp a query has now.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph

__all__ = ["QueryScores", "ScoredLayer", "activate_scores", "query_scores", "save_importance", "save_scores"]

_REMEMBERED_BYTES = 256 * 1024**2
_remembered: "OrderedDict[str, QueryScores]" = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ScoredLayer:
    """What is written of one layer: its uid, the scores of its filters (O,) and of their incoming kernels (O, I)."""

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


def save_scores(graph: Graph, uid: str, layers: Sequence[ScoredLayer]) -> None:
    """Write the scores of the saved query `uid`, replacing older ones, and mark it complete, in one transaction.

    Raises:
        StoredDataError: the query, or some of the filters, are not in the graph; the query stays incomplete.
    """
    rows = [
        {"uid": f"{layer.uid}/{channel}", "score": score, "kernelScores": kernels}
        for layer in layers
        for channel, (score, kernels) in enumerate(zip(layer.filters.tolist(), layer.kernels.tolist(), strict=True))
    ]
    found = graph.write("write/save_scores", uid=uid, rows=rows)
    if not found or found[0]["written"] != len(rows):
        stored = found[0]["written"] if found else 0
        raise StoredDataError(f"query {uid}: scores of {len(rows)} filters were sent, {stored} stored; run it again")
    _remember(
        found[0]["stamp"],
        QueryScores(
            tuple(row["uid"] for row in rows),
            np.concatenate([layer.filters for layer in layers], dtype=np.float64),
            np.concatenate([layer.kernels.ravel() for layer in layers], dtype=np.float64),
            _starts([layer.kernels.shape[1] for layer in layers for _ in layer.filters]),
        ),
    )


def query_scores(graph: Graph, uid: str, *, stamp: str | None) -> QueryScores:
    """The scores of a complete query.

    Args:
        stamp: the query's `scoresStamp`, just read; remembered scores of this stamp are not read again.

    Raises:
        NotInGraph: no complete query of that uid.
    """
    with _lock:
        found = _remembered.get(stamp or "")
        if found is not None:
            _remembered.move_to_end(stamp or "")
            return found
    rows = graph.read("read/query_scores", uid=uid)
    if not rows:
        raise NotInGraph(f"no complete query {uid!r} is stored")
    scores = QueryScores(
        tuple(row["uid"] for row in rows),
        np.array([row["score"] for row in rows], dtype=np.float64),
        np.concatenate([np.array(row["kernelScores"], dtype=np.float64) for row in rows]),
        _starts([len(row["kernelScores"]) for row in rows]),
    )
    if stamp is not None:
        _remember(stamp, scores)
    return scores


def activate_scores(graph: Graph, uid: str) -> dict[str, Any]:
    """Copy a saved query's scores to `score` of filters and kernels, on the server, in many small transactions.

    Meanwhile the model's `activeQuery` is null: `score` is not valid. It stays null when the activation is cut off, and
    activating anything again puts it right. Of two activations at the same time the one that began last holds: the
    other gives way, as if it had been done before.

    Returns:
        Numbers of `filters` and `kernels` that were set.

    Raises:
        NotInGraph: no complete query of that uid, or its model is incomplete.
        StoredDataError: the query or its model was removed meanwhile.
    """
    found = graph.stream("write/activate_scores", uid=uid)
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
    if not graph.stream("write/save_importance", uid=uid):
        raise NotInGraph(f"no complete query {uid!r} is stored")


def _starts(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _remember(stamp: str, scores: QueryScores) -> None:
    """Keep scores until newer ones need the room."""
    with _lock:
        _remembered[stamp] = scores
        _remembered.move_to_end(stamp)
        while len(_remembered) > 1 and sum(each.kernels.nbytes for each in _remembered.values()) > _REMEMBERED_BYTES:
            _remembered.popitem(last=False)
