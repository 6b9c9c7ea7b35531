"""One batch of images towards one target, run once: what criteria read, made when first asked for.

Notation of DESIGN section 4: x_i input maps, A_oi = W_oi * x_i edge map (no bias), Z_o = sum_i A_oi + b_o,
a_o = phi(Z_o), G_o = dT/dZ_o, p positions, k images. T is a sum of one value per image, so every quantity here is
*per image*; scores do not depend on the batch size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from viscnn.engine.capture import Intervention, Recording, convolve, record
from viscnn.engine.edge_products import addend_products, edge_products, map_products
from viscnn.engine.geometry import EdgeProducts, MapProducts
from viscnn.engine.target import Target
from viscnn.ingest.architecture import Architecture, LayerSpec

__all__ = ["Batch", "LayerMaps", "label_tensor", "run", "scored_layers", "together"]


@dataclass(frozen=True)
class LayerMaps:
    """One layer's maps for a batch; gradients are None where T does not depend on the layer.

    The kernels of a sum are its identities (o, i): their edge map is the map o of addend i.

    Attributes:
        reads: the input maps (N, C, H, W); of a sum its addends (N, O, P, Q).
        a: (N, O, P, Q); Z itself where the target reads this layer's Z.
        activated_gradient: dT/da; None behind a ReLU too, where a dT/da = a dT/dZ.
        signed: compute the signed sums of `products` in the same pass, for criteria that will ask for them.
    """

    layer: LayerSpec
    convolution: nn.Conv2d
    reads: tuple[Tensor, ...]
    a: Tensor
    gradient: Tensor | None = None  # dT/dZ, (N, O, P, Q)
    activated_gradient: Tensor | None = None
    signed: bool = False

    @property
    def images(self) -> int:
        """Number of images in the batch."""
        return len(self.a)

    @property
    def x(self) -> Tensor:
        """The input maps (N, C, H, W) of a convolution."""
        assert not self.layer.is_sum
        return self.reads[0]

    def products_with(self, gradient: Tensor, *, signed: bool) -> EdgeProducts:
        """Sums of edge map times `gradient` (N, O, P, Q)."""
        if self.layer.is_sum:
            return addend_products(self.reads, gradient, signed=signed)
        return edge_products(self.x, self.convolution, gradient, signed=signed)

    @cached_property
    def products(self) -> EdgeProducts | None:
        """Sums of edge map times gradient; None where T does not depend on the layer."""
        return None if self.gradient is None else self.products_with(self.gradient, signed=self.signed)

    @cached_property
    def map_products(self) -> MapProducts | None:
        """Sums over positions of a_o dT/da_o; None where T does not depend on the layer."""
        gradient = self.gradient if self.activated_gradient is None else self.activated_gradient
        return None if gradient is None else map_products(self.a, gradient)

    def no_kernels(self) -> Tensor:
        """Kernel scores of zero."""
        return self.a.new_zeros(self.layer.filters, self.layer.inputs)

    def no_filters(self) -> Tensor:
        """Filter scores of zero."""
        return self.a.new_zeros(self.images, self.layer.filters)


@dataclass(frozen=True)
class Batch:
    """Images of one batch, a target, and the pass that joins them.

    Attributes:
        images: (N, C, H, W).
        labels: class numbers, None where the model's own prediction stands in.
        gradients: whether criteria will ask for gradients.
        signed: see `LayerMaps`.
        retain: other targets will take gradients of the same recording.
        sparing: keep only what the criteria of one pass need (see `capture.record`).
        masks: (filters, inputs per group) by layer name: what kernels are multiplied by.
        baseline: an image (C, H, W) that shows nothing in particular, for criteria that compare with one.
    """

    architecture: Architecture = field(repr=False)
    images: Tensor = field(repr=False)
    target: Target
    labels: Sequence[int | None] = ()
    gradients: bool = True
    signed: bool = False
    retain: bool = False
    sparing: bool = True
    masks: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    baseline: Tensor | None = field(default=None, repr=False)
    shared: Recording | None = field(default=None, repr=False)

    @cached_property
    def recording(self) -> Recording:
        """The forward pass: the shared one, or that of this batch alone."""
        return self.shared or run([self])

    @cached_property
    def class_numbers(self) -> Tensor:
        """Class numbers (N,), the model's own prediction where there is no label."""
        return label_tensor(self.labels or [None] * len(self.images), self.recording.output)

    @cached_property
    def total(self) -> Tensor:
        """The sum of T over the images, whose gradient for an image's maps is that of the image's own T."""
        with torch.set_grad_enabled(self.gradients):
            return self.target.values(self.recording, self.class_numbers).sum()

    @cached_property
    def layers(self) -> tuple[LayerMaps, ...]:
        """The maps of every layer that T depends on, in the order of execution."""
        recording = self.recording
        of_maps: dict[str, Tensor] = {}
        of_activated: dict[str, Tensor] = {}
        if self.gradients:
            of_maps, of_activated = recording.gradients(self.total, retain=self.retain)
        direct = self.target.direct
        return tuple(
            LayerMaps(
                layer=layer,
                convolution=self.architecture.convolution(layer),
                reads=recording.inputs.parts(layer.name),
                a=(recording.maps if layer.name in direct else recording.activated)[layer.name].detach(),
                gradient=of_maps.get(layer.name),
                activated_gradient=None if layer.name in direct else of_activated.get(layer.name),
                signed=self.signed,
            )
            for layer in self.scored
        )

    @cached_property
    def scored(self) -> tuple[LayerSpec, ...]:
        """The layers that have scores."""
        return scored_layers(self.architecture, self.target)

    def at(self, images: Tensor) -> "Batch":
        """The same question about other images."""
        return replace(self, images=images, shared=None)


def scored_layers(architecture: Architecture, target: Target) -> tuple[LayerSpec, ...]:
    """The layers that T depends on, in the order of execution; all others score zero by every criterion.

    In what way it depends on them makes no difference: a gate's maps reach it as factors, and count.
    """
    nodes = {node.name: node for node in architecture.module.graph.nodes}
    read = [nodes[layer.node] for layer in target.layers]
    if target.last is None:
        read += architecture.module.graph.output_node().all_input_nodes
    above: set[str] = set()
    while read:
        node = read.pop()
        if node.name not in above:
            above.add(node.name)
            read += node.all_input_nodes
    return tuple(layer for layer in architecture.layers if layer.node in above)


def run(batches: Sequence[Batch]) -> Recording:
    """One forward pass over the images of `batches`, which differ in their targets only."""
    first = batches[0]
    last, activated = _end([each.target for each in batches])
    read = {layer.name for each in batches for layer in each.target.layers}
    return record(
        first.architecture,
        first.images,
        last=last,
        last_activated=activated,
        gradients=any(each.gradients for each in batches),
        interventions={name: _masked(mask) for name, mask in first.masks.items()},
        sparing=read if all(each.sparing for each in batches) else None,
    )


def together(batches: Sequence[Batch]) -> tuple[Batch, ...]:
    """The same batches with one forward pass for all; their images and masks are the same."""
    if len(batches) == 1:
        return tuple(batches)
    recording = run(batches)
    return tuple(replace(each, shared=recording, retain=True) for each in batches)


def _end(targets: Sequence[Target]) -> tuple[LayerSpec | None, bool]:
    """The last layer that any of the targets reads (None: the model's output), and whether its activation is."""
    ends = [each.last for each in targets]
    layers = [each for each in ends if each is not None]
    if len(layers) < len(ends):
        return None, False
    deepest = max(layers, key=lambda layer: layer.index)
    return deepest, any(each.last == deepest and each.last_activated for each in targets)


def _masked(mask: Tensor) -> Intervention:
    def convolution(x: Tensor, of: nn.Conv2d) -> Tensor:
        return convolve(x, of, of.weight * mask[:, :, None, None].to(of.weight), of.bias)

    return convolution


def label_tensor(labels: Sequence[int | None], output: Tensor | None) -> Tensor:
    """Class numbers (N,); where there is none, the model's own prediction."""
    if output is None:
        return torch.tensor([0 if label is None else label for label in labels])
    predicted = output.detach().argmax(dim=1).tolist()
    numbers = [predicted[row] if label is None else label for row, label in enumerate(labels)]
    return torch.tensor(numbers, device=output.device)
