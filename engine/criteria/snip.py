"""SNIP on kernels: the size of weight times gradient, weight by weight (Lee, Ajanthan & Torr 2019, eq. 6)."""

from collections.abc import Iterator

import torch

from viscnn.engine.batch import Batch
from viscnn.engine.criteria.registry import Scores, criterion
from viscnn.engine.edge_maps import weight_gradient

__all__ = ["snip"]


@criterion("snip", "mean over images and a kernel's entries of |weight x gradient|")
def snip(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k mean_e |W_oie dT_k/dW_oie| over entries e; filter: mean over its incoming kernels.

    The absolute value is taken for each image, so that images cannot cancel and batches do not matter. In a masked
    network the gradient is that of the masked weight and W the unmasked one: what is removed can come back.
    """
    for maps in batch.layers:
        if maps.gradient is None:
            yield Scores(maps.no_kernels(), maps.no_filters())
            continue
        each = torch.stack(
            [
                (maps.convolution.weight * weight_gradient(x, maps.convolution, slopes)).abs().mean(dim=(2, 3))
                for x, slopes in zip(torch.split(maps.x, 1), torch.split(maps.gradient, 1), strict=True)
            ]
        )  # (N, O, I)
        yield Scores(each.sum(dim=0), each.mean(dim=2))
