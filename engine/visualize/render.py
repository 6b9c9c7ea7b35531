"""Visualisations from the cache, or rendered: many of one network at once."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.bundle import Bundle
from viscnn.engine.device import device, on_device
from viscnn.engine.visualize import cache, lucent, optimise
from viscnn.engine.visualize.circuits import MaskedBy
from viscnn.engine.visualize.network import Network
from viscnn.engine.visualize.objectives import Objective
from viscnn.engine.visualize.optimise import Problem
from viscnn.engine.visualize.settings import VERSION, Settings, Visualization
from viscnn.engine.visualize.views import Normalisation
from viscnn.ingest.architecture import LayerSpec
from viscnn.progress import Progress, silent

__all__ = ["Renderer", "batch_size"]

BATCH_FLOATS = 24_000_000
MOST_IMAGES = 64
TELL_EVERY = 8
"""Steps between two reports of progress."""


@dataclass(frozen=True)
class Renderer:
    """Renders visualisations of one model with one set of settings.

    Attributes:
        normalisation: of the model; of one with other than 1 or 3 channels its bundle does not know it.
        circuit: render from its masked network.
    """

    bundle: Bundle
    settings: Settings
    normalisation: Normalisation
    circuit: MaskedBy | None = None

    def cached(self, objective: Objective) -> Visualization | None:
        """The visualisation if it has been rendered; None if not."""
        file = cache.file_of(self._key(objective))
        stored = cache.load(file, self._image_shape)
        return None if stored is None else self._visualization(objective, stored, cached=True)

    def is_cached(self, objective: Objective) -> bool:
        """Whether there is a file of it; whether that is sound tells only `cached`."""
        return cache.file_of(self._key(objective)).is_file()

    def inputs(self, images: NDArray[np.uint8]) -> Tensor:
        """The model's input (N, C, H, W) of finished images (N, H, W, C), on the CPU."""
        return self.normalisation.apply(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)

    def each(self, objectives: Sequence[Objective], *, progress: Progress = silent) -> Iterator[Visualization]:
        """All of them, those in the cache first, then the others as they are rendered, batch by batch.

        Every batch is in the cache once it is done, so that a stopped run goes on where it was. What `progress` raises
        stops it. It is told steps, of all images that are left.

        Raises:
            InputError: a filter that is not in the circuit, or a size that the model cannot be run on.
            StoredDataError: an activation is not finite.
        """
        for objective in objectives if self.circuit else ():
            assert self.circuit is not None
            self.circuit.check(objective)
        missing = []
        for objective in objectives:
            found = self.cached(objective)
            if found is None:
                missing.append(objective)
            else:
                yield found
        yield from self._rendered(missing, progress)

    def one(self, objective: Objective, *, progress: Progress = silent) -> Visualization:
        """A single one; raises what `each` raises."""
        return next(self.each([objective], progress=progress))

    def _rendered(self, objectives: Sequence[Objective], progress: Progress) -> Iterator[Visualization]:
        size = self._batch_size(objectives) if objectives else 1
        total = len(objectives) * self.settings.steps
        for first in range(0, len(objectives), size):
            batch = objectives[first : first + size]
            step = f"rendering {batch[0].text}" if len(objectives) == 1 else f"rendering {len(objectives)} images"

            def tell(done: int, first: int = first, batch: Sequence[Objective] = batch, step: str = step) -> None:
                if done % TELL_EVERY == 0 or done == self.settings.steps:
                    progress(step, first * self.settings.steps + done * len(batch), total)

            if first == 0:
                progress(step, 0, total)
            yield from self._batch(batch, tell)

    def _batch(self, objectives: Sequence[Objective], tell: Callable[[int], None]) -> list[Visualization]:
        began = time.monotonic()
        problem = self._problem(objectives)
        climb = lucent.climb if self.settings.backend == "lucent" else optimise.climb
        images = climb(problem, objectives, self.settings, tell=tell)
        found = optimise.activations(problem, objectives, images)
        seconds = (time.monotonic() - began) / len(objectives)
        return [
            self._kept(objective, image, activation, seconds)
            for objective, image, activation in zip(objectives, images, found, strict=True)
        ]

    def _kept(self, objective: Objective, image: NDArray[np.uint8], activation: float, seconds: float) -> Visualization:
        stored = cache.Stored(image, activation, seconds)
        about: dict[str, Any] = {"model": self.bundle.name, "target": objective.text, "objective": objective.kind}
        about |= {"sign": objective.sign, "circuit": self.circuit.uid if self.circuit else None}
        cache.save(cache.file_of(self._key(objective)), stored, about)
        return self._visualization(objective, stored, cached=False)

    def _problem(self, objectives: Sequence[Objective]) -> Problem:
        where = device()
        architecture = on_device(self.bundle.architecture, where)
        parts = [part for objective in objectives for part in objective.parts]
        network = Network(architecture, parts, masks=self.circuit.masks if self.circuit else None)
        return Problem(network, architecture, self.normalisation, self._shape, where)

    def _batch_size(self, objectives: Sequence[Objective]) -> int:
        layers = [part.layer for objective in objectives for part in objective.parts]
        read = [layer for layer in layers if layer is not None]
        last = None if len(read) < len(layers) else max(read, key=lambda layer: layer.index)
        return batch_size(self.bundle, last, self._shape[1:])

    def _visualization(self, objective: Objective, stored: cache.Stored, *, cached: bool) -> Visualization:
        return Visualization(
            model=self.bundle.name,
            target=objective.text,
            objective=objective.kind,
            sign=objective.sign,
            circuit=self.circuit.uid if self.circuit else None,
            settings=self.settings,
            image=stored.image,
            activation=stored.activation,
            seconds=stored.seconds,
            cached=cached,
            file=cache.file_of(self._key(objective)),
        )

    def _key(self, objective: Objective) -> dict[str, Any]:
        return self._common | {"objective": objective.identity, "sign": objective.sign}

    @cached_property
    def _common(self) -> dict[str, Any]:
        """What all its visualisations depend on, but for the objective."""
        settings = self.settings.properties() | {"size": list(self._shape)}
        return {
            "version": VERSION,
            "lucent": lucent.version() if self.settings.backend == "lucent" else None,
            "weights": self.bundle.weights_hash,
            "architecture": self.bundle.architecture.digest,
            "normalisation": [self.normalisation.scale, self.normalisation.mean, self.normalisation.std],
            "circuit": self.circuit.digest if self.circuit else None,
            **settings,
        }

    @property
    def _shape(self) -> tuple[int, int, int]:
        channels, rows, columns = self.bundle.architecture.input_shape
        return (channels, *(self.settings.size or (rows, columns)))

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        channels, rows, columns = self._shape
        return rows, columns, channels


def batch_size(bundle: Bundle, last: LayerSpec | None, size: tuple[int, int]) -> int:
    """Images at once, so that one copy of all maps up to the layer `last` stays near 100 MB; at least one.

    Args:
        last: None for the whole network.
        size: (rows, columns) of the images.
    """
    architecture = bundle.architecture
    upto = [each for each in architecture.layers if last is None or each.index <= last.index]
    channels, rows, columns = architecture.input_shape
    floats = channels * rows * columns + sum(each.filters * each.positions for each in upto)
    share = size[0] * size[1] / (rows * columns)
    return int(max(1, min(MOST_IMAGES, BATCH_FLOATS / (floats * share))))
