"""Running sums of scores over images, and the mean scores that they come to; both can be stored as npz files."""

import contextlib
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viscnn.engine.batch import Batch
from viscnn.engine.criteria import Criterion
from viscnn.errors import StoredDataError
from viscnn.ingest.architecture import Architecture

__all__ = ["SetScores", "Sums", "read_arrays", "read_scores", "sound", "write_arrays", "write_scores"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SetScores:
    """Mean scores over images, per layer in the order of execution.

    Attributes:
        kernels: (filters, inputs per group) each; of a sum the scores of its identities (filters, addends).
        filters: (filters,) each.
        totals: (images,) sum over all filters of |score| of each image.
        images: the images' hashes, in the order of `totals`.
        skipped: paths of images that could not be decoded.
        key: what names them in the cache (`scoring.score_key`).
    """

    kernels: tuple[NDArray[np.float64], ...]
    filters: tuple[NDArray[np.float64], ...]
    totals: NDArray[np.float64]
    images: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    cached: bool = False
    key: str = ""


class Sums:
    """Sums over images of one criterion towards one target: float64, so that their number does not matter."""

    def __init__(self, architecture: Architecture, criterion: Criterion) -> None:
        self._layers = architecture.layers
        self._numbers = {layer.name: number for number, layer in enumerate(architecture.layers)}
        self._criterion = criterion
        self.kernels = [torch.zeros(layer.filters, layer.inputs, dtype=torch.float64) for layer in self._layers]
        self.filters = [torch.zeros(layer.filters, dtype=torch.float64) for layer in self._layers]
        self.totals: list[float] = []

    def add(self, batch: Batch) -> None:
        """The scores of one batch."""
        self.scored(batch)()

    def scored(self, batch: Batch) -> Callable[[], None]:
        """The scores of one batch; they are in the sums once what is returned has been called."""
        totals = torch.zeros(len(batch.images), dtype=torch.float64)
        found = []
        for layer, scores in zip(batch.scored, self._criterion.of(batch), strict=True):
            filters = scores.filter.double().cpu()  # (N, O)
            totals += filters.abs().sum(dim=1)
            found.append((self._numbers[layer.name], scores.kernel.cpu(), filters.sum(dim=0)))

        def add() -> None:
            for number, kernel, of_filters in found:
                self.kernels[number] += kernel
                self.filters[number] += of_filters
            self.totals.extend(totals.tolist())

        return add

    def state(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays."""
        arrays = {f"kernels{n}": each.numpy() for n, each in enumerate(self.kernels)}
        arrays |= {f"filters{n}": each.numpy() for n, each in enumerate(self.filters)}
        return {**arrays, "totals": np.array(self.totals)}

    def restore(self, state: Arrays) -> None:
        """What `state` returned; raises KeyError or ValueError when it is of something else."""
        layers = enumerate(self._layers)
        kernels = [sound(state[f"kernels{n}"], (layer.filters, layer.inputs)) for n, layer in layers]
        filters = [sound(state[f"filters{n}"], (layer.filters,)) for n, layer in enumerate(self._layers)]
        self.totals = state["totals"].tolist()
        self.kernels = [torch.from_numpy(each) for each in kernels]
        self.filters = [torch.from_numpy(each) for each in filters]

    def result(self, hashes: tuple[str, ...], skipped: tuple[str, ...]) -> SetScores:
        """Means over the images, whose hashes are given; raises StoredDataError where one is not finite."""
        images = len(self.totals)
        if not all(torch.isfinite(each).all() for each in (*self.kernels, *self.filters)):
            raise StoredDataError("the scores hold NaN or infinity: the gradients overflow; check the weights")
        return SetScores(
            kernels=tuple((each / images).numpy() for each in self.kernels),
            filters=tuple((each / images).numpy() for each in self.filters),
            totals=np.array(self.totals),
            images=hashes,
            skipped=skipped,
        )


def write_scores(file: Path, scores: SetScores) -> None:
    """Store mean scores; a reader sees all of them or none."""
    arrays: dict[str, NDArray[Any]] = {f"kernels{n}": each for n, each in enumerate(scores.kernels)}
    arrays |= {f"filters{n}": each for n, each in enumerate(scores.filters)}
    names = {"images": np.array(scores.images, dtype=np.str_), "skipped": np.array(scores.skipped, dtype=np.str_)}
    write_arrays(file, {**arrays, "totals": scores.totals, **names})


def read_scores(file: Path, architecture: Architecture) -> SetScores | None:
    """Stored scores; None when there are none, or when the file is damaged (it is then removed)."""
    stored = read_arrays(file)
    if stored is None:
        return None
    layers = architecture.layers
    with contextlib.suppress(KeyError, ValueError):
        return SetScores(
            kernels=tuple(sound(stored[f"kernels{n}"], (x.filters, x.inputs)) for n, x in enumerate(layers)),
            filters=tuple(sound(stored[f"filters{n}"], (x.filters,)) for n, x in enumerate(layers)),
            totals=sound(stored["totals"], stored["images"].shape),
            images=tuple(str(each) for each in stored["images"]),
            skipped=tuple(str(path) for path in stored["skipped"]),
            cached=True,
        )
    file.unlink(missing_ok=True)
    return None


def write_arrays(file: Path, arrays: Arrays) -> None:
    """Store arrays as an npz file; a reader sees all of them or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{uuid.uuid4().hex}.part")  # two that score the same write a file each
    try:
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_arrays(file: Path) -> dict[str, NDArray[Any]] | None:
    """Stored arrays; None when there are none, or when the file is damaged (it is then removed)."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        file.unlink(missing_ok=True)
        return None
    except OSError:  # not there, or cannot be read just now: it may be sound
        return None


def sound(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The array itself as float64; raises ValueError when it has another shape, or values that are not finite."""
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"scores of shape {array.shape}, not {shape}, or not finite")
    return array
