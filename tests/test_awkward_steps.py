"""One odd step between two convolutions, many times: followed exactly, or refused by name; never silently wrong."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets
from tests.awkward import SHAPE, Net, Part, c3, linear, norm, parameter
from viscnn.engine.capture import record
from viscnn.errors import UnsupportedModel
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.forward import forward

PARTS: dict[str, Part] = {
    "first": c3(3, 4),
    "other": c3(3, 4),
    "wide": c3(4, 4),
    "last": c3(4, 2),
    "w": parameter(4, 1, 1),
    "n": norm(4),
    "fc": linear(4, 4),
    "same": nn.Identity,
    "drop": nn.Dropout,
    "act": lambda: nn.ReLU(inplace=True),
}

Step = Callable[[Any, Tensor, Tensor], Tensor]
"""Is given the model, the maps z (N, 4, 10, 9) of its first convolution, and the images."""


def again(function: Callable[[Tensor], Any], z: Tensor) -> Tensor:
    """The maps after something was done to them in place."""
    function(z)
    return z


FOLLOWED: dict[str, Step] = {
    # arithmetic
    "shift and scale in place": lambda own, z, x: again(lambda z: z.add_(own.w).mul_(2), z),
    "chain of methods": lambda own, z, x: z.mul(2).add(1).sub(own.w).div(3).neg(),
    "rsub with alpha": lambda own, z, x: torch.rsub(z, 3.0, alpha=2),
    "sub with alpha": lambda own, z, x: torch.sub(z, own.w, alpha=3),
    "numbers from sizes": lambda own, z, x: z / math.sqrt(z.shape[1]) * z.size(2),
    "square": lambda own, z, x: z**2,
    "square root": lambda own, z, x: (z.abs() + 1) ** 0.5,
    "clamp": lambda own, z, x: z.clamp(-0.1, 0.1),
    # additions
    "three terms and a channel of the image": lambda own, z, x: z + z + z + x[:, :1],
    "image and a channel of zeros": lambda own, z, x: F.pad(x, (0, 0, 0, 0, 0, 1)) + z,
    "minus its mean": lambda own, z, x: z - z.mean((2, 3), keepdim=True),
    "stack of images": lambda own, z, x: torch.stack([z, own.other(x)], 0).sum(0),
    "stack at the end": lambda own, z, x: torch.stack([z, own.other(x)], -1).sum(-1),
    "cat and sum": lambda own, z, x: torch.cat([z[None], own.other(x)[None]], 0).sum(0),
    "sum of pairs of channels": lambda own, z, x: z.view(-1, 2, 2, 10, 9).sum(2).repeat(1, 2, 1, 1),
    "mean of pairs of rows": lambda own, z, x: z.view(-1, 4, 5, 2, 9).mean(3),
    "shifted by one": lambda own, z, x: F.pad(z, (1, 0))[:, :, :, :-1] + z,
    "one norm on two layers": lambda own, z, x: own.n(z) + own.n(own.other(x)),
    # gates
    "tanh as a gate": lambda own, z, x: torch.tanh(z) * own.other(x),
    "gate in place": lambda own, z, x: again(lambda z: z.mul_(torch.sigmoid(own.other(x))), z),
    "gate without a sigmoid": lambda own, z, x: z * own.wide(F.adaptive_avg_pool2d(z, 1)),
    "gate of the maxima": lambda own, z, x: z * torch.sigmoid(z.amax((2, 3), keepdim=True)),
    "gate by linear layers": lambda own, z, x: z * torch.sigmoid(own.fc(z.mean((2, 3))))[:, :, None, None],
    "gate that is expanded": lambda own, z, x: z * own.wide(z.mean((2, 3), keepdim=True)).expand(-1, -1, 10, 9),
    "softmax over channels": lambda own, z, x: F.softmax(z, dim=1),
    # pooling, resizing, padding
    "average with divisor": lambda own, z, x: F.avg_pool2d(z, 2, divisor_override=1),
    "resized by area": lambda own, z, x: F.interpolate(z, size=(5, 4), mode="area"),
    "resized exactly": lambda own, z, x: F.interpolate(z, scale_factor=1.7, mode="nearest-exact"),
    "resized without aliasing": lambda own, z, x: F.interpolate(z, size=(4, 5), mode="bilinear", antialias=True),
    "padded by less than nothing": lambda own, z, x: F.pad(z, (-1, 2, -2, 1)),
    "padded by a value": lambda own, z, x: F.pad(z, (1, 1), value=0.5),
    # moving data
    "every second row by number": lambda own, z, x: z[:, :, [0, 2, 4, 6]],
    "shifts of single channels": lambda own, z, x: torch.cat([z[:, :2, 1:-1, 2:], z[:, 2:, :-2, 1:-1]], 1),
    "space to depth by hand": lambda own, z, x: (
        z.reshape(-1, 4, 5, 2, 3, 3).permute(0, 3, 5, 1, 2, 4).reshape(-1, 24, 5, 3)[:, 4:8]
    ),
    "half of the columns as a gate": lambda own, z, x: F.glu(F.pad(z, (0, 1)), 3),
    "chosen by truth": lambda own, z, x: z[:, torch.tensor([True, True, True, True])],
    # in place, by another name
    "under another name": lambda own, z, x: again(lambda z: z.contiguous().relu_(), z),
    "identity": lambda own, z, x: own.same(z).relu_() + own.wide(z),
    "dropout": lambda own, z, x: again(lambda z: F.relu_(own.drop(z)), z),
    "float": lambda own, z, x: again(lambda z: z.float().mul_(2), z),
    "module without a result": lambda own, z, x: again(own.act, z),
    "function without a result": lambda own, z, x: again(lambda z: F.hardtanh_(z, -0.1, 0.1), z),
    "twice": lambda own, z, x: own.act(own.act(y := own.n(z))) + y,
    "image": lambda own, z, x: own.other(x.mul_(2)) + own.other(x),
    "copy of the image": lambda own, z, x: own.other(x.clone().mul_(2)) + own.other(x),
}

REFUSED: dict[str, tuple[Step, str]] = {
    "quotient by maps": (lambda own, z, x: 1 / (z.abs() + 1), "'(true)?div"),
    "power of maps": (lambda own, z, x: 2**z, "'pow'"),
    "remainder": (lambda own, z, x: z % 0.5, "'mod'"),
    "rounded": (lambda own, z, x: torch.round(z), "'round'"),
    "sign": (lambda own, z, x: torch.sign(z), "'sign'"),
    "comparison": (lambda own, z, x: z * (z > 0), "'gt'"),
    "largest of maps and zero": (lambda own, z, x: torch.maximum(z, torch.zeros(())), "'maximum'"),
    "softmax over positions": (lambda own, z, x: z.flatten(2).softmax(-1).view(-1, 4, 10, 9), "'softmax'"),
    "unit length": (lambda own, z, x: F.normalize(z, dim=1), "'normalize'"),
    "root mean square": (lambda own, z, x: z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-6), "'mean'"),
    "sum over channels": (lambda own, z, x: z + z.sum(1, keepdim=True), "'sum'"),
    "mean of everything": (lambda own, z, x: z + x.mean(), "'mean'"),
    "variance": (lambda own, z, x: z / torch.sqrt(z.var((2, 3), keepdim=True) + 1), "'var'"),
    "rows mixed by a matrix": (lambda own, z, x: z @ torch.ones(9, 9), "'matmul'"),
    "linear layer along rows": (lambda own, z, x: F.linear(z, torch.ones(9, 9)), "linear"),
    "product of a stack": (lambda own, z, x: torch.stack([z, own.other(x)], 0).prod(0), "'prod'"),
    "rows by odd numbers": (lambda own, z, x: z[:, :, [0, 1, 4, 6]], "'getitem'"),
    "rows rearranged": (
        lambda own, z, x: z.view(-1, 4, 5, 2, 9).transpose(2, 3).reshape(-1, 4, 10, 9),
        "'(reshape|transpose)'",
    ),
    "first image for all": (lambda own, z, x: own.other(x[:1]).expand(x.shape[0], -1, -1, -1), "'getitem'"),
    "images in a row": (lambda own, z, x: own.other(torch.cat([x, x], 0)).chunk(2, 0)[0], "'cat'"),
    "part in place": (lambda own, z, x: again(lambda z: z.chunk(2, 1)[0].relu_(), z), "'relu_'.*in place"),
    "under a view": (
        lambda own, z, x: again(lambda v: z.relu_(), z.flatten(2)).view(-1, 4, 10, 9),
        "'relu_'.*in place",
    ),
    "noise": (lambda own, z, x: F.rrelu(z, training=True), "differ|random"),
    "fourier": (lambda own, z, x: torch.fft.fft2(z).real, "'fft_fft2'"),
}


def net(step: Step) -> Net:
    return Net(lambda own, x: own.last(step(own, own.first(x), x)), PARTS)


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_step_is_followed_exactly(name: str) -> None:
    images, made = nets.images(3, shape=SHAPE), net(FOLLOWED[name])
    architecture = read_architecture(made.build(), SHAPE)
    with torch.no_grad():
        expected = made.build()(images.clone())
        torch.testing.assert_close(architecture.module(images.clone()), expected, rtol=1e-5, atol=1e-6)
        maps = forward(architecture, images)
    found = record(architecture, images, gradients=False).maps
    assert list(found)[-1] == "last"
    for layer in found:
        torch.testing.assert_close(maps[layer], found[layer], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_is_refused_by_name(name: str) -> None:
    step, named = REFUSED[name]
    with pytest.raises(UnsupportedModel, match=named) as caught:
        read_architecture(net(step).build(), SHAPE)
    assert "\n" not in str(caught.value)
