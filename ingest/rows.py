"""A model as rows for the loaders: layers, filters, feeds, classes, and kernels row by output filter.

Everything is made as it is asked for and knows nothing of Neo4j. A layer pair is a dense bipartite block, so one row
per *output* filter with parallel lists is several times smaller and faster to send than one row per kernel
(docs/how-it-works.md). Bulk import writes one line per kernel instead, from the arrays of `kernels.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.ingest.kernels import SIGNS, Block, Extent, Kept, KernelBlock, identity_blocks, kernel_blocks
from viscnn.ingest.layout import Place, centre, places
from viscnn.ingest.structure import INPUT, Architecture, LayerSpec

__all__ = [
    "CHANNEL_NAMES",
    "FilterRows",
    "channel_names",
    "class_rows",
    "feed_rows",
    "filter_rows",
    "identity_batches",
    "kernel_batches",
    "layer_rows",
]

CHANNEL_NAMES = {1: ("gray",), 3: ("r", "g", "b")}


@dataclass(frozen=True)
class FilterRows:
    """The filters of one layer: uid of the layer, labels beside Filter, and one row of properties per filter."""

    layer: str
    labels: list[str]
    rows: list[dict[str, Any]]


def channel_names(channels: int) -> tuple[str, ...]:
    """Names of the input channels: r, g, b, or gray, or c0..cn."""
    return CHANNEL_NAMES.get(channels) or tuple(f"c{number}" for number in range(channels))


def layer_rows(model: str, architecture: Architecture, *, row: float) -> list[dict[str, Any]]:
    """One row per layer, the input first; `row` is the height of the model's middle in the unrolled picture."""
    channels, height, width = architecture.input_shape
    first: dict[str, Any] = {
        "uid": f"{model}/{INPUT}",
        "name": INPUT,
        "index": 0,
        "kind": INPUT,
        "depth": 0,
        "branch": 0,
        "gate": False,
        "logits": False,
        "filters": channels,
        "positions": height * width,
    }
    rows = [first, *(_layer_row(model, layer) for layer in architecture.layers)]
    for each in rows:
        x, y = centre(architecture, each["depth"], each["branch"], row)
        each |= {"model": model, "x": x, "y": y}
    return rows


def _layer_row(model: str, layer: LayerSpec) -> dict[str, Any]:
    return {
        "uid": f"{model}/{layer.name}",
        "name": layer.name,
        "index": layer.index,
        "kind": layer.kind,
        "depth": layer.depth,
        "branch": layer.branch,
        "gate": layer.gate,
        "logits": layer.logits,
        "stride": list(layer.stride),
        "padding": layer.padding if isinstance(layer.padding, str) else list(layer.padding),
        "paddingMode": layer.padding_mode,
        "dilation": list(layer.dilation),
        "groups": layer.groups,
        "kernelSize": list(layer.kernel_size),
        "inputs": layer.inputs,
        "filters": layer.filters,
        "positions": layer.positions,
        "outputSize": list(layer.output_size),
        "activation": layer.activation,
    }


def filter_rows(model: str, architecture: Architecture, *, row: float) -> Iterator[FilterRows]:
    """The filters of each layer, the input channels first; a Sum and an input channel have no bias."""
    found = places(architecture)
    names = channel_names(architecture.input_shape[0])
    middle = centre(architecture, 0, 0, row)
    rows = _filters(model, INPUT, names, next(found), middle, [None] * len(names), index=0, depth=0)
    yield FilterRows(f"{model}/{INPUT}", ["InputChannel"], rows)
    for layer, place in zip(architecture.layers, found, strict=True):
        middle = centre(architecture, layer.depth, layer.branch, row)
        channels = tuple(str(number) for number in range(layer.filters))
        bias = _biases(architecture, layer)
        rows = _filters(model, layer.name, channels, place, middle, bias, index=layer.index, depth=layer.depth)
        labels = ["Sum"] * layer.is_sum + ["Logit"] * layer.logits
        yield FilterRows(f"{model}/{layer.name}", labels, rows)


def _biases(architecture: Architecture, layer: LayerSpec) -> Sequence[float | None]:
    if layer.is_sum:
        return [None] * layer.filters
    bias = architecture.convolution(layer).bias
    return [0.0] * layer.filters if bias is None else bias.detach().double().tolist()


def _filters(
    model: str,
    layer: str,
    names: tuple[str, ...],
    place: Place,
    middle: tuple[float, float],
    bias: Sequence[float | None],
    *,
    index: int,
    depth: int,
) -> list[dict[str, Any]]:
    x, y = place.u + middle[0], place.v + middle[1]
    return [
        {
            "uid": f"{model}/{layer}/{name}",
            "model": model,
            "layer": layer,
            "layerIndex": index,
            "channel": channel,
            "name": f"{layer}/{name}",
            "u": float(place.u[channel]),
            "v": float(place.v[channel]),
            "z": float(depth),
            "x": float(x[channel]),
            "y": float(y[channel]),
            "bias": bias[channel],
        }
        for channel, name in enumerate(names)
    ]


def feed_rows(model: str, architecture: Architecture) -> list[dict[str, Any]]:
    """Source, target and properties of each feed; lists of channels are null where the channels are neighbours."""
    return [
        {
            "source": f"{model}/{feed.source}",
            "target": f"{model}/{feed.target}",
            "properties": {
                "position": feed.position,
                "addend": feed.addend,
                "sourceStart": feed.source_start,
                "targetStart": feed.target_start,
                "channels": feed.channels,
                "sourceChannels": None if feed.source_channels is None else list(feed.source_channels),
                "targetChannels": None if feed.target_channels is None else list(feed.target_channels),
                "operations": [operation.to_json() for operation in feed.operations],
            },
        }
        for feed in architecture.feeds
    ]


def class_rows(model: str, architecture: Architecture, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per logit that is a filter: its uid, and the properties of the class that it predicts."""
    return [
        {
            "filter": f"{model}/{layer.name}/{number}",
            "properties": {"uid": f"{model}/class/{number}", "model": model, "name": name, "index": number},
        }
        for layer in architecture.layers
        if layer.logits
        for number, name in enumerate(classes)
    ]


def identity_batches(model: str, architecture: Architecture, keys: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Parameters of `write/load_identities`, one transaction per sum; `keys` as for `kernel_batches`."""
    for block in identity_blocks(architecture):
        rows = [_start(model, block, part) | {"inputs": block.inputs[part].tolist()} for part in _filters_of(block)]
        yield _wiring(model, architecture, block.layer) | {"key": keys[block.layer.name], "rows": rows}


def kernel_batches(
    model: str,
    architecture: Architecture,
    keys: dict[str, int],
    extent: Extent | None = None,
    kept: Kept | None = None,
) -> Iterator[dict[str, Any]]:
    """Parameters of `write/load_kernels`, one transaction each, of about 5,000 kernels; made as they are asked for.

    Args:
        keys: the database-wide integer key of each layer by layer name.
        extent, kept: as for `kernel_blocks`.
    """
    wiring: dict[str, Any] = {}
    for block in kernel_blocks(architecture, extent, kept):
        if wiring.get("layer") is not block.layer:
            wiring = {"layer": block.layer, "parameters": _wiring(model, architecture, block.layer)}
        rows = _kernel_rows(model, block)
        if rows:
            yield wiring["parameters"] | {"key": keys[block.layer.name], "rows": rows}


def _kernel_rows(model: str, block: KernelBlock) -> list[dict[str, Any]]:
    lists = {"l1": block.l1.tolist(), "l2": block.l2.tolist(), "signRatio": block.sign_ratio.tolist()}
    lists["sign"] = [SIGNS[each + 1] for each in block.sign.tolist()]
    if block.weights is not None:
        lists["weights"] = block.weights.tolist()
    return [
        _start(model, block, part) | {name: values[part] for name, values in lists.items()}
        for part in _filters_of(block)
    ]


def _filters_of(block: Block) -> list[slice]:
    """The part of a block that ends in one filter, for each of its filters."""
    ends = [*(np.flatnonzero(np.diff(block.outputs)) + 1).tolist(), len(block.outputs)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False) if end > start]


def _start(model: str, block: Block, part: slice) -> dict[str, Any]:
    """Uid of the filter, the first channel of its group, and its inputs unless they are 0, 1, 2 and on."""
    layer, channel = block.layer, int(block.outputs[part.start])
    every = part.stop - part.start == layer.inputs
    return {
        "uid": f"{model}/{layer.name}/{channel}",
        "start": layer.source_start(channel),
        "inputs": None if every else block.inputs[part].tolist(),
    }


def _wiring(model: str, architecture: Architecture, layer: LayerSpec) -> dict[str, Any]:
    """Where a layer's input channels come from.

    Returns:
        `layers`: uids of the layers that it reads; `places`: per input channel the place of its filter among the
        filters of those layers, one layer after the other; null where the channel is always zero.
    """
    names = list(dict.fromkeys(feed.source for feed in architecture.feeds_into(layer.name)))
    numbers = architecture.sources(layer)
    found: NDArray[np.int64] = np.full(len(numbers), -1)
    before = 0
    for name in names:
        filters = architecture.input_shape[0] if name == INPUT else architecture.layer(name).filters
        own = numbers - architecture.numbers[name]
        mine = (own >= 0) & (own < filters)
        found[mine] = own[mine] + before
        before += filters
    return {
        "layers": [f"{model}/{name}" for name in names],
        "places": [None if place < 0 else place for place in found.tolist()],
    }
