"""Replay: the network's forward pass, rebuilt from nothing but what Neo4j holds.

Weights and biases come from KERNEL and Filter, geometry from Layer, and what happens between layers from FEEDS; that
each kernel and identity starts at the filter that FEEDS say is checked. The result is compared with the model's own
maps as they come, layer by layer: no more than one layer's kernels and the maps that are still needed are in memory.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from viscnn.engine.bundle import Bundle
from viscnn.engine.rebuilt import RebuiltLayer, without_collection
from viscnn.engine.stored import StoredStructure, stored_structure
from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest.forward import steps
from viscnn.ingest.structure import INPUT, Architecture, LayerSpec
from viscnn.progress import Progress, silent

__all__ = ["TOLERANCE", "ReplayReport", "StoredKernels", "as_architecture", "compare", "replay"]

TOLERANCE = 1e-4
"""A replay is exact when no layer's relative error is above this."""

KERNELS_PER_READ = 50_000
WEIGHTS_PER_READ = 1_000_000


@dataclass(frozen=True)
class ReplayReport:
    """Per layer the largest |difference| between replayed and own maps, relative to the layer's largest |value|.

    Attributes:
        errors: by layer name, sums included, in the order of execution; infinite where a replayed map holds NaN.
        left_out: kernels that were left out when the model was stored, and are zero here.
        notes: what should be said of it.
    """

    model: str
    errors: dict[str, float]
    left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest relative error of all layers."""
        return max(self.errors.values())

    @property
    def exact(self) -> bool:
        """Whether no layer is off by more than `TOLERANCE`."""
        return self.worst <= TOLERANCE


def replay(graph: Graph, bundle: Bundle, images: Tensor, *, progress: Progress = silent) -> ReplayReport:
    """Run images (N, C, H, W) through the stored network and compare with the model.

    Raises:
        NotInGraph: the model is not stored, or without weights.
        StoredDataError: layers, kernels, weights or operations are missing or wrong.
    """
    kernels = StoredKernels(graph, bundle.name, dtype=images.dtype, progress=progress)
    errors = compare(bundle.architecture, kernels.structure, images, kernels)
    return ReplayReport(bundle.name, errors, kernels.missing, kernels.notes())


def as_architecture(structure: StoredStructure) -> Architecture:
    """Stored layers and feeds as an `Architecture`, whose module is empty."""
    nothing = fx.GraphModule(nn.Module(), fx.Graph())
    return Architecture(nothing, structure.input_shape, structure.layers, structure.feeds, logits=None)


class StoredKernels:
    """The layers of a stored model: called with one, it is read in pages of filters.

    Attributes:
        structure: the layers and feeds.
        missing: kernels of the layers so far that were left out when the model was stored.

    Raises:
        NotInGraph: the model is not stored, or without weights.
        StoredDataError: by the call as well: something is missing or wrong.
    """

    def __init__(
        self, graph: Graph, model: str, *, dtype: torch.dtype = torch.float32, progress: Progress = silent
    ) -> None:
        self.structure = as_architecture(stored_structure(graph, model))
        self.missing = 0
        self._graph = graph
        self._model = graph.read("read/model", model=model)[0]
        self._dtype = dtype
        self._progress = progress
        self._read = 0
        self._left_out = int(self._model["kernelsLeftOut"] or 0)
        numbers = self.structure.numbers
        self._starts = np.array([numbers[INPUT], *(numbers[layer.name] for layer in self.structure.layers)])
        if self._model["weights"] is False:
            raise NotInGraph(
                f"model {model!r} is stored without weights (--no-weights), and nothing can be replayed; "
                "ingest it with --replace and without that option"
            )

    @without_collection()
    def __call__(self, layer: LayerSpec) -> RebuiltLayer:
        made = RebuiltLayer(self._model["name"], self.structure, layer, self._dtype)
        most = min(KERNELS_PER_READ, WEIGHTS_PER_READ // math.prod(layer.kernel_size))
        step = max(1, most // layer.inputs)
        for start in range(0, layer.filters, step):
            for row in self._graph.read("read/layer_kernels", layer=made.uid, start=start, end=start + step):
                sources = self._starts[row["sourceLayers"]] + np.array(row["sourceChannels"], dtype=np.int64)
                made.add(row["channel"], row["bias"], row["inputs"], sources, row["weights"])
        self._account(layer, made)
        return made

    def _account(self, layer: LayerSpec, made: RebuiltLayer) -> None:
        missing = made.missing()
        if missing and (layer.is_sum or not self._cut()):
            raise StoredDataError(f"layer {made.uid} is not stored with all its kernels; ingest it with --replace")
        self.missing += missing
        if not layer.is_sum:
            self._read += made.kernels
            self._progress("kernels", self._read, self.structure.kernels - self._left_out)

    def _cut(self) -> bool:
        """Whether the model was stored with small kernels left out."""
        return self._model["kernelsAbove"] is not None or self._model["topKernels"] is not None

    def notes(self) -> tuple[str, ...]:
        """What should be said when all layers are read; raises StoredDataError when other kernels are missing."""
        lacking = self.structure.kernels - self._read
        if lacking != self._left_out:
            raise StoredDataError(
                f"model {self._model['name']!r} lacks {lacking:,} kernels, and {self._left_out:,} were "
                "left out when it was stored; ingest it with --replace"
            )
        if not self.missing:
            return ()
        return (f"{self.missing:,} kernels were left out when the model was stored: here they are zero",)


def compare(
    architecture: Architecture,
    structure: Architecture,
    images: Tensor,
    rebuilt: Callable[[LayerSpec], RebuiltLayer],
) -> dict[str, float]:
    """The errors of `ReplayReport`, by layer.

    Args:
        architecture: the model, for its own maps.
        structure: what is stored of it; its module is not looked at.
        rebuilt: gives each of its layers, in the order of execution; every one is asked for.

    Raises:
        StoredDataError: the layers are others than the model's, or the model's own maps hold NaN or infinity.
    """
    stored, own = ([layer.name for layer in each.layers] for each in (structure, architecture))
    if stored != own:
        different = [a or b for a, b in zip([*stored, None], [*own, None], strict=False) if a != b]
        raise StoredDataError(f"the stored layers are not those of the model, from {different[0]} on")
    with torch.no_grad():
        comparison = _Comparison(architecture, _replayed(structure, images, rebuilt))
        comparison.run(images.clone())  # its first step may change them in place
    return comparison.errors


def _replayed(
    structure: Architecture, images: Tensor, rebuilt: Callable[[LayerSpec], RebuiltLayer]
) -> Iterator[Tensor]:
    made = steps(structure, images, convolution=lambda layer: rebuilt(layer).convolution())
    for layer in structure.layers:
        try:
            if layer.is_sum:
                rebuilt(layer)  # its identities carry no weight, but must be there
            _, maps = next(made)
        except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise StoredDataError(f"layer {layer.name} cannot be computed from what is stored: {reason}") from error
        yield maps


class _Comparison(fx.Interpreter):
    """Runs the model, and with each layer the replay one step on."""

    def __init__(self, architecture: Architecture, replayed: Iterator[Tensor]) -> None:
        super().__init__(architecture.module)
        self.extra_traceback = False  # it would be written into the message of our own errors
        self._layers = {layer.node: layer for layer in architecture.layers}
        self._replayed = replayed
        self.errors: dict[str, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        layer = self._layers.get(n.name)
        if layer is not None:
            assert layer.index == len(self.errors) + 1
            self.errors[layer.name] = _relative_error(next(self._replayed), value, layer.name)
        return value


def _relative_error(found: Tensor, own: Tensor, name: str) -> float:
    largest = float(own.abs().max())
    if not math.isfinite(largest):
        raise StoredDataError(f"the maps of layer {name} hold NaN or infinity; check the weights and the images")
    error = float("inf") if found.shape != own.shape else float((found - own).abs().max()) / max(largest, 1e-30)
    return float("inf") if math.isnan(error) else error
