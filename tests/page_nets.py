"""Models for the tests of the page, ingested as `page_nets.py:branching` and `page_nets.py:bare`; random weights."""

import torch
from torch import Tensor, nn

from tests import nets

__all__ = ["SOURCE", "bare", "branching"]

SOURCE = __file__


class _Gated(nn.Module):
    """Two paths side by side, concatenated and gated (squeeze-and-excite), then added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(8, 6, 1)
        self.right = nn.Conv2d(8, 4, 3, padding=1)
        self.squeeze = nn.Conv2d(10, 3, 1)
        self.expand = nn.Conv2d(3, 10, 1)
        self.back = nn.Conv2d(10, 8, 1)

    def forward(self, maps: Tensor) -> Tensor:
        joined = torch.cat([torch.relu(self.left(maps)), torch.relu(self.right(maps))], 1)
        gate = torch.sigmoid(self.expand(torch.relu(self.squeeze(joined.mean((2, 3), keepdim=True)))))
        return torch.relu(maps + self.back(joined * gate))


class _Branching(nn.Module):
    """28 x 28 digits: a stem, a gated block with a skip connection, two ends side by side, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.block = _Gated()
        self.wide = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.narrow = nn.Conv2d(8, 5, 1)
        self.head = nn.Linear(17, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.block(torch.relu(self.stem(images)))
        ends = torch.cat([torch.relu(self.wide(maps)), torch.relu(self.narrow(maps))], 1)
        return torch.as_tensor(self.head(ends.mean((2, 3))))


class _Bare(nn.Module):
    """Five input channels, 1x1 kernels only, a functional convolution (`#conv2d_1`), one layer of 3,000 filters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 6, 1)
        self.loose = nn.Parameter(torch.randn(4, 6, 1, 1))
        self.wide = nn.Conv2d(4, 3000, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.conv2d(torch.relu(self.first(images)), self.loose)
        return torch.as_tensor(self.wide(torch.relu(maps)))


def branching() -> nn.Module:
    """Sums, a concatenation, a gate, groups, two ends side by side, a head."""
    return nets.seeded(_Branching).eval()


def bare() -> nn.Module:
    """Five input channels, 1x1 kernels, a functional convolution, thousands of filters in one layer."""
    return nets.seeded(_Bare).eval()
