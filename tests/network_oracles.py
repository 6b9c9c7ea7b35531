"""Literal definitions in float64 of the criteria that need more than one pass or more than one layer.

Written from the formulas and slow on purpose, as `tests/oracles.py`: per image, per round or step, per kernel entry.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import oracles

Array = NDArray[np.float64]
Scores = dict[str, tuple[Array, Array]]
Weights = dict[str, Tensor]


# --- targets, literally ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """T of the one image of a run with its label; the layers up to `last` are scored, and a = Z in `direct` ones.

    Of the last layer only the filters `reads` lie upstream of T, or all of them where it is None.
    """

    value: Callable[[oracles.Run, int], Tensor]
    last: str = "conv2"
    direct: frozenset[str] = frozenset()
    reads: tuple[int, ...] | None = None


def filter_mean(layer: str, channel: int) -> Goal:
    """The mean of a filter's map."""
    return _of_map(layer, lambda z: z[channel].sum() / z[channel].numel(), (channel,))


def filter_max(layer: str, channel: int) -> Goal:
    """The largest value of a filter's map."""
    return _of_map(layer, lambda z: z[channel].flatten().max(), (channel,))


def _of_map(layer: str, value: Callable[[Tensor], Tensor], reads: tuple[int, ...]) -> Goal:
    return Goal(lambda of, label: value(of.z[layer][0]), layer, frozenset({layer}), reads)


def _post(of: oracles.Run) -> Tensor:
    map_ = of.a["conv2"][0, 1]
    return map_.sum() / map_.numel()


GOALS: dict[str, Goal] = {
    "loss": Goal(lambda of, label: torch.log(torch.exp(of.logits[0]).sum()) - of.logits[0, label]),
    "class:bee": Goal(lambda of, label: of.logits[0, 1]),
    "filter:net/conv1/0": filter_mean("conv1", 0),
    "filter:net/conv2/2@max": filter_max("conv2", 2),
    "filter:net/conv2/1@post": Goal(lambda of, label: _post(of)),
    "direction:conv2[0:0.5, 2:-1]@0,1": _of_map("conv2", lambda z: 0.5 * z[0, 0, 1] - z[2, 0, 1], (0, 2)),
    "class:cat - 2*filter:net/conv1/1@max": Goal(
        lambda of, label: of.logits[0, 2] - 2 * of.z["conv1"][0, 1].flatten().max(), direct=frozenset({"conv1"})
    ),
}
"""Targets by their text in a model `net` of two convolutions and the classes ant, bee, cat."""


def convolutions(network: nn.Sequential, goal: Goal) -> dict[str, nn.Conv2d]:
    """The layers that are scored, in float64."""
    found: dict[str, nn.Conv2d] = {}
    for name, step in network.named_children():
        if isinstance(step, nn.Conv2d):
            found[name] = step
        if name == goal.last:
            break
    return found


def weights_of(network: nn.Sequential, goal: Goal) -> Weights:
    return {
        name: each.weight.detach().double().clone().requires_grad_()
        for name, each in convolutions(network, goal).items()
    }


def with_weights(network: nn.Sequential, image: Tensor, weights: Weights) -> oracles.Run:
    """A plain pass of one image (C, H, W) in which convolutions have other weights."""

    def convolved(name: str, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        found: Tensor = convolution._conv_forward(x, weights.get(name, convolution.weight), convolution.bias)
        return found

    return oracles.run(network, image.unsqueeze(0), swap=convolved)


def mean_over_images(scores: Sequence[Scores]) -> Scores:
    return {
        name: (
            np.mean([each[name][0] for each in scores], axis=0),
            np.mean([each[name][1] for each in scores], axis=0),
        )
        for name in scores[0]
    }


# --- criteria, literally -----------------------------------------------------------------------------------------


def snip_of(network: nn.Sequential, image: Tensor, label: int, goal: Goal, masks: dict[str, Array]) -> Scores:
    """One image's mean over a kernel's entries of |weight x slope|; the slope is that of the masked weight."""
    plain = weights_of(network, goal)
    masked = {
        name: (each.detach() * torch.from_numpy(masks[name])[:, :, None, None]).requires_grad_()
        if name in masks
        else each
        for name, each in plain.items()
    }
    value = goal.value(with_weights(network, image, masked), label)
    slopes = torch.autograd.grad(value, list(masked.values()), allow_unused=True)
    found: Scores = {}
    for (name, weight), slope in zip(plain.items(), slopes, strict=True):
        outputs, inputs, rows, columns = weight.shape
        kernels = np.zeros((outputs, inputs))
        if slope is not None:
            for o, i, r, s in itertools.product(*map(range, weight.shape)):
                kernels[o, i] += abs(float(weight[o, i, r, s].detach()) * float(slope[o, i, r, s])) / (rows * columns)
        found[name] = kernels, np.array([sum(row) / inputs for row in kernels])
    return found


def literal_snip(network: nn.Sequential, images: Tensor, labels: list[int], goal: Goal, **masks: Array) -> Scores:
    return mean_over_images(
        [snip_of(network, image, label, goal, masks) for image, label in zip(images, labels, strict=True)]
    )


def literal_force(
    network: nn.Sequential, images: Tensor, labels: list[int], goal: Goal, *, keep: float, rounds: int
) -> tuple[Scores, list[set[tuple[str, int, int]]]]:
    """The scores of the last round, and the kernels that each round kept."""
    masks: dict[str, Array] = {}
    kept: list[set[tuple[str, int, int]]] = []
    for round_ in range(1, rounds + 1):
        scores = literal_snip(network, images, labels, goal, **masks)
        ranked = sorted(
            (
                (-kernels[o, i], name, o, i)
                for name, (kernels, _) in scores.items()
                for o, i in np.ndindex(*kernels.shape)
                if name != goal.last or goal.reads is None or o in goal.reads
            ),
            key=lambda each: each[0],
        )
        everything = len(ranked)
        count = everything ** (1 - round_ / rounds) * (keep * everything) ** (round_ / rounds)
        kept.append({each[1:] for each in ranked[: math.ceil(count - 1e-9)]})
        masks = {name: np.zeros(kernels.shape) for name, (kernels, _) in scores.items()}
        for name, o, i in kept[-1]:
            masks[name][o, i] = 1
    return scores, kept


def literal_integrated(
    network: nn.Sequential, image: Tensor, baseline: Tensor, label: int, goal: Goal, *, steps: int, signed: bool
) -> Scores:
    """One image's scores; gradients at so many images on the way, the last of them the image itself."""
    image, baseline = image.double(), baseline.double()
    end, start = (oracles.run(network, each.unsqueeze(0)) for each in (image, baseline))
    found: Scores = {}
    of_z: dict[str, list[Array]] = {}
    of_a: dict[str, list[Array]] = {}
    for step in range(1, steps + 1):
        of = oracles.run(network, (baseline + step / steps * (image - baseline)).unsqueeze(0))
        goal.value(of, label).backward()  # type: ignore[no-untyped-call]
        for name in convolutions(network, goal):
            of_z.setdefault(name, []).append(oracles._gradient(of.z[name])[0])
            of_a.setdefault(name, []).append(oracles._gradient(_a(of, name, goal))[0])
    for name, convolution in convolutions(network, goal).items():
        change = oracles.edge_maps(end.x[name], convolution) - oracles.edge_maps(start.x[name], convolution)
        change = change[0].reshape(*change.shape[1:3], -1)  # (O, I, m)
        a_change = (_a(end, name, goal) - _a(start, name, goal))[0].detach().flatten(1).numpy()
        z_slope, a_slope = (np.mean(each[name], axis=0) for each in (of_z, of_a))
        measure = oracles._product if signed else oracles._size
        kernels = np.array(
            [[measure(edge, slope) for edge in edges] for edges, slope in zip(change, z_slope, strict=True)]
        )
        filters = np.array([measure(each, slope) for each, slope in zip(a_change, a_slope, strict=True)])
        found[name] = kernels, filters
    return found


def _a(of: oracles.Run, name: str, goal: Goal) -> Tensor:
    return of.z[name] if name in goal.direct else of.a[name]


def literal_grasp(network: nn.Sequential, image: Tensor, label: int, goal: Goal) -> Scores:
    """One image's W * (H g), from the whole matrix H of second derivatives by the weights of all scored layers."""
    plain = weights_of(network, goal)
    flat = torch.cat([each.detach().flatten() for each in plain.values()])

    def value(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [each.numel() for each in plain.values()])
        weights = {name: part.view_as(each) for (name, each), part in zip(plain.items(), parts, strict=True)}
        return goal.value(with_weights(network, image, weights), label)

    slope: Any = torch.autograd.functional.jacobian(value, flat)  # type: ignore[no-untyped-call]
    curvature: Any = torch.autograd.functional.hessian(value, flat)  # type: ignore[no-untyped-call]
    products = torch.split(flat * (curvature @ slope), [each.numel() for each in plain.values()])
    found: Scores = {}
    for (name, each), product in zip(plain.items(), products, strict=True):
        kernels = product.view_as(each).sum(dim=(2, 3)).numpy()
        found[name] = kernels, kernels.sum(axis=1)
    return found
