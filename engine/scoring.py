"""Scores of one image set: a streaming mean over its images, cached on disk by content.

1. read images in batches small enough that the recorded maps stay near 64 MB;
2. record one forward pass, and one `torch.autograd.grad` of the summed target for all layers at once;
3. add each layer's kernel and filter scores in float64; keep one total per image.

The cache key is made of everything that a score depends on: the network, the preprocessing, the images, their
labels (for the loss), the output and the criterion. So an edited folder or another checkpoint is never confused.
"""

import hashlib
import json
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.config import cache_folder
from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.engine.criteria import Criterion, LayerMaps
from viscnn.engine.preprocess import batches
from viscnn.engine.target import Target
from viscnn.errors import StoredDataError

__all__ = ["SetScores", "image_batches", "score_images", "score_key"]

CACHE_VERSION = 2
BATCH_FLOATS = 16_000_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SetScores:
    """Mean scores over images, per layer in depth order.

    Attributes:
        kernels: (filters, inputs per group) each.
        filters: (filters,) each.
        totals: (images,) sum over all filters of |score| of each image.
        guessed_labels: images whose label is not one of the model's classes, so that its own prediction was used.
        skipped: paths of images that could not be decoded.
    """

    kernels: tuple[NDArray[np.float64], ...]
    filters: tuple[NDArray[np.float64], ...]
    totals: NDArray[np.float64]
    guessed_labels: int = 0
    skipped: tuple[str, ...] = ()
    cached: bool = False


class _Sums:
    """Running float64 sums of one image set."""

    def __init__(self, bundle: Bundle) -> None:
        layers = bundle.architecture.layers
        self.kernels = [torch.zeros(layer.filters, layer.inputs, dtype=torch.float64) for layer in layers]
        self.filters = [torch.zeros(layer.filters, dtype=torch.float64) for layer in layers]
        self.totals: list[float] = []
        self.guessed = 0

    def result(self, skipped: list[str]) -> SetScores:
        """Means over the images; raises StoredDataError where one is not finite."""
        images = len(self.totals)
        if not all(torch.isfinite(each).all() for each in (*self.kernels, *self.filters)):
            raise StoredDataError("the scores hold NaN or infinity: the gradients overflow; check the weights")
        return SetScores(
            kernels=tuple((each / images).numpy() for each in self.kernels),
            filters=tuple((each / images).numpy() for each in self.filters),
            totals=np.array(self.totals),
            guessed_labels=self.guessed,
            skipped=tuple(skipped),
        )


def score_images(
    bundle: Bundle,
    indices: tuple[int, ...],
    target: Target,
    criterion: Criterion,
    *,
    progress: Progress = lambda step, done, total: None,
) -> SetScores:
    """Scores of the images `indices` of the bundle's collection, from the cache when they are there.

    Raises:
        ImagesError: none of the images can be decoded.
        StoredDataError: NaN or infinity in a layer's maps.
    """
    file = cache_folder() / "scores" / f"{score_key(bundle, indices, target, criterion)}.npz"
    stored = _read_cache(file, bundle)
    if stored is not None:
        return stored
    sums = _Sums(bundle)
    skipped: list[str] = []
    progress("images", 0, len(indices))
    for batch, labels in image_batches(bundle, indices, skipped):
        _add(sums, bundle, batch, labels, target, criterion)
        progress("images", len(sums.totals) + len(skipped), len(indices))
    result = sums.result(skipped)
    _write_cache(file, result)
    return result


def image_batches(
    bundle: Bundle, indices: tuple[int, ...], skipped: list[str]
) -> Iterator[tuple[Tensor, list[int | None]]]:
    """Batches (N, C, H, W) with the class number of each image, None where its label is no class of the model."""
    numbers = bundle.class_numbers()
    for positions, images in batches(
        bundle.collection,
        indices,
        bundle.preprocess,
        batch_size=batch_size(bundle),
        on_skip=lambda path, reason: skipped.append(path),
    ):
        yield images, [numbers[indices[position]] for position in positions]


def batch_size(bundle: Bundle) -> int:
    """Images per batch, so that one copy of all maps stays near 64 MB."""
    floats = sum(layer.filters * layer.positions for layer in bundle.architecture.layers)
    return max(1, min(64, BATCH_FLOATS // floats))


def label_tensor(labels: list[int | None], output: Tensor | None) -> Tensor:
    """Class numbers (N,); where there is none, the model's own prediction."""
    predicted = output.argmax(dim=1) if output is not None else torch.zeros(len(labels), dtype=torch.int64)
    return torch.tensor(
        [int(predicted[row]) if label is None else label for row, label in enumerate(labels)], dtype=torch.int64
    )


def _add(
    sums: _Sums, bundle: Bundle, images: Tensor, labels: list[int | None], target: Target, criterion: Criterion
) -> None:
    recording = record(bundle.architecture, images, last=target.layer, gradients=criterion.gradients)
    of_maps: dict[str, Tensor] = {}
    of_activated: dict[str, Tensor] = {}
    if criterion.gradients:
        values = target.values(recording, label_tensor(labels, recording.output))
        of_maps, of_activated = recording.gradients(values.sum())
    if target.needs_labels:
        sums.guessed += sum(label is None for label in labels)
    totals = torch.zeros(len(images), dtype=torch.float64)
    with torch.no_grad():
        for number, layer in enumerate(bundle.architecture.layers):
            if layer.name not in recording.maps:  # beyond the target: zero
                continue
            maps = LayerMaps(
                layer=layer,
                convolution=bundle.architecture.convolution(layer),
                x=recording.inputs[layer.name],
                a=recording.activated[layer.name].detach(),
                gradient=of_maps.get(layer.name),
                activated_gradient=of_activated.get(layer.name),
            )
            sums.kernels[number] += criterion.kernel(maps).double()
            filters = criterion.filter(maps).double()  # (N, O)
            sums.filters[number] += filters.sum(dim=0)
            totals += filters.abs().sum(dim=1)
    sums.totals += totals.tolist()


def score_key(bundle: Bundle, indices: tuple[int, ...], target: Target, criterion: Criterion) -> str:
    """SHA-256 over everything that the scores of these images depend on."""
    numbers = bundle.class_numbers() if target.needs_labels else []
    images = [
        [bundle.collection.items[index].image_hash, numbers[index] if target.needs_labels else None]
        for index in indices
    ]
    key = {
        "version": CACHE_VERSION,
        "weights": bundle.weights_hash,
        "architecture": bundle.architecture.digest,
        "preprocess": bundle.preprocess.to_json(),
        "images": sorted(images, key=str),
        "output": target.text,
        "criterion": criterion.name,
    }
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _write_cache(file: Path, scores: SetScores) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{uuid.uuid4().hex}.part")  # two that score the same write a file each
    arrays: dict[str, Any] = {f"kernels{n}": each for n, each in enumerate(scores.kernels)}
    arrays |= {f"filters{n}": each for n, each in enumerate(scores.filters)}
    with partial.open("wb") as stream:
        np.savez(
            stream,
            totals=scores.totals,
            guessed=np.array(scores.guessed_labels),
            skipped=np.array(scores.skipped, dtype=np.str_),
            **arrays,
        )
    partial.replace(file)


def _read_cache(file: Path, bundle: Bundle) -> SetScores | None:
    """Stored scores; None when there are none, or when the file is damaged (it is then made again)."""
    layers = bundle.architecture.layers
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return SetScores(
                kernels=tuple(_sound(stored[f"kernels{n}"], (x.filters, x.inputs)) for n, x in enumerate(layers)),
                filters=tuple(_sound(stored[f"filters{n}"], (x.filters,)) for n, x in enumerate(layers)),
                totals=stored["totals"],
                guessed_labels=int(stored["guessed"]),
                skipped=tuple(str(path) for path in stored["skipped"]),
                cached=True,
            )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        file.unlink(missing_ok=True)
        return None


def _sound(array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The array itself; raises ValueError when it has another shape, or values that are not finite."""
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"scores of shape {array.shape}, not {shape}, or not finite")
    return array
