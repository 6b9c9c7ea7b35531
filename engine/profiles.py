"""Class profiles: how much every filter matters to the loss of each class, for all classes in one pass."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.batch import Batch
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import criterion_called
from viscnn.engine.criteria.maps import taylor_filters
from viscnn.engine.device import device, on_device
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import Running, score_key
from viscnn.engine.streaming import run_through
from viscnn.engine.sums import sound
from viscnn.engine.target import Target, resolve
from viscnn.errors import ImagesError

__all__ = ["ClassProfiles", "class_profiles", "profiles_key"]


@dataclass(frozen=True)
class ClassProfiles:
    """Filter `taylor` scores towards the loss, class by class.

    Attributes:
        filters: (filters, classes) per layer in the order of execution: the mean over the images of a class, 0 where
            it has none.
        images: (classes,) how many images of each class there were.
        skipped: paths of images that could not be decoded.
        unlabelled: images whose label is no class of the model; they are in no profile.
    """

    filters: tuple[NDArray[np.float64], ...]
    images: NDArray[np.int64]
    skipped: tuple[str, ...] = ()
    unlabelled: int = 0


def class_profiles(bundle: Bundle, indices: tuple[int, ...], *, running: Running | None = None) -> ClassProfiles:
    """The profiles from the images `indices` of the bundle's collection, in one pass that can be resumed.

    Raises:
        ExpressionError: the model has no logits.
        ImagesError: no image has a label that is a class of the model.
    """
    running = running or Running()
    target, labelled = _asked(bundle, indices)
    accumulator = _Profiles(bundle, target)
    skipped = run_through(bundle, labelled, accumulator, key=profiles_key(bundle, indices), **vars(running))
    counts = accumulator.images.numpy()
    return ClassProfiles(
        filters=tuple(each.numpy() / np.maximum(counts, 1) for each in accumulator.filters),
        images=counts,
        skipped=skipped,
        unlabelled=len(indices) - len(labelled),
    )


def profiles_key(bundle: Bundle, indices: tuple[int, ...]) -> str:
    """SHA-256 over everything that the profiles depend on; raises what `class_profiles` raises."""
    target, labelled = _asked(bundle, indices)
    scores = score_key(bundle, labelled, target, criterion_called("taylor"))
    return hashlib.sha256(f"profiles {scores}".encode()).hexdigest()


def _asked(bundle: Bundle, indices: tuple[int, ...]) -> tuple[Target, tuple[int, ...]]:
    """The loss as target, and the images whose label is a class of the model."""
    target = resolve(parse_output("loss"), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)
    numbers = bundle.class_numbers()
    labelled = tuple(index for index in indices if numbers[index] is not None)
    if not labelled:
        raise ImagesError(f"none of the {len(indices)} images has a label that is a class of model {bundle.name!r}")
    return target, labelled


class _Profiles:
    """Sums of filter scores by class."""

    def __init__(self, bundle: Bundle, target: Any) -> None:
        assert bundle.architecture.logits is not None
        self._architecture = bundle.architecture
        self._target = target
        classes = bundle.architecture.logits
        self.filters = [torch.zeros(x.filters, classes, dtype=torch.float64) for x in self._architecture.layers]
        self.images = torch.zeros(classes, dtype=torch.int64)

    def scored(self, images: Tensor, labels: list[int | None]) -> Callable[[], None]:
        numbers = torch.tensor([label for label in labels if label is not None])
        batch = Batch(on_device(self._architecture, device()), images, self._target, labels=labels)
        with torch.no_grad():
            found = {maps.layer.name: taylor_filters(maps).double().cpu().T for maps in batch.layers}

        def add() -> None:
            for layer, sums in zip(self._architecture.layers, self.filters, strict=True):
                if layer.name in found:
                    sums.index_add_(1, numbers, found[layer.name])
            self.images.index_add_(0, numbers, torch.ones_like(numbers))

        return add

    def state(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {str(n): each.numpy() for n, each in enumerate(self.filters)}
        return {**arrays, "images": self.images.numpy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        stored = [torch.from_numpy(sound(state[str(n)], tuple(each.shape))) for n, each in enumerate(self.filters)]
        images = sound(state["images"], tuple(self.images.shape))
        self.filters, self.images = stored, torch.from_numpy(images).long()
