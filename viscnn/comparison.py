"""Two queries of one model side by side: which kernels both keep, which only one, layer by layer.

Kernels are counted among all that the queries keep, by their scores alone; only those that are drawn are pulled.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from viscnn.errors import InputError
from viscnn.graph import Graph
from viscnn.graph_scores import QueryScores
from viscnn.subgraph import Subgraph, drawn
from viscnn.subgraph_choice import Ranking, choose

__all__ = ["LEFT", "RIGHT", "SHARED", "Comparison", "compare"]

LEFT, SHARED, RIGHT = -1, 0, 1
_KERNEL = ["source", "target", "input"]
_SCALE = "sum"
Members = dict[int, NDArray[np.bool_]]
"""Of LEFT, SHARED and RIGHT: (K,) whether a kernel is that."""


@dataclass(frozen=True)
class Comparison:
    """What two queries of one model have in common.

    Attributes:
        filters: those of the model, as in `Subgraph`, `score` that of the left query, with `left` and `right` (the
            scores over the layer's maximum in either) and `shown`, the larger of the two.
        kernels: those that are drawn: source, target (rows of `filters`), input, member (`LEFT`: only there,
            `SHARED`, `RIGHT`) and shown, the larger of the two shares; the largest first.
        identities: those of either, as in `Subgraph`.
        layers: per layer with kernels of either: layer, left, right and shared (numbers of kernels), iou (shared over
            the union), and correlation (Spearman's, of the filters' scores; NaN where one side is constant).
        counts: numbers of kernels that are LEFT, SHARED and RIGHT. These and `layers` count all kernels that the
            queries keep, drawn or not, stored in the graph or not.
        left_out: kernels of either that are not drawn for the limit.
        not_stored: kernels that would be drawn, but were left out of the graph when the model was ingested.
    """

    left: str
    right: str
    filters: pd.DataFrame
    kernels: pd.DataFrame
    identities: pd.DataFrame
    layers: pd.DataFrame
    counts: dict[int, int]
    left_out: int
    not_stored: int

    @property
    def iou(self) -> float:
        """Shared kernels over those of either."""
        union = sum(self.counts.values())
        return self.counts[SHARED] / union if union else float("nan")


def compare(graph: Graph, first: str, second: str, *, keep: float, share: float | None, limit: int) -> Comparison:
    """Compare two queries at one kept fraction or share of the score.

    Args:
        limit: kernels of either that are drawn, those of the highest scaled scores.

    Raises:
        NotInGraph: one of them is not stored, or not complete.
        InputError: they are of different models.
        ExpressionError: `keep` or `share` outside (0, 1].
    """
    one, two = (choose(graph, uid, keep=keep, share=share, scale=_SCALE) for uid in (first, second))
    if one.ranking.model != two.ranking.model:
        raise InputError(f"queries of two models cannot be compared ({one.ranking.model} and {two.ranking.model})")
    mine = one.ranking.scores
    theirs = _renumbered(two.kernels, two.ranking.scores, mine)
    members = {LEFT: one.kernels & ~theirs, SHARED: one.kernels & theirs, RIGHT: theirs & ~one.kernels}
    counts = {member: int(kernels.sum()) for member, kernels in members.items()}
    seen = one.highest(limit) | _renumbered(two.highest(limit), two.ranking.scores, mine)
    left = drawn(graph, one, one.kernels & seen, limit=limit)
    right = drawn(graph, two, two.kernels & _renumbered(seen, mine, two.ranking.scores), limit=limit)
    kernels = _union(left.kernels, right.kernels)
    return Comparison(
        first,
        second,
        _filters(left, right),
        kernels,
        pd.concat([left.identities, right.identities]).drop_duplicates(_KERNEL).reset_index(drop=True),
        _by_layer(left.filters, right.filters, one.ranking, members),
        counts,
        left_out=sum(counts.values()) - int(seen.sum()),
        not_stored=int(seen.sum()) - len(kernels),
    )


def _renumbered(kernels: NDArray[np.bool_], given: QueryScores, wanted: QueryScores) -> NDArray[np.bool_]:
    """Kernels in the numbers of another query: of layers that lie side by side either may come first."""
    if given.uids == wanted.uids:
        return kernels
    owner = {uid: number for number, uid in enumerate(given.uids)}
    parts = [kernels[given.starts[at] : given.starts[at + 1]] for at in (owner[uid] for uid in wanted.uids)]
    return np.concatenate(parts)


def _filters(left: Subgraph, right: Subgraph) -> pd.DataFrame:
    shares = {"left": left.filters["shown"].to_numpy(), "right": right.filters["shown"].to_numpy()}
    return left.filters.assign(**shares, shown=np.maximum(shares["left"], shares["right"]))


def _union(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    both = left[[*_KERNEL, "shown"]].merge(right[[*_KERNEL, "shown"]], how="outer", on=_KERNEL, suffixes=("", "_right"))
    absent = both[["shown", "shown_right"]].isna()
    member = np.select([absent["shown_right"], absent["shown"]], [LEFT, RIGHT], SHARED)
    shown = both[["shown", "shown_right"]].max(axis=1)
    union = both[_KERNEL].assign(member=member, shown=shown)
    return union.sort_values(["shown", *_KERNEL], ascending=[False, True, True, True]).reset_index(drop=True)


def _by_layer(left: pd.DataFrame, right: pd.DataFrame, ranking: Ranking, members: Members) -> pd.DataFrame:
    """The table of layers that have kernels of either; `members` in the numbers of `ranking`."""
    size = len(ranking.names)
    of = {member: np.bincount(ranking.layers[kernels], minlength=size) for member, kernels in members.items()}
    union = of[LEFT] + of[SHARED] + of[RIGHT]
    rows = np.flatnonzero(union)
    scores = {
        name: (left.loc[at, "score"], right.loc[at, "score"]) for name, at in left.groupby("layer").groups.items()
    }
    names = [ranking.names[row] for row in rows]
    return pd.DataFrame(
        {
            "layer": names,
            "left": (of[LEFT] + of[SHARED])[rows],
            "right": (of[RIGHT] + of[SHARED])[rows],
            "shared": of[SHARED][rows],
            "iou": of[SHARED][rows] / union[rows],
            "correlation": [_spearman(*scores[name]) for name in names],
        }
    )


def _spearman(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    """Pearson's r of the ranks; NaN where either is constant."""
    if a.nunique() < 2 or b.nunique() < 2:
        return float("nan")
    return float(np.corrcoef(a.rank(), b.rank())[0, 1])
