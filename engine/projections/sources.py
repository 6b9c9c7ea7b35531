"""The vectors by which filters are compared: class profiles, responses at exemplars' peaks, or incoming kernels."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.engine.device import device, on_device
from viscnn.engine.streaming import image_batches
from viscnn.errors import ImagesError
from viscnn.ingest.structure import Architecture, LayerSpec
from viscnn.progress import Progress, silent

__all__ = ["exemplar_vectors", "kernel_vectors"]

Vectors = NDArray[np.floating]


def kernel_vectors(architecture: Architecture) -> Iterator[Vectors]:
    """Per layer the incoming kernels of its filters, flattened: (filters, inputs * rows * columns).

    A filter of a sum has the vector of the filter that its first addend is, or zeros where that is not one whole layer.
    """
    for layer in architecture.layers:
        found = _first_source(architecture, layer)
        if found is None:
            yield np.zeros((layer.filters, 1), dtype=np.float32)
        else:
            yield architecture.convolution(found).weight.detach().flatten(1).numpy()


def _first_source(architecture: Architecture, layer: LayerSpec) -> LayerSpec | None:
    """The layer itself, or of a sum the convolution that its first addend comes from as a whole."""
    while layer.is_sum:
        feeds = [feed for feed in architecture.feeds_into(layer.name) if feed.addend == 0]
        if len(feeds) != 1 or feeds[0].reads != tuple(range(layer.filters)) or feeds[0].source == "input":
            return None
        source = architecture.layer(feeds[0].source)
        if source.filters != layer.filters or feeds[0].writes != feeds[0].reads:
            return None
        layer = source
    return layer


def exemplar_vectors(bundle: Bundle, indices: tuple[int, ...], *, progress: Progress = silent) -> list[Vectors]:
    """Per layer (filters, filters): the map of filter i where, and in the image in which, filter j is largest.

    It needs no labels. Two passes over the images: one finds the peaks, one reads all filters there.

    Raises:
        ImagesError: none of the images can be decoded.
    """
    architecture = on_device(bundle.architecture, device())
    peaks = [_Peaks(layer) for layer in architecture.layers]
    passes = (("finding exemplars", _Peaks.find), ("reading exemplars", _Peaks.read))
    for step, look in passes:
        done = 0
        for images, _ in image_batches(bundle, indices, []):
            maps = record(architecture, images.to(device()), gradients=False).maps
            for layer in peaks:
                look(layer, maps[layer.name].flatten(2).cpu(), done)
            done += len(images)
            progress(step, done, len(indices))
        if not done:
            raise ImagesError(f"none of the {len(indices)} images can be decoded")
    return [layer.responses for layer in peaks]


class _Peaks:
    """Where each filter of a layer is largest, and what all its filters are there."""

    def __init__(self, layer: LayerSpec) -> None:
        self.name = layer.name
        self.responses = np.zeros((layer.filters, layer.filters), dtype=np.float32)
        self._largest = torch.full((layer.filters,), -torch.inf)
        self._image = torch.zeros(layer.filters, dtype=torch.int64)
        self._position = torch.zeros(layer.filters, dtype=torch.int64)

    def find(self, maps: Tensor, first: int) -> None:
        """Take maps (N, O, positions) of the images from number `first` on; of equal peaks the first counts."""
        values, positions = maps.max(2)
        largest, image = values.max(0)
        better = largest > self._largest
        self._largest = torch.where(better, largest, self._largest)
        self._image = torch.where(better, image + first, self._image)
        self._position = torch.where(better, positions.gather(0, image[None])[0], self._position)

    def read(self, maps: Tensor, first: int) -> None:
        """Read all filters at the peaks that lie in these images."""
        here = torch.nonzero((self._image >= first) & (self._image < first + len(maps)))[:, 0]
        found = maps[self._image[here] - first, :, self._position[here]]
        self.responses[:, here.numpy()] = found.T.numpy()
