"""Small networks with fixed random weights: one per way in which a convolution can be set up, and odd ones."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

INPUT = (2, 7, 6)
CLASSES = 3

Build = Callable[[], nn.Sequential]


def seeded(build: Callable[[], nn.Module], *, seed: int = 0) -> nn.Module:
    """What `build` makes, with random weights of a seed; the random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def images(count: int, *, shape: tuple[int, int, int] = INPUT, seed: int = 1) -> Tensor:
    """Random float32 images (count, C, H, W)."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def chain(*steps: nn.Module, shape: tuple[int, int, int] = INPUT, classes: int = CLASSES) -> nn.Sequential:
    """The steps, named by kind and number (`conv1`, `relu1`, `conv2`...), then flatten and logits."""
    named: OrderedDict[str, nn.Module] = OrderedDict()
    counts: dict[str, int] = {}
    for step in steps:
        kind = "conv" if isinstance(step, nn.Conv2d) else type(step).__name__.lower()
        counts[kind] = counts.get(kind, 0) + 1
        named[f"{kind}{counts[kind]}"] = step
    maps = nn.Sequential(named).eval()
    with torch.no_grad():
        size = maps(torch.zeros(1, *shape)).numel()
    return nn.Sequential(OrderedDict([*named.items(), ("flatten", nn.Flatten()), ("logits", nn.Linear(size, classes))]))


def two(first: dict[str, Any], second: dict[str, Any], *, filters: tuple[int, int] = (4, 3)) -> Build:
    """A builder of conv, ReLU, conv, ReLU, logits; settings beyond the channels are given."""

    def build() -> nn.Sequential:
        one = nn.Conv2d(INPUT[0], filters[0], **first)
        return chain(one, nn.ReLU(), nn.Conv2d(filters[0], filters[1], **second), nn.ReLU())

    return build


def _around(activation: Callable[[], nn.Module]) -> Build:
    def build() -> nn.Sequential:
        return chain(nn.Conv2d(2, 4, 3, padding=1), activation(), nn.Conv2d(4, 3, 3), activation())

    return build


GEOMETRIES: dict[str, Build] = {
    "plain": two({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 1}),
    "valid": two({"kernel_size": 3}, {"kernel_size": (2, 3)}),
    "strided": two({"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": (1, 2), "padding": 2}),
    "strided-past-the-edge": two({"kernel_size": 2, "stride": (3, 4)}, {"kernel_size": 1}),
    "reflect": two(
        {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ),
    "circular": two(
        {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular"},
        {"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "circular"},
    ),
    "replicate": two(
        {"kernel_size": 5, "padding": 2, "padding_mode": "replicate"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
    ),
    "same": two({"kernel_size": (4, 3), "padding": "same"}, {"kernel_size": 2, "padding": "same", "dilation": (2, 3)}),
    "same-reflect": two(
        {"kernel_size": 4, "padding": "same", "padding_mode": "reflect"}, {"kernel_size": 3, "padding": "valid"}
    ),
    "dilated": two({"kernel_size": 3, "dilation": (2, 1)}, {"kernel_size": 2, "dilation": (1, 2), "padding": 1}),
    "grouped": two(
        {"kernel_size": 3, "padding": 1, "groups": 2}, {"kernel_size": 3, "padding": 1, "groups": 2}, filters=(4, 6)
    ),
    "depthwise": two({"kernel_size": 3, "groups": 2}, {"kernel_size": 3, "groups": 4, "stride": 2}, filters=(4, 8)),
    "asymmetric": two({"kernel_size": (1, 3), "padding": (0, 1)}, {"kernel_size": (3, 1), "stride": (2, 1)}),
    "pointwise": two({"kernel_size": 1}, {"kernel_size": 1}),
    "no-bias": two({"kernel_size": 3, "bias": False}, {"kernel_size": 3, "bias": False, "padding": 1}),
}
"""One builder per geometry."""

ACTIVATIONS: dict[str, Build] = {
    "in-place": _around(lambda: nn.ReLU(inplace=True)),
    "leaky in-place": _around(lambda: nn.LeakyReLU(0.2, inplace=True)),
    "gelu": _around(lambda: nn.GELU(approximate="tanh")),
    "elu": _around(lambda: nn.ELU(0.7)),
    "tanh": _around(nn.Tanh),
    "none": lambda: chain(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3)),
    "pooled first": lambda: chain(
        nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 2, padding=1), nn.ReLU()
    ),
    "lrn": lambda: chain(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.AvgPool2d(2), nn.Conv2d(4, 3, 2)
    ),
}
"""One builder per way of standing between convolutions."""

NETS = GEOMETRIES | ACTIVATIONS


class Custom(nn.Module):
    """Some submodules, and a forward that is given them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **submodules: nn.Module) -> None:
        super().__init__()
        self.calls = forward
        for name, module in submodules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        """What `calls` makes of the images."""
        return self.calls(self, x)


def custom(forward: Callable[[Any, Tensor], Any], **submodules: Callable[[], nn.Module]) -> nn.Module:
    """A model of submodules and a forward, in eval mode, with random weights of a fixed seed."""
    return seeded(lambda: Custom(forward, **{name: make() for name, make in submodules.items()})).eval()


def conv(inputs: int = 2, outputs: int = 2, size: int = 3, **settings: Any) -> Callable[[], nn.Conv2d]:
    """A builder of a convolution."""
    return lambda: nn.Conv2d(inputs, outputs, size, **settings)


def make(name: str) -> nn.Sequential:
    """The network of that name, always with the same weights."""
    network = seeded(NETS[name])
    assert isinstance(network, nn.Sequential)
    return network


def toy() -> nn.Sequential:
    """The network of the toy graph: layers conv1 (4 filters) and conv2 (3) on 1x8x8, three logits."""
    return chain(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        shape=(1, 8, 8),
    )


def every_operation() -> nn.Sequential:
    """Convolutions with everything between them that may stand there, on 1x24x24."""
    return chain(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.LocalResponseNorm(3, alpha=0.5),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="circular"),
        nn.GELU(),
        nn.BatchNorm2d(6),
        nn.ZeroPad2d((1, 0, 2, 1)),
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        nn.Dropout2d(),
        nn.Conv2d(6, 6, 3, dilation=2, padding="same"),
        nn.Softplus(2.0),
        nn.ReflectionPad2d(1),
        nn.AdaptiveMaxPool2d((6, None)),
        nn.Conv2d(6, 4, (1, 3), stride=(2, 1)),
        nn.Hardtanh(-0.5, 0.5),
        nn.ReplicationPad2d((0, 1, 0, 1)),
        nn.AdaptiveAvgPool2d(4),
        nn.Conv2d(4, 3, 1),
        nn.ELU(0.5),
        shape=(1, 24, 24),
    )


def parametrised(module: nn.Module, *, seed: int = 4) -> nn.Module:
    """The module with random parameters, where it would begin with ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return module


def with_statistics(network: nn.Module, *, seed: int = 3) -> nn.Module:
    """The network with random BatchNorm statistics and affine parameters, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
            shape = norm.running_mean.shape
            norm.running_mean.copy_(torch.randn(shape, generator=generator))
            norm.running_var.copy_(torch.rand(shape, generator=generator) + 0.3)
            if norm.affine:
                norm.weight.data = torch.randn(shape, generator=generator)
                norm.bias.data = torch.randn(shape, generator=generator)
    return network
