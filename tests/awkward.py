"""Small networks that are awkward to read as layers and feeds, with a way to write more of them.

A net is its forward, decorated with its submodules; the docstring says what is awkward. Three files hold them: joins
(awkward_joins.py), steps between layers (awkward_steps.py) and blocks of known families (awkward_blocks.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from tests.nets import conv, images, seeded, with_statistics

SHAPE = (3, 10, 9)
"""(channels, rows, columns): rows and columns differ, so that nothing is right by exchanging them."""

Forward = Callable[[Any, Tensor], Any]
Part = Callable[[], nn.Module | nn.Parameter | Tensor]


class Awkward(nn.Module):
    """Some modules, parameters and buffers, and a forward that is given them."""

    def __init__(self, forward: Forward, parts: dict[str, Part]) -> None:
        super().__init__()
        self.calls = forward
        for name, make in parts.items():
            part = make()
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        """What `calls` makes of the images."""
        return self.calls(self, x)


@dataclass(frozen=True)
class Net:
    """One net: how its forward goes, of what parts, and the shape (C, H, W) of its images."""

    forward: Forward
    parts: dict[str, Part] = field(repr=False)
    shape: tuple[int, int, int] = SHAPE
    heads: bool = False

    def build(self) -> nn.Module:
        """The model in eval mode, always with the same random weights, and with statistics of random images."""
        model = trained(seeded(lambda: Awkward(self.forward, self.parts))).eval()
        return with_own_statistics(model, images(8, shape=self.shape, seed=7))


class Nets(dict[str, Net]):
    """Nets by name; `@nets(part=builder, ...)` makes one of a forward."""

    def __call__(
        self, *, shape: tuple[int, int, int] = SHAPE, heads: bool = False, **parts: Part
    ) -> Callable[[Forward], Forward]:
        """A decorator that registers a forward under its name."""

        def register(forward: Forward) -> Forward:
            assert forward.__doc__, f"say what is awkward about {forward.__name__}"
            assert forward.__name__ not in self, forward.__name__
            self[forward.__name__] = Net(forward, parts, shape, heads)
            return forward

        return register


def trained(model: nn.Module) -> nn.Module:
    """The model with random statistics and parameters in all its norms, as after training: none is left at one or 0."""
    generator = torch.Generator().manual_seed(5)
    with_statistics(model)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.PReLU | nn.SyncBatchNorm):
            for drawn in module.parameters(recurse=False):
                drawn.data = torch.randn(drawn.shape, generator=generator)
        if isinstance(module, nn.SyncBatchNorm | FrozenBatchNorm2d):
            for name, each in module.named_buffers(recurse=False):
                if each.is_floating_point():
                    values = torch.randn(each.shape, generator=generator)
                    each.copy_(values.abs() + 0.3 if name == "running_var" else values)
    return model


def with_own_statistics(model: nn.Module, x: Tensor) -> nn.Module:
    """The model with the statistics of the maps that its BatchNorms see, so that activations cut some values off."""
    norms = [module for module in model.modules() if type(module) is nn.BatchNorm2d and module.track_running_stats]
    for each in norms:
        each.momentum = 1.0
        each.train()
    with torch.no_grad():
        model(x)
    for each in norms:
        each.momentum = 0.1
    return model.eval()


def c1(inputs: int, outputs: int, **settings: Any) -> Callable[[], nn.Conv2d]:
    """A builder of a 1x1 convolution."""
    return conv(inputs, outputs, 1, **settings)


def c3(inputs: int, outputs: int, **settings: Any) -> Callable[[], nn.Conv2d]:
    """A builder of a 3x3 convolution that keeps the size."""
    return conv(inputs, outputs, 3, **({"padding": 1} | settings))


def norm(channels: int, **settings: Any) -> Callable[[], nn.BatchNorm2d]:
    """A builder of a BatchNorm."""
    return lambda: nn.BatchNorm2d(channels, **settings)


def linear(inputs: int, outputs: int, **settings: Any) -> Callable[[], nn.Linear]:
    """A builder of a linear layer."""
    return lambda: nn.Linear(inputs, outputs, **settings)


def parameter(*shape: int) -> Callable[[], nn.Parameter]:
    """A builder of a random parameter."""
    return lambda: nn.Parameter(torch.randn(shape))


def buffer(*shape: int, positive: bool = False) -> Callable[[], Tensor]:
    """A builder of a random buffer."""
    return lambda: torch.rand(shape) + 0.3 if positive else torch.randn(shape)
