"""Literal definitions of DESIGN section 4 in float64: nested loops over images, outputs, inputs, positions, entries.

Slow on purpose, and written from the formulas. Only T and its gradient come from torch: from plain autograd on the
plain module here, and from finite differences in `finite_differences`.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.ELU, nn.Tanh, nn.Softplus, nn.Hardtanh)


@dataclass
class Run:
    """A plain forward pass of a Sequential in float64; maps by the convolution's name."""

    x: dict[str, Tensor]
    z: dict[str, Tensor]
    a: dict[str, Tensor]
    logits: Tensor


@dataclass
class T:
    """What is explained: the layer it is made of (None: the logits), and its value per image, (N,)."""

    layer: str | None
    values: Callable[[Run], Tensor]


def run(
    network: nn.Sequential,
    images: Tensor,
    *,
    add: dict[str, Tensor] | None = None,
    swap: Callable[[str, nn.Conv2d, Tensor], Tensor] | None = None,
) -> Run:
    """Run a copy of `network` in float64, keeping maps and their gradients.

    Args:
        add: added to a layer's Z.
        swap: computes Z instead of the convolution.
    """
    steps = list(copy.deepcopy(network).double().eval().named_children())
    value = images.double().clone().requires_grad_(True)
    found = Run({}, {}, {}, value)
    for number, (name, step) in enumerate(steps):
        before = steps[number - 1] if number else ("", nn.Identity())
        if isinstance(step, nn.Conv2d):
            found.x[name] = value
            value = step(value) if swap is None else swap(name, step, value)
            value = value + add[name] if add and name in add else value
            found.z[name] = found.a[name] = value
        else:
            value = step(value.clone())  # a copy, so that in-place steps do not reach the kept maps
            if isinstance(step, POINTWISE) and isinstance(before[1], nn.Conv2d):
                found.a[before[0]] = value
        value.retain_grad()
    found.logits = value
    return found


# --- targets -----------------------------------------------------------------------------------------------------


def loss(labels: list[int]) -> T:
    """-log softmax(logits)[label] of each image."""

    def values(of: Run) -> Tensor:
        rows = [torch.log(torch.exp(row).sum()) - row[y] for row, y in zip(of.logits, labels, strict=True)]
        return torch.stack(rows)

    return T(None, values)


def logit(number: int) -> T:
    """One logit of each image."""
    return T(None, lambda of: of.logits[:, number])


def filter_mean(layer: str, channel: int) -> T:
    """The mean of a filter's pre-activation map."""
    return T(layer, lambda of: torch.stack([z[channel].sum() / z[channel].numel() for z in of.z[layer]]))


def filter_max(layer: str, channel: int) -> T:
    """The largest value of a filter's pre-activation map."""
    return T(layer, lambda of: torch.stack([z[channel].flatten().max() for z in of.z[layer]]))


def filter_at(layer: str, channel: int, row: int, column: int) -> T:
    """One position of a filter's pre-activation map."""
    return T(layer, lambda of: of.z[layer][:, channel, row, column])


def layer_mean(layer: str) -> T:
    """The mean over a layer's filters of their maps' means."""

    def values(of: Run) -> Tensor:
        return torch.stack([torch.stack([m.sum() / m.numel() for m in z]).sum() / len(z) for z in of.z[layer]])

    return T(layer, values)


# --- convolutions ------------------------------------------------------------------------------------------------


def paddings(convolution: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom), (left, right): for `same`, the odd one goes to the end."""
    if convolution.padding == "valid":
        return (0, 0), (0, 0)
    if convolution.padding == "same":
        totals = [step * (size - 1) for size, step in zip(convolution.kernel_size, convolution.dilation, strict=True)]
        (top, left) = (total // 2 for total in totals)
        return (top, totals[0] - top), (left, totals[1] - left)
    assert not isinstance(convolution.padding, str)
    rows, columns = convolution.padding
    return (int(rows), int(rows)), (int(columns), int(columns))


def source_index(place: int, size: int, mode: str) -> int | None:
    """Where a padded place reads from; None is zero."""
    if 0 <= place < size:
        return place
    if mode == "zeros":
        return None
    if mode == "circular":
        return place % size
    if mode == "replicate":
        return 0 if place < 0 else size - 1
    assert mode == "reflect"
    return -place if place < 0 else 2 * (size - 1) - place


def _places(
    size: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int], mode: str
) -> list[list[int | None]]:
    """Per output position along one axis, the source of each kernel entry."""
    count = (size + pad[0] + pad[1] - dilation * (kernel - 1) - 1) // stride + 1
    return [[source_index(p * stride - pad[0] + r * dilation, size, mode) for r in range(kernel)] for p in range(count)]


def edge_map(channel: Array, kernel: Array, convolution: nn.Conv2d) -> Array:
    """One kernel applied to one input map, entry by entry, (P, Q)."""
    above, beside = paddings(convolution)
    geometry = zip(channel.shape, kernel.shape, convolution.stride, convolution.dilation, (above, beside), strict=True)
    rows, columns = (
        _places(size, entries, stride, dilation, pad, convolution.padding_mode)
        for size, entries, stride, dilation, pad in geometry
    )
    found = np.zeros((len(rows), len(columns)))
    for (p, places), (q, others) in itertools.product(enumerate(rows), enumerate(columns)):
        total = 0.0
        for (r, row), (s, column) in itertools.product(enumerate(places), enumerate(others)):
            if row is not None and column is not None:
                total += float(kernel[r, s]) * float(channel[row, column])
        found[p, q] = total
    return found


def edge_maps(x: Tensor, convolution: nn.Conv2d) -> Array:
    """A[k, o, i] of all images, outputs and inputs within the group, (N, O, I, P, Q)."""
    maps = x.detach().double().numpy()
    weight = convolution.weight.detach().double().numpy()
    outputs_per_group = convolution.out_channels // convolution.groups
    inputs = convolution.in_channels // convolution.groups
    return np.array(
        [
            [
                [edge_map(image[o // outputs_per_group * inputs + i], weight[o, i], convolution) for i in range(inputs)]
                for o in range(convolution.out_channels)
            ]
            for image in maps
        ]
    )


# --- criteria ----------------------------------------------------------------------------------------------------


@dataclass
class Layer:
    """What the formulas of one layer speak of; `edge` (N, O, I, m), the others (N, O, m) with m positions."""

    edge: Array
    gradient: Array
    a: Array
    a_gradient: Array
    weight: Array  # (O, I, entries)
    bias: Array  # (O,)


def layers(network: nn.Sequential, images: Tensor, target: T) -> dict[str, Layer]:
    """The layers up to the target's, with gradients by plain autograd; zero where T does not depend on them."""
    of = run(network, images)
    target.values(of).sum().backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, step in network.named_children():
        if not isinstance(step, nn.Conv2d):
            continue
        edge = edge_maps(of.x[name], step)
        z = of.z[name]
        a = z if name == target.layer else of.a[name]  # of the target itself: a = Z
        found[name] = Layer(
            edge=edge.reshape(*edge.shape[:3], -1),
            gradient=_gradient(z),
            a=a.detach().flatten(2).numpy(),
            a_gradient=_gradient(a),
            weight=step.weight.detach().double().flatten(2).numpy(),
            bias=np.zeros(step.out_channels) if step.bias is None else step.bias.detach().double().numpy(),
        )
        if name == target.layer:
            break
    return found


def _gradient(maps: Tensor) -> Array:
    return (torch.zeros_like(maps) if maps.grad is None else maps.grad).detach().flatten(2).numpy()


def _size(edge: Array, gradient: Array) -> float:
    return sum(abs(float(e) * float(g)) for e, g in zip(edge, gradient, strict=True)) / len(edge)


def _product(edge: Array, gradient: Array) -> float:
    return sum(float(e) * float(g) for e, g in zip(edge, gradient, strict=True))


def _mean_size(values: Array) -> float:
    return sum(abs(float(each)) for each in values) / len(values)


LITERAL = ("taylor", "taylor-signed", "taylor-map", "activation", "gradient", "weight", "magnitude")
"""Criteria that are a formula of one layer."""


def kernel_score(criterion: str, layer: Layer, k: int, o: int, i: int) -> float:
    """One kernel's score for one image."""
    edge, gradient = layer.edge[k, o, i], layer.gradient[k, o]
    values: dict[str, Callable[[], float]] = {
        "taylor": lambda: _size(edge, gradient),
        "taylor-signed": lambda: _product(edge, gradient),
        "taylor-map": lambda: abs(_product(edge, gradient) / len(edge)),
        "activation": lambda: _mean_size(edge),
        "gradient": lambda: _mean_size(gradient),
        "weight": lambda: _mean_size(layer.weight[o, i]),
        "magnitude": lambda: sum(abs(float(each)) for each in layer.weight[o, i]),
    }
    return values[criterion]()


def filter_score(criterion: str, layer: Layer, k: int, o: int) -> float:
    """One filter's score for one image."""
    a, a_gradient = layer.a[k, o], layer.a_gradient[k, o]
    inputs = layer.weight.shape[1]
    values: dict[str, Callable[[], float]] = {
        "taylor": lambda: _size(a, a_gradient),
        "taylor-signed": lambda: _product(a, a_gradient),
        "taylor-map": lambda: abs(_product(a, a_gradient) / len(a)),
        "activation": lambda: sum(float(each) for each in a) / len(a),
        "gradient": lambda: _mean_size(layer.gradient[k, o]),
        "weight": lambda: sum(_mean_size(layer.weight[o, i]) for i in range(inputs)) / inputs,
        "magnitude": lambda: sum(abs(float(each)) for i in range(inputs) for each in layer.weight[o, i]),
    }
    return values[criterion]()


def scores(criterion: str, of: dict[str, Layer]) -> dict[str, tuple[Array, Array]]:
    """Mean over images of the kernels' (O, I) and the filters' (O,) scores, by layer."""
    found = {}
    for name, layer in of.items():
        images, outputs, inputs, _ = layer.edge.shape
        kernels, filters = np.zeros((outputs, inputs)), np.zeros(outputs)
        for k in range(images):
            for o in range(outputs):
                filters[o] += filter_score(criterion, layer, k, o) / images
                for i in range(inputs):
                    kernels[o, i] += kernel_score(criterion, layer, k, o, i) / images
        found[name] = (kernels, filters)
    return found


# --- other ways to the same numbers ------------------------------------------------------------------------------


def finite_differences(network: nn.Sequential, images: Tensor, target: T, name: str, *, step: float = 1e-6) -> Array:
    """dT_k/dZ of a layer, (N, O, m), by moving one position of one map at a time."""
    z = run(network, images).z[name].detach()
    found = np.zeros(tuple(z.shape))
    for index in np.ndindex(*z.shape[1:]):
        moved = torch.zeros_like(z)
        moved[(slice(None), *index)] = step  # T is per image, so all images can be moved at once
        above = target.values(run(network, images, add={name: moved}))
        below = target.values(run(network, images, add={name: -moved}))
        found[(slice(None), *index)] = ((above - below) / (2 * step)).detach().numpy()
    return found.reshape(*z.shape[:2], -1)


def dissected_scores(network: nn.Sequential, images: Tensor, target: T) -> dict[str, Array]:
    """The original tool's way: a grouped convolution makes every edge map, and autograd goes through all of them."""
    edges: dict[str, Tensor] = {}

    def dissected(name: str, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        outputs, inputs = convolution.out_channels, convolution.in_channels // convolution.groups
        per_group = outputs // convolution.groups
        read = [o // per_group * inputs + i for o in range(outputs) for i in range(inputs)]
        (top, bottom), (left, right) = paddings(convolution)
        mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
        maps = F.pad(x, (left, right, top, bottom), mode=mode)[:, read] if max(top, bottom, left, right) else x[:, read]
        weight = convolution.weight.reshape(outputs * inputs, 1, *convolution.kernel_size)
        every = F.conv2d(maps, weight, None, convolution.stride, 0, convolution.dilation, outputs * inputs)
        edges[name] = every.view(len(x), outputs, inputs, *every.shape[2:])
        edges[name].retain_grad()
        z = edges[name].sum(dim=2)
        return z if convolution.bias is None else z + convolution.bias.view(1, -1, 1, 1)

    target.values(run(network, images, swap=dissected)).sum().backward()  # type: ignore[no-untyped-call]
    return {
        name: (edge * edge.grad).abs().mean(dim=(0, 3, 4)).detach().numpy()
        for name, edge in edges.items()
        if edge.grad is not None
    }


def without(network: nn.Sequential, name: str, o: int, i: int) -> nn.Sequential:
    """A copy of `network` in which one kernel is zero."""
    changed = copy.deepcopy(network)
    convolution = changed.get_submodule(name)
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight.data[o, i] = 0.0
    return changed
