"""One forward pass that keeps, per layer, what scores are computed from: x, Z, a and the edges of their gradients.

The traced graph is run node by node. A gradient edge is taken the moment a map exists, so nothing that happens to
the tensor later (an in-place activation, say) can make the gradient wrong; one `torch.autograd.grad` then serves all
layers. The pass ends at the target's layer, the last of its layers in the order of execution.

A sum is a layer like the others: its Z is the plain sum, and what it reads are its addends. As a convolution (that is
how interventions see it) it reads them interleaved (`viscnn.ingest.sums`), which costs nothing until it is asked for.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from viscnn.engine.padding import padded
from viscnn.errors import StoredDataError
from viscnn.ingest.architecture import Architecture, LayerSpec
from viscnn.ingest.sums import Sum

__all__ = ["Intervention", "Reads", "Recording", "convolve", "record"]

Intervention = Callable[[Tensor, nn.Conv2d], Tensor]
"""Replaces a convolution: given its input maps (N, C, H, W) and itself, returns the maps Z (N, O, P, Q).

A sum is given as the convolution that it equals, with its addends interleaved."""


class Reads(Mapping[str, Tensor]):
    """x by layer name: the maps (N, C, H, W) that a convolution reads; of a sum its addends, interleaved when asked."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[Tensor, ...]] = {}

    def keep(self, name: str, parts: Iterable[Tensor]) -> None:
        """The input maps of a layer, or the addends of a sum; without gradient."""
        self._parts[name] = tuple(each.detach() for each in parts)

    def parts(self, name: str) -> tuple[Tensor, ...]:
        """The one tensor that a convolution reads, or the addends of a sum."""
        return self._parts[name]

    def __getitem__(self, name: str) -> Tensor:
        return _whole(self._parts[name])

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _whole(parts: tuple[Tensor, ...]) -> Tensor:
    return parts[0] if len(parts) == 1 else Sum.interleave(parts)


@dataclass
class Recording:
    """Maps of one batch by layer name; `output` is what the model returned, or None when it stopped earlier.

    Attributes:
        inputs: x, the maps (N, C, H, W) that a layer reads, without gradient.
        maps: Z = conv(x) + b, (N, O, P, Q).
        activated: a = phi(Z) where one pointwise activation alone consumes Z, else Z.
        map_edges, activated_edges: where the gradients dT/dZ and dT/da are taken.
    """

    inputs: Reads = field(default_factory=Reads)
    maps: dict[str, Tensor] = field(default_factory=dict)
    activated: dict[str, Tensor] = field(default_factory=dict)
    map_edges: dict[str, GradientEdge] = field(default_factory=dict)
    activated_edges: dict[str, GradientEdge] = field(default_factory=dict)
    output: Tensor | None = None

    def gradients(self, total: Tensor, *, retain: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """dT/dZ and dT/da by layer name for T = `total` (a scalar); layers that T does not depend on are absent.

        Args:
            retain: keep the recorded pass for the gradients of another T.
        """
        edges = [*self.map_edges.values(), *self.activated_edges.values()]
        found = torch.autograd.grad(total, edges, allow_unused=True, retain_graph=retain)
        count = len(self.map_edges)
        return _present(self.map_edges, found[:count]), _present(self.activated_edges, found[count:])


def convolve(x: Tensor, convolution: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with another weight and bias, in its own geometry and padding mode."""
    return F.conv2d(
        padded(x, convolution), weight, bias, convolution.stride, 0, convolution.dilation, convolution.groups
    )


def _present(names: Iterable[str], gradients: Iterable[Tensor | None]) -> dict[str, Tensor]:
    return {name: each for name, each in zip(names, gradients, strict=True) if each is not None}


class _Stop(Exception):
    pass


class _Recorder(fx.Interpreter):
    def __init__(self, architecture: Architecture, asked: "_Asked") -> None:
        super().__init__(architecture.module)
        self.extra_traceback = False  # it would be written into the message of our own errors
        self.recording = Recording()
        self._convolutions = {layer.node: layer for layer in architecture.layers}
        self._activations = {
            layer.activation_node: layer for layer in architecture.layers if layer.activation_node is not None
        }
        self._asked = asked

    def run_node(self, n: fx.Node) -> Any:
        layer, activated = self._convolutions.get(n.name), self._activations.get(n.name)
        if layer is not None:
            return self._convolve(n, layer)
        if activated is None:
            return super().run_node(n)
        spared = self._asked.spares(activated)  # nothing else reads Z
        value = torch.relu_(self.env[n.all_input_nodes[0]]) if spared else super().run_node(n)
        self._keep_activated(activated, value)
        return value

    def _convolve(self, n: fx.Node, layer: LayerSpec) -> Tensor:
        parts, _ = self.fetch_args_kwargs_from_env(n)
        convolution = self.fetch_attr(str(n.target))
        intervention = self._asked.interventions.get(layer.name)
        z: Tensor = convolution(*parts) if intervention is None else intervention(_whole(parts), convolution)
        if not _finite(z):
            raise StoredDataError(
                f"the maps of layer {layer.name} hold NaN or infinity; check the weights and the images"
            )
        self.recording.inputs.keep(layer.name, parts)
        if self._asked.keeps(layer):
            self.recording.maps[layer.name] = z
        if self._asked.gradients:
            self.recording.map_edges[layer.name] = get_gradient_edge(z)
        ends = layer == self._asked.last and not (self._asked.last_activated and layer.activation_node)
        if layer.activation_node is None or ends:  # for the target's filters a = Z
            self._keep_activated(layer, z)
        if ends:
            raise _Stop
        return z

    def _keep_activated(self, layer: LayerSpec, a: Tensor) -> None:
        self.recording.activated[layer.name] = a
        if self._asked.gradients and self._asked.needs_activated_gradient(layer):
            self.recording.activated_edges[layer.name] = get_gradient_edge(a)
        if layer == self._asked.last and self._asked.last_activated:
            raise _Stop


@dataclass(frozen=True)
class _Asked:
    last: LayerSpec | None
    last_activated: bool
    gradients: bool
    interventions: Mapping[str, Intervention]
    sparing: Collection[str] | None

    def keeps(self, layer: LayerSpec) -> bool:
        return self.sparing is None or layer.name in self.sparing

    def spares(self, layer: LayerSpec) -> bool:
        """Whether its ReLU may overwrite Z; where that is kept, or an intervention may have kept it, it may not."""
        return layer.activation == "relu" and not self.keeps(layer) and layer.name not in self.interventions

    def needs_activated_gradient(self, layer: LayerSpec) -> bool:
        return self.sparing is None or layer.activation != "relu"


def _finite(maps: Tensor) -> bool:
    """Whether all values are finite: their sum is, in nearly every case; only else is each one looked at."""
    return bool(maps.detach().sum().isfinite()) or bool(maps.isfinite().all())


def record(
    architecture: Architecture,
    images: Tensor,
    *,
    last: LayerSpec | None = None,
    last_activated: bool = False,
    gradients: bool = True,
    interventions: Mapping[str, Intervention] | None = None,
    sparing: Collection[str] | None = None,
) -> Recording:
    """Run the network on a batch (N, C, H, W) and keep its maps.

    Args:
        last: stop after this layer's convolution; None runs to the model's output.
        last_activated: stop only after that layer's activation.
        gradients: keep gradient edges, so that `Recording.gradients` can be asked.
        interventions: replaced convolutions (and sums) by layer name.
        sparing: keep the maps Z of these layers only, and no dT/da behind a ReLU, where a dT/da = a dT/dZ: what
            scores need, in less memory.

    Raises:
        StoredDataError: a map or the output holds NaN or infinity; the layer is named.
    """
    recorder = _Recorder(architecture, _Asked(last, last_activated, gradients, interventions or {}, sparing))
    with torch.set_grad_enabled(gradients), contextlib.suppress(_Stop):
        recorder.recording.output = recorder.run(images.detach().requires_grad_(gradients))
    output = recorder.recording.output
    if output is not None and not _finite(output):
        raise StoredDataError("the model's output holds NaN or infinity; check the weights and the images")
    return recorder.recording
