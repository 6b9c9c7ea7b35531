"""The scored subgraph that the page draws: all filters, and the kernels of a saved query above a threshold.

1. take the query's scores (read once from SCORED, or remembered) and choose the kernels that the kept fraction
   amounts to, or the fewest that hold a share of the total score, under a scale that makes layers comparable;
2. pull these kernels by Cypher, from their target filters on, one row a filter;
3. add the identities of sums that join them.

Identities are no kernels: they are not ranked and not counted. It makes no difference whether the query is active.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from viscnn.errors import ExpressionError, NotInGraph
from viscnn.graph import Graph
from viscnn.graph_scores import QueryScores, query_scores

__all__ = ["Subgraph", "of_circuit", "pull"]

PART_KERNELS = 1_000_000
"""So many kernels are looked through at a time for chosen ones: seconds, however large the network is."""
_PULLED = ["source", "target", "input", "sign", "signRatio"]
_JOINED = ["source", "target", "input"]
_SIGNS = {"inhibitory": -1, "mixed": 0, "excitatory": 1}


@dataclass(frozen=True)
class Subgraph:
    """Filters and kept kernels of a model under a query.

    Attributes:
        filters: uid, layer, layerIndex, channel, u, v, z, x, y, inputChannel, score (raw), shown (score clipped at 0,
            of a signed criterion its size, over the layer's maximum).
        kernels: source, target (rows of `filters`), input, score (raw), sign (-1, 0, 1), signRatio, shown; highest
            scaled score first.
        total: kernels of the model, stored or not.
        left_out: kernels of the kept fraction that `limit` cut off, those with the lowest scaled scores.
        score_share: share of the total positive scaled score that `kernels` hold.
        identities: source, target (rows of `filters`), input (the addend), score (raw): those on a path from a kernel
            (or an input channel) to a kernel (or the target); of more than `limit` the largest scores.
        identities_left_out: those that `limit` cut off.
        not_stored: kernels of the kept fraction that were left out of the graph when the model was ingested.
    """

    model: str
    query: str
    filters: pd.DataFrame
    kernels: pd.DataFrame
    total: int
    left_out: int
    score_share: float
    identities: pd.DataFrame
    identities_left_out: int = 0
    not_stored: int = 0


def pull(graph: Graph, uid: str, *, keep: float, share: float | None = None, scale: str, limit: int) -> Subgraph:
    """The subgraph of query `uid`.

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
    ranking = _ranking(graph, uid, scale)
    if share is None:
        kept = min(int((ranking.ranks > 0).sum()), max(1, round(keep * ranking.total)))
    else:
        kept = _fewest(ranking.ranks, share)
    chosen = _highest(ranking, min(kept, limit))
    parts = _parts(_rows(ranking.scores, chosen), ranking.scores)
    pulled = _flat([row for part in parts for row in graph.read("read/subgraph_kernels", rows=part)])
    filters = _filters(graph, ranking)
    kernels = _kernels(pulled, filters, ranking)
    identities, cut = _joining(graph, filters, kernels, ranking, limit)
    return Subgraph(
        model=ranking.model,
        query=uid,
        filters=filters,
        kernels=kernels,
        total=ranking.total,
        left_out=kept - len(chosen),
        score_share=_share(ranking, kernels["scaled"]),
        identities=identities,
        identities_left_out=cut,
        not_stored=len(chosen) - len(kernels),
    )


def of_circuit(graph: Graph, uid: str) -> Subgraph:
    """The kernels of a stored circuit with the scores of the query that chose them; nothing is left out.

    Raises:
        NotInGraph: no circuit of that uid, or its query is not complete.
    """
    found = graph.read("read/circuit", uid=uid)
    if not found:
        raise NotInGraph(f"no circuit {uid!r} is stored (list them with: viscnn circuits --model MODEL)")
    ranking = _ranking(graph, found[0]["circuit"]["query"], found[0]["circuit"]["scale"])
    filters = _filters(graph, ranking)
    pulled = pd.DataFrame(graph.read("read/circuit_kernels", uid=uid), columns=[*_PULLED, "score"])
    kernels = _kernels(pulled[_PULLED], filters, ranking)
    share = _share(ranking, kernels["scaled"])
    joined = pd.DataFrame(graph.read("read/circuit_identities", uid=uid), columns=[*_JOINED, "score"])
    identities = _identities(joined[_JOINED], filters, ranking)
    missing = int(found[0]["circuit"]["kernels"]) - len(kernels)
    return Subgraph(
        ranking.model, ranking.query, filters, kernels, ranking.total, 0, share, identities, not_stored=missing
    )


@dataclass(frozen=True)
class _Ranking:
    """All kernel scores of a query, made comparable; the arrays have one element for every kernel score.

    Attributes:
        scaled: score times the factor of its layer.
        ranks: what kernels are ranked by: the scaled score, of a signed criterion its size.
        layers: number of the target's layer among those with kernels, -1 of identities (never ranked).
        total: kernels of the model.
    """

    query: str
    model: str
    signed: bool
    scores: QueryScores
    scaled: NDArray[np.float64]
    ranks: NDArray[np.float64]
    layers: NDArray[np.int32]
    total: int

    def order(self, kernels: NDArray[np.int64]) -> NDArray[np.int64]:
        """How to sort kernels by falling rank; equal ones in the order of the network."""
        return np.lexsort((kernels, self.layers[kernels], -self.ranks[kernels]))


def _ranking(graph: Graph, uid: str, scale: str) -> _Ranking:
    found = graph.read("read/subgraph_query", uid=uid)
    if not found:
        raise NotInGraph(f"no complete query {uid!r} is stored")
    scores = query_scores(graph, uid, stamp=found[0]["stamp"])
    numbers = {layer["uid"]: number for number, layer in enumerate(found[0]["layers"])}
    owners = np.array([numbers.get(_layer_uid(each), -1) for each in scores.uids], dtype=np.int64)
    layers = np.repeat(owners.astype(np.int32), np.diff(scores.starts))
    # one more factor, of identities: -1 finds it
    factors = np.append(_factors(found[0]["layers"], scores.kernels, layers, scale), 0.0)
    scaled = scores.kernels * factors[layers]
    ranks = np.abs(scaled) if found[0]["signed"] else scaled
    total = int((layers >= 0).sum())
    return _Ranking(uid, found[0]["model"], found[0]["signed"], scores, scaled, ranks, layers, total)


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


def _highest(ranking: _Ranking, count: int) -> NDArray[np.int64]:
    """The `count` kernels of the highest ranks."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    least = np.partition(ranking.ranks, -count)[-count]
    candidates = np.flatnonzero(ranking.ranks >= least)  # more than `count` where several share the least
    return candidates[ranking.order(candidates)[:count]]


def _rows(scores: QueryScores, chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Chosen kernels as uid and inputs of each target filter."""
    chosen = np.sort(chosen)
    owners = np.searchsorted(scores.starts, chosen, side="right") - 1
    filters, first = np.unique(owners, return_index=True)
    inputs = np.split(chosen - scores.starts[owners], first[1:])
    return [
        {"uid": scores.uids[owner], "inputs": each.tolist()}
        for owner, each in zip(filters.tolist(), inputs, strict=False)  # of no kernels, `split` makes one empty part
    ]


def _parts(rows: list[dict[str, Any]], scores: QueryScores) -> Iterator[list[dict[str, Any]]]:
    """The rows in parts, for each of which the database looks through about PART_KERNELS kernels."""
    sizes = dict(zip(scores.uids, np.diff(scores.starts).tolist(), strict=True))
    ends = np.cumsum([sizes[row["uid"]] for row in rows]) // PART_KERNELS
    for _, part in groupby(zip(ends.tolist(), rows, strict=True), key=lambda pair: pair[0]):
        yield [row for _, row in part]


def _flat(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per kernel from one row per filter."""
    columns = {
        name: [each for row in rows for each in row[f"{name}s"]] for name in ("source", "input", "sign", "signRatio")
    }
    targets = [row["target"] for row in rows for _ in row["inputs"]]
    return pd.DataFrame(columns | {"target": targets})[_PULLED]


def _filters(graph: Graph, ranking: _Ranking) -> pd.DataFrame:
    filters = pd.DataFrame(graph.read("read/filters", model=ranking.model)).drop(columns=["score"])
    scores = dict(zip(ranking.scores.uids, ranking.scores.filters.tolist(), strict=True))
    filters["score"] = filters["uid"].map(scores).fillna(0.0).astype(float)
    filters["shown"] = _relative(filters["score"], filters["layer"], ranking.signed)
    return filters


def _kernels(pulled: pd.DataFrame, filters: pd.DataFrame, ranking: _Ranking) -> pd.DataFrame:
    """Pulled kernels with their scores, by falling rank."""
    number = _numbers(pulled, ranking)
    kernels = pd.DataFrame(
        {
            **_ends(pulled, filters),
            "score": ranking.scores.kernels[number],
            "sign": pulled["sign"].map(_SIGNS).astype(np.int64),
            "signRatio": pulled["signRatio"].astype(float),
            "scaled": ranking.scaled[number],
        }
    )
    kernels["shown"] = _relative(kernels["score"], pd.Series(ranking.layers[number]), ranking.signed)
    return kernels.iloc[ranking.order(number)].reset_index(drop=True)


def _numbers(pulled: pd.DataFrame, ranking: _Ranking) -> NDArray[np.int64]:
    """Where pulled kernels or identities stand in the query's scores."""
    owners = pd.Index(ranking.scores.uids).get_indexer(pd.Index(pulled["target"]))
    found: NDArray[np.int64] = ranking.scores.starts[owners] + pulled["input"].to_numpy(dtype=np.int64)
    return found


def _ends(pulled: pd.DataFrame, filters: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
    """Rows of the filters at both ends, and the input."""
    uids = pd.Index(filters["uid"])
    ends = {end: uids.get_indexer(pd.Index(pulled[end])).astype(np.int64) for end in ("source", "target")}
    return {**ends, "input": pulled["input"].to_numpy(dtype=np.int64)}


# --- identities --------------------------------------------------------------------------------------------------


def _identities(pulled: pd.DataFrame, filters: pd.DataFrame, ranking: _Ranking) -> pd.DataFrame:
    return pd.DataFrame(
        {**_ends(pulled, filters), "score": ranking.scores.kernels[_numbers(pulled, ranking)].astype(float)}
    )


def _joining(
    graph: Graph, filters: pd.DataFrame, kernels: pd.DataFrame, ranking: _Ranking, limit: int
) -> tuple[pd.DataFrame, int]:
    """The identities between drawn kernels, at most `limit` of them, and how many more there are."""
    rows = graph.read("read/subgraph_identities", model=ranking.model)
    pulled = pd.DataFrame(
        [(source, row["target"], i) for row in rows for source, i in zip(row["sources"], row["inputs"], strict=True)],
        columns=_JOINED,
    )
    every = _identities(pulled, filters, ranking)
    reached = filters["inputChannel"].to_numpy(dtype=np.bool_, copy=True)
    reached[kernels["target"]] = True
    read = _goals(filters, [row["target"] for row in rows if row["end"]])
    read[kernels["source"]] = True
    on_path = every[_on_paths(every["source"].tolist(), every["target"].tolist(), reached, read)]
    largest = on_path["score"].abs().sort_values(ascending=False, kind="stable").index[:limit]
    return on_path.loc[largest.sort_values()].reset_index(drop=True), len(on_path) - len(largest)


def _goals(filters: pd.DataFrame, ends: list[str]) -> NDArray[np.bool_]:
    """(filters,) those that a path may end at: what has a score and is read by nothing, or lies in the last layer."""
    scored = filters["score"].to_numpy() != 0
    layers = filters["layerIndex"].to_numpy()
    last = layers == layers[scored].max(initial=-1)
    found: NDArray[np.bool_] = scored & (last | filters["uid"].isin(ends).to_numpy())
    return found


def _on_paths(
    sources: list[int], targets: list[int], reached: NDArray[np.bool_], read: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which identities, in the order of execution, lie between filters that are `reached` and `read`; these change."""
    for source, target in zip(sources, targets, strict=True):
        reached[target] |= reached[source]
    found = np.zeros(len(sources), dtype=np.bool_)
    for number in reversed(range(len(sources))):
        if reached[sources[number]] and read[targets[number]]:
            found[number] = read[sources[number]] = True
    return found


def _share(ranking: _Ranking, scaled: "pd.Series[float]") -> float:
    """Share of the total positive rank that kernels of these scaled scores hold."""
    held = scaled.abs() if ranking.signed else scaled.clip(lower=0.0)
    total = ranking.ranks[ranking.ranks > 0].sum()
    return float(held.sum() / total) if total > 0 else 0.0


def _relative(scores: "pd.Series[float]", groups: "pd.Series[Any]", signed: bool) -> "pd.Series[float]":
    """Scores (signed: their size) clipped at zero over the largest of their group; zero where nothing is positive."""
    clipped = scores.abs() if signed else scores.clip(lower=0.0)
    largest = clipped.groupby(groups).transform("max")
    return (clipped / largest.where(largest > 0, 1.0)).astype(float)
