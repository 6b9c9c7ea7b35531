"""The vectors by which filters are compared: responses at the peaks of exemplars or visualisations, or kernels."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.engine.device import device, on_device
from viscnn.engine.streaming import batch_size, image_batches
from viscnn.engine.visualize.objectives import Objective, filter_objective
from viscnn.engine.visualize.render import Renderer
from viscnn.errors import ImagesError, InputError
from viscnn.ingest.structure import Architecture, LayerSpec
from viscnn.progress import Progress, silent

__all__ = ["exemplar_vectors", "kernel_vectors", "visualization_vectors"]

Vectors = NDArray[np.floating]


def kernel_vectors(architecture: Architecture) -> Iterator[Vectors]:
    """Per layer the incoming kernels of its filters, flattened: (filters, inputs * rows * columns).

    Filters of different groups read different inputs, so that none of their weights lie in one column. Not so in
    depthwise layers, where no two filters would have anything in common: there the kernels themselves are compared.
    A filter of a sum has the vector of the filter that its first addend is, or zeros where that is not one whole layer.
    """
    for layer in architecture.layers:
        found = _first_source(architecture, layer)
        if found is None:
            yield np.zeros((layer.filters, 1), dtype=np.float32)
        else:
            yield _by_input(architecture.convolution(found).weight.detach().flatten(1).numpy(), found)


def _by_input(weights: Vectors, layer: LayerSpec) -> Vectors:
    """Weights (filters, inputs per group * taps) in a column for every input of the layer."""
    if layer.groups == 1 or layer.inputs == 1:
        return weights
    count = layer.filters // layer.groups
    wide = np.zeros((layer.groups, count, layer.groups, weights.shape[1]), dtype=weights.dtype)
    each = np.arange(layer.groups)
    wide[each, :, each] = weights.reshape(layer.groups, count, -1)
    return wide.reshape(layer.filters, -1)


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


def visualization_vectors(renderer: Renderer, *, progress: Progress = silent) -> list[Vectors]:
    """Per layer (filters, filters): the map of filter i where filter j is largest, in the visualisation of filter j.

    It needs no images (VISCNN's inventory calls it feature-viz UMAP). All visualisations are taken from the cache.

    Args:
        renderer: with the settings that they were rendered with.

    Raises:
        InputError: some have not been rendered; it names the command that does.
    """
    layers = renderer.bundle.architecture.layers
    missing = [layer.name for layer in layers if not all(map(renderer.is_cached, _objectives(renderer, layer)))]
    if missing:
        raise _missing(renderer, missing)
    found, done, total = [], 0, sum(layer.filters for layer in layers)
    for layer in layers:
        found.append(_at_peaks(renderer, layer))
        done += layer.filters
        progress("reading visualisations", done, total)
    return found


def _objectives(renderer: Renderer, layer: LayerSpec) -> list[Objective]:
    return [filter_objective(renderer.bundle.name, layer, channel) for channel in range(layer.filters)]


def _missing(renderer: Renderer, layers: list[str]) -> InputError:
    name = renderer.bundle.name
    every = len(layers) == len(renderer.bundle.architecture.layers)
    chosen = "" if every else "".join(f" --layer {layer}" for layer in layers)
    return InputError(
        "projection featureviz-umap needs the visualisation of every filter, and some of "
        f"{'all layers' if every else ', '.join(layers)} are missing; render them with: "
        f"viscnn visualize {name}{chosen} (exemplar-umap takes images in their place)"
    )


def _at_peaks(renderer: Renderer, layer: LayerSpec) -> Vectors:
    """(filters, filters) all filters of a layer at the peaks of each filter in its own visualisation."""
    where = device()
    architecture = on_device(renderer.bundle.architecture, where)
    responses = np.zeros((layer.filters, layer.filters), dtype=np.float32)
    objectives, size = _objectives(renderer, layer), batch_size(renderer.bundle)
    for first in range(0, layer.filters, size):
        images = [renderer.cached(each) for each in objectives[first : first + size]]
        whole = [each.image for each in images if each is not None]
        if len(whole) < len(images):  # a damaged file, found only now
            raise _missing(renderer, [layer.name])
        batch = renderer.inputs(np.stack(whole)).to(where)
        recording = record(architecture, batch, last=layer, gradients=False, sparing=[layer.name])
        maps = recording.maps[layer.name].flatten(2).cpu()  # (N, O, positions)
        own = torch.arange(len(maps))
        peaks = maps[own, first + own].argmax(dim=1)
        responses[:, first : first + len(maps)] = maps[own, :, peaks].T.numpy()
    return responses
