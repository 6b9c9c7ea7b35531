"""The scored subgraph that the page draws: all filters, and the kernels of a saved query above a threshold.

1. take the query's scores and choose kernels (`subgraph_choice`);
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

from viscnn.errors import NotInGraph
from viscnn.graph import Graph
from viscnn.graph_scores import QueryScores
from viscnn.subgraph_choice import Choice, Ranking, choose, ranking_of

__all__ = ["Subgraph", "drawn", "of_circuit", "pull"]

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
    choice = choose(graph, uid, keep=keep, share=share, scale=scale)
    return drawn(graph, choice, choice.highest(limit), limit=limit)


def drawn(graph: Graph, choice: Choice, kernels: NDArray[np.bool_], *, limit: int) -> Subgraph:
    """The subgraph of a choice, of whose kernels only some are pulled.

    Args:
        kernels: (K,) those of the choice that are drawn.
        limit: most identities.
    """
    ranking = choice.ranking
    numbers = np.flatnonzero(kernels)
    parts = _parts(_rows(ranking.scores, numbers), ranking.scores)
    pulled = _flat([row for part in parts for row in graph.read("read/subgraph_kernels", rows=part)])
    filters = _filters(graph, ranking)
    found = _kernels(pulled, filters, ranking)
    identities, cut = _joining(graph, filters, found, ranking, limit)
    return Subgraph(
        model=ranking.model,
        query=ranking.query,
        filters=filters,
        kernels=found,
        total=ranking.total,
        left_out=choice.count - len(numbers),
        score_share=_share(ranking, found["scaled"]),
        identities=identities,
        identities_left_out=cut,
        not_stored=len(numbers) - len(found),
    )


def of_circuit(graph: Graph, uid: str) -> Subgraph:
    """The kernels of a stored circuit with the scores of the query that chose them; nothing is left out.

    Raises:
        NotInGraph: no circuit of that uid, or its query is not complete.
    """
    found = graph.read("read/circuit", uid=uid)
    if not found:
        raise NotInGraph(f"no circuit {uid!r} is stored (list them with: viscnn circuits --model MODEL)")
    ranking = ranking_of(graph, found[0]["circuit"]["query"], found[0]["circuit"]["scale"])
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


def _rows(scores: QueryScores, chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Chosen kernels, by rising number, as uid and inputs of each target filter."""
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


def _filters(graph: Graph, ranking: Ranking) -> pd.DataFrame:
    filters = pd.DataFrame(graph.read("read/filters", model=ranking.model)).drop(columns=["score"])
    scores = dict(zip(ranking.scores.uids, ranking.scores.filters.tolist(), strict=True))
    filters["score"] = filters["uid"].map(scores).fillna(0.0).astype(float)
    filters["shown"] = _relative(filters["score"], filters["layer"], ranking.signed)
    return filters


def _kernels(pulled: pd.DataFrame, filters: pd.DataFrame, ranking: Ranking) -> pd.DataFrame:
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


def _numbers(pulled: pd.DataFrame, ranking: Ranking) -> NDArray[np.int64]:
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


def _identities(pulled: pd.DataFrame, filters: pd.DataFrame, ranking: Ranking) -> pd.DataFrame:
    return pd.DataFrame(
        {**_ends(pulled, filters), "score": ranking.scores.kernels[_numbers(pulled, ranking)].astype(float)}
    )


def _joining(
    graph: Graph, filters: pd.DataFrame, kernels: pd.DataFrame, ranking: Ranking, limit: int
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


def _share(ranking: Ranking, scaled: "pd.Series[float]") -> float:
    """Share of the total positive rank that kernels of these scaled scores hold."""
    held = scaled.abs() if ranking.signed else scaled.clip(lower=0.0)
    total = ranking.ranks[ranking.ranks > 0].sum()
    return float(held.sum() / total) if total > 0 else 0.0


def _relative(scores: "pd.Series[float]", groups: "pd.Series[Any]", signed: bool) -> "pd.Series[float]":
    """Scores (signed: their size) clipped at zero over the largest of their group; zero where nothing is positive."""
    clipped = scores.abs() if signed else scores.clip(lower=0.0)
    largest = clipped.groupby(groups).transform("max")
    return (clipped / largest.where(largest > 0, 1.0)).astype(float)
