"""The images in which each filter is largest and smallest, found in one pass over them that can be resumed.

Per layer two lists are kept of each filter: its largest maxima and its smallest minima over the positions of a map, one
per image. They are as long as they shall become, so memory does not grow with the number of images. A batch costs the
maxima and minima of its maps, and a sort of the few lists that an image enters; only there its position is looked for.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from viscnn.engine.bundle import Bundle
from viscnn.engine.device import device, on_device
from viscnn.engine.scoring import Running
from viscnn.engine.streaming import run_through
from viscnn.errors import ImagesError, StoredDataError
from viscnn.ingest.structure import Architecture, LayerSpec

__all__ = ["Accumulator", "Extremes", "LayerExtremes", "extremes"]

_NONE = -1


class _OtherState(ValueError):
    """What was kept of an earlier pass is of something else: the pass begins anew."""


@dataclass(frozen=True)
class LayerExtremes:
    """The extremes of a layer's filters; each array is (2, filters, found): the top, then the bottom.

    Attributes:
        activation: pre-activations Z; the largest maxima descending, the smallest minima ascending.
        image: position of the image in the bundle's collection; of equal values the first image comes first.
        row, column: where in the map; of equal values the first, row by row.
    """

    activation: NDArray[np.float32]
    image: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


@dataclass(frozen=True)
class Extremes:
    """What a pass found.

    Attributes:
        layers: in the order of execution.
        images: how many images were looked at, without those left out.
        undecoded: paths of images that could not be decoded.
        not_finite: paths of images whose maps hold NaN or infinity.
    """

    layers: tuple[LayerExtremes, ...]
    images: int
    undecoded: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()


def extremes(
    bundle: Bundle, indices: tuple[int, ...], count: int, *, key: str, running: Running | None = None
) -> Extremes:
    """The `count` images with the largest and with the smallest pre-activation of every filter, sums and gates too.

    Args:
        indices: images by their position in the bundle's collection, in the order that decides between equal values.
        key: names all that the result depends on, apart from the order of the images.

    Raises:
        ImagesError: none of the images can be decoded, or they have not the size that the model was read with.
        StoredDataError: NaN or infinity in the maps of every image.
    """
    found = Accumulator(bundle, count)
    undecoded = run_through(bundle, indices, found, key=key, **vars(running or Running()))
    left_out, items = set(undecoded), bundle.collection.items
    read = np.array([index for index in indices if items[index].path not in left_out], dtype=np.int64)
    if len(found.flawed) == len(read):
        raise StoredDataError(
            f"the maps of all {len(read)} images hold NaN or infinity; check the weights of model {bundle.name!r}"
        )
    return Extremes(
        layers=found.result(read),
        images=len(read) - len(found.flawed),
        undecoded=undecoded,
        not_finite=tuple(items[read[number]].path for number in found.flawed),
    )


class Accumulator:
    """The lists of all layers; images are numbered as they arrive."""

    def __init__(self, bundle: Bundle, count: int) -> None:
        self._architecture = bundle.architecture
        self._lists = {layer.name: _Lists(layer, count) for layer in bundle.architecture.layers}
        self.seen = 0
        self.flawed: list[int] = []

    def scored(self, images: Tensor, labels: list[int | None]) -> Callable[[], None]:
        """What a batch changes; labels make no difference."""
        numbers = torch.arange(len(images))
        changes, finite = self._changes(images, numbers)
        while not finite.all():  # once more without the images that are not
            numbers = numbers[finite]
            changes, finite = self._changes(images[numbers.to(images.device)], numbers)
        flawed = sorted(set(range(len(images))) - set(numbers.tolist()))

        def add() -> None:
            for change in changes:
                change()
            self.flawed += [self.seen + number for number in flawed]
            self.seen += len(images)

        return add

    def _changes(self, images: Tensor, numbers: Tensor) -> tuple[list[Callable[[], None]], Tensor]:
        """What some images of a batch change, and which of them have finite maps in all layers, (N,)."""
        changes: list[Callable[[], None]] = []
        finite = torch.ones(len(images), dtype=torch.bool)

        def look(layer: LayerSpec, maps: Tensor) -> None:
            change, sound = self._lists[layer.name].merged(maps, self.seen + numbers)
            changes.append(change)
            finite.logical_and_(sound)

        if len(images):
            _Watcher(on_device(self._architecture, device()), look).watch(images)
        return changes, finite

    def result(self, read: NDArray[np.int64]) -> tuple[LayerExtremes, ...]:
        """The extremes of the layers in the order of execution, where `read` is the image of each number."""
        return tuple(each.result(read, self.seen - len(self.flawed)) for each in self._lists.values())

    def state(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays."""
        arrays = {
            f"{n}/{name}": each for n, layer in enumerate(self._lists.values()) for name, each in layer.state().items()
        }
        return {**arrays, "seen": np.array(self.seen), "flawed": np.array(self.flawed, dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What `state` returned; raises KeyError or ValueError when it is of something else."""
        seen, flawed = int(state["seen"]), state["flawed"].tolist()
        for n, layer in enumerate(self._lists.values()):
            layer.restore({name: state[f"{n}/{name}"] for name in layer.state()})
        self.seen, self.flawed = seen, flawed


class _Stop(Exception):
    pass


class _Watcher(fx.Interpreter):
    """Runs a network up to its last layer and shows the maps Z of each layer as they are made; it keeps none."""

    def __init__(self, architecture: Architecture, look: Callable[[LayerSpec, Tensor], None]) -> None:
        super().__init__(architecture.module)
        self.extra_traceback = False  # it would be written into the message of our own errors
        self._look = look
        self._layers = {layer.node: layer for layer in architecture.layers}
        self._last = architecture.layers[-1]
        # nothing else reads their Z, which has been looked at by then
        self._in_place = {layer.activation_node for layer in architecture.layers if layer.activation == "relu"}

    def watch(self, images: Tensor) -> None:
        """Run a batch (N, C, H, W)."""
        with torch.no_grad(), contextlib.suppress(_Stop):
            self.run(images)

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node."""
        if n.name in self._in_place:
            return torch.relu_(self.env[n.all_input_nodes[0]])
        value = super().run_node(n)
        if n.name in self._layers:
            self._look(self._layers[n.name], value)
            if self._layers[n.name] == self._last:
                raise _Stop
        return value


class _Lists:
    """The lists of one layer's filters, (2 * filters, count) each: the maxima, then the minima with their sign turned.

    A place where no image stands yet holds minus infinity.
    """

    def __init__(self, layer: LayerSpec, count: int) -> None:
        self.layer, self._count = layer, count
        shape = (2 * layer.filters, count)
        self._values = torch.full(shape, -torch.inf)
        self._images = torch.full(shape, _NONE)
        self._places = torch.full(shape, _NONE)

    def merged(self, maps: Tensor, numbers: Tensor) -> tuple[Callable[[], None], Tensor]:
        """What maps (N, O, P, Q) of the images `numbers` change in the lists, to be called, and which are finite, (N,).

        Where some are not, it must not be called.
        """
        if tuple(maps.shape[2:]) != self.layer.output_size:
            sizes = [f"{rows}x{columns}" for rows, columns in (maps.shape[2:], self.layer.output_size)]
            raise ImagesError(
                f"the images give maps of {sizes[0]} in layer {self.layer.name}, and the model was read with {sizes[1]}"
                "; give images of its input size"
            )
        flat = maps.flatten(2)
        new = torch.cat([flat.amax(2), -flat.amin(2)], dim=1).T.cpu()
        rows = torch.nonzero(new.amax(1) > self._values[:, -1])[:, 0]  # of equal values the first image stays
        values, order = torch.cat([self._values[rows], new[rows]], 1).sort(dim=1, descending=True, stable=True)
        values, order = values[:, : self._count], order[:, : self._count]
        images = torch.cat([self._images[rows], numbers.expand(len(rows), -1)], 1).gather(1, order)
        places = torch.cat([self._places[rows], torch.full((len(rows), len(numbers)), _NONE)], 1).gather(1, order)
        row, slot = torch.nonzero(order >= self._count, as_tuple=True)
        places[row, slot] = self._found(flat, rows[row], order[row, slot] - self._count)

        def change() -> None:
            self._values[rows], self._images[rows], self._places[rows] = values, images, places

        return change, new.isfinite().all(dim=0)

    def _found(self, flat: Tensor, rows: Tensor, images: Tensor) -> Tensor:
        """The position in maps (N, O, positions) at which each of some rows has its extreme in one of the images."""
        top, channels = rows < self.layer.filters, rows % self.layer.filters
        places = torch.empty_like(rows)
        for side, first in ((top, torch.argmax), (~top, torch.argmin)):
            of = (images[side].to(flat.device), channels[side].to(flat.device))
            places[side] = first(flat[of], dim=1).cpu() if len(of[0]) else rows[:0]
        return places

    def result(self, read: NDArray[np.int64], images: int) -> LayerExtremes:
        """The extremes, where `read` is the image of each number; there are `images` of them, or `count` if more."""
        found = min(self._count, images)
        shape = (2, self.layer.filters, self._count)
        values, numbers, places = (
            each.reshape(shape)[:, :, :found].numpy() for each in (self._values, self._images, self._places)
        )
        columns = self.layer.output_size[1]
        signs = np.array([1, -1], dtype=np.float32)[:, None, None]
        return LayerExtremes(values * signs, read[numbers], places // columns, places % columns)

    def state(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays."""
        return {"values": self._values.numpy(), "images": self._images.numpy(), "places": self._places.numpy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What `state` returned; raises KeyError or ValueError when it is of something else."""
        for name, mine in self.state().items():
            if state[name].shape != mine.shape or state[name].dtype != mine.dtype:
                raise _OtherState(f"extremes of shape {state[name].shape}, not {mine.shape}")
        self._values, self._images, self._places = (
            torch.from_numpy(state[name]) for name in ("values", "images", "places")
        )
