"""Awkward nets III: the blocks of known families, gates among them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, Permute, StochasticDepth

from tests.awkward import Nets, c1, c3, linear, norm, parameter
from tests.nets import conv

BLOCKS = Nets()


def layer_norm(channels: int, **settings: Any) -> Callable[[], nn.LayerNorm]:
    """A builder of a LayerNorm."""
    return lambda: nn.LayerNorm(channels, **settings)


class LayerNorm2d(nn.LayerNorm):
    """The one of torchvision's ConvNeXt: over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Channels last, and back."""
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """A block of its own, so that its addition has a path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        """ReZero: the branch is scaled by one learnt number."""
        return x + self.gain * F.relu(self.add(x))


# --- gates -------------------------------------------------------------------------------------------------------


@BLOCKS(a=c3(3, 4), down=c1(4, 2), up=c1(2, 4), b=c3(4, 2))
def squeeze_and_excite(own: Any, x: Tensor) -> Any:
    """EfficientNet: two convolutions on the maps' means make a factor for each channel."""
    z = F.silu(own.a(x))
    gate = torch.sigmoid(own.up(F.silu(own.down(F.adaptive_avg_pool2d(z, 1)))))
    return own.b(gate * z)


@BLOCKS(a=c3(3, 4), fc=lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Sigmoid()), b=c3(4, 2))
def squeeze_and_excite_by_linear_layers(own: Any, x: Tensor) -> Any:
    """SENet: means as vectors, linear layers, and back to 1x1 maps that are expanded."""
    z = own.a(x)
    n, c, _, _ = z.size()
    gate = own.fc(z.mean(dim=(2, 3)).view(n, c)).view(n, c, 1, 1)
    return own.b(F.relu(z * gate.expand_as(z) + z))


@BLOCKS(a=c3(3, 4), down=c1(4, 2), up=c1(2, 4), b=c3(4, 2))
def gate_of_two_poolings(own: Any, x: Tensor) -> Any:
    """CBAM: the same two convolutions see the means and the maxima; the factor is made of their sum."""
    z = F.relu(own.a(x))
    means = own.up(F.relu(own.down(F.adaptive_avg_pool2d(z, 1))))
    maxima = own.up(F.relu(own.down(F.adaptive_max_pool2d(z, 1))))
    return own.b(z * torch.sigmoid(means + maxima))


@BLOCKS(a=c3(3, 4), g=conv(4, 1, 5, padding=2), b=c3(4, 2))
def spatial_gate(own: Any, x: Tensor) -> Any:
    """One map of factors for all channels."""
    z = own.a(x)
    return own.b(z * F.hardsigmoid(own.g(F.relu(z))))


@BLOCKS(a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def gated_linear_unit(own: Any, x: Tensor) -> Any:
    """A factor for each value: maps times the sigmoid of other maps."""
    return own.c(own.a(x) * torch.sigmoid(own.b(x)))


@BLOCKS(a=c3(3, 8), b=c3(4, 2))
def glu(own: Any, x: Tensor) -> Any:
    """torch's own: the second half of the channels are the factors of the first."""
    return own.b(F.glu(own.a(x), dim=1))


@BLOCKS(a=c3(3, 4), b=c3(3, 2), down=c1(6, 2), up=c1(2, 6), c=c3(6, 4), d=c1(9, 2))
def gate_on_a_concat(own: Any, x: Tensor) -> Any:
    """The factors of six channels from two sources; the gated maps are read twice."""
    z = torch.cat([own.a(x), F.relu(own.b(x))], 1)
    z = z * torch.sigmoid(own.up(F.relu(own.down(z.mean((2, 3), keepdim=True)))))
    return own.d(torch.cat([own.c(z), z[:, 1:]], 1))


@BLOCKS(a=c3(3, 4), g=c1(4, 4), h=c1(4, 4), b=c3(4, 2))
def gate_of_a_gate(own: Any, x: Tensor) -> Any:
    """A gate that reads gated maps, and is itself gated."""
    z = own.a(x)
    z = z * torch.sigmoid(own.g(z.mean((2, 3), keepdim=True)))
    h = own.h(F.adaptive_avg_pool2d(z, 1))
    return own.b(z * (h * torch.sigmoid(h)))


# --- blocks ------------------------------------------------------------------------------------------------------


@BLOCKS(
    one=c1(2, 2), n1=norm(2), dw=conv(2, 2, 3, padding=1, groups=2), n2=norm(2), two=c1(2, 2), stem=c3(3, 4), c=c1(4, 3)
)
def shufflenet_unit(own: Any, x: Tensor) -> Any:
    """Half of the channels pass by; then both halves are shuffled."""
    x1, x2 = own.stem(x).chunk(2, dim=1)
    y = torch.cat((x1, F.relu(own.two(own.n2(own.dw(F.relu(own.n1(own.one(x2)))))))), dim=1)
    n, channels, rows, columns = y.size()
    y = torch.transpose(y.view(n, 2, channels // 2, rows, columns), 1, 2).contiguous().view(n, channels, rows, columns)
    return own.c(y)


@BLOCKS(
    stem=conv(3, 4, 2, stride=2),
    block=lambda: nn.Sequential(
        nn.Conv2d(4, 4, 7, padding=3, groups=4),
        Permute([0, 2, 3, 1]),
        nn.LayerNorm(4, eps=1e-6),
        nn.Linear(4, 8),
        nn.GELU(),
        nn.Linear(8, 4),
        Permute([0, 3, 1, 2]),
    ),
    scale=parameter(4, 1, 1),
    drop=lambda: StochasticDepth(0.5, "row"),
    c=c1(4, 2),
)
def convnext_block(own: Any, x: Tensor) -> Any:
    """Linear layers at every position, between permutations; the block's scale is a parameter."""
    z = own.stem(x)
    return own.c(z + own.drop(own.scale * own.block(z)))


@BLOCKS(a=c3(3, 4), n=lambda: LayerNorm2d(4), b=c3(4, 4), m=lambda: LayerNorm2d(4, bias=False), c=c1(4, 2))
def layer_norms_over_channels(own: Any, x: Tensor) -> Any:
    """LayerNorm of (N, C, H, W) maps between two permutations."""
    return own.c(own.m(F.relu(own.b(own.n(own.a(x))))))


@BLOCKS(
    stem=lambda: Conv2dNormActivation(3, 4, stride=2),
    a=lambda: Conv2dNormActivation(4, 2, kernel_size=1),
    b=lambda: Conv2dNormActivation(2, 2, kernel_size=3, groups=2),
    c=lambda: Conv2dNormActivation(2, 6, kernel_size=1, activation_layer=None),
    down=lambda: Conv2dNormActivation(4, 6, kernel_size=1, activation_layer=None),
    last=c1(6, 2),
)
def bottleneck(own: Any, x: Tensor) -> Any:
    """ResNeXt: both addends are convolutions with their own norm, and the activation behind the sum is in place."""
    z = own.stem(x)
    y = own.c(own.b(own.a(z)))
    y += own.down(z)
    return own.last(F.relu(y, inplace=True))


@BLOCKS(
    trunk=lambda: nn.Sequential(
        OrderedDict(
            entry=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
            middle=nn.ModuleDict({"x": nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)))})["x"],
        )
    ),
    last=c1(4, 2),
)
def nested_sequentials(own: Any, x: Tensor) -> Any:
    """The norm is found behind its convolution through several containers."""
    return own.last(F.relu(own.trunk(x)))


@BLOCKS(
    cells=lambda: nn.ModuleList(
        nn.ModuleDict({"down": nn.Conv2d(4, 4, 3, stride=2, padding=1), "side": nn.Conv2d(4, 2, 1)}) for _ in range(3)
    ),
    stem=c3(3, 4),
    last=c1(6, 2),
)
def feature_pyramid(own: Any, x: Tensor) -> Any:
    """Every level has a side exit; all exits are enlarged to the first one's size."""
    z = own.stem(x)
    sides: list[Tensor] = []
    for cell in own.cells:
        z = F.relu(cell["down"](z))
        sides.append(cell["side"](z))
    size = sides[0].shape[-2:]
    return own.last(torch.cat([F.interpolate(each, size=size, mode="nearest") for each in sides], 1))


@BLOCKS(a=c3(3, 4), b=c3(2, 2), c=c3(2, 2), d=c3(2, 2), e=c1(8, 2), shape=(3, 8, 8), stem=c3(4, 8))
def res2net_block(own: Any, x: Tensor) -> Any:
    """Each quarter of the channels is added to what the quarter before became."""
    first, second, third, last = torch.split(own.stem(F.relu(own.a(x))), 2, 1)
    y1 = F.relu(own.b(second))
    y2 = F.relu(own.c(y1 + third))
    return own.e(torch.cat([first, y1, y2, F.relu(own.d(y2 + last))], 1))


@BLOCKS(one=c1(4, 2), two=c1(2, 2), three=c3(2, 2), stem=c3(3, 4), last=c1(8, 2))
def cross_stage_partial(own: Any, x: Tensor) -> Any:
    """C2f of YOLOv8: a list grows out of a chunk, and all of it is concatenated."""
    maps = list(own.one(own.stem(x)).repeat(1, 2, 1, 1).chunk(2, 1))
    maps.extend(F.silu(m(maps[-1])) for m in (own.two, own.three))
    return own.last(torch.cat(maps, 1))


@BLOCKS(a=c3(3, 2), b=c3(8, 3), down=lambda: nn.PixelUnshuffle(2), shape=(3, 6, 8))
def pixels_to_channels(own: Any, x: Tensor) -> Any:
    """Every second pixel becomes a channel of its own, beside its neighbours."""
    return own.b(own.down(F.relu(own.a(x))))


@BLOCKS(a=c3(3, 4), b=linear(4, 6), n=layer_norm(6), c=linear(6, 4), d=c1(4, 2))
def tokens(own: Any, x: Tensor) -> Any:
    """Positions as a sequence: linear layers on (N, positions, C), then back to maps."""
    z = own.a(x)
    rows, columns = z.shape[-2:]
    y = own.c(F.gelu(own.n(own.b(z.flatten(2).transpose(1, 2)))))
    return own.d(y.transpose(1, 2).unflatten(2, (rows, columns)) + z)


@BLOCKS(a=c3(3, 4), b=c3(4, 4), c=c3(4, 4), aux=c3(4, 3), last=c1(4, 2))
def helper_of_training(own: Any, x: Tensor) -> Any:
    """An auxiliary head that is only there in training, and one that is computed and forgotten."""
    z = F.relu(own.a(x))
    if own.training:
        return own.last(z), own.aux(z)
    own.aux(own.c(z))
    return own.last(own.b(z))


@BLOCKS(stem=c3(3, 4), blocks=lambda: nn.Sequential(*(Residual(4) for _ in range(3))), last=c1(4, 2))
def learnt_scales(own: Any, x: Tensor) -> Any:
    """Additions in modules of their own, whose convolution is called `add`."""
    return own.last(own.blocks(own.stem(x)))


@BLOCKS(input=c3(3, 4), add=c3(4, 4), gate=c3(4, 4), last=c1(4, 2))
def names_that_are_taken(own: Any, x: Tensor) -> Any:
    """Layers that are called as the image and the additions are."""
    z = own.input(x)
    z = z + own.add(z)
    return own.last(z + own.gate(z))
