"""Awkward nets I: maps that are concatenated, added, shared, cut, shuffled and put together again."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.awkward import Nets, buffer, c1, c3, norm, parameter
from tests.nets import conv

JOINS = Nets()


# --- concatenation -----------------------------------------------------------------------------------------------


@JOINS(a=c3(3, 4), b=c3(3, 2), c=c3(6, 3), d=c3(12, 2))
def concat_of_concat(own: Any, x: Tensor) -> Any:
    """A concatenation that holds a concatenation, the maps made of it, and the image."""
    one = torch.cat([own.a(x), F.relu(own.b(x))], 1)
    return own.d(torch.cat([one, own.c(one), x], 1))


@JOINS(stem=c3(3, 4), n1=norm(4), c1=c3(4, 2), n2=norm(6), c2=c3(6, 2), n3=norm(8), c3=c1(8, 3))
def dense_block(own: Any, x: Tensor) -> Any:
    """DenseNet: each BatchNorm stands behind a concatenation, and every source goes through several of them."""
    maps = [own.stem(x)]
    for n, c in [(own.n1, own.c1), (own.n2, own.c2)]:
        maps.append(c(torch.relu(n(torch.cat(maps, 1)))))
    return own.c3(F.relu(own.n3(torch.cat(maps, dim=1))))


@JOINS(a=c3(3, 3), b=c3(3, 3), c=c3(6, 6, groups=3))
def groups_across_a_concat(own: Any, x: Tensor) -> Any:
    """The second of three groups reads one channel of each source."""
    return own.c(torch.concat((own.a(x), F.elu(own.b(x))), dim=-3))


@JOINS(a=c3(3, 2), b=c1(6, 3))
def concat_with_itself(own: Any, x: Tensor) -> Any:
    """One source three times, through different functions."""
    z = own.a(x)
    return own.b(torch.cat([z, torch.relu(z), torch.tanh(z)], 1))


@JOINS(a=c3(3, 4), b=c3(3, 2), c=c1(6, 3))
def lrn_behind_a_concat(own: Any, x: Tensor) -> Any:
    """A local response normalisation whose windows reach from one source into the next."""
    maps = torch.cat([F.relu(own.a(x)), own.b(x)], 1)
    return own.c(F.max_pool2d(F.local_response_norm(maps, 3, alpha=0.5, k=1.5), 2))


@JOINS(a=c3(3, 4), b=c3(3, 2), n=lambda: nn.LayerNorm(6), c=c1(6, 3))
def layer_norm_behind_a_concat(own: Any, x: Tensor) -> Any:
    """Every value of the result is made of all channels of both sources."""
    maps = torch.cat([own.a(x), F.gelu(own.b(x))], 1)
    return own.c(own.n(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@JOINS(squeeze=c1(3, 2), one=c1(2, 4), three=c3(2, 4), last=c1(8, 3))
def fire(own: Any, x: Tensor) -> Any:
    """SqueezeNet: the activations are in place, behind a squeeze that is read twice."""
    z = F.relu(own.squeeze(x), inplace=True)
    return own.last(torch.cat([F.relu_(own.one(z)), own.three(z).relu_()], 1))


@JOINS(a=c1(3, 2), b=c1(3, 2), b3=c3(2, 3), c=c1(3, 1), c5=conv(1, 2, 5, padding=2), d=c1(3, 2), last=c1(9, 2))
def inception_block(own: Any, x: Tensor) -> Any:
    """Four branches; one begins with a pooling of the image."""
    pooled = F.max_pool2d(x, 3, stride=1, padding=1)
    branches = [own.a(x), own.b3(F.relu(own.b(x))), own.c5(F.relu(own.c(x))), own.d(pooled)]
    return own.last(torch.cat([F.relu(each) for each in branches], 1))


# --- addition ----------------------------------------------------------------------------------------------------


@JOINS(a=c3(3, 4, stride=2), b=c1(3, 4, stride=2), c=c3(4, 2))
def sum_behind_a_stride(own: Any, x: Tensor) -> Any:
    """Two convolutions of stride 2 are added."""
    return own.c(F.relu(own.a(x) + own.b(x)))


@JOINS(a=c3(3, 4), b=c3(4, 2))
def plus_itself(own: Any, x: Tensor) -> Any:
    """x + x."""
    z = own.a(x)
    return own.b(z + z)


@JOINS(a=c3(3, 4), b=c3(4, 2))
def plus_its_relu_in_place(own: Any, x: Tensor) -> Any:
    """`x += relu(x)`, read afterwards by the old name."""
    z = y = own.a(x)
    y += F.relu(z)
    return own.b(z)


@JOINS(a=c3(3, 4), b=c3(4, 4), c=c3(4, 2))
def overwritten_by_its_relu(own: Any, x: Tensor) -> Any:
    """`F.relu_(z)` changes `z` itself: the shortcut is the ReLU's output too."""
    z = own.a(x)
    y = own.b(F.relu_(z))
    return own.c(y + z)


@JOINS(a=c3(3, 4), act=lambda: nn.ReLU(inplace=True), b=c3(4, 4), c=c3(4, 2))
def overwritten_by_a_module(own: Any, x: Tensor) -> Any:
    """A module that works in place changes the shortcut, which is added by `add_` in the end."""
    z = own.a(x)
    y = own.b(own.act(z))
    return own.c(y.add_(z))


@JOINS(a=c3(3, 4), b=c3(4, 4), c=c3(4, 2))
def overwritten_by_a_sum(own: Any, x: Tensor) -> Any:
    """`z.add_(y)` changes `z`; what was read from it before is what it was."""
    z = own.a(x)
    y = own.b(z)
    z.add_(y)
    return own.c(torch.sigmoid(z))


@JOINS(a=c3(3, 4), b=c3(4, 4), c=c3(4, 2))
def scaled_residual(own: Any, x: Tensor) -> Any:
    """Inception-ResNet: the branch counts a tenth."""
    z = own.a(x)
    return own.c(F.relu(z + 0.1 * own.b(F.relu(z))))


@JOINS(a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def difference(own: Any, x: Tensor) -> Any:
    """Subtraction, in three ways."""
    z, y = own.a(x), own.b(x)
    return own.c(torch.sub(z - y, F.relu(y), alpha=0.5).sub(y))


@JOINS(a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def reversed_difference(own: Any, x: Tensor) -> Any:
    """1 - x, and a scaled addend of `torch.add`."""
    return own.c(torch.add(1 - own.a(x), own.b(x), alpha=2))


@JOINS(stem=c3(3, 4), a=c3(4, 8, stride=2), n=norm(8), b=c3(8, 8), m=norm(8), c=c3(8, 2))
def option_a_shortcut(own: Any, x: Tensor) -> Any:
    """ResNet for CIFAR: the shortcut takes every second pixel and gets channels of zeros on both sides."""
    z = F.relu(own.stem(x))
    y = own.m(own.b(F.relu(own.n(own.a(z)))))
    return own.c(F.relu(y + F.pad(z[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0)))


@JOINS(stem=c3(3, 4), n1=norm(4), a=c3(4, 4), n2=norm(4), b=c3(4, 4), n3=norm(4), c=c3(4, 2))
def preactivated_residual(own: Any, x: Tensor) -> Any:
    """ResNet v2: a BatchNorm of a sum, and one of maps that the shortcut reads too."""
    z = own.stem(x)
    z = z + own.b(F.relu(own.n2(own.a(F.relu(own.n1(z))))))
    return own.c(F.relu(own.n3(z)))


@JOINS(branches=lambda: nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1) for _ in range(3)]), c=c3(4, 2))
def sum_of_a_list(own: Any, x: Tensor) -> Any:
    """Python's `sum()` begins with the number 0."""
    return own.c(sum(F.relu(branch(x)) for branch in own.branches))


@JOINS(branches=lambda: nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1) for _ in range(3)]), c=c3(4, 2))
def sum_of_a_stack(own: Any, x: Tensor) -> Any:
    """A new dimension that is summed away at once."""
    return own.c(torch.stack([branch(x) for branch in own.branches]).sum(0))


@JOINS(a=c3(3, 4), b=c3(3, 4), c=c3(3, 4), d=c3(4, 2))
def mean_of_a_stack(own: Any, x: Tensor) -> Any:
    """An ensemble: the mean over a new dimension behind the images'."""
    return own.d(torch.stack([own.a(x), F.relu(own.b(x)), own.c(x)], dim=1).mean(dim=1))


@JOINS(a=c3(3, 4), b=c3(3, 1), c=c3(4, 2))
def broadcast_channel(own: Any, x: Tensor) -> Any:
    """One channel is added to each of four."""
    return own.c(own.a(x) + F.relu(own.b(x)))


@JOINS(a=c3(3, 4), b=c3(4, 4), c=c3(4, 2))
def broadcast_position(own: Any, x: Tensor) -> Any:
    """A map's mean is added to every position (global context)."""
    z = own.a(x)
    return own.c(z + own.b(F.adaptive_avg_pool2d(z, 1)))


@JOINS(a=c3(3, 4), b=c3(3, 4), c=c3(4, 4))
def ends_with_a_sum(own: Any, x: Tensor) -> Any:
    """The model returns the maps of an addition; nothing reads them."""
    return own.a(x) + own.c(F.relu(own.b(x)))


@JOINS(a=c3(3, 4), b=c3(3, 6), c=c3(4, 2))
def sum_of_different_cuts(own: Any, x: Tensor) -> Any:
    """Each addend is put together of parts, in another order than they were made."""
    z, y = own.a(x), F.relu(own.b(x))
    return own.c(torch.cat([z[:, 2:], z[:, :2]], 1) + torch.cat([y[:, 5:], y[:, :3]], 1))


@JOINS(a=c3(3, 2), b=c3(3, 4), c=c3(4, 2))
def zeros_by_concatenation(own: Any, x: Tensor) -> Any:
    """The shortcut's missing channels are made by `zeros_like`."""
    z = own.a(x)
    return own.c(torch.cat([torch.zeros_like(z), F.relu(z)], 1) + own.b(x))


# --- sharing -----------------------------------------------------------------------------------------------------


@JOINS(s=c3(3, 3), c=c3(3, 2))
def shared_convolution(own: Any, x: Tensor) -> Any:
    """One convolution, called twice, and a shortcut from its first call."""
    z = F.relu(own.s(x))
    return own.c(z + own.s(z))


@JOINS(s=c3(3, 3), c=c3(6, 2))
def shared_on_two_resolutions(own: Any, x: Tensor) -> Any:
    """One convolution on a pyramid; its coarse maps are enlarged to the size of the fine ones."""
    fine, coarse = own.s(x), own.s(F.avg_pool2d(x, 2))
    return own.c(torch.cat([fine, F.interpolate(F.relu(coarse), size=fine.shape[2:])], 1))


@JOINS(a=c3(3, 4), b=c3(3, 4), n=norm(4), c=c3(4, 2))
def shared_norm(own: Any, x: Tensor) -> Any:
    """One BatchNorm behind two convolutions: it is folded into both."""
    return own.c(F.relu(own.n(own.a(x)) + own.n(own.b(x))))


@JOINS(a=c3(3, 4), n=norm(4), b=c1(8, 3))
def norm_beside_its_convolution(own: Any, x: Tensor) -> Any:
    """The BatchNorm cannot be folded: something else reads the convolution's own maps."""
    z = own.a(x)
    return own.b(torch.cat([F.relu(own.n(z)), z], 1))


@JOINS(a=c3(3, 4), b=c3(4, 2), c=c3(4, 2), d=c1(4, 2))
def different_functions_of_one_layer(own: Any, x: Tensor) -> Any:
    """No activation alone consumes the first layer's maps."""
    z = own.a(x)
    return own.d(torch.cat([own.b(F.relu(z)), own.c(z)], 1))


# --- cutting and shuffling ---------------------------------------------------------------------------------------


@JOINS(a=c3(3, 4), b=conv(4, 4, 3, groups=2))
def shuffled_channels(own: Any, x: Tensor) -> Any:
    """ShuffleNet's shuffle between a layer and groups: 0, 2, 1, 3."""
    z = F.relu(own.a(x))
    n, c, h, w = z.shape
    return own.b(z.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w))


@JOINS(a=c3(3, 4), b=c3(3, 2), c=conv(6, 6, 3, groups=3))
def shuffled_concat(own: Any, x: Tensor) -> Any:
    """Channels of two sources, of different numbers, are shuffled into each other by a module."""
    z = torch.cat([F.relu(own.a(x)), own.b(x)], 1)
    return own.c(F.channel_shuffle(z, 2))


@JOINS(a=c3(3, 6), b=c3(2, 2), c=c3(2, 2), d=c3(3, 2), e=c3(2, 2), f=c1(8, 3))
def split_in_many_ways(own: Any, x: Tensor) -> Any:
    """split, chunk, slice, narrow: each takes other channels of one layer."""
    z = own.a(x)
    first, _, last = torch.split(z, [2, 2, 2], dim=1)
    half = z.chunk(2, 1)[1]
    parts = [own.b(F.relu(first)), own.c(last), own.d(half), own.e(z.narrow(1, 1, 2))]
    return own.f(torch.cat(parts, 1))


@JOINS(a=c3(3, 4), b=c3(2, 3))
def half_of_the_channels(own: Any, x: Tensor) -> Any:
    """Two of four filters reach nothing."""
    return own.b(F.relu(own.a(x))[:, 1::2])


@JOINS(a=c3(3, 4), b=c3(4, 2), c=c3(3, 4), d=c1(4, 2))
def permuted_by_numbers(own: Any, x: Tensor) -> Any:
    """Channels in the order of a list: colours turned round, and a layer's filters with one of them twice."""
    z = own.a(x[:, [2, 1, 0]])
    y = torch.index_select(own.c(x), 1, torch.tensor([3, 0, 0, 1]))
    return own.b(z) + own.d(y)


@JOINS(a=c3(3, 4), order=lambda: torch.tensor([2, 0, 3]), b=c3(3, 2))
def permuted_by_a_buffer(own: Any, x: Tensor) -> Any:
    """The order of the channels lies in a buffer."""
    return own.b(own.a(x)[:, own.order])


@JOINS(a=c3(3, 3), gain=parameter(5, 1, 1), b=c3(5, 2))
def repeated_channels_scaled_apart(own: Any, x: Tensor) -> Any:
    """The same filter several times, each time with a factor of its own."""
    return own.b(F.relu(own.a(x)[:, [0, 2, 0, 1, 0]] * own.gain))


@JOINS(a=c3(3, 6), b=c3(10, 2))
def norms_behind_cuts(own: Any, x: Tensor) -> Any:
    """Norms and a softmax over some channels of a layer, in another order."""
    z = F.relu(own.a(x))
    one, two = F.local_response_norm(z[:, [4, 2, 0]], 3, alpha=0.7), F.group_norm(z[:, 1:5], 2)
    return own.b(torch.cat([two, one, torch.softmax(z[:, 3:], dim=1)], 1))


@JOINS(parts=lambda: nn.ModuleList([shared := nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), shared]), c=c3(3, 2))
def shared_under_two_names(own: Any, x: Tensor) -> Any:
    """One module lies in a list twice."""
    for part in own.parts:
        x = torch.tanh(part(x))
    return own.c(x)


@JOINS(shape=(3, 12, 8), a=conv(12, 4, 3, padding=1), b=c3(4, 2))
def focus(own: Any, x: Tensor) -> Any:
    """YOLOv5: every second pixel, four times, becomes channels."""
    parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    return own.b(F.silu(own.a(torch.cat(parts, 1))))


@JOINS(mean=lambda: torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), std=buffer(1, 3, 1, 1, positive=True), a=c3(3, 2))
def normalised_inside(own: Any, x: Tensor) -> Any:
    """The images are normalised by the model."""
    return own.a((x - own.mean) / own.std)


@JOINS(a=c3(3, 2), b=c1(2, 2))
def transformed_input(own: Any, x: Tensor) -> Any:
    """GoogLeNet of torchvision: each colour is scaled and shifted, and they are concatenated."""
    red = torch.unsqueeze(x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
    green = torch.unsqueeze(x[:, 1], 1) * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
    blue = torch.unsqueeze(x[:, 2], 1) * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
    return own.b(F.relu(own.a(torch.cat((red, green, blue), 1))))
