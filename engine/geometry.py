"""What the tiers of kernel scoring share: the geometry of a convolution, and the sums they return."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EdgeProducts", "Geometry", "MapProducts"]


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over zero-padded maps.

    Attributes:
        stride, dilation: (rows, columns).
        padding: zeros at (left, right, top, bottom), the order of `torch.nn.functional.pad`.
        groups: filters and input channels are split into so many groups.
    """

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @classmethod
    def of(cls, convolution: nn.Conv2d, *, padded: bool = False) -> "Geometry":
        """That of a convolution; without padding where the maps are `padded` already."""
        left, right, top, bottom = (0, 0, 0, 0) if padded else convolution._reversed_padding_repeated_twice
        stride, dilation = convolution.stride, convolution.dilation
        return cls((stride[0], stride[1]), (dilation[0], dilation[1]), (left, right, top, bottom), convolution.groups)

    def padded(self, x: Tensor) -> Tensor:
        """Maps (..., C, H, W) with the zeros around them."""
        return F.pad(x, list(self.padding)) if any(self.padding) else x


@dataclass(frozen=True)
class EdgeProducts:
    """Sums over images k and positions p of edge map times gradient, A_oi G_o, per kernel: (filters, inputs per group).

    Attributes:
        absolute: sum_k sum_p |A_oi G_o|.
        signed: sum_k sum_p A_oi G_o; None where it was not asked for.
        map_absolute: sum_k |sum_p A_oi G_o|; None where it was not asked for.
    """

    absolute: Tensor
    signed: Tensor | None = None
    map_absolute: Tensor | None = None


@dataclass(frozen=True)
class MapProducts:
    """Sums over positions p of map times gradient, a_o dT/da_o, per image and filter: (N, O).

    Attributes:
        absolute: sum_p |a_o dT/da_o|.
        signed: sum_p a_o dT/da_o.
    """

    absolute: Tensor
    signed: Tensor
