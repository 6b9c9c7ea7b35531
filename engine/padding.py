"""Padding of input maps as a convolution asks for it."""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["padded"]


def padded(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Input maps with the convolution's padding applied, in its own mode."""
    amounts = convolution._reversed_padding_repeated_twice
    if not any(amounts):
        return x
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    return F.pad(x, list(amounts), mode=mode)
