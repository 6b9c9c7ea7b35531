"""Weights as rows for the loader: one row per filter, and one row per output filter that carries its kernels as lists.

A layer pair is a dense bipartite block, so one row per *output* filter with parallel lists is several times smaller
and faster to send than one row per kernel (docs/how-it-works.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.ingest.architecture import Architecture, LayerSpec
from viscnn.ingest.layout import Place, input_places, place_layer, unrolled
from viscnn.ingest.structure import INPUT

__all__ = ["CHANNEL_NAMES", "SIGN_CUTOFF", "KernelFacts", "filter_rows", "kernel_batches", "kernel_facts", "layer_rows"]

SIGN_CUTOFF = 1 / 3
"""A kernel is mixed when |sum(W)| / sum(|W|) <= 1/3: neither sign carries more than two thirds of its weight."""

KERNELS_PER_BATCH = 20_000
CHANNEL_NAMES = {1: ("gray",), 3: ("r", "g", "b")}


@dataclass(frozen=True)
class KernelFacts:
    """Per kernel of a layer, each (filters, inputs): norms, sign ratio sum(W) / sum(|W|), and sign -1, 0, +1."""

    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    sign_ratio: NDArray[np.float64]
    sign: NDArray[np.int8]


def kernel_facts(weights: NDArray[np.float32]) -> KernelFacts:
    """Facts of the kernels W (filters, inputs, rows, columns); an all-zero kernel has ratio 0 and is mixed."""
    w = weights.astype(np.float64)
    l1 = np.abs(w).sum(axis=(2, 3))
    total = w.sum(axis=(2, 3))
    ratio = np.divide(total, l1, out=np.zeros_like(l1), where=l1 > 0)
    sign = np.where(ratio > SIGN_CUTOFF, 1, np.where(ratio < -SIGN_CUTOFF, -1, 0)).astype(np.int8)
    return KernelFacts(l1, np.sqrt((w**2).sum(axis=(2, 3))), ratio, sign)


def channel_names(channels: int) -> tuple[str, ...]:
    """Names of the input channels: r, g, b, or gray, or c0..cn."""
    return CHANNEL_NAMES.get(channels) or tuple(f"c{number}" for number in range(channels))


def layer_rows(model: str, architecture: Architecture, *, row: float) -> list[dict[str, Any]]:
    """One row per layer, the input first; `row` is the height of the model in the unrolled picture."""
    channels, height, width = architecture.input_shape
    first: dict[str, Any] = {
        "uid": f"{model}/{INPUT}",
        "name": INPUT,
        "index": 0,
        "kind": "input",
        "filters": channels,
        "positions": height * width,
    }
    rows = [first, *(_layer_row(model, layer) for layer in architecture.layers)]
    for each in rows:
        place = Place(np.zeros(1), np.zeros(1))
        x, y = unrolled(place, each["index"], row)
        each |= {"model": model, "x": float(x[0]), "y": float(y[0])}
    return rows


def _layer_row(model: str, layer: LayerSpec) -> dict[str, Any]:
    return {
        "uid": f"{model}/{layer.name}",
        "name": layer.name,
        "index": layer.index,
        "kind": "convolution",
        "stride": list(layer.stride),
        "padding": layer.padding if isinstance(layer.padding, str) else list(layer.padding),
        "paddingMode": layer.padding_mode,
        "dilation": list(layer.dilation),
        "groups": layer.groups,
        "kernelSize": list(layer.kernel_size),
        "filters": layer.filters,
        "positions": layer.positions,
        "outputSize": list(layer.output_size),
        "activation": layer.activation,
    }


def filter_rows(model: str, architecture: Architecture, *, row: float) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Per layer its uid and one row per filter, the input channels first."""
    names = channel_names(architecture.input_shape[0])
    yield f"{model}/{INPUT}", _places(model, INPUT, 0, names, input_places(len(names)), None, row)
    largest = max(layer.filters for layer in architecture.layers)
    for layer in architecture.layers:
        convolution = architecture.convolution(layer)
        place = place_layer(convolution.weight.numpy(), largest=largest)
        bias = None if convolution.bias is None else convolution.bias.double().tolist()
        channels = tuple(str(number) for number in range(layer.filters))
        yield f"{model}/{layer.name}", _places(model, layer.name, layer.index, channels, place, bias, row)


def _places(
    model: str, layer: str, index: int, names: tuple[str, ...], place: Place, bias: list[float] | None, row: float
) -> list[dict[str, Any]]:
    x, y = unrolled(place, index, row)
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
            "z": float(index),
            "x": float(x[channel]),
            "y": float(y[channel]),
            "bias": 0.0 if bias is None and index > 0 else (bias[channel] if bias is not None else None),
        }
        for channel, name in enumerate(names)
    ]


def kernel_batches(model: str, architecture: Architecture, keys: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Parameters of `write/load_kernels`, one transaction each, of about 20,000 kernels; made as they are asked for.

    Args:
        keys: the database-wide integer key of each layer by layer name.
    """
    sources = {feed.target: feed.source for feed in architecture.feeds}
    for layer in architecture.layers:
        weights = architecture.convolution(layer).weight.numpy()
        facts = kernel_facts(weights)
        step = max(1, KERNELS_PER_BATCH // layer.inputs)
        for start in range(0, layer.filters, step):
            outputs = range(start, min(start + step, layer.filters))
            yield {
                "source": f"{model}/{sources[layer.name]}",
                "key": keys[layer.name],
                "rows": [_kernel_row(model, layer, o, weights[o], facts) for o in outputs],
            }


def _kernel_row(
    model: str, layer: LayerSpec, output: int, weights: NDArray[np.float32], facts: KernelFacts
) -> dict[str, Any]:
    return {
        "uid": f"{model}/{layer.name}/{output}",
        "start": layer.source_start(output),
        "weights": weights.reshape(len(weights), -1).tolist(),
        "l1": facts.l1[output].tolist(),
        "l2": facts.l2[output].tolist(),
        "signRatio": facts.sign_ratio[output].tolist(),
        "sign": [("inhibitory", "mixed", "excitatory")[each + 1] for each in facts.sign[output].tolist()],
    }
