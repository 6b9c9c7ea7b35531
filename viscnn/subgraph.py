"""The scored subgraph that the page draws: all filters, and the kernels of a saved query above a threshold.

1. read the query's SCORED once and find the score that the kept fraction amounts to, under a scale that makes
   layers comparable;
2. pull the kernels above it by Cypher: range scans of the (layer, score) index when the query is active, its
   SCORED lists otherwise.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from viscnn.errors import ExpressionError, NotInGraph
from viscnn.graph import Graph

__all__ = ["Subgraph", "of_circuit", "pull"]


@dataclass(frozen=True)
class Subgraph:
    """Filters and kept kernels of a model under a query.

    Attributes:
        filters: uid, layer, layerIndex, channel, u, v, z, x, y, inputChannel, score (raw), shown (score clipped at 0,
            of a signed criterion its size, over the layer's maximum).
        kernels: source, target (rows of `filters`), input, score (raw), sign (-1, 0, 1), signRatio, shown; highest
            scaled score first.
        total: kernels of the model.
        left_out: kernels of the kept fraction that `limit` cut off, those with the lowest scaled scores.
        score_share: share of the total positive scaled score that `kernels` hold.
    """

    model: str
    query: str
    filters: pd.DataFrame
    kernels: pd.DataFrame
    total: int
    left_out: int
    score_share: float


def pull(graph: Graph, uid: str, *, keep: float, scale: str, limit: int) -> Subgraph:
    """The subgraph of query `uid`; `keep` is the share of all the model's kernels, in (0, 1].

    Raises:
        NotInGraph: no complete query of that uid.
        ExpressionError: `keep` outside (0, 1], or an unknown scale.
    """
    if not 0 < keep <= 1:
        raise ExpressionError(f"the kept fraction {keep} must be above 0 and at most 1")
    query = graph.read("read/query", uid=uid)
    if not query or query[0]["status"] != "complete":
        raise NotInGraph(f"no complete query {uid!r} is stored")
    model = query[0]["model"]
    layers = [row for row in graph.read("read/layers", model=model) if row["kind"] == "convolution"]
    scored = graph.read("read/query_scores", uid=uid)
    factors, signed = _factors(layers, scored, scale), bool(query[0]["signed"])
    cut = _threshold(_ranks(_scaled(scored, factors), signed), keep, limit)
    rows = _kernels(graph, uid, model, layers, factors, cut, signed) if cut.drawn else []
    filters = _filters(graph, model, scored, signed)
    kernels = _kernel_frame(rows, filters, factors, signed).head(cut.drawn)
    return Subgraph(model, uid, filters, kernels, cut.total, cut.kept - len(kernels), cut.share)


def of_circuit(graph: Graph, uid: str) -> Subgraph:
    """The kernels of a stored circuit with the scores of the query that chose them; nothing is left out.

    Raises:
        NotInGraph: no circuit of that uid.
    """
    found = graph.read("read/circuit", uid=uid)
    if not found:
        raise NotInGraph(f"no circuit {uid!r} is stored (list them with: viscnn circuits --model MODEL)")
    circuit = found[0]["circuit"]
    model, query, scale = circuit["model"], circuit["query"], circuit["scale"]
    layers = [row for row in graph.read("read/layers", model=model) if row["kind"] == "convolution"]
    scored = graph.read("read/query_scores", uid=query)
    signed = any(row["signed"] for row in graph.read("read/query", uid=query))
    factors = _factors(layers, scored, scale)
    filters = _filters(graph, model, scored, signed)
    kernels = _kernel_frame(graph.read("read/circuit_kernels", uid=uid), filters, factors, signed)
    ranks = _ranks(_scaled(scored, factors), signed)
    share = _ranks(kernels["scaled"].to_numpy(), signed).clip(min=0.0).sum() / max(ranks.clip(min=0.0).sum(), 1e-300)
    return Subgraph(model, query, filters, kernels, len(ranks), 0, float(share))


@dataclass(frozen=True)
class _Cut:
    """Where the ranking of all kernels is cut.

    Attributes:
        minimum: smallest drawn scaled score.
        total, kept, drawn: kernels of the model; in the kept fraction with a positive score; of those within the limit.
        reached: kernels whose scaled score reaches `minimum`: more than `drawn` where several share it.
        share: share of the total positive scaled score that the drawn ones hold.
    """

    minimum: float
    total: int
    kept: int
    drawn: int
    reached: int
    share: float


def _factors(layers: list[dict[str, object]], scored: list[dict[str, object]], scale: str) -> dict[str, float]:
    """What a raw kernel score is multiplied by, per layer uid."""
    if scale == "raw":
        return {str(layer["uid"]): 1.0 for layer in layers}
    if scale == "sum":
        return {str(layer["uid"]): float(layer["positions"]) for layer in layers}  # type: ignore[arg-type]
    if scale != "layer-l2":
        raise ExpressionError(f"unknown scale {scale!r} (one of sum, layer-l2, raw)")
    squares: dict[str, float] = {}
    for row in scored:
        owner = _layer_uid(str(row["uid"]))
        squares[owner] = squares.get(owner, 0.0) + float(np.square(row["kernelScores"]).sum())  # type: ignore[call-overload]
    return {layer: 1 / np.sqrt(total) if total > 0 else 0.0 for layer, total in squares.items()}


def _layer_uid(filter_uid: str) -> str:
    return filter_uid.rpartition("/")[0]


def _scaled(scored: list[dict[str, object]], factors: dict[str, float]) -> NDArray[np.float64]:
    """The scaled scores of all kernels of the model."""
    return np.concatenate(
        [np.asarray(row["kernelScores"], dtype=np.float64) * factors[_layer_uid(str(row["uid"]))] for row in scored]
    )


def _ranks(scaled: NDArray[np.float64], signed: bool) -> NDArray[np.float64]:
    """What kernels are ranked by: the scaled score, of a signed criterion its size."""
    return np.abs(scaled) if signed else scaled


def _threshold(scaled: NDArray[np.float64], keep: float, limit: int) -> _Cut:
    positive = np.sort(scaled[scaled > 0])[::-1]
    kept = min(len(positive), max(1, round(keep * len(scaled))))
    drawn = min(kept, limit)
    if drawn == 0:
        return _Cut(0.0, len(scaled), kept, 0, 0, 0.0)
    # a hair below, so that rounding in minimum / factor never loses the kernel at the threshold
    minimum = float(positive[drawn - 1]) * (1 - 1e-12)
    reached = int((positive >= minimum * (1 - 1e-12)).sum())
    return _Cut(minimum, len(scaled), kept, drawn, reached, float(positive[:drawn].sum() / positive.sum()))


def _kernels(
    graph: Graph,
    uid: str,
    model: str,
    layers: list[dict[str, object]],
    factors: dict[str, float],
    cut: _Cut,
    signed: bool,
) -> list[dict[str, object]]:
    minima = {str(row["uid"]): cut.minimum / factors[str(row["uid"])] for row in layers if factors[str(row["uid"])]}
    active = graph.read("read/model", model=model)[0]["activeQuery"] == uid
    if active and not signed:  # the index is on the score itself, not on its size
        wanted = [{"key": row["key"], "minimum": minima[str(row["uid"])]} for row in layers if row["uid"] in minima]
        return graph.read("read/subgraph_active", layers=wanted, limit=cut.reached)
    wanted = [{"uid": each, "minimum": smallest} for each, smallest in minima.items()]
    return graph.read("read/subgraph_scored", uid=uid, layers=wanted, signed=signed, limit=cut.reached)


def _filters(graph: Graph, model: str, scored: list[dict[str, object]], signed: bool) -> pd.DataFrame:
    filters = pd.DataFrame(graph.read("read/filters", model=model)).drop(columns=["score"])
    scores = {row["uid"]: row["score"] for row in scored}
    filters["score"] = filters["uid"].map(scores).fillna(0.0).astype(float)
    filters["shown"] = _relative(filters["score"], filters["layer"], signed)
    return filters


def _kernel_frame(
    rows: list[dict[str, object]], filters: pd.DataFrame, factors: dict[str, float], signed: bool
) -> pd.DataFrame:
    columns = ["source", "target", "input", "score", "sign", "signRatio"]
    kernels = pd.DataFrame(rows, columns=columns)
    number = pd.Series(np.arange(len(filters)), index=filters["uid"])
    owners = kernels["target"].map(_layer_uid).astype(str)
    kernels["scaled"] = kernels["score"].astype(float) * owners.map(factors).astype(float)
    kernels["shown"] = _relative(kernels["score"].astype(float), owners, signed)
    kernels["source"] = kernels["source"].map(number).astype(np.int64)
    kernels["target"] = kernels["target"].map(number).astype(np.int64)
    kernels["sign"] = kernels["sign"].map({"inhibitory": -1, "mixed": 0, "excitatory": 1}).astype(np.int64)
    order = np.argsort(-_ranks(kernels["scaled"].to_numpy(), signed), kind="stable")
    return kernels.iloc[order].reset_index(drop=True)


def _relative(scores: "pd.Series[float]", groups: "pd.Series[str]", signed: bool) -> "pd.Series[float]":
    """Scores (signed: their size) clipped at zero over the largest of their group; zero where nothing is positive."""
    clipped = scores.abs() if signed else scores.clip(lower=0.0)
    largest = clipped.groupby(groups).transform("max")
    return (clipped / largest.where(largest > 0, 1.0)).astype(float)
