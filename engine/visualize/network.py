"""The model as a visualisation runs it: no further than it must, masked where a circuit is asked for.

Its graph is a copy, so the caller's model stays as it is; weights are shared. What is read are values of that graph,
in which nothing works in place (`viscnn.ingest.in_place`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from viscnn.engine.capture import Recording, convolve
from viscnn.engine.visualize.objectives import EdgeMap, Part, Seen
from viscnn.engine.visualize.redirected import redirect
from viscnn.errors import InputError
from viscnn.ingest.architecture import Architecture
from viscnn.ingest.sums import Sum

__all__ = ["Masks", "Network"]

Masks = Mapping[str, NDArray[np.bool_]]
"""By layer which kernels (filters, inputs per group) stay; layers that are not named stay whole."""

Values = dict[str, dict[str, Any]]


class Network(nn.Module):
    """Runs images as far as some parts of objectives read.

    Args:
        architecture: with its module on the device to run on.
        masks: of a circuit; removed kernels contribute nothing, biases stay.
    """

    def __init__(self, architecture: Architecture, parts: Iterable[Part], *, masks: Masks | None = None) -> None:
        super().__init__()
        self._architecture = architecture
        reads = _Reads.of(list(parts))
        nodes: dict[fx.Node, fx.Node] = {}
        graph = fx.Graph()
        output = graph.graph_copy(architecture.module.graph, nodes)
        by_name = {old.name: new for old, new in nodes.items()}
        graph.output(_outputs(architecture, reads, by_name, output))
        self._module = fx.GraphModule(architecture.module, graph)
        _mask(self._module, architecture, by_name, masks or {})
        self.redirected = redirect(self._module)
        self._module.graph.eliminate_dead_code()
        self._module.delete_all_unused_submodules()
        self._module.recompile()

    def forward(self, images: Tensor) -> Values:
        """Maps, activated maps, inputs by layer, and the model's output, of images (N, C, H, W).

        Raises:
            InputError: the images have a size that the model cannot run on.
        """
        try:
            found: Values = self._module(images)
        except (RuntimeError, ValueError) as error:
            expected = self._architecture.input_shape[1:]
            if tuple(images.shape[2:]) == expected:
                raise
            asked, own = ("x".join(map(str, each)) for each in (images.shape[2:], expected))
            reason = str(error).splitlines()[0]
            raise InputError(f"the model cannot be run on {asked} pixels, it takes {own}: {reason}") from error
        return found

    def each(self, images: Tensor) -> list[Seen]:
        """What each image (N, C, H, W) does to the network, with gradients."""
        values = self(images)
        maps, activated = ({name: z.unbind() for name, z in values[key].items()} for key in ("maps", "activated"))
        inputs = {name: [part.unbind() for part in parts] for name, parts in values["inputs"].items()}
        output = values["output"].get("", None)
        logits = None if output is None else output.unbind()
        return [
            Seen(
                Recording(
                    maps={name: z[n][None] for name, z in maps.items()},
                    activated={name: a[n][None] for name, a in activated.items()},
                    output=None if logits is None else logits[n][None],
                ),
                {name: tuple(part[n][None] for part in parts) for name, parts in inputs.items()},
            )
            for n in range(len(images))
        ]


@dataclass(frozen=True)
class _Reads:
    """Names of the layers whose maps, activated maps or inputs are read, and whether the model's output is."""

    maps: frozenset[str]
    activated: frozenset[str]
    inputs: frozenset[str]
    output: bool

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "_Reads":
        found: dict[str, set[str]] = {"maps": set(), "activated": set(), "inputs": set()}
        for part in parts:
            if part.layer is not None:
                kind = "inputs" if isinstance(part, EdgeMap) else "activated" if part.maps.post else "maps"
                found[kind].add(part.layer.name)
        output = any(part.layer is None for part in parts)
        return cls(frozenset(found["maps"]), frozenset(found["activated"]), frozenset(found["inputs"]), output)


def _outputs(
    architecture: Architecture, reads: _Reads, nodes: Mapping[str, fx.Node], output: Any
) -> dict[str, dict[str, Any]]:
    layers = {layer.name: layer for layer in architecture.layers}
    return {
        "maps": {name: nodes[layers[name].node] for name in sorted(reads.maps)},
        "activated": {name: nodes[str(layers[name].activation_node)] for name in sorted(reads.activated)},
        "inputs": {name: tuple(nodes[layers[name].node].args) for name in sorted(reads.inputs)},
        "output": {"": output} if reads.output else {},
    }


def _mask(module: fx.GraphModule, architecture: Architecture, nodes: Mapping[str, fx.Node], masks: Masks) -> None:
    for number, layer in enumerate(architecture.layers):
        mask = masks.get(layer.name)
        if mask is None or mask.all():
            continue
        convolution = architecture.convolution(layer)
        keep = torch.from_numpy(mask).to(convolution.weight)  # (filters, inputs per group)
        module.add_submodule(f"masked_{number}", _masked(convolution, keep))
        nodes[layer.node].target = f"masked_{number}"


def _masked(convolution: nn.Conv2d, keep: Tensor) -> nn.Module:
    return _MaskedSum(keep) if isinstance(convolution, Sum) else _Masked(convolution, keep)


class _Masked(nn.Module):
    """A convolution without some of its kernels."""

    def __init__(self, convolution: nn.Conv2d, keep: Tensor) -> None:
        super().__init__()
        self._settings = (convolution,)  # in a tuple, so that it is no submodule
        self._weight = convolution.weight.detach() * keep[:, :, None, None]

    def forward(self, maps: Tensor) -> Tensor:
        (convolution,) = self._settings
        return convolve(maps, convolution, self._weight, convolution.bias)


class _MaskedSum(nn.Module):
    """A sum without some of its addends, channel by channel."""

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self._keep = keep.T[:, None, :, None, None]  # (addends, 1, channels, 1, 1)

    def forward(self, *addends: Tensor) -> Tensor:
        return Sum.total([addend * kept for addend, kept in zip(addends, self._keep, strict=True)])
