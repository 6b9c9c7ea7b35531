"""One forward pass that keeps, per layer, what scores are computed from: x, Z, a and the edges of their gradients.

The traced graph is run node by node. A gradient edge is taken the moment a map exists, so nothing that happens to
the tensor later (an in-place activation, say) can make the gradient wrong; one `torch.autograd.grad` then serves all
layers. The pass ends at the target's layer.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from viscnn.errors import StoredDataError
from viscnn.ingest.architecture import Architecture, LayerSpec

__all__ = ["Intervention", "Recording", "convolve", "record"]

Intervention = Callable[[Tensor, nn.Conv2d], Tensor]
"""Replaces a convolution: given its input maps (N, C, H, W) and itself, returns the maps Z (N, O, P, Q)."""


@dataclass
class Recording:
    """Maps of one batch by layer name; `output` is what the model returned, or None when it stopped earlier.

    Attributes:
        inputs: x, the maps (N, C, H, W) that a convolution reads.
        maps: Z = conv(x) + b, (N, O, P, Q).
        activated: a = phi(Z) where one pointwise activation alone consumes Z, else Z.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    activated: dict[str, Tensor] = field(default_factory=dict)
    map_edges: dict[str, GradientEdge] = field(default_factory=dict)
    activated_edges: dict[str, GradientEdge] = field(default_factory=dict)
    output: Tensor | None = None

    def gradients(self, total: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """dT/dZ and dT/da by layer name for T = `total` (a scalar); layers that T does not depend on are absent."""
        names = list(self.map_edges)
        edges = [*self.map_edges.values(), *(self.activated_edges[name] for name in names)]
        found = torch.autograd.grad(total, edges, allow_unused=True)
        of_maps, of_activated = found[: len(names)], found[len(names) :]
        return (
            {name: gradient for name, gradient in zip(names, of_maps, strict=True) if gradient is not None},
            {name: gradient for name, gradient in zip(names, of_activated, strict=True) if gradient is not None},
        )


def convolve(x: Tensor, convolution: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with another weight and bias, in its own geometry and padding mode."""
    return F.conv2d(
        padded(x, convolution), weight, bias, convolution.stride, 0, convolution.dilation, convolution.groups
    )


def padded(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Input maps with the convolution's padding applied."""
    amounts = convolution._reversed_padding_repeated_twice
    if not any(amounts):
        return x
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    return F.pad(x, list(amounts), mode=mode)


class _Stop(Exception):
    pass


class _Recorder(fx.Interpreter):
    def __init__(
        self,
        architecture: Architecture,
        last: LayerSpec | None,
        interventions: Mapping[str, Intervention],
        gradients: bool,
    ) -> None:
        super().__init__(architecture.module)
        self.recording = Recording()
        self._convolutions = {layer.node: layer for layer in architecture.layers}
        self._activations = {
            layer.activation_node: layer for layer in architecture.layers if layer.activation_node is not None
        }
        self._last = last
        self._interventions = interventions
        self._gradients = gradients

    def run_node(self, n: fx.Node) -> Any:
        layer = self._convolutions.get(n.name)
        value = super().run_node(n) if layer is None else self._convolve(n, layer)
        if n.name in self._activations:
            self._keep_activated(self._activations[n.name], value)
        return value

    def _convolve(self, n: fx.Node, layer: LayerSpec) -> Tensor:
        (x,), _ = self.fetch_args_kwargs_from_env(n)
        convolution = self.fetch_attr(str(n.target))
        intervention = self._interventions.get(layer.name)
        z = convolution(x) if intervention is None else intervention(x, convolution)
        self.recording.inputs[layer.name] = x.detach()
        self.recording.maps[layer.name] = z
        if self._gradients:
            self.recording.map_edges[layer.name] = get_gradient_edge(z)
        if layer.activation_node is None or layer == self._last:  # for the target's filters a = Z
            self._keep_activated(layer, z)
        if layer == self._last:
            raise _Stop
        return z

    def _keep_activated(self, layer: LayerSpec, a: Tensor) -> None:
        self.recording.activated[layer.name] = a
        if self._gradients:
            self.recording.activated_edges[layer.name] = get_gradient_edge(a)


def record(
    architecture: Architecture,
    images: Tensor,
    *,
    last: LayerSpec | None = None,
    gradients: bool = True,
    interventions: Mapping[str, Intervention] | None = None,
) -> Recording:
    """Run the network on a batch (N, C, H, W) and keep its maps.

    Args:
        last: stop after this layer's convolution; None runs to the model's output.
        gradients: keep gradient edges, so that `Recording.gradients` can be asked.
        interventions: replaced convolutions by layer name.

    Raises:
        StoredDataError: a map or the output holds NaN or infinity; the layer is named.
    """
    recorder = _Recorder(architecture, last, interventions or {}, gradients)
    with torch.set_grad_enabled(gradients), contextlib.suppress(_Stop):
        recorder.recording.output = recorder.run(images.detach().requires_grad_(gradients))
    for name, maps in recorder.recording.maps.items():
        if not torch.isfinite(maps).all():
            raise StoredDataError(f"the maps of layer {name} hold NaN or infinity; check the weights and the images")
    if recorder.recording.output is not None and not torch.isfinite(recorder.recording.output).all():
        raise StoredDataError("the model's output holds NaN or infinity; check the weights and the images")
    return recorder.recording
