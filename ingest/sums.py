"""Additions of maps as layers."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Sum", "convolution_of", "linear_of"]


L = TypeVar("L", nn.Conv2d, nn.Linear)


class Sum(nn.Conv2d):
    """The sum of `addends` maps of `channels` channels; called with the addends, it adds them up as the model does.

    As a convolution it is the same function of `interleave(addends)`: 1x1, one group a channel, every weight one.
    """

    def __init__(self, channels: int, addends: int) -> None:
        # on `meta` nothing is drawn at random: the caller's random state stays
        super().__init__(channels * addends, channels, 1, groups=channels, bias=False, device="meta")
        self.weight = nn.Parameter(torch.ones(channels, addends, 1, 1, dtype=torch.float32), requires_grad=False)

    def forward(self, *addends: Tensor) -> Tensor:
        """(N, C, H, W) from addends of that shape."""
        return self.total(addends)

    @staticmethod
    def total(addends: Sequence[Tensor]) -> Tensor:
        """The addends, added up from the first to the last."""
        total, *others = addends
        for each in others:
            total = total + each
        return total

    @staticmethod
    def interleave(addends: Sequence[Tensor]) -> Tensor:
        """(N, C * addends, H, W): the first channel of every addend, then the second, and on."""
        return torch.stack(tuple(addends), dim=2).flatten(1, 2)


def convolution_of(
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: Any = "zeros",
) -> nn.Conv2d:
    """A convolution module of a weight (O, I, rows, columns) and a bias (O,), which are copied."""
    made = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=_pair(stride),
        padding=padding if isinstance(padding, str) else _pair(padding),
        dilation=_pair(dilation),
        groups=groups,
        bias=bias is not None,
        padding_mode=padding_mode,
        device="meta",
    )
    return _filled(made, weight, bias)


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear module of a weight (O, I) and a bias (O,), which are copied."""
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta"), weight, bias)


def _filled(made: L, weight: Tensor, bias: Tensor | None) -> L:
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made.eval()


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    values = tuple(int(each) for each in value)
    return values if len(values) == 2 else (values[0], values[0])
