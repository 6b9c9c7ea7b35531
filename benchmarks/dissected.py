"""The dissected convolution: how the original tool scores kernels, written anew to measure ours against.

After VISCNN's `dissected_Conv2d` (github.com/chrishamblin7/viscnn; method only): every convolution becomes a grouped
one with as many groups as input channels and inputs x outputs maps, all edge maps of the layer at once. They are put
in the order of their filters by an index, split, concatenated, summed per filter and given the bias. Tensor hooks on
the edge maps and on the sums compute scores during `backward()`.

As in the original, weights take gradients, `backward()` computes all of them, and each module holds its edge maps
until the next pass. Unlike it, hooks compute one criterion (|map x gradient|) instead of three, the pass ends at the
target's layer, and T is summed over the images; all three make it faster or comparable, none slower.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.workload import Goal, reach
from viscnn.errors import UnsupportedModel

__all__ = ["DissectedConvolution", "dissected", "dissected_scores"]


class DissectedConvolution(nn.Module):
    """Gives the same maps as a convolution, and scores its kernels (O, I) and filters (O,) as sums over images."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if convolution.groups != 1 or convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise UnsupportedModel(f"{convolution} cannot be dissected: groups 1 and padding by numbers of zeros only")
        self.outputs, self.inputs = convolution.weight.shape[:2]
        self._geometry = (convolution.stride, convolution.padding, convolution.dilation)
        weight = convolution.weight.detach().transpose(0, 1).flatten(0, 1)  # (inputs * outputs, KH, KW)
        self.weight = nn.Parameter(weight.unsqueeze(1).contiguous())
        self.bias = None if convolution.bias is None else nn.Parameter(convolution.bias.detach().clone())
        self._by_filter = torch.arange(self.inputs * self.outputs).view(self.inputs, self.outputs).T.flatten()
        self.kernels = torch.zeros(self.outputs, self.inputs)
        self.filters = torch.zeros(self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps Z (N, O, P, Q) of x (N, I, H, W)."""
        self._edges = F.conv2d(x, self.weight, None, *self._geometry, self.inputs)  # (N, I * O, P, Q)
        self._edges.register_hook(self._score_kernels)
        ordered = self._edges[:, self._by_filter].unsqueeze(1).split(self.inputs, dim=2)
        self._maps = torch.cat(ordered, dim=1).sum(dim=2)
        if self.bias is not None:
            self._maps = self._maps + self.bias.view(-1, 1, 1)
        self._maps.register_hook(self._score_filters)
        return self._maps

    def _score_kernels(self, gradient: Tensor) -> None:
        means = (self._edges.detach() * gradient).abs().mean(dim=(2, 3)).sum(dim=0)  # (I * O,)
        self.kernels = means.view(self.inputs, self.outputs).T

    def _score_filters(self, gradient: Tensor) -> None:
        self.filters = (F.relu(self._maps.detach()) * gradient).abs().mean(dim=(2, 3)).sum(dim=0)


def dissected(module: nn.Module) -> nn.Module:
    """A copy of a network with every convolution dissected.

    Raises:
        UnsupportedModel: a convolution with groups or another padding mode (the original fails on these as well).
    """
    copied = copy.deepcopy(module).requires_grad_(True)
    for name, part in list(copied.named_modules()):
        if isinstance(part, nn.Conv2d):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, DissectedConvolution(part))
    return copied


def dissected_scores(module: nn.Module, images: Tensor, goal: Goal) -> dict[str, tuple[Tensor, Tensor]]:
    """Kernels' (O, I) and filters' (O,) `taylor` scores, means over the images, by the convolution's name.

    Args:
        module: from `dissected`.
        images: (N, C, H, W).
    """
    module.zero_grad()
    goal.total(reach(module, images, goal.layer)).backward()  # type: ignore[no-untyped-call]
    parts = {name: each for name, each in module.named_modules() if isinstance(each, DissectedConvolution)}
    return {name: (each.kernels / len(images), each.filters / len(images)) for name, each in parts.items()}
