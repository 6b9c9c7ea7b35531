"""Two queries of one model side by side: which kernels both keep, which only one, layer by layer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from viscnn.errors import InputError
from viscnn.subgraph import Subgraph

__all__ = ["LEFT", "RIGHT", "SHARED", "Comparison", "compared"]

LEFT, SHARED, RIGHT = -1, 0, 1
_KERNEL = ["source", "target", "input"]


@dataclass(frozen=True)
class Comparison:
    """What two subgraphs of one model have in common.

    Attributes:
        filters: those of the model, as in `Subgraph`, with `left` and `right` (the scores over the layer's maximum in
            either) and `shown`, the larger of the two.
        kernels: source, target (rows of `filters`), input, member (`LEFT`: only there, `SHARED`, `RIGHT`) and shown,
            the larger of the two shares; the largest first.
        identities: those of either, as in `Subgraph`.
        layers: per layer with kernels of either: layer, left, right and shared (numbers of kernels), iou (shared over
            the union), and correlation (Spearman's, of the filters' scores; NaN where one side is constant).
    """

    left: str
    right: str
    filters: pd.DataFrame
    kernels: pd.DataFrame
    identities: pd.DataFrame
    layers: pd.DataFrame

    @property
    def iou(self) -> float:
        """Shared kernels over those of either."""
        return float((self.kernels["member"] == SHARED).mean()) if len(self.kernels) else float("nan")


def compared(left: Subgraph, right: Subgraph) -> Comparison:
    """Compare two subgraphs.

    Raises:
        InputError: they are of different models.
    """
    if left.model != right.model:
        raise InputError(f"queries of two models cannot be compared ({left.model} and {right.model})")
    filters = left.filters.drop(columns=["score", "shown"]).assign(
        left=left.filters["shown"].to_numpy(), right=right.filters["shown"].to_numpy()
    )
    filters["shown"] = filters[["left", "right"]].max(axis=1)
    kernels = _union(left.kernels, right.kernels)
    return Comparison(
        left.query,
        right.query,
        filters.assign(score=filters["shown"]),
        kernels,
        pd.concat([left.identities, right.identities]).drop_duplicates(_KERNEL).reset_index(drop=True),
        _by_layer(left, right, kernels),
    )


def _union(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    both = left[[*_KERNEL, "shown"]].merge(right[[*_KERNEL, "shown"]], how="outer", on=_KERNEL, suffixes=("", "_right"))
    absent = both[["shown", "shown_right"]].isna()
    member = np.select([absent["shown_right"], absent["shown"]], [LEFT, RIGHT], SHARED)
    shown = both[["shown", "shown_right"]].max(axis=1)
    union = both[_KERNEL].assign(member=member, shown=shown)
    return union.sort_values(["shown", *_KERNEL], ascending=[False, True, True, True]).reset_index(drop=True)


def _by_layer(left: Subgraph, right: Subgraph, kernels: pd.DataFrame) -> pd.DataFrame:
    layer = left.filters["layer"].to_numpy()
    order = left.filters.groupby("layer")["layerIndex"].first()
    counts = pd.crosstab(layer[kernels["target"]], kernels["member"].to_numpy())
    counts = counts.reindex(columns=[LEFT, SHARED, RIGHT], fill_value=0)
    shared = counts[SHARED]
    scores = pd.DataFrame({"layer": layer, "a": left.filters["score"], "b": right.filters["score"]})
    correlation = {name: _spearman(rows["a"], rows["b"]) for name, rows in scores.groupby("layer")}
    table = pd.DataFrame(
        {
            "layer": counts.index,
            "left": (counts[LEFT] + shared).to_numpy(),
            "right": (counts[RIGHT] + shared).to_numpy(),
            "shared": shared.to_numpy(),
            "iou": (shared / counts.sum(axis=1)).to_numpy(),
            "correlation": [correlation[name] for name in counts.index],
        }
    )
    return table.sort_values("layer", key=lambda names: names.map(order)).reset_index(drop=True)


def _spearman(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    """Pearson's r of the ranks; NaN where either is constant."""
    if a.nunique() < 2 or b.nunique() < 2:
        return float("nan")
    return float(np.corrcoef(a.rank(), b.rank())[0, 1])
