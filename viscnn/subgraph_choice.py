"""Which kernels of a saved query are kept: those of the highest scores, layers made comparable by a scale.

Nothing is pulled here but the query's scores (read once from SCORED, or remembered), and a choice is one bit a kernel:
choosing among millions takes seconds. Identities are no kernels: they are not ranked and not counted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import ExpressionError, NotInGraph
from viscnn.graph import Graph
from viscnn.graph_scores import QueryScores, query_scores

__all__ = ["Choice", "Ranking", "choose", "ranking_of"]


@dataclass(frozen=True)
class Ranking:
    """All kernel scores of a query, made comparable; the arrays have one element for every kernel score.

    Attributes:
        scaled: score times the factor of its layer.
        ranks: what kernels are ranked by: the scaled score, of a signed criterion its size.
        layers: number of the target's layer in `names`, -1 of identities (never ranked).
        names: the layers with kernels, in the order of execution.
        total: kernels of the model.
    """

    query: str
    model: str
    signed: bool
    scores: QueryScores
    scaled: NDArray[np.float64]
    ranks: NDArray[np.float64]
    layers: NDArray[np.int32]
    names: tuple[str, ...]
    total: int

    def order(self, kernels: NDArray[np.int64]) -> NDArray[np.int64]:
        """How to sort kernels by falling rank; equal ones in the order of the network."""
        return np.lexsort((kernels, self.layers[kernels], -self.ranks[kernels]))

    def highest(self, count: int) -> NDArray[np.bool_]:
        """(K,) whether a kernel is one of the `count` of the highest ranks."""
        if count <= 0:
            return np.zeros(len(self.ranks), dtype=np.bool_)
        least = np.partition(self.ranks, -count)[-count]
        chosen: NDArray[np.bool_] = self.ranks > least
        equal = np.flatnonzero(self.ranks == least)  # several may share the least
        chosen[equal[self.order(equal)][: count - int(chosen.sum())]] = True
        return chosen


@dataclass(frozen=True)
class Choice:
    """The kernels that a kept fraction amounts to, or that hold a share of the score.

    Attributes:
        count: how many.
        kernels: (K,) whether each is chosen, stored in the graph or not.
    """

    ranking: Ranking
    count: int
    kernels: NDArray[np.bool_]

    def highest(self, limit: int) -> NDArray[np.bool_]:
        """(K,) those of the highest ranks, `limit` at most."""
        return self.kernels if limit >= self.count else self.ranking.highest(limit)


def choose(graph: Graph, uid: str, *, keep: float, share: float | None = None, scale: str) -> Choice:
    """The kernels of query `uid` with the highest scaled scores; only positive ones (of a signed criterion: no zeros).

    Args:
        keep: share of all the model's kernels, in (0, 1].
        share: of the total positive scaled score, in (0, 1]: the fewest kernels that hold it, whatever `keep` says.

    Raises:
        NotInGraph: no complete query of that uid.
        ExpressionError: `keep` or `share` outside (0, 1], or an unknown scale.
    """
    if not 0 < keep <= 1:
        raise ExpressionError(f"the kept fraction {keep} must be above 0 and at most 1")
    if share is not None and not 0 < share <= 1:
        raise ExpressionError(f"the share {share} of the total score must be above 0 and at most 1")
    ranking = ranking_of(graph, uid, scale)
    if share is None:
        count = min(int((ranking.ranks > 0).sum()), max(1, round(keep * ranking.total)))
    else:
        count = _fewest(ranking.ranks, share)
    return Choice(ranking, count, ranking.highest(count))


def ranking_of(graph: Graph, uid: str, scale: str) -> Ranking:
    """All kernels of query `uid`; raises NotInGraph, and ExpressionError of an unknown scale."""
    found = graph.read("read/subgraph_query", uid=uid)
    if not found:
        raise NotInGraph(f"no complete query {uid!r} is stored")
    scores = query_scores(graph, uid, stamp=found[0]["stamp"])
    uids = [str(layer["uid"]) for layer in found[0]["layers"]]
    numbers = {layer: number for number, layer in enumerate(uids)}
    owners = np.array([numbers.get(_layer_uid(each), -1) for each in scores.uids], dtype=np.int64)
    layers = np.repeat(owners.astype(np.int32), np.diff(scores.starts))
    # one more factor, of identities: -1 finds it
    factors = np.append(_factors(found[0]["layers"], scores.kernels, layers, scale), 0.0)
    scaled = scores.kernels * factors[layers]
    ranks = np.abs(scaled) if found[0]["signed"] else scaled
    names = tuple(each.split("/", 1)[1] for each in uids)
    total = int((layers >= 0).sum())
    return Ranking(uid, found[0]["model"], found[0]["signed"], scores, scaled, ranks, layers, names, total)


def _layer_uid(filter_uid: str) -> str:
    return filter_uid.rpartition("/")[0]


def _factors(
    layers: list[dict[str, Any]], kernels: NDArray[np.float64], owners: NDArray[np.int32], scale: str
) -> NDArray[np.float64]:
    """What a raw kernel score is multiplied by, per layer; `owners` are the layers of `kernels`."""
    if scale == "raw":
        return np.ones(len(layers))
    if scale == "sum":
        return np.array([layer["positions"] for layer in layers], dtype=np.float64)
    if scale != "layer-l2":
        raise ExpressionError(f"unknown scale {scale!r} (one of sum, layer-l2, raw)")
    squares = np.bincount(owners + 1, np.square(kernels), len(layers) + 1)[1:]
    return np.where(squares > 0, 1 / np.sqrt(np.where(squares > 0, squares, 1.0)), 0.0)


def _fewest(ranks: NDArray[np.float64], share: float) -> int:
    """How many of the highest ranks hold this share of the positive ones' sum."""
    running = np.cumsum(np.sort(ranks[ranks > 0])[::-1])
    if not running.size:
        return 0
    # rounding of the sum must not ask for one more than all
    return min(int(np.searchsorted(running, share * running[-1])) + 1, running.size)
