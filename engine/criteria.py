"""Criteria: what a filter or kernel is worth, from one layer's maps and gradients.

Notation of DESIGN section 4: x_i input maps, A_oi = W_oi * x_i edge map (no bias), Z_o = sum_i A_oi + b_o,
a_o = phi(Z_o), G_o = dT/dZ_o, p positions, k images. T is a sum of one value per image, so every quantity here is
*per image*; the caller averages over images, and scores do not depend on the batch size.

Adding a criterion is one `Criterion` in `CRITERIA`: a kernel function (outputs, inputs per group), summed over the
images of the batch, and a filter function (images, outputs).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viscnn.engine.edge_maps import edge_maps, weight_gradient
from viscnn.errors import ExpressionError, nearest
from viscnn.ingest.architecture import LayerSpec

__all__ = ["CRITERIA", "Criterion", "LayerMaps", "criterion_called"]


@dataclass(frozen=True)
class LayerMaps:
    """One layer's maps for a batch; gradients are None where T does not depend on the layer."""

    layer: LayerSpec
    convolution: nn.Conv2d
    x: Tensor  # (N, C, H, W)
    a: Tensor  # (N, O, P, Q)
    gradient: Tensor | None  # dT/dZ, (N, O, P, Q)
    activated_gradient: Tensor | None  # dT/da, (N, O, P, Q)

    @property
    def images(self) -> int:
        """Number of images in the batch."""
        return len(self.x)

    def nothing(self) -> Tensor:
        """Kernel scores of a layer that T does not depend on."""
        return torch.zeros(self.layer.filters, self.layer.inputs, dtype=self.x.dtype)


@dataclass(frozen=True)
class Criterion:
    """A way to score.

    Attributes:
        kernel: scores (outputs, inputs per group) summed over the batch's images.
        filter: scores (images, outputs).
        gradients: whether dT/dZ is needed.
        signed: whether scores may be negative for a single image set.
        meaning: one line for people.
    """

    name: str
    kernel: Callable[[LayerMaps], Tensor]
    filter: Callable[[LayerMaps], Tensor]
    meaning: str
    gradients: bool = True
    signed: bool = False


def taylor_kernel(maps: LayerMaps) -> Tensor:
    """sum_k mean_p |A_oi G_o|: Hamblin & Alvarez 2021, eq. 4, on edge maps (absolute value inside both sums)."""
    total = maps.nothing()
    if maps.gradient is None:
        return total
    for image in range(maps.images):
        gradient = maps.gradient[image].flatten(1)  # (O, PQ)
        alive = gradient.abs().amax(dim=1) > 0
        for part in edge_maps(maps.x[image], maps.convolution, alive):
            weighted = part.maps.mul_(gradient[part.outputs])  # (i, o, PQ)
            total[part.outputs, part.inputs] += torch.linalg.vector_norm(weighted, ord=1, dim=2).T
    return total / maps.layer.positions


def taylor_filter(maps: LayerMaps) -> Tensor:
    """mean_p |a_o dT/da_o| per image: Hamblin & Alvarez 2021, eq. 4."""
    if maps.activated_gradient is None:
        return _no_filters(maps)
    return (maps.a * maps.activated_gradient).abs().mean(dim=(2, 3))


def signed_kernel(maps: LayerMaps) -> Tensor:
    """sum_k sum_p A_oi G_o = sum_k <W_oi, dT_k/dW_oi>, exact without edge maps: an edge map is linear in its kernel."""
    if maps.gradient is None:
        return maps.nothing()
    return (maps.convolution.weight * weight_gradient(maps.x, maps.convolution, maps.gradient)).sum(dim=(2, 3))


def signed_filter(maps: LayerMaps) -> Tensor:
    """sum_p a_o dT/da_o per image."""
    if maps.activated_gradient is None:
        return _no_filters(maps)
    return (maps.a * maps.activated_gradient).sum(dim=(2, 3))


def activation_kernel(maps: LayerMaps) -> Tensor:
    """sum_k mean_p |A_oi|."""
    total = maps.nothing()
    everything = torch.ones(maps.layer.filters, dtype=torch.bool)
    for image in range(maps.images):
        for part in edge_maps(maps.x[image], maps.convolution, everything):
            total[part.outputs, part.inputs] += torch.linalg.vector_norm(part.maps, ord=1, dim=2).T
    return total / maps.layer.positions


def activation_filter(maps: LayerMaps) -> Tensor:
    """mean_p a_o per image."""
    return maps.a.mean(dim=(2, 3))


def gradient_kernel(maps: LayerMaps) -> Tensor:
    """sum_k mean_p |G_o|; because Z_o is a sum of edge maps it is equal for all kernels into o and cannot rank them."""
    return gradient_filter(maps).sum(dim=0).unsqueeze(1).expand(-1, maps.layer.inputs)


def gradient_filter(maps: LayerMaps) -> Tensor:
    """mean_p |G_o| per image."""
    if maps.gradient is None:
        return _no_filters(maps)
    return maps.gradient.abs().mean(dim=(2, 3))


def weight_kernel(maps: LayerMaps) -> Tensor:
    """Mean |W_oi| over the kernel's entries, once per image so that the mean over images is itself."""
    return maps.convolution.weight.abs().mean(dim=(2, 3)) * maps.images


def weight_filter(maps: LayerMaps) -> Tensor:
    """Mean of the incoming kernels' scores, the same for every image."""
    return maps.convolution.weight.abs().mean(dim=(1, 2, 3)).expand(maps.images, -1)


def _no_filters(maps: LayerMaps) -> Tensor:
    return torch.zeros(maps.images, maps.layer.filters, dtype=maps.x.dtype)


CRITERIA: dict[str, Criterion] = {
    each.name: each
    for each in (
        Criterion("taylor", taylor_kernel, taylor_filter, "mean over images and positions of |map x gradient|"),
        Criterion("taylor-signed", signed_kernel, signed_filter, "sum over positions of map x gradient", signed=True),
        Criterion("activation", activation_kernel, activation_filter, "mean size of the map", gradients=False),
        Criterion("gradient", gradient_kernel, gradient_filter, "mean |gradient|; equal for all kernels into a filter"),
        Criterion("weight", weight_kernel, weight_filter, "mean |weight|; the same for every image", gradients=False),
    )
}


def criterion_called(name: str) -> Criterion:
    """The criterion of that name; raises ExpressionError with the known ones."""
    if name not in CRITERIA:
        known = tuple(CRITERIA)
        raise ExpressionError(f"no criterion is called {name!r}{nearest(name, known)} (one of {', '.join(known)})")
    return CRITERIA[name]
