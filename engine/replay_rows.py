"""Replay from the row stream: what the loader would send to Neo4j, read as its Cypher reads it, without a database.

For networks too large to be stored for a proof. Nothing is taken from the module: geometry, feeds and biases come from
the rows of layers, feeds and filters, weights and the filters that kernels start at from the parameters of
`write/load_kernels` and `write/load_identities`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.rebuilt import RebuiltLayer, without_collection
from viscnn.engine.replay import ReplayReport, as_architecture, compare
from viscnn.engine.stored import structure_of
from viscnn.errors import StoredDataError
from viscnn.ingest import rows
from viscnn.ingest.structure import INPUT, Architecture, LayerSpec

__all__ = ["replay_rows"]


def replay_rows(architecture: Architecture, images: Tensor, *, model: str = "replay") -> ReplayReport:
    """Run images (N, C, H, W) through the network that the rows describe, and compare with the model.

    Layer by layer: only the rows of one layer and the maps that are still needed are in memory. It is done in the
    precision of the images, which must be that of the module.

    Raises:
        StoredDataError: rows are missing or wrong.
    """
    layers = rows.layer_rows(model, architecture, row=0.0)
    feeds = [
        {"source": _name(row["source"], model), "target": _name(row["target"], model)} | row["properties"]
        for row in rows.feed_rows(model, architecture)
    ]
    structure = as_architecture(structure_of(architecture.input_shape, layers, feeds))
    streams = _Streams(architecture, structure, model, {row["name"]: row["index"] for row in layers}, images.dtype)
    return ReplayReport(model, compare(architecture, structure, images, streams))


def _name(uid: str, model: str) -> str:
    return uid.removeprefix(f"{model}/")


class _Streams:
    """The layers as the rows of filters, kernels and identities make them up, all three read side by side."""

    def __init__(
        self, architecture: Architecture, structure: Architecture, model: str, keys: dict[str, int], dtype: torch.dtype
    ) -> None:
        self._structure = structure
        self._model = model
        self._keys = keys
        self._dtype = dtype
        self._filters = rows.filter_rows(model, architecture, row=0.0)
        next(self._filters)  # the input channels
        self._kernels = _Ahead(rows.kernel_batches(model, architecture, keys))
        self._identities = _Ahead(rows.identity_batches(model, architecture, keys))

    @without_collection()
    def __call__(self, layer: LayerSpec) -> RebuiltLayer:
        made = RebuiltLayer(self._model, self._structure, layer, self._dtype)
        filters = {row["uid"]: row for row in next(self._filters).rows}
        batches = self._identities if layer.is_sum else self._kernels
        for batch in batches.of(self._keys[layer.name]):
            sources = self._sources(batch)
            for row in batch["rows"]:
                target, weights = filters.pop(row["uid"]), row.get("weights", [])
                inputs = row["inputs"]
                if inputs is None:
                    inputs = range(layer.inputs if layer.is_sum else len(weights))
                starts = sources[row["start"] + np.asarray(inputs, dtype=np.int64)]
                made.add(target["channel"], target["bias"], inputs, starts, weights)
        for row in filters.values():  # no kernel of theirs reads a map that is not always zero
            made.add(row["channel"], row["bias"], [], np.zeros(0, dtype=np.int64), [])
        if made.missing():
            raise StoredDataError(f"the rows of layer {made.uid} lack {made.missing():,} kernels or identities")
        return made

    def _sources(self, batch: dict[str, Any]) -> NDArray[np.int64]:
        """(input channels,) the filter that each is, as the loader's Cypher finds it; -1 where it is always zero."""
        filters = {layer.name: layer.filters for layer in self._structure.layers}
        filters[INPUT] = self._structure.input_shape[0]
        names = [_name(uid, self._model) for uid in batch["layers"]]
        numbers = np.concatenate([self._structure.numbers[name] + np.arange(filters[name]) for name in names])
        return np.array([-1 if place is None else numbers[place] for place in batch["places"]])


class _Ahead:
    """Batches in the order of layers, of which the next one can be looked at."""

    def __init__(self, batches: Iterator[dict[str, Any]]) -> None:
        self._batches = batches
        self._next = next(batches, None)

    def of(self, key: int) -> Iterator[dict[str, Any]]:
        """The batches of the layer with this key, if they come next."""
        while self._next is not None and self._next["key"] == key:
            yield self._next
            self._next = next(self._batches, None)
