"""SNIP on kernels: the size of weight times gradient, weight by weight (Lee, Ajanthan & Torr 2019, eq. 6)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from viscnn.engine.batch import Batch, LayerMaps
from viscnn.engine.criteria.registry import Scores, criterion
from viscnn.engine.edge_maps import weight_gradient
from viscnn.engine.edge_products import map_products

__all__ = ["snip"]


@criterion("snip", "mean over images and a kernel's entries of |weight x gradient|")
def snip(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k mean_e |W_oie dT_k/dW_oie| over entries e; filter: mean over its incoming kernels.

    The absolute value is taken for each image, so that images cannot cancel and batches do not matter. In a masked
    network the gradient is that of the masked weight and W the unmasked one: what is removed can come back.

    An identity's one weight is 1, and so it scores |sum_p A_oi G_o|; it is no parameter of the model, and no rival.
    """
    for maps in batch.layers:
        if maps.gradient is None:
            yield Scores(maps.no_kernels(), maps.no_filters())
            continue
        each = _of_identities(maps, maps.gradient) if maps.layer.is_sum else _of_kernels(maps, maps.gradient)
        yield Scores(each.sum(dim=0), each.mean(dim=2))


def _of_kernels(maps: LayerMaps, gradient: Tensor) -> Tensor:
    """(N, O, I)."""
    return torch.stack(
        [
            (maps.convolution.weight * weight_gradient(x, maps.convolution, slopes)).abs().mean(dim=(2, 3))
            for x, slopes in zip(torch.split(maps.x, 1), torch.split(gradient, 1), strict=True)
        ]
    )


def _of_identities(maps: LayerMaps, gradient: Tensor) -> Tensor:
    """(N, O, I)."""
    return torch.stack([map_products(addend, gradient).signed.abs() for addend in maps.reads], dim=2)
