"""Awkward nets II: what stands between layers, and how layers and steps are written down."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from tests.awkward import Nets, buffer, c1, c3, linear, norm, parameter
from tests.nets import conv

STEPS = Nets()


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised whenever it is called."""

    def forward(self, x: Tensor) -> Tensor:
        """Weight standardisation."""
        mean, std = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (std + 1e-5), self.bias, self.stride, self.padding)


class AsTensorflow(nn.Conv2d):
    """A convolution that pads as TensorFlow does: by the size of its input, more at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """SAME padding."""
        rows, columns = x.size()[-2:]
        down = max((math.ceil(rows / self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - rows, 0)
        right = max((math.ceil(columns / self.stride[1]) - 1) * self.stride[1] + self.kernel_size[1] - columns, 0)
        x = F.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Own(nn.Conv2d):
    """A class of one's own that adds nothing."""


# --- forms of a convolution --------------------------------------------------------------------------------------


@STEPS(
    a=parameter(4, 3, 3, 3),
    bias=parameter(4),
    mean=buffer(4),
    var=buffer(4, positive=True),
    gamma=parameter(4),
    beta=parameter(4),
    b=c3(4, 4, groups=2),
)
def functional_everything(own: Any, x: Tensor) -> Any:
    """Parameters and buffers of the model's own; one weight belongs to a module that is never called."""
    z = F.conv2d(x, own.a, own.bias, stride=(2, 1), padding=1)
    z = F.batch_norm(z, own.mean, own.var, own.gamma, own.beta, eps=1e-3)
    z = F.max_pool2d(F.relu(z), 2, stride=1, padding=(0, 1))
    return torch.conv2d(z, own.b.weight, groups=2, dilation=2, padding="same")


@STEPS(a=conv(4, 8, 3, groups=4, dilation=2, padding=2, padding_mode="reflect"), b=c1(8, 2), shape=(4, 9, 11))
def grouped_dilated_reflected(own: Any, x: Tensor) -> Any:
    """Groups, dilation and reflected padding at once, and four channels of input."""
    return own.b(F.leaky_relu(own.a(x), 0.3))


@STEPS(a=c3(1, 4, bias=False), b=c3(4, 2, bias=False), shape=(1, 9, 8))
def one_channel_without_biases(own: Any, x: Tensor) -> Any:
    """A gray image, and no bias anywhere."""
    return own.b(F.relu(own.a(x)))


@STEPS(a=c3(5, 4), b=c3(9, 2), shape=(5, 9, 8))
def five_channels(own: Any, x: Tensor) -> Any:
    """Five channels, which the last layer reads as well."""
    return own.b(torch.cat([x, F.relu(own.a(x))], 1))


@STEPS(a=conv(3, 3, 3, groups=3, padding=1), n=norm(3), b=c1(3, 6), c=conv(6, 12, 3, groups=6, stride=2), d=c1(12, 2))
def depthwise_separable(own: Any, x: Tensor) -> Any:
    """MobileNet: depthwise and pointwise, with two filters a channel in the second."""
    return own.d(F.relu6(own.c(F.relu6(own.b(F.relu6(own.n(own.a(x))))))))


@STEPS(
    a=lambda: nn.Conv2d(3, 4, (1, 7), padding=(0, 3)),
    b=lambda: nn.Conv2d(4, 4, (7, 1), padding=(3, 0)),
    c=lambda: nn.Conv2d(4, 2, (3, 2), stride=(1, 2)),
)
def asymmetric_kernels(own: Any, x: Tensor) -> Any:
    """InceptionV3: one row, one column, and an even width."""
    return own.c(F.relu(own.b(F.relu(own.a(x)))))


@STEPS(
    a=lambda: torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
    b=lambda: torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
    n=norm(4),
    c=c1(4, 2),
)
def parametrised(own: Any, x: Tensor) -> Any:
    """Weights that are computed from other parameters; one is folded with its norm as well."""
    return own.c(F.relu(own.n(own.b(F.relu(own.a(x))))))


@STEPS(a=lambda: Standardised(3, 4, 3, padding=1), b=lambda: Own(4, 2, 3, padding=1, padding_mode="reflect"), n=norm(2))
def convolutions_of_other_classes(own: Any, x: Tensor) -> Any:
    """A weight that the forward computes, and a class that is no class of torch."""
    return own.n(own.b(F.relu(own.a(x))))


@STEPS(a=lambda: AsTensorflow(3, 4, 3, stride=2), b=lambda: AsTensorflow(4, 4, 2, groups=2), n=norm(4), c=c1(4, 2))
def padded_by_its_size(own: Any, x: Tensor) -> Any:
    """The padding depends on the image's size: torch.fx cannot follow it, torch.export can."""
    return own.c(F.silu(own.n(own.b(F.silu(own.a(x))))))


@STEPS(a=c3(3, 4), n=lambda: nn.SyncBatchNorm(4), b=c3(4, 4, bias=False), m=lambda: FrozenBatchNorm2d(4), c=c1(4, 2))
def norms_of_other_classes(own: Any, x: Tensor) -> Any:
    """The norm of several machines, and the one of detectors, which is written out as arithmetic on buffers."""
    return own.c(F.relu(own.m(own.b(F.relu(own.n(own.a(x)))))))


@STEPS(a=c3(3, 4, bias=False), n=norm(4, affine=False, eps=0.1), m=norm(4, affine=False), c=c3(4, 2))
def norms_without_affine(own: Any, x: Tensor) -> Any:
    """Two norms in a row, without parameters."""
    return own.c(F.relu(own.m(own.n(own.a(x)))))


# --- steps -------------------------------------------------------------------------------------------------------


@STEPS(a=c3(3, 6), lrn=lambda: nn.LocalResponseNorm(5, alpha=0.3, beta=0.6, k=2.0), b=c3(6, 2))
def lrn_on_one_layer(own: Any, x: Tensor) -> Any:
    """AlexNet: each channel is divided by its neighbours."""
    return own.b(F.max_pool2d(own.lrn(F.relu(own.a(x))), 3, 2))


@STEPS(a=c3(3, 4), g=lambda: nn.GroupNorm(2, 4), b=c3(4, 6), h=lambda: nn.GroupNorm(1, 6, affine=False), c=c1(6, 2))
def group_norms(own: Any, x: Tensor) -> Any:
    """Statistics of each image, over groups of channels, and over all of them."""
    return own.c(F.relu(own.h(own.b(F.relu(own.g(own.a(x)))))))


@STEPS(a=c3(3, 4), p=nn.PReLU, b=c3(4, 4), q=lambda: nn.PReLU(4), c=c1(4, 2))
def prelus(own: Any, x: Tensor) -> Any:
    """One slope for all channels, and one each."""
    return own.c(own.q(own.b(own.p(own.a(x)))))


@STEPS(
    p=lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    a=c3(3, 4),
    b=c3(4, 4),
    q=lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
    c=c1(4, 2),
)
def pools_beyond_the_edge(own: Any, x: Tensor) -> Any:
    """Ceil mode and padding; the first step is a pooling of the image."""
    return own.c(own.q(own.b(F.max_pool2d(own.a(own.p(x)), (3, 2), stride=1, padding=(1, 1)))))


@STEPS(
    a=c3(3, 4), p=lambda: nn.AdaptiveAvgPool2d((4, 5)), b=conv(4, 3, 3), q=lambda: nn.AdaptiveMaxPool2d(2), c=c1(3, 2)
)
def adaptive_pools(own: Any, x: Tensor) -> Any:
    """Adaptive pooling in the middle, to a size that does not divide."""
    return own.c(own.q(own.b(own.p(F.relu(own.a(x))))))


@STEPS(
    a=c3(3, 4),
    b=c3(4, 4, stride=2),
    c=c3(4, 4),
    up=lambda: nn.Upsample(scale_factor=2),
    d=c3(8, 3),
    e=c1(3, 2),
    shape=(3, 12, 8),
)
def upsampled_with_a_skip(own: Any, x: Tensor) -> Any:
    """U-Net without transposed convolutions, with a bilinear enlargement at the end."""
    fine = F.relu(own.a(x))
    coarse = F.relu(own.c(F.relu(own.b(fine))))
    z = own.d(torch.cat([own.up(coarse), fine], dim=1))
    return own.e(F.interpolate(z, size=(15, 17), mode="bilinear", align_corners=False))


@STEPS(a=c3(3, 4), b=c3(4, 2))
def interpolated(own: Any, x: Tensor) -> Any:
    """Nearest by a factor, then bilinear with corners aligned, then bicubic back to the size of the image."""
    z = F.interpolate(own.a(x), scale_factor=1.5, mode="nearest")
    z = F.interpolate(z, scale_factor=(0.5, 0.8), mode="bilinear", align_corners=True)
    return own.b(F.interpolate(z, size=(x.shape[2], x.shape[3]), mode="bicubic"))


@STEPS(a=c3(3, 4), gain=parameter(4, 1, 1), shift=parameter(1, 4, 1, 1), b=c3(4, 2))
def arithmetic(own: Any, x: Tensor) -> Any:
    """Scales and shifts by parameters and numbers, with an absolute value and a clamp between them."""
    z = -(own.gain * own.a(x) + own.shift) / 2.0
    return own.b((z.abs() - 0.25).clamp(min=-0.1, max=1.5) * 3 + 1)


@STEPS(a=c3(3, 4), b=c3(4, 2))
def silu_written_out(own: Any, x: Tensor) -> Any:
    """x * sigmoid(x)."""
    z = own.a(x)
    return own.b(z * torch.sigmoid(z))


@STEPS(a=c3(3, 4), b=c3(4, 2))
def hardswish_written_out(own: Any, x: Tensor) -> Any:
    """x * relu6(x + 3) / 6."""
    z = own.a(x)
    return own.b(z * F.relu6(z + 3.0) / 6.0)


@STEPS(a=c3(3, 4), drop=lambda: nn.Dropout2d(0.5), b=c3(4, 2))
def steps_that_do_nothing(own: Any, x: Tensor) -> Any:
    """clone, contiguous, to, float, detach, flatten and back, dropout in eval mode, multiplied by one, plus nothing."""
    z = own.a(x.to(own.a.weight.dtype)).clone().contiguous().float()
    n, c, h, w = z.shape
    z = F.dropout(z.flatten(2).view(n, c, h, w), 0.5, own.training)
    return own.b(own.drop(F.relu(z.detach() * 1.0 + 0)))


@STEPS(a=c3(3, 4), b=c3(4, 2))
def sizes_decide(own: Any, x: Tensor) -> Any:
    """Control flow on the image's size: torch.fx refuses it, and it is the same for all images."""
    assert x.shape[1] == 3
    assert x.dim() == 4
    z = own.a(x)
    if z.shape[-1] > 8:
        z = F.max_pool2d(z, 2)
    for _ in range(z.shape[2] // 2):
        z = F.relu(z)
    return own.b(z)


@STEPS(a=c3(3, 4), b=c3(4, 2))
def rectangles(own: Any, x: Tensor) -> Any:
    """Cut out and strided: rows from the end, and every second column from the second on."""
    return own.b(F.relu(own.a(x[:, :, 1:-1]))[:, :, -6:, 1::2])


# --- linear layers -----------------------------------------------------------------------------------------------


@STEPS(shape=(3, 6, 5), a=c3(3, 4), fc=linear(24, 5), heads=True)
def flattened_head(own: Any, x: Tensor) -> Any:
    """A linear layer behind flatten of 4x3x2 is five filters of 3x2 kernels."""
    return own.fc(F.max_pool2d(F.relu(own.a(x)), 2).flatten(1))


@STEPS(shape=(3, 6, 5), a=c3(3, 4), fc1=linear(24, 6), fc2=linear(6, 5, bias=False), heads=True)
def two_linear_heads(own: Any, x: Tensor) -> Any:
    """AlexNet's classifier: the second linear layer is 1x1."""
    z = F.max_pool2d(F.relu(own.a(x)), 2)
    z = F.dropout(torch.flatten(z, 1), training=own.training)
    return own.fc2(F.relu(own.fc1(z)))


@STEPS(a=c3(3, 4), b=c3(4, 4, stride=2), fc=linear(8, 5), heads=True)
def pooled_heads(own: Any, x: Tensor) -> Any:
    """Global means of two layers are concatenated as vectors, then a linear layer."""
    z = F.relu(own.a(x))
    y = F.relu(own.b(z))
    return own.fc(torch.cat([z.mean((2, 3)), F.adaptive_avg_pool2d(y, 1).flatten(1)], 1))


@STEPS(a=c3(3, 4), b=c3(4, 4), fc1=linear(4, 4), fc2=linear(4, 5), heads=True)
def residual_head(own: Any, x: Tensor) -> Any:
    """An addition of vectors."""
    z = F.relu(own.b(F.relu(own.a(x)))).mean([-2, -1])
    return own.fc2(z + F.relu(own.fc1(z)))


@STEPS(shape=(3, 6, 5), a=c3(3, 4), b=c1(4, 2), fc=linear(60, 5), fc2=linear(120, 5), heads=True)
def heads_of_two_layers(own: Any, x: Tensor) -> Any:
    """The logits are the sum of two linear layers, behind the maps of two convolutions."""
    z = F.relu(own.a(x))
    y = own.b(z)
    return own.fc(y.view(y.size(0), -1)) + own.fc2(z.flatten(1))


@STEPS(a=c3(3, 4), b=lambda: nn.LSTM(4, 3, batch_first=True), heads=True)
def recurrent_head(own: Any, x: Tensor) -> Any:
    """What only turns maps into logits may be anything: it is no part of the graph."""
    return own.b(F.relu(own.a(x)).flatten(2).transpose(1, 2))[0].mean(1)
