"""Criteria that read no image: controls for the others. Each is the same for every image, so its mean is itself.

A sum has no weights (that its identities multiply by one is no choice of the model's): by `weight` and `magnitude` its
identities and filters score zero. `random` draws for them as for any other.
"""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from viscnn.engine.batch import Batch, LayerMaps
from viscnn.engine.criteria.registry import Scores, criterion

__all__ = ["magnitude", "random", "weight"]


@criterion("weight", "mean |weight|; the same for every image", gradients=False)
def weight(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean |W_oi| over its entries; filter: mean of its incoming kernels' scores."""
    for maps in batch.layers:
        sizes = _sizes(maps)
        yield _for_every_image(maps, sizes.mean(dim=(2, 3)), sizes.mean(dim=(1, 2, 3)))


@criterion("magnitude", "sum of |weight|; the same for every image", gradients=False)
def magnitude(batch: Batch) -> Iterator[Scores]:
    """Kernel: the L1 norm of W_oi; filter: that of all its incoming kernels (Li et al. 2017, section 3.1)."""
    for maps in batch.layers:
        sizes = _sizes(maps)
        yield _for_every_image(maps, sizes.sum(dim=(2, 3)), sizes.sum(dim=(1, 2, 3)))


@criterion("random", "uniform in [0, 1); the same for every image", gradients=False)
def random(batch: Batch, *, seed: int = 0) -> Iterator[Scores]:
    """Kernel and filter: drawn uniformly from [0, 1), by `seed` and the layer's name."""
    for maps in batch.layers:
        digest = hashlib.sha256(f"{seed} {maps.layer.name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)
        drawn = torch.rand(maps.layer.filters, maps.layer.inputs + 1, generator=generator).to(maps.a)
        yield _for_every_image(maps, drawn[:, 1:], drawn[:, 0])


def _sizes(maps: LayerMaps) -> Tensor:
    weight = maps.convolution.weight
    return torch.zeros_like(weight) if maps.layer.is_sum else weight.abs()


def _for_every_image(maps: LayerMaps, kernel: Tensor, filters: Tensor) -> Scores:
    # float64 holds any float32 times a number of images exactly, so a contrast of these is exactly zero
    return Scores(kernel.double() * maps.images, filters.expand(maps.images, -1))
