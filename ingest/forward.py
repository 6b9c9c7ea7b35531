"""The maps of all layers from layers, feeds and weights alone: what replay runs, and ingest checks itself with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from viscnn.ingest.operations import assemble
from viscnn.ingest.structure import INPUT, Architecture, Feed, LayerSpec
from viscnn.ingest.sums import Sum

__all__ = ["addends", "forward", "part", "steps"]


def part(feed: Feed) -> dict[str, Any]:
    """A feed in the form that `operations.assemble` takes."""
    return {
        "source": feed.source,
        "operations": feed.operations,
        "sourceStart": feed.source_start,
        "targetStart": feed.target_start,
        "channels": feed.channels,
        "sourceChannels": feed.source_channels,
        "targetChannels": feed.target_channels,
    }


def addends(layer: LayerSpec, feeds: Sequence[Feed], maps: Mapping[str, Tensor]) -> list[Tensor]:
    """The input maps of a layer: one tensor (N, C, H, W), or one for each addend of a sum."""
    count, channels = (layer.inputs, layer.filters) if layer.is_sum else (1, layer.in_channels)
    return [
        assemble([part(feed) for feed in feeds if feed.addend == number], maps, channels=channels)
        for number in range(count)
    ]


def forward(
    architecture: Architecture, images: Tensor, *, convolution: Callable[[LayerSpec], nn.Conv2d] | None = None
) -> dict[str, Tensor]:
    """The maps Z of every layer, by name, and the images as `input`; arguments and errors are those of `steps`."""
    found = {layer.name: maps for layer, maps in steps(architecture, images, convolution=convolution)}
    return {INPUT: images} | found


def steps(
    architecture: Architecture, images: Tensor, *, convolution: Callable[[LayerSpec], nn.Conv2d] | None = None
) -> Iterator[tuple[LayerSpec, Tensor]]:
    """Each layer with its maps Z (N, O, P, Q), computed as it is asked for; maps that no later layer reads are let go.

    Args:
        images: (N, C, H, W).
        convolution: gives the convolution of a layer that is not a sum; by default the architecture's own.

    Raises:
        StoredDataError: an operation that is unknown.
    """
    of = convolution or architecture.convolution
    maps = {INPUT: images}
    last = _last_readers(architecture)
    for layer in architecture.layers:
        inputs = addends(layer, architecture.feeds_into(layer.name), maps)
        maps[layer.name] = Sum.total(inputs) if layer.is_sum else of(layer)(inputs[0])
        del inputs
        yield layer, maps[layer.name]
        for name in [each for each in maps if last.get(each, 0) <= layer.index]:
            del maps[name]


def _last_readers(architecture: Architecture) -> dict[str, int]:
    """For each layer the index of the last layer that reads it, directly or in an operation."""
    found: dict[str, int] = {}
    for feed in architecture.feeds:
        index = architecture.layer(feed.target).index
        for name in (feed.source, *(each for operation in feed.operations for each in _read(operation.parts))):
            found[name] = max(found.get(name, 0), index)
    return found


def _read(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the layers that parts read, those of their own operations included."""
    names = []
    for each in parts:
        names.append(each["source"])
        for operation in each["operations"]:
            nested = [*operation.get("by", ()), *(operation.get("of") or ())]
            names += _read(nested)
    return names
