"""Replay: the network's forward pass, rebuilt from nothing but what Neo4j holds.

Weights and biases come from KERNEL and Filter, geometry from Layer, and what happens between layers from
FEEDS.operations; the result is compared with the model's own maps, layer by layer.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest.operations import Operation, apply

__all__ = ["ReplayReport", "replay", "stored_convolution"]


@dataclass(frozen=True)
class ReplayReport:
    """Per layer the largest |difference| between replayed and own maps, relative to the layer's largest |value|."""

    model: str
    errors: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest relative error of all layers."""
        return max(self.errors.values())


def stored_convolution(graph: Graph, model: str, layer: dict[str, Any]) -> nn.Conv2d:
    """The convolution of a row of `read/layers`, from stored kernels; raises StoredDataError when some are missing."""
    rows = graph.read("read/layer_kernels", layer=layer["uid"])
    inputs = len(rows[0]["weights"]) if rows else 0
    complete = len(rows) == layer["filters"] and all(row["inputs"] == list(range(inputs)) for row in rows)
    if not complete or inputs == 0 or rows[0]["weights"][0] is None:
        raise StoredDataError(f"layer {layer['uid']} is not stored with all its kernels and weights")
    padding = layer["padding"]
    convolution: nn.Conv2d = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d,
        inputs * layer["groups"],
        layer["filters"],
        tuple(layer["kernelSize"]),
        tuple(layer["stride"]),
        padding if isinstance(padding, str) else tuple(padding),
        tuple(layer["dilation"]),
        layer["groups"],
        padding_mode=layer["paddingMode"],
    )
    with torch.no_grad():
        weight = torch.tensor([row["weights"] for row in rows], dtype=torch.float32)
        convolution.weight.copy_(weight.view_as(convolution.weight))
        assert convolution.bias is not None
        convolution.bias.copy_(torch.tensor([row["bias"] for row in rows], dtype=torch.float32))
    return convolution


def replay(graph: Graph, bundle: Bundle, images: Tensor) -> ReplayReport:
    """Run images (N, C, H, W) through the stored network and compare with the model.

    Raises:
        NotInGraph: the model is not stored.
        StoredDataError: kernels, weights or operations are missing.
    """
    layers = {row["name"]: row for row in graph.read("read/layers", model=bundle.name)}
    if not layers:
        raise NotInGraph(f"no model {bundle.name!r} is stored")
    own = record(bundle.architecture, images, gradients=False)
    maps = {"input": images}
    errors = {}
    with torch.no_grad():
        for feed in graph.read("read/feeds", model=bundle.name):
            x = maps[feed["source"]]
            for operation in feed["operations"]:
                x = apply(Operation.from_json(operation), x)
            name = feed["target"]
            maps[name] = stored_convolution(graph, bundle.name, layers[name])(x)
            expected = own.maps[name]
            errors[name] = float((maps[name] - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    return ReplayReport(bundle.name, errors)
