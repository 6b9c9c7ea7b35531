"""A model's filters in one numbering, and the network of kernels between them that circuits are selected from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.connectivity import LayerScores, Mask, Network, upstream
from viscnn.engine.target import Target
from viscnn.ingest.architecture import Architecture, LayerSpec
from viscnn.ingest.rows import channel_names

__all__ = ["filter_uids", "layer_network", "source_numbers", "sources_of", "target_numbers", "upstream_of"]


def filter_uids(model: str, architecture: Architecture) -> list[str]:
    """The uids of all filters in the numbering of `layer_network`: input channels first, then layer by layer."""
    names = channel_names(architecture.input_shape[0])
    return [f"{model}/input/{name}" for name in names] + [
        f"{model}/{layer.name}/{channel}" for layer in architecture.layers for channel in range(layer.filters)
    ]


def layer_network(
    model: str, architecture: Architecture, kernels: Sequence[NDArray[np.float64]] | None = None
) -> Network:
    """The network of an architecture for selection, layers in the order of execution, sums included.

    Args:
        kernels: scores of kernels and identities, (filters, inputs per group) of every layer; None for zeros.
    """
    found = []
    for number, layer in enumerate(architecture.layers):
        shape = (layer.filters, layer.inputs)
        first = architecture.numbers[layer.name]
        found.append(
            LayerScores(
                uid=f"{model}/{layer.name}",
                kernel=np.broadcast_to(0.0, shape) if kernels is None else kernels[number],
                source_of=sources_of(architecture, layer),
                target_of=np.arange(first, first + layer.filters),
                positions=layer.positions,
                identity=layer.is_sum,
            )
        )
    return tuple(found)


def sources_of(architecture: Architecture, layer: LayerSpec) -> NDArray[np.int64]:
    """(filters, inputs per group) the filter that each kernel reads, -1 for none; a view of one row where all agree."""
    of_groups = architecture.sources(layer).reshape(layer.groups, layer.inputs)
    if layer.groups == 1:
        return np.broadcast_to(of_groups, (layer.filters, layer.inputs))
    return np.repeat(of_groups, layer.filters // layer.groups, axis=0)


def source_numbers(architecture: Architecture) -> NDArray[np.int64]:
    """Numbers of the input channels."""
    return np.arange(architecture.input_shape[0])


def target_numbers(architecture: Architecture, target: Target) -> NDArray[np.int64]:
    """Numbers of the filters that the circuit must reach (see `Target.filters`)."""
    return np.concatenate(
        [
            architecture.numbers[layer.name]
            + np.array(range(layer.filters) if channels is None else channels, dtype=np.int64)
            for layer, channels in target.filters
        ]
    )


def upstream_of(architecture: Architecture, target: Target) -> Mask:
    """The kernels and identities on any path from an input channel to a filter that the target reads, per layer."""
    network = layer_network("", architecture)
    return upstream(network, target_numbers(architecture, target), source_numbers(architecture))
