"""Circuit selection: the highest-ranked kernels above one global threshold, each on a path from input to target.

The plain top-k leaves dead ends: kernels whose source nothing feeds, or whose target leads nowhere. The sets of
*effective* kernels (those on a path) grow with k, so the largest k' whose effective set still has the asked size is
found by binary search: no kernel of the budget is wasted on a dead end, and the best-ranked ones are kept.

Identities (of sums) cost nothing and have no rank: every search starts with all of them, and those remain that lie on
a path of kept kernels.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.connectivity import (
    Mask,
    Network,
    Values,
    effective,
    kept_filters,
    kernel_count,
    strongest_path,
    upstream,
)
from viscnn.errors import ExpressionError, StoredDataError, nearest

__all__ = ["SCALES", "Selection", "rank_values", "select"]

SCALES = ("sum", "layer-l2", "raw")
"""How layers are made comparable: score x positions (the estimated change of T), score / L2 norm of the layer's
scores (Molchanov et al. 2017), or the score as it is."""

FREE = -1
"""The place of an identity."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A circuit: kernels that all lie on paths from input channels to a target.

    Attributes:
        mask: kept kernels and identities, one (outputs, inputs per group) array per layer.
        asked_kernels: how many kernels the kept fraction amounts to.
        kernels: how many are kept; below `asked_kernels` where the next larger set of paths would exceed it or
            positive scores run out, above it only where one path alone is longer.
        upstream_kernels: kernels of the whole network on any path to the target.
        kept_fraction: kernels / upstream_kernels.
        filters: (filters,) filters at either end of a kept kernel.
        collapsed: no set of top-ranked kernels of at most the asked size holds a path, so the strongest path (which
            is empty where every path has a kernel of rank <= 0) stands in.
        ranks: the rank value of each kernel; higher is better. Those of identities choose nothing here.
    """

    mask: Mask
    asked_kernels: int
    kernels: int
    upstream_kernels: int
    kept_fraction: float
    filters: NDArray[np.bool_]
    collapsed: bool
    ranks: Values = field(repr=False)


def rank_values(network: Network, *, scale: str, signed: bool = False, excitatory: bool = False) -> Values:
    """What kernels are ranked by, one (outputs, inputs per group) array per layer.

    Args:
        network: layers in the order of execution.
        scale: one of `SCALES`.
        signed: the scores come from a signed criterion, so rank by absolute value.
        excitatory: rank a signed criterion by value, so that only kernels which raise T are chosen.

    Raises:
        ExpressionError: unknown scale.
        StoredDataError: a score is not finite.
    """
    if scale not in SCALES:
        raise ExpressionError(f"unknown scale {scale!r}{nearest(scale, SCALES)} (one of {', '.join(SCALES)})")
    ranks = []
    for layer in network:
        if not np.isfinite(layer.kernel).all():
            raise StoredDataError(f"layer {layer.uid} has scores that are not finite; run the query again")
        values = np.abs(layer.kernel) if signed and not excitatory else layer.kernel
        ranks.append(_scaled(values, layer.positions, scale))
    return tuple(ranks)


def _scaled(values: NDArray[np.float64], positions: int, scale: str) -> NDArray[np.float64]:
    if scale == "sum":
        return values * float(positions)
    peak = float(np.abs(values).max(initial=0.0))
    if scale == "raw" or peak == 0:
        return values.astype(np.float64)
    shares: NDArray[np.float64] = values / peak  # so that the squares of tiny scores do not vanish
    return shares / float(np.linalg.norm(shares))


def select(
    network: Network,
    targets: Collection[int] | NDArray[np.int64],
    sources: Collection[int] | NDArray[np.int64],
    *,
    keep: float,
    scale: str,
    signed: bool = False,
    excitatory: bool = False,
) -> Selection:
    """The circuit of the `keep` highest-ranked share of the kernels upstream of `targets`.

    Args:
        network: layers in the order of execution.
        targets: numbers of the filters to be reached; the circuit reaches at least one.
        sources: numbers of the input channels.
        keep: share of the upstream kernels, in (0, 1]; at least one kernel is asked for.
        scale: one of `SCALES`.
        signed: the scores come from a signed criterion, so rank by absolute value.
        excitatory: rank a signed criterion by value.

    Kernels of rank <= 0 are never chosen. Ties go to the earlier layer, then the lower output, then the lower input.

    Raises:
        ExpressionError: `keep` outside (0, 1], unknown scale.
        StoredDataError: scores that are not finite, layers out of order, targets that no input channel reaches.
    """
    if not 0 < keep <= 1:
        raise ExpressionError(f"the kept fraction {keep} is not above 0 and at most 1; give for example 0.1")
    ranks = rank_values(network, scale=scale, signed=signed, excitatory=excitatory)
    candidates = upstream(network, targets, sources)
    total = kernel_count(network, candidates)
    if total == 0:
        some = [int(x) for x in targets][:5]
        raise StoredDataError(f"no path with a kernel leads from the input channels to the targets {some}")
    asked = max(1, round(keep * total))
    mask, collapsed = _best_paths(network, ranks, candidates, asked, targets, sources)
    kernels = kernel_count(network, mask)
    return Selection(
        mask=mask,
        asked_kernels=asked,
        kernels=kernels,
        upstream_kernels=total,
        kept_fraction=kernels / total,
        filters=kept_filters(network, mask),
        collapsed=collapsed,
        ranks=ranks,
    )


def _best_paths(
    network: Network,
    ranks: Values,
    candidates: Mask,
    asked: int,
    targets: Collection[int] | NDArray[np.int64],
    sources: Collection[int] | NDArray[np.int64],
) -> tuple[Mask, bool]:
    """The largest set of top-ranked kernels on paths that has at most `asked`; else the strongest path, and True.

    A path of identities alone is a set of no kernels, and smaller than any size.
    """
    places, ranked = _places(network, ranks, candidates)

    def paths(count: int) -> Mask:
        return effective(network, tuple(place < count for place in places), targets, sources)

    def size(count: int) -> int:
        return kernel_count(network, paths(count))

    mask = paths(bisect_right(range(ranked + 1), asked, lo=min(asked, ranked), key=size) - 1)
    if any(kept.any() for kept in mask):
        return mask, False
    strengths = tuple(np.where(place < ranked, -place.astype(np.float64), -np.inf) for place in places)
    return strongest_path(network, strengths, targets, sources), True


def _places(network: Network, ranks: Values, candidates: Mask) -> tuple[tuple[NDArray[np.int64], ...], int]:
    """Each kernel's place in the global order (0 is best), and how many have one; the others get that number.

    Identities stand before all of them.
    """
    values = np.concatenate([rank.ravel() for rank in ranks])
    chosen = np.concatenate([mask.ravel() for mask in candidates]) & (values > 0)
    kernels = np.repeat([not layer.identity for layer in network], [rank.size for rank in ranks])
    listed = np.flatnonzero(chosen & kernels)
    places = np.where(kernels, listed.size, FREE)
    places[listed[np.argsort(-values[listed], kind="stable")]] = np.arange(listed.size)
    ends = np.cumsum([rank.size for rank in ranks])[:-1]
    parts = np.split(places, ends)
    return tuple(part.reshape(rank.shape) for part, rank in zip(parts, ranks, strict=True)), int(listed.size)
