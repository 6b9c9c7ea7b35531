"""Literal passes and criteria of the networks that branch, in float64; the formulas are those of `tests/oracles.py`.

Every call of a convolution and every single addition is a layer, watched from outside while the plain module runs. An
addition multiplies its addends by weights of its own, which are one: an *identity* is one of them.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests import oracles
from tests.branches import READ_ELSEWHERE, SHAPE, Net, Plus, folded

Array = NDArray[np.float64]
Scores = dict[str, tuple[Array, Array]]


@dataclass
class Run(oracles.Run):
    """A plain pass; a sum reads its addends. `weight` is that of each layer, (O, I, rows, columns)."""

    addends: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)
    convolution: dict[str, nn.Conv2d] = field(default_factory=dict)


Swap = Callable[[str, tuple[Tensor, ...], Tensor], Tensor]
"""Given a layer's name, what it reads and its Z, returns another Z."""


def run(
    name: str, network: Net, images: Tensor, *, weights: Mapping[str, Tensor] | None = None, swap: Swap | None = None
) -> Run:
    """Run a copy of the network, with its norms folded, keeping maps and their gradients.

    Args:
        name: of the network in `branches.NETS`.
        weights: other weights by layer; of a sum (O, addends, 1, 1), what its addends are multiplied by.
        swap: computes Z instead.
    """
    own = folded(network)
    watched = _Watched(Run({}, {}, {}, images), dict(weights or {}), swap)
    for layer, module in own.named_children():
        if isinstance(module, nn.Conv2d):
            vars(module)["forward"] = watched.convolution(layer, module)
        elif isinstance(module, Plus):
            vars(module)["forward"] = watched.addition(f"{layer}.add")
    with _activations(watched.run, READ_ELSEWHERE.get(name, set())):
        watched.run.logits = own(images.double().clone().requires_grad_())
    return watched.run


class _Watched:
    """What stands in for the calls of a network's convolutions and additions."""

    def __init__(self, run: Run, weights: dict[str, Tensor], swap: Swap | None) -> None:
        self.run, self._weights, self._swap = run, weights, swap
        self._calls: dict[str, int] = {}

    def convolution(self, name: str, of: nn.Conv2d) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            layer = self._next(name)
            weight = self._weights.get(layer, of.weight)
            self.run.convolution[layer] = of
            return self._note(layer, (x,), weight, of._conv_forward(x, weight, of.bias))

        return forward

    def addition(self, name: str) -> Callable[..., Tensor]:
        def forward(first: Tensor, *others: Tensor) -> Tensor:
            for other in others:
                layer = self._next(name)
                weight = self._weights.get(layer, torch.ones(first.shape[1], 2, 1, 1, dtype=first.dtype))
                z = weight[:, 0] * first + weight[:, 1] * other
                first = self._note(layer, (first, other), weight, z)
            return first

        return forward

    def _next(self, name: str) -> str:
        self._calls[name] = self._calls.get(name, 0) + 1
        return name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"

    def _note(self, layer: str, parts: tuple[Tensor, ...], weight: Tensor, z: Tensor) -> Tensor:
        run = self.run
        z = z if self._swap is None else self._swap(layer, parts, z)
        run.addends[layer], run.weight[layer] = parts, weight
        run.x[layer] = torch.stack(parts, dim=2).flatten(1, 2) if len(parts) > 1 else parts[0]
        run.z[layer] = run.a[layer] = z
        if z.requires_grad:
            z.retain_grad()
        return z


@contextmanager
def _activations(found: Run, not_alone: set[str]) -> Iterator[None]:
    """Watch what relu and sigmoid make of whole maps."""

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            if function in (torch.relu, torch.sigmoid):
                for layer, z in found.z.items():
                    if z is args[0] and layer not in not_alone:
                        found.a[layer] = made
                        if made.requires_grad:
                            made.retain_grad()
            return made

    with Watch():
        yield


# --- the criteria of one pass ------------------------------------------------------------------------------------


def layers(name: str, network: Net, images: Tensor, target: oracles.T) -> dict[str, oracles.Layer]:
    """The layers that T depends on, by plain autograd."""
    of = run(name, network, images)
    target.values(of).sum().backward()  # type: ignore[no-untyped-call]
    found = {}
    for layer, z in of.z.items():
        if z.grad is not None:
            found[layer] = _layer(of, layer, direct=layer == target.layer)
    return found


def _layer(of: Run, layer: str, *, direct: bool) -> oracles.Layer:
    z = of.z[layer]
    a = z if direct else of.a[layer]
    is_sum = layer not in of.convolution
    weight = of.weight[layer].detach().flatten(2).numpy()
    bias = None if is_sum else of.convolution[layer].bias
    return oracles.Layer(
        edge=edge_maps(of, layer).reshape(*z.shape[:2], weight.shape[1], -1),
        gradient=oracles._gradient(z),
        a=a.detach().flatten(2).numpy(),
        a_gradient=oracles._gradient(a),
        weight=np.zeros_like(weight) if is_sum else weight,  # a sum has no weights
        bias=np.zeros(z.shape[1]) if bias is None else bias.detach().numpy(),
    )


def edge_maps(of: Run, layer: str) -> Array:
    """A[k, o, i], (N, O, I, P, Q); of an identity it is the addend's map."""
    if layer in of.convolution:
        return oracles.edge_maps(of.x[layer], of.convolution[layer])
    return torch.stack(of.addends[layer], dim=2).detach().numpy()


def shapes(name: str, network: Net) -> dict[str, tuple[int, int]]:
    """Filters and inputs per group of every layer."""
    of = run(name, network, torch.zeros(1, *SHAPE))
    return {layer: (weight.shape[0], weight.shape[1]) for layer, weight in of.weight.items()}


def scores(criterion: str, name: str, network: Net, images: Tensor, target: oracles.T) -> Scores:
    """Mean scores of every layer; zero where T does not depend on it."""
    found = oracles.scores(criterion, layers(name, network, images, target))
    every = shapes(name, network)
    return {layer: found.get(layer, (np.zeros(shape), np.zeros(shape[0]))) for layer, shape in every.items()}


# --- criteria of several passes ----------------------------------------------------------------------------------


def weights_of(name: str, network: Net) -> dict[str, Tensor]:
    """The weight of every layer, that of a sum included."""
    of = run(name, network, torch.zeros(1, *SHAPE))
    return {layer: weight.detach().clone().requires_grad_() for layer, weight in of.weight.items()}


def literal_snip(name: str, network: Net, image: Tensor, target: oracles.T, masks: Mapping[str, Array]) -> Scores:
    """One image's mean over a kernel's entries of |weight x slope|; the slope is that of the masked weight."""
    plain = weights_of(name, network)
    masked = {
        layer: (each.detach() * torch.from_numpy(masks[layer])[:, :, None, None]).requires_grad_()
        if layer in masks
        else each
        for layer, each in plain.items()
    }
    total = target.values(run(name, network, image[None], weights=masked)).sum()
    slopes = torch.autograd.grad(total, list(masked.values()), allow_unused=True)
    found: Scores = {}
    for (layer, weight), slope in zip(plain.items(), slopes, strict=True):
        kernels = np.zeros(tuple(weight.shape[:2]))
        if slope is not None:
            for o, i, r, s in itertools.product(*map(range, weight.shape)):
                kernels[o, i] += abs(float(weight[o, i, r, s].detach()) * float(slope[o, i, r, s]))
            kernels /= weight[0, 0].numel()
        found[layer] = kernels, kernels.mean(axis=1)
    return found


def literal_grasp(name: str, network: Net, image: Tensor, target: oracles.T) -> Scores:
    """One image's weight x slope, for that weight, of half the squared length of the gradient for the kernels."""
    plain = weights_of(name, network)
    total = target.values(run(name, network, image[None], weights=plain)).sum()
    kernels = [each for layer, each in plain.items() if not layer.partition("#")[0].endswith(".add")]
    slopes = torch.autograd.grad(total, kernels, create_graph=True, allow_unused=True)
    length = torch.stack([(each**2).sum() for each in slopes if each is not None]).sum() / 2
    found: Scores = {}
    for layer, weight in plain.items():
        (curved,) = torch.autograd.grad(length, weight, retain_graph=True, allow_unused=True)
        each = np.zeros(tuple(weight.shape[:2])) if curved is None else _summed(weight, curved)
        found[layer] = each, each.sum(axis=1)
    return found


def _summed(weight: Tensor, slope: Tensor) -> Array:
    found: Array = (weight * slope).sum(dim=(2, 3)).detach().numpy()
    return found


def literal_integrated(
    name: str, network: Net, image: Tensor, baseline: Tensor, target: oracles.T, *, steps: int
) -> Scores:
    """One image's mean over positions of |change of the edge map x mean gradient on the way|."""
    end, start = (run(name, network, each[None]) for each in (image.double(), baseline.double()))
    slopes: dict[str, list[tuple[Array, Array]]] = {}
    for step in range(1, steps + 1):
        of = run(name, network, (baseline + step / steps * (image - baseline)).double()[None])
        target.values(of).sum().backward()  # type: ignore[no-untyped-call]
        for layer, z in of.z.items():
            a = z if layer == target.layer else of.a[layer]
            slopes.setdefault(layer, []).append((oracles._gradient(z)[0], oracles._gradient(a)[0]))
    found: Scores = {}
    for layer in end.z:
        change = (edge_maps(end, layer) - edge_maps(start, layer))[0]
        change = change.reshape(*change.shape[:2], -1)
        z_slope, a_slope = (np.mean(each, axis=0) for each in zip(*slopes[layer], strict=True))
        ends = [(of.z if layer == target.layer else of.a)[layer] for of in (end, start)]
        a_change = (ends[0] - ends[1])[0].detach().flatten(1).numpy()
        kernels = [[oracles._size(edge, slope) for edge in edges] for edges, slope in zip(change, z_slope, strict=True)]
        filters = [oracles._size(each, slope) for each, slope in zip(a_change, a_slope, strict=True)]
        found[layer] = np.array(kernels), np.array(filters)
    return found


def mean(found: list[Scores]) -> Scores:
    """Over images."""
    return {
        layer: (
            np.mean([each[layer][0] for each in found], axis=0),
            np.mean([each[layer][1] for each in found], axis=0),
        )
        for layer in found[0]
    }
