"""Awkward nets IV: what cannot be written as layers and feeds, with the name and the line that the refusal gives."""

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from tests.awkward import Nets, c1, c3, linear, norm, parameter

REFUSED = Nets()
NAMED: dict[str, tuple[str, str]] = {}
"""Per net the name in the message (a regular expression), and what the quoted line of code holds."""


def refused(named: str, line: str, **parts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the net is refused by this name, quoting a line that holds this."""

    def register(forward: Callable[..., Any]) -> Callable[..., Any]:
        NAMED[forward.__name__] = named, line
        forward.__doc__ = named
        return REFUSED(**parts)(forward)

    return register


# --- operations --------------------------------------------------------------------------------------------------


@refused("'mul'", "own.a(x) * own.b(x)", a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def product_of_maps(own: Any, x: Tensor) -> Any:
    return own.c(own.a(x) * own.b(x))


@refused("'(truediv|div)'", "own.a(x) / ", a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def quotient_of_maps(own: Any, x: Tensor) -> Any:
    return own.c(own.a(x) / (own.b(x).abs() + 1))


@refused("'(max|maximum)'", "torch.max(", a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def maxout(own: Any, x: Tensor) -> Any:
    return own.c(torch.max(own.a(x), own.b(x)))


@refused("'max'", "z.max(dim=1", a=c3(3, 4), b=c3(1, 2))
def channel_maximum(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(z.max(dim=1, keepdim=True)[0])


@refused("'mean'", "z.mean(1, keepdim=True)", a=c3(3, 4), b=c3(1, 2))
def channel_mean(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(z.mean(1, keepdim=True))


@refused("'(norm|linalg_vector_norm)'", "z.norm(", a=c3(3, 4), b=c3(4, 2))
def normalised_by_its_length(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(z / z.norm(dim=1, keepdim=True))


@refused("'(matmul|bmm)'", "torch.bmm(", a=c1(3, 4), b=c1(3, 4), c=c3(4, 2))
def attention(own: Any, x: Tensor) -> Any:
    key, query = own.a(x).flatten(2), own.b(x).flatten(2)
    scores = torch.bmm(query.transpose(1, 2), key).softmax(-1)
    return own.c((key @ scores).view(-1, 4, 10, 9))


@refused("'?einsum'?", "torch.einsum(", a=c1(3, 4), w=parameter(4, 5), c=c3(5, 2))
def einstein_sum(own: Any, x: Tensor) -> Any:
    return own.c(torch.einsum("nchw,cd->ndhw", own.a(x), own.w))


@refused("MultiheadAttention", "own.attend(", a=c1(3, 4), attend=lambda: nn.MultiheadAttention(4, 2), c=c3(4, 2))
def attention_module(own: Any, x: Tensor) -> Any:
    z = own.a(x).flatten(2).permute(2, 0, 1)
    z = own.attend(z, z, z)[0]
    return own.c(z.permute(1, 2, 0).view(-1, 4, 10, 9))


@refused("Conv1d", "own.k(", a=c3(3, 4), k=lambda: nn.Conv1d(1, 1, 3, padding=1), b=c3(4, 2))
def efficient_channel_attention(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    gate = own.k(z.mean((2, 3), keepdim=True).squeeze(-1).transpose(1, 2)).transpose(1, 2).unsqueeze(-1)
    return own.b(z * gate.sigmoid())


@refused("ConvTranspose2d", "own.up(", a=c3(3, 4), up=lambda: nn.ConvTranspose2d(4, 4, 2, stride=2), b=c3(4, 2))
def transposed_convolution(own: Any, x: Tensor) -> Any:
    return own.b(own.up(own.a(x)))


@refused("'conv_transpose2d'", "F.conv_transpose2d(", a=c3(3, 4), w=parameter(4, 4, 2, 2), b=c3(4, 2))
def functional_transposed_convolution(own: Any, x: Tensor) -> Any:
    return own.b(F.conv_transpose2d(own.a(x), own.w, stride=2))


@refused("Conv3d", "own.b(", a=c3(3, 4), b=lambda: nn.Conv3d(1, 2, 3))
def volume(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(z.unsqueeze(1)).flatten(1)


@refused("'conv1d'", "F.conv1d(", a=c3(3, 4), w=parameter(2, 4, 3))
def functional_sequence(own: Any, x: Tensor) -> Any:
    return F.conv1d(own.a(x).flatten(2), own.w)


@refused("'conv2d'.*weight depends on the image", "F.conv2d(", a=c3(3, 4), b=c3(4, 2))
def dynamic_weights(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(F.conv2d(z, own.b.weight.view(4, 2, 9)[:, :1, :4].view(4, 1, 2, 2) * z.mean(), groups=4))


@refused("'(conv2d|mul)'", "torch.sigmoid(own.a(x).mean())", a=c3(3, 4), b=c3(3, 2))
def weights_scaled_by_the_image(own: Any, x: Tensor) -> Any:
    return F.conv2d(x, own.b.weight * torch.sigmoid(own.a(x).mean()))


@refused(
    "deform_conv2d|DeformConv2d", "deform_conv2d(", a=c3(3, 18), d=lambda: DeformConv2d(3, 4, 3, padding=1), b=c3(4, 2)
)
def deformable_convolution(own: Any, x: Tensor) -> Any:
    return own.b(own.d(x, own.a(x)))


@refused("'grid_sample'", "F.grid_sample(", a=c3(3, 2), b=c3(3, 2))
def spatial_transformer(own: Any, x: Tensor) -> Any:
    grid = own.a(x).permute(0, 2, 3, 1)
    return own.b(F.grid_sample(x, grid, align_corners=False))


@refused("'unfold'", "F.unfold(", a=c3(3, 4), b=c3(36, 2))
def unfolded(own: Any, x: Tensor) -> Any:
    return own.b(F.unfold(own.a(x), 3, padding=1).view(-1, 36, 10, 9))


@refused("'pixel_shuffle'", "F.pixel_shuffle(", a=c3(3, 8), b=c3(2, 4))
def channels_to_pixels(own: Any, x: Tensor) -> Any:
    return own.b(F.pixel_shuffle(own.a(x), 2))


@refused("'(roll|flip)'", "torch.", a=c3(3, 4), b=c3(4, 2))
def moved_round(own: Any, x: Tensor) -> Any:
    return own.b(torch.roll(own.a(x), 1, dims=3))


@refused("'permute'|'b'", "own.", a=c3(3, 4), b=c3(4, 2))
def rows_for_columns(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x).permute(0, 1, 3, 2))


@refused("'cumsum'", "cumsum(", a=c3(3, 4), b=c3(4, 2))
def running_sum(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x).cumsum(1))


@refused("'sort'", "sort(", a=c3(3, 4), b=c3(4, 2))
def sorted_channels(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x).sort(1)[0])


@refused("'(where|gt)'", "torch.where(", a=c3(3, 4), b=c3(3, 4), c=c3(4, 2))
def chosen_by_the_image(own: Any, x: Tensor) -> Any:
    z, y = own.a(x), own.b(x)
    return own.c(torch.where(z > 0, z, y))


@refused("'add'.*(constant|position)", "+ own.place", a=c3(3, 4), place=parameter(1, 4, 10, 9), b=c3(4, 2))
def embedded_positions(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x) + own.place)


@refused("'(cat|expand)'", "torch.cat(", a=c3(3, 4), place=parameter(1, 2, 10, 9), b=c3(6, 2))
def concatenated_with_constants(own: Any, x: Tensor) -> Any:
    return own.b(torch.cat([own.a(x), own.place.expand(x.shape[0], -1, -1, -1)], 1))


@refused("'mul'.*position", "* own.mask", a=c3(3, 4), mask=parameter(1, 1, 10, 9), b=c3(4, 2))
def masked_positions(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x) * own.mask)


@refused("'b'.*zero", "own.b(F.pad(", a=c3(3, 4), b=c3(6, 2))
def convolution_of_zeros(own: Any, x: Tensor) -> Any:
    return own.b(F.pad(own.a(x), (0, 0, 0, 0, 1, 1)))


@refused("'mean'|'sub'", "x.mean(0", a=c3(3, 4))
def centred_over_the_batch(own: Any, x: Tensor) -> Any:
    return own.a(x - x.mean(0, keepdim=True))


@refused("'(flip|a)'|batch", ".flip(0)", a=c3(3, 4))
def images_exchanged(own: Any, x: Tensor) -> Any:
    return own.a(x.flip(0))


@refused("BatchNorm2d.*running statistics", "own.n(", a=c3(3, 4), n=norm(4, track_running_stats=False), b=c3(4, 2))
def norm_of_the_batch(own: Any, x: Tensor) -> Any:
    return own.b(own.n(own.a(x)))


@refused("'batch_norm'.*batch", "F.batch_norm(", a=c3(3, 4), n=norm(4), b=c3(4, 2))
def functional_norm_of_the_batch(own: Any, x: Tensor) -> Any:
    return own.b(F.batch_norm(own.a(x), own.n.running_mean, own.n.running_var, training=True))


@refused("'layer_norm'|'n'", "own.n(", a=c3(3, 4), n=lambda: nn.LayerNorm([4, 10, 9]), b=c3(4, 2))
def layer_norm_of_everything(own: Any, x: Tensor) -> Any:
    return own.b(own.n(own.a(x)))


@refused("LayerNorm|'n'", "own.n(", a=c3(3, 4), n=lambda: nn.LayerNorm(9), b=c3(4, 2))
def layer_norm_along_rows(own: Any, x: Tensor) -> Any:
    return own.b(own.n(own.a(x)))


# --- what overwrites maps ----------------------------------------------------------------------------------------


@refused("'mul_'.*in place", "mul_(0.5)", a=c3(3, 4), b=c3(4, 2))
def overwritten_slice(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    z[:, :2].mul_(0.5)
    return own.b(z)


@refused("'relu_'|in place", "F.relu_(half.flatten(2))", a=c3(3, 4), b=c3(4, 2))
def overwritten_view_of_a_view(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    half = z[:, :2]
    F.relu_(half.flatten(2))
    return own.b(z)


@refused("'relu_'|in place", "F.relu_(z)", a=c3(3, 4), b=c3(2, 2))
def overwritten_under_a_view(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    half = z[:, :2]
    F.relu_(z)
    return own.b(half)


# --- what a graph cannot hold ------------------------------------------------------------------------------------


@refused("traced", "if x.mean() > 0:", a=c3(3, 4), b=c3(3, 4))
def control_flow_on_values(own: Any, x: Tensor) -> Any:
    if x.mean() > 0:
        return own.a(x)
    return own.b(x)


@refused("traced|batch", "for each in x", a=c3(3, 4))
def loop_over_images(own: Any, x: Tensor) -> Any:
    return torch.cat([own.a(each[None]) for each in x])


@refused("traced|'item'|'float'|image", "float(x.mean())", a=c3(3, 4))
def python_number(own: Any, x: Tensor) -> Any:
    return own.a(x) * float(x.mean())


@refused("differ|random", "", a=c3(3, 4), b=c3(4, 2))
def python_chance(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x) * random.random())


@refused("'rand_like'|'randn'|random|own", "torch.randn", a=c3(3, 4), b=c3(4, 2))
def noise(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    return own.b(z + torch.randn_like(z))


@refused("'dropout'.*random", "F.dropout(", a=c3(3, 4), b=c3(4, 2))
def dropout_that_is_always_on(own: Any, x: Tensor) -> Any:
    return own.b(F.dropout(own.a(x)))


# --- outputs -----------------------------------------------------------------------------------------------------


@refused("tuple", "", a=c3(3, 4))
def two_outputs(own: Any, x: Tensor) -> Any:
    return own.a(x), x


@refused("one tensor", "", a=c3(3, 4))
def one_output_in_a_tuple(own: Any, x: Tensor) -> Any:
    return (own.a(x),)


@refused("dictionary", "", a=c3(3, 4))
def named_outputs(own: Any, x: Tensor) -> Any:
    return {"maps": own.a(x), "images": x}


@refused("one tensor", "", a=c3(3, 4))
def nothing(own: Any, x: Tensor) -> Any:
    return None


@refused("no 2-D convolution", "", a=linear(270, 4))
def no_convolution(own: Any, x: Tensor) -> Any:
    return own.a(x.flatten(1))


@refused("batch", "", a=c3(3, 4))
def images_mixed(own: Any, x: Tensor) -> Any:
    return own.a(x).view(1, -1)


@refused("batch", "", a=c3(3, 4))
def images_lost(own: Any, x: Tensor) -> Any:
    return own.a(x).mean()


@refused("'cat'|batch", "", a=c3(3, 4))
def images_doubled(own: Any, x: Tensor) -> Any:
    return own.a(torch.cat([x, x], 0))


@refused("random", "", a=c3(3, 4))
def noise_in_the_head(own: Any, x: Tensor) -> Any:
    return torch.rand_like(own.a(x).mean((2, 3)))


@refused("random", "", a=c3(3, 4))
def dropout_in_the_head(own: Any, x: Tensor) -> Any:
    return F.dropout(own.a(x).flatten(1))
