"""Small networks that branch, and their literal passes: what every layer reads, plain, written out by hand.

An addition is a call of `Plus`, so that it can be watched like a convolution; the layer is called `NAME.add`.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets

SHAPE = (1, 6, 5)
CLASSES = ("ant", "bee", "cat")


class Plus(nn.Module):
    """The sum of its arguments, added up from the first on."""

    def forward(self, *maps: Tensor) -> Tensor:
        total, *others = maps
        for each in others:
            total = total + each
        return total


class Net(nn.Module):
    """A stem of 4 filters, what `maps` makes of it, and logits of the mean of its maps."""

    def __init__(self, maps: Callable[[Any, Tensor], Any], width: int, **parts: nn.Module) -> None:
        super().__init__()
        self.folds: dict[str, str] = {}  # norms that are folded, by the convolution whose maps they alone read
        self.stem = nn.Conv2d(SHAPE[0], 4, 3, padding=1)
        for name, part in parts.items():
            self.add_module(name, part)
        self.logits = nn.Linear(width, len(CLASSES))
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        found: Tensor = self.logits(self.maps(self, torch.relu(self.stem(x))).mean(dim=(2, 3)))
        return found


def _conv(inputs: int, outputs: int, size: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **settings)


def residual() -> nn.Module:
    """A block with BatchNorm whose way past it is a strided convolution, and one whose way past it is plain."""

    def maps(net: Any, x: Tensor) -> Tensor:
        inside = net.norm2(net.conv2(torch.relu(net.norm1(net.conv1(x)))))
        x = torch.relu(net.plus1(inside, net.norm3(net.down(x))))
        return torch.relu(net.plus2(net.conv4(torch.relu(net.conv3(x))), x))

    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(3),
        "conv2": _conv(3, 6, 3),
        "norm2": nn.BatchNorm2d(6),
        "down": nn.Conv2d(4, 6, 1, stride=2),
        "norm3": nn.BatchNorm2d(6),
        "plus1": Plus(),
        "conv3": _conv(6, 5),
        "conv4": _conv(5, 6, 3),
        "plus2": Plus(),
    }
    net = Net(maps, 6, **parts)
    net.folds = {"conv1": "norm1", "conv2": "norm2", "down": "norm3"}
    return nets.with_statistics(net)


def inception() -> nn.Module:
    """Three branches of 2, 3 and 2 filters side by side, read by two convolutions that the head reads side by side."""

    def maps(net: Any, x: Tensor) -> Tensor:
        pooled = net.pooled(F.max_pool2d(x, 3, stride=1, padding=1))
        both = torch.cat([net.one(x), net.three(torch.relu(net.before(x))), pooled], dim=1)
        return torch.relu(torch.cat([net.left(torch.relu(both)), net.right(both)], dim=1))

    parts = {
        "one": _conv(4, 2),
        "before": _conv(4, 2),
        "three": _conv(2, 3, 3),
        "pooled": _conv(4, 2),
        "left": _conv(7, 3),
        "right": _conv(7, 2),
    }
    return Net(maps, 5, **parts)


def shuffled() -> nn.Module:
    """Half of the maps pass by, the other half does not, and their channels are shuffled; then groups read them."""

    def maps(net: Any, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        both = torch.cat([kept, torch.relu(net.part(changed))], dim=1)
        mixed = both.view(-1, 2, 3, *both.shape[2:]).transpose(1, 2).reshape(-1, 6, *both.shape[2:])
        return torch.relu(net.grouped(mixed))

    return Net(maps, 4, part=_conv(2, 4, 3), grouped=_conv(6, 4, groups=2))


def gated() -> nn.Module:
    """A squeeze-and-excite gate in a residual block."""

    def maps(net: Any, x: Tensor) -> Tensor:
        inside = torch.relu(net.inside(x))
        squeezed = torch.relu(net.squeeze(F.adaptive_avg_pool2d(inside, 1)))
        inside = inside * torch.sigmoid(net.excite(squeezed))
        return torch.relu(net.plus(net.out(inside), x))

    return Net(maps, 4, inside=_conv(4, 6, 3), squeeze=_conv(6, 2), excite=_conv(2, 6), out=_conv(6, 4), plus=Plus())


def sums() -> nn.Module:
    """Two sums that read one layer, one map added to itself, three addends at once, and sums of sums."""

    def maps(net: Any, x: Tensor) -> Tensor:
        one = net.one(x)
        first, second = net.first(one, x), net.second(one, net.two(x))
        twice = net.twice(first, first)
        return torch.relu(net.last(twice, second, net.three(torch.relu(second))))

    plus = {name: Plus() for name in ("first", "second", "twice", "last")}
    return Net(maps, 4, one=_conv(4, 4, 3), two=_conv(4, 4), three=_conv(4, 4), **plus)


def joined() -> nn.Module:
    """A concatenation of a concatenation, with a norm behind it (as in DenseNet), and the image in it."""

    def maps(net: Any, x: Tensor) -> Tensor:
        both = torch.cat([x, net.one(torch.relu(x))], dim=1)
        more = torch.cat([both, net.two(torch.relu(net.norm(both)))], dim=1)
        return torch.relu(net.three(more))

    parts = {"one": _conv(4, 3, 3), "norm": nn.BatchNorm2d(7), "two": _conv(7, 2), "three": _conv(9, 4)}
    return nets.with_statistics(Net(maps, 4, **parts))


def twice() -> nn.Module:
    """One convolution called two times, its second result added to its first."""

    def maps(net: Any, x: Tensor) -> Tensor:
        one = net.shared(x)
        return torch.relu(net.plus(net.shared(torch.relu(one)), one))

    return Net(maps, 4, shared=_conv(4, 4, 3), plus=Plus())


def parallel() -> nn.Module:
    """Two branches that meet in the head alone, and a convolution beyond each."""

    def maps(net: Any, x: Tensor) -> Tensor:
        left, right = net.left(x), net.right(x)
        return torch.cat([net.leftmost(torch.relu(left)), net.rightmost(torch.relu(right))], dim=1)

    parts = {"left": _conv(4, 3, 3), "right": _conv(4, 2), "leftmost": _conv(3, 2), "rightmost": _conv(2, 3)}
    return Net(maps, 5, **parts)


NETS: dict[str, Callable[[], nn.Module]] = {
    "residual": residual,
    "inception": inception,
    "shuffled": shuffled,
    "gated": gated,
    "sums": sums,
    "joined": joined,
    "twice": twice,
    "parallel": parallel,
}


READ_ELSEWHERE = {"twice": {"shared"}, "sums": {"second.add"}}
"""Layers whose maps are read by an activation and by something else as well: for these a = Z."""


def make(name: str) -> Net:
    """The network of that name in eval mode, always with the same weights."""
    found = nets.seeded(NETS[name]).eval()
    assert isinstance(found, Net)
    return found


def folded(network: Net) -> Net:
    """A copy in float64 whose folded norms are part of the convolutions before them."""
    found = copy.deepcopy(network).double()
    for name, behind in found.folds.items():
        convolution, norm = found.get_submodule(name), found.get_submodule(behind)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.data / torch.sqrt(norm.running_var + norm.eps)
        before = torch.zeros_like(scale) if convolution.bias is None else convolution.bias.data
        convolution.weight.data *= scale[:, None, None, None]
        convolution.bias = nn.Parameter((before - norm.running_mean) * scale + norm.bias.data)
        found.add_module(behind, nn.Identity())
    return found
