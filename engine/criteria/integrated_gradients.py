"""Integrated gradients over inputs, for kernels: edge attribution patching with a path (Hanna et al. 2024, eq. 7).

The gradient is averaged over `steps` images on the straight line from a baseline image to the image itself, and
multiplies what the image changes in the edge map against the baseline. Of the kernels of the first layer the signed
scores add up to T(image) - T(baseline), up to the error of the sum over steps (Sundararajan et al. 2017, prop. 1).
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from viscnn.engine.batch import Batch, LayerMaps
from viscnn.engine.criteria.maps import taylor_filters
from viscnn.engine.criteria.registry import Scores, criterion
from viscnn.errors import ExpressionError

__all__ = ["integrated_gradients", "integrated_gradients_signed"]

MOST_STEPS = 1000


def _check(*, steps: int) -> None:
    if not 1 <= steps <= MOST_STEPS:
        raise ExpressionError(f"integrated-gradients(steps={steps}): give from 1 to {MOST_STEPS} steps")


@criterion(
    "integrated-gradients",
    "mean over images and positions of |change of the map against the mean image x mean gradient on the way|",
    baseline=True,
    check=_check,
)
def integrated_gradients(batch: Batch, *, steps: int = 5) -> Iterator[Scores]:
    """Kernel: mean_k mean_p |(A_oi - A'_oi) mean_s G_o(s)|; filter: the same of a_o and dT/da_o."""
    for maps in _integrated(batch, steps):
        products = maps.products
        kernel = maps.no_kernels() if products is None else products.absolute / maps.layer.positions
        yield Scores(kernel, taylor_filters(maps))


@criterion(
    "integrated-gradients-signed",
    "sum over positions of change of the map against the mean image x mean gradient on the way",
    signed=True,
    baseline=True,
    check=_check,
)
def integrated_gradients_signed(batch: Batch, *, steps: int = 5) -> Iterator[Scores]:
    """Kernel: mean_k sum_p (A_oi - A'_oi) mean_s G_o(s); filter: the same of a_o and dT/da_o."""
    for maps in _integrated(replace(batch, signed=True), steps):
        kernel = maps.no_kernels() if maps.products is None else maps.products.signed
        assert kernel is not None
        yield Scores(kernel, maps.no_filters() if maps.map_products is None else maps.map_products.signed)


def _integrated(batch: Batch, steps: int) -> Iterator[LayerMaps]:
    """Each layer with the change of its maps against the baseline, and gradients averaged over the way."""
    assert batch.baseline is not None
    baseline = batch.baseline.unsqueeze(0)
    if batch.target.needs_labels and (None in batch.labels or not batch.labels):
        # the class that the model takes the image for, all the way, and not what it takes a mixture for
        batch = replace(batch, labels=batch.class_numbers.tolist())
    whole = replace(batch, sparing=False, retain=False)
    start = replace(whole, gradients=False).at(baseline).layers
    sums = whole.at(batch.images).layers
    for step in range(1, steps):
        part = whole.at(baseline + step / steps * (batch.images - baseline))
        sums = tuple(_sum(one, other) for one, other in zip(sums, part.layers, strict=True))
    for maps, origin in zip(sums, start, strict=True):
        yield replace(
            maps,
            reads=tuple(one - other for one, other in zip(maps.reads, origin.reads, strict=True)),
            a=maps.a - origin.a,
            gradient=None if maps.gradient is None else maps.gradient / steps,
            activated_gradient=None if maps.activated_gradient is None else maps.activated_gradient / steps,
        )


def _sum(one: LayerMaps, other: LayerMaps) -> LayerMaps:
    """The first's maps with the gradients of both added."""

    def added(left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor | None:
        return left if right is None else right if left is None else left + right

    return replace(
        one,
        gradient=added(one.gradient, other.gradient),
        activated_gradient=added(one.activated_gradient, other.activated_gradient),
    )
