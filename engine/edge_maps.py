"""Edge maps A_oi = W_oi * x_i of one image, a few input channels at a time: never all of them at once.

All edge maps of VGG-16 at 224 take 6.8 GB per image; a part here takes about 4 MB (one input channel at least).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from viscnn.engine.capture import padded

__all__ = ["EdgeMaps", "edge_maps", "weight_gradient"]

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


def edge_maps(x: Tensor, convolution: nn.Conv2d, alive: Tensor) -> Iterator[EdgeMaps]:
    """The edge maps of one image's input maps x (C, H, W), without bias, part by part.

    Args:
        convolution: any 2-D convolution: stride, padding and its mode, dilation and groups are its own.
        alive: (filters,) which outputs are wanted.
    """
    image = padded(x.unsqueeze(0), convolution)
    group_filters = convolution.out_channels // convolution.groups
    inputs = convolution.in_channels // convolution.groups
    weight = convolution.weight.flatten(2)  # (O, I, kernel entries)
    for group in range(convolution.groups):
        outputs = torch.arange(group * group_filters, (group + 1) * group_filters)
        outputs = outputs[alive[outputs]]
        if len(outputs) == 0:
            continue
        channels = image[:, group * inputs : (group + 1) * inputs]
        for part in _parts(channels, convolution, max(len(outputs), weight.shape[2])):
            patches = _patches(channels[:, part], convolution)  # (i, kernel entries, positions)
            kernels = weight[outputs, part].transpose(0, 1)  # (i, o, kernel entries)
            yield EdgeMaps(outputs, part, torch.bmm(kernels, patches))


def _parts(channels: Tensor, convolution: nn.Conv2d, maps: int) -> Iterator[slice]:
    """Slices of the inputs; each input takes `maps` maps: its edge maps, or its patches where these are more."""
    rows, columns = _output_size(channels, convolution)
    step = max(1, PART_FLOATS // (maps * rows * columns))
    count = channels.shape[1]
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _output_size(image: Tensor, convolution: nn.Conv2d) -> tuple[int, int]:
    sizes = [
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            image.shape[2:], convolution.kernel_size, convolution.stride, convolution.dilation, strict=True
        )
    ]
    return sizes[0], sizes[1]


def _patches(channels: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Patches (i, kernel entries, positions) of padded maps (1, i, H, W)."""
    entries = convolution.kernel_size[0] * convolution.kernel_size[1]
    unfolded = F.unfold(channels, convolution.kernel_size, convolution.dilation, 0, convolution.stride)
    return unfolded.view(channels.shape[1], entries, -1)


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
