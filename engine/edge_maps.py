"""Edge maps A_oi = W_oi * x_i of one image, a few input channels at a time: never all of them at once.

All edge maps of VGG-16 at 224 take 6.8 GB per image; a part here takes about 4 MB (one input channel at least). This
is the slowest way to the sums of `EdgeProducts`, and the one that runs on any device and in any precision.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from viscnn.engine.geometry import EdgeProducts, Geometry
from viscnn.engine.padding import padded

__all__ = ["EdgeMaps", "edge_maps", "products", "weight_gradient"]

PART_FLOATS = 1_000_000


@dataclass(frozen=True)
class EdgeMaps:
    """Some edge maps of a layer: `maps[i, o]` is that of the kernel (`outputs[o]`, `inputs` start + i).

    Attributes:
        outputs: numbers of the filters, (o,).
        inputs: the slice of inputs within the group.
        maps: (i, o, positions).
    """

    outputs: Tensor
    inputs: slice
    maps: Tensor


def products(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, *, signed: bool) -> EdgeProducts:
    """The sums of edge maps times gradients; the contract of every tier (see edge_products.py)."""
    absolute = torch.zeros(weight.shape[:2], dtype=x.dtype, device=x.device)
    plain, of_maps = torch.zeros_like(absolute), torch.zeros_like(absolute)
    for image, slopes in zip(x, gradient.flatten(2), strict=True):
        for part in edge_maps(image, weight, geometry, slopes.abs().amax(dim=1) > 0):
            weighted = part.maps.mul_(slopes[part.outputs])  # (i, o, positions)
            absolute[part.outputs, part.inputs] += torch.linalg.vector_norm(weighted, ord=1, dim=2).T
            if signed:
                each = weighted.sum(dim=2).T
                plain[part.outputs, part.inputs] += each
                of_maps[part.outputs, part.inputs] += each.abs()
    return EdgeProducts(absolute, plain, of_maps) if signed else EdgeProducts(absolute)


def edge_maps(x: Tensor, weight: Tensor, geometry: Geometry, alive: Tensor) -> Iterator[EdgeMaps]:
    """The edge maps of one image's input maps x (C, H, W), without bias, part by part.

    Args:
        weight: (filters, inputs per group, rows, columns).
        alive: (filters,) which outputs are wanted.
    """
    image = geometry.padded(x.unsqueeze(0))
    group_filters, inputs = len(weight) // geometry.groups, weight.shape[1]
    for group in range(geometry.groups):
        outputs = torch.arange(group * group_filters, (group + 1) * group_filters, device=x.device)
        outputs = outputs[alive[outputs]]
        if len(outputs) == 0:
            continue
        channels = image[:, group * inputs : (group + 1) * inputs]
        for part in _parts(channels, weight, geometry, len(outputs)):
            patches = F.unfold(channels[:, part], weight.shape[2:], geometry.dilation, 0, geometry.stride)
            patches = patches.view(part.stop - part.start, weight[0, 0].numel(), -1)  # (i, kernel entries, positions)
            kernels = weight[outputs, part].flatten(2).transpose(0, 1)  # (i, o, kernel entries)
            yield EdgeMaps(outputs, part, torch.bmm(kernels, patches))


def _parts(channels: Tensor, weight: Tensor, geometry: Geometry, outputs: int) -> Iterator[slice]:
    """Slices of the inputs; each input takes `outputs` edge maps, or its patches where these are more."""
    rows, columns = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            channels.shape[2:], weight.shape[2:], geometry.stride, geometry.dilation, strict=True
        )
    )
    step = max(1, PART_FLOATS // (max(outputs, weight[0, 0].numel()) * rows * columns))
    count = channels.shape[1]
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def weight_gradient(x: Tensor, convolution: nn.Conv2d, gradient: Tensor) -> Tensor:
    """dT/dW, shaped like the weight, for T with dT/dZ = `gradient` (N, O, P, Q); summed over the batch."""
    found: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        padded(x, convolution),
        list(convolution.weight.shape),
        gradient,
        convolution.stride,
        0,
        convolution.dilation,
        convolution.groups,
    )
    return found
