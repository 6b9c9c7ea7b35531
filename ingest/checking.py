"""The reader's check of itself: what was read is run beside the model, and both must give the same.

The images are three of different scale, as some operations act on large or on positive values only; the model is run on
them together and one at a time, as a row of its output must depend on one image alone.
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.forward import steps
from viscnn.ingest.probing import not_accepted
from viscnn.ingest.structure import Architecture

__all__ = ["Expected", "SomethingElse", "check", "expected", "probe_images"]

TOLERANCE = 1e-3
"""Largest difference, relative to the largest value, between the model and what was read of it."""

FLOOR = 1e-2
"""Channels whose largest value is below this part of the layer's are measured by that: rounding is larger there."""


NUDGE, STEADY = 8, TOLERANCE / 20
"""A network that enlarges rounding answers by more than the latter to images that are so many last places brighter."""


class SomethingElse(UnsupportedModel):
    """What was read is not what the model computes."""


def probe_images(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """(3, C, H, W): standard noise, pixels from 0 to 255, and noise a hundred times as large."""
    generator = torch.Generator().manual_seed(0)
    noise, large = torch.randn(2, *shape, generator=generator, dtype=dtype)
    pixels = torch.rand(shape, generator=generator, dtype=dtype) * 255
    return torch.stack([noise, pixels, large * 100])


@dataclass(frozen=True)
class Expected:
    """What the model returns for the images on which it can be checked."""

    images: Tensor
    output: Any


def expected(own: nn.Module, images: Tensor) -> Expected | ModelError:
    """What a copy of the model returns; or an error, which is not raised, as reading the model may tell more.

    Images for which rounding alone changes the result are left out: nothing can be said of them.
    """
    before = _chance()
    try:
        alone = [own(each.clone()) for each in images.chunk(len(images))]
        together, again = own(images.clone()), own(images.clone())
        nudged = own(images * (1 + NUDGE * torch.finfo(images.dtype).eps))
    except Exception as error:  # noqa: BLE001 -- whatever the model's own code raises
        return not_accepted(tuple(images.shape[1:]), error)
    if _chance() != before:
        return UnsupportedModel("the model is random even in eval mode: it draws random numbers")
    if not isinstance(together, Tensor) or together.shape[:1] != images.shape[:1]:
        return Expected(images, together)
    if not torch.allclose(together, again, rtol=0, atol=0, equal_nan=True):
        return UnsupportedModel("two runs on the same images differ: the model is random, or keeps what it saw")
    single = torch.cat(alone)
    changes = [difference(nudged[n : n + 1], together[n : n + 1]) for n in range(len(images))]
    steady = [n for n, change in enumerate(changes) if not STEADY < change < float("inf")]
    if not steady:
        return SomethingElse("rounding alone changes the model's output beyond all measure: it cannot be checked")
    if single.shape != together.shape or difference(together[steady], single[steady]) > TOLERANCE:
        return SomethingElse(
            "two runs on the same image differ, alone and in a batch: the model mixes the images of a batch"
        )
    return Expected(images[steady], together[steady])


def _chance() -> tuple[Any, ...]:
    """The states of all generators of random numbers that a model may draw from."""
    numbers = np.random.get_state(legacy=False)
    return random.getstate(), repr(numbers), torch.get_rng_state().numpy().tobytes()


def check(read: Architecture, own: Expected) -> None:
    """Refuse what was not read rightly: a graph that computes something else, or feeds that do.

    Raises:
        SomethingElse: the difference is above `TOLERANCE`.
        UnsupportedModel: maps are not finite for any of the images, so that nothing can be said of them.
    """
    output = _Comparison(read, own.images).run(own.images.clone())
    if not isinstance(own.output, Tensor) or difference(output, own.output) > TOLERANCE:
        raise SomethingElse(
            "the traced graph computes something else than the model: it may change maps in place, or depend on "
            "values or on state that a trace does not see"
        )


class _Comparison(fx.Interpreter):
    """Runs the graph, and compares the maps of each layer with those computed from the feeds."""

    def __init__(self, read: Architecture, images: Tensor) -> None:
        super().__init__(read.module)
        self.extra_traceback = False
        self._layers = {layer.node for layer in read.layers}
        self._steps = steps(read, images)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._layers:
            layer, maps = next(self._steps)
            assert layer.node == n.name
            if not value.flatten(1).isfinite().all(1).any():
                raise UnsupportedModel(
                    f"the maps of layer {layer.name} hold NaN or infinity for noise and for pixels from 0 to 255: "
                    "what was read cannot be checked"
                )
            if difference(maps, value) > TOLERANCE:
                raise SomethingElse(f"the maps of layer {layer.name} cannot be computed from the layers before it")
        return value


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference between two results (N, ...) or maps (N, C, H, W), relative to the largest value.

    Of maps each channel of each image is measured by itself, of other results each image. It is infinite where shapes
    differ, or only one is finite.
    """
    if found.shape != wanted.shape:
        return float("inf")
    found, wanted = found.double(), wanted.double()
    finite = wanted.isfinite()
    if not torch.equal(found.isfinite(), finite):
        return float("inf")
    apart = torch.where(finite, found - wanted, 0.0).abs()
    size = torch.where(finite, wanted, 0.0).abs()
    apart, size = (each.reshape(len(each), -1) if each.ndim != 4 else each.flatten(2).amax(2) for each in (apart, size))
    whole = size.amax(1, keepdim=True)
    scale = torch.maximum(size, FLOOR * whole) if wanted.ndim == 4 else whole
    return float((apart / scale.clamp_min(1e-30)).amax()) if apart.numel() else 0.0
