"""A layer put together again from its stored kernels, each in the place that its own properties say."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viscnn.errors import StoredDataError
from viscnn.ingest.structure import Architecture, LayerSpec

__all__ = ["RebuiltLayer", "without_collection"]


@contextmanager
def without_collection() -> Iterator[None]:
    """Without Python's search for reference cycles, which takes most of the time when millions of lists are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class RebuiltLayer:
    """One layer while its kernels (of a sum: its identities) are read, filter by filter, in any order.

    Args:
        model: its name in the graph.
        structure: the layers and feeds that are stored.
        layer: one of these.
        dtype: of the weights.
    """

    def __init__(self, model: str, structure: Architecture, layer: LayerSpec, dtype: torch.dtype) -> None:
        self.uid = f"{model}/{layer.name}"
        self._layer = layer
        self._sources = structure.sources(layer).reshape(-1, layer.inputs)
        self._read: NDArray[np.bool_] = np.zeros((layer.filters, layer.inputs), dtype=np.bool_)
        self._filters = np.zeros(layer.filters, dtype=np.bool_)
        self._bias = torch.zeros(layer.filters, dtype=dtype)
        self._weight = torch.zeros(0 if layer.is_sum else layer.filters, layer.inputs, *layer.kernel_size, dtype=dtype)

    def add(
        self,
        channel: int,
        bias: float | None,
        inputs: Sequence[int],
        sources: NDArray[np.int64],
        weights: Sequence[Sequence[float]],
    ) -> None:
        """Take one filter.

        Args:
            bias: of a convolution's or linear layer's filter.
            inputs: (k,) `input` of each of its kernels.
            sources: (k,) the filters that they start at, as `Architecture.numbers` counts them.
            weights: (k, rows * columns); none for a sum.

        Raises:
            StoredDataError: a kernel twice, without weights, or from another filter than the feeds say.
        """
        uid, places = f"{self.uid}/{channel}", np.asarray(inputs, dtype=np.int64)
        layer = self._layer
        if not 0 <= channel < layer.filters or ((places < 0) | (places >= layer.inputs)).any():
            raise StoredDataError(f"filter {uid} is stored, but its layer has no such filter or kernel")
        if self._filters[channel] or len(set(inputs)) != len(places):
            raise StoredDataError(f"filter {uid} or one of its kernels is stored twice")
        if not np.array_equal(sources, self._sources[layer.source_start(channel) // layer.inputs][places]):
            raise StoredDataError(f"a kernel of filter {uid} starts at another filter than FEEDS says")
        self._filters[channel], self._read[channel, places] = True, True
        if not layer.is_sum:
            self._fill(uid, channel, bias, places, weights)

    def _fill(
        self, uid: str, channel: int, bias: float | None, places: NDArray[np.int64], weights: Sequence[Any]
    ) -> None:
        try:
            values = np.asarray(weights, dtype=np.float64).reshape(len(places), *self._weight.shape[2:])
        except (ValueError, TypeError):
            values = None
        if bias is None or values is None:
            raise StoredDataError(f"filter {uid} is stored without its bias or without all weights of its kernels")
        self._bias[channel] = bias
        self._weight[channel, torch.from_numpy(places)] = torch.from_numpy(values).to(self._weight.dtype)

    @property
    def kernels(self) -> int:
        """How many kernels or identities were read."""
        return int(self._read.sum())

    def missing(self) -> int:
        """How many were not, though their input is not always zero; raises StoredDataError when a filter is missing."""
        if not self._filters.all():
            raise StoredDataError(f"layer {self.uid} is not stored with all its filters")
        each = self._layer.filters // len(self._sources)
        return int((self._sources >= 0).sum()) * each - self.kernels

    def convolution(self) -> nn.Conv2d:
        """The convolution that the kernels make up; those that were not read are zero."""
        layer = self._layer
        mode: Any = layer.padding_mode  # torch lists the names that it knows
        made = nn.Conv2d(
            layer.in_channels,
            layer.filters,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            padding_mode=mode,
            device="meta",  # nothing is drawn at random: the caller's random state stays
        )
        made.weight = nn.Parameter(self._weight, requires_grad=False)
        made.bias = nn.Parameter(self._bias, requires_grad=False)
        return made.eval()
