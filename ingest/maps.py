"""What is known of a value while a graph is read: which filter's map every channel is, and what happened to it.

A value of the graph that depends on the image is a set of *channels* (maps of one size), each of them a channel of one
layer's maps after some operations, arranged in a tensor. Most values are arranged (N, C, H, W). Others are maps on
their way: flattened, permuted to channels-last, split into groups to be shuffled. What moving data about does to them
is not worked out by rules: the very same function is run on a tensor of numbers, one number for each entry, and where
the numbers end up tells what it did. So any function that only moves data can be followed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.ingest.operations import Operation, Unknown

__all__ = ["BATCH", "Channels", "Maps", "Path", "joined", "moved"]

BATCH = 2
"""Images in the batch that a graph is probed with: two, so that mixing images would show."""


@dataclass(frozen=True, eq=False)
class Path:
    """The maps of a layer (`filters` of them) after some operations."""

    source: str
    filters: int
    operations: tuple[Operation, ...] = ()

    def after(self, *operations: Operation) -> "Path":
        """With more operations."""
        return replace(self, operations=self.operations + operations)


@dataclass(frozen=True, eq=False)
class Channels:
    """Channels of a value: number of the path, and channel of the path's source; -1, -1 is a map of zeros.

    No two channels are the same channel of the same path, so what happens to one of them can be written on its path.
    """

    paths: tuple[Path, ...]
    path: NDArray[np.int64]
    channel: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.path)

    @classmethod
    def of(cls, paths: Sequence[Path], path: NDArray[np.int64], channel: NDArray[np.int64]) -> "Channels":
        """The same, made unique: what occurs twice gets a path of its own."""
        keys = np.stack([path, channel], axis=1)
        order = np.lexsort((np.arange(len(keys)), channel, path))
        fresh = np.ones(len(keys), dtype=bool)
        fresh[1:] = (keys[order][1:] != keys[order][:-1]).any(axis=1)
        starts = np.maximum.accumulate(np.where(fresh, np.arange(len(keys)), 0))
        copy = np.empty(len(keys), dtype=np.int64)
        copy[order] = np.arange(len(keys)) - starts
        copy[path < 0] = 0
        pairs = list(zip(path.tolist(), copy.tolist(), strict=True))
        used = dict.fromkeys(pair for pair in pairs if pair[0] >= 0)
        kept = {pair: number for number, pair in enumerate(used)}
        numbers = [kept.get(pair, -1) for pair in pairs]
        return cls(
            tuple(paths[old] for old, _ in kept), np.array(numbers, dtype=np.int64), np.where(path < 0, -1, channel)
        )

    @classmethod
    def of_zeros(cls, count: int) -> "Channels":
        """Maps of zeros."""
        nothing = np.full(count, -1, dtype=np.int64)
        return cls((), nothing, nothing)

    @classmethod
    def layer(cls, name: str, filters: int) -> "Channels":
        """All maps of one layer."""
        return cls((Path(name, filters),), np.zeros(filters, dtype=np.int64), np.arange(filters, dtype=np.int64))

    def take(self, slots: NDArray[np.int64]) -> "Channels":
        """The channels `slots`, in that order."""
        if np.array_equal(slots, np.arange(len(self))):
            return self
        return Channels.of(self.paths, self.path[slots], self.channel[slots])

    def whole(self) -> bool:
        """Whether they are exactly all maps of one layer, in order."""
        return len(self.paths) == 1 and np.array_equal(self.channel, np.arange(self.paths[0].filters))

    def zeros(self) -> bool:
        """Whether some are maps of zeros."""
        return bool((self.path < 0).any())

    def after(self, operation: Callable[[Path, int], Operation | None]) -> "Channels":
        """With an operation on each path; it is given the path and its number, and may be None."""
        made = [operation(path, number) for number, path in enumerate(self.paths)]
        paths = tuple(path if each is None else path.after(each) for path, each in zip(self.paths, made, strict=True))
        return replace(self, paths=paths)

    def aligned(self, number: int, values: NDArray[Any], missing: float) -> list[Any]:
        """One value per channel of the source of path `number` from one per channel of this; `missing` elsewhere."""
        found = np.full(self.paths[number].filters, missing, dtype=values.dtype)
        mine = self.path == number
        found[self.channel[mine]] = values[mine]
        return list(found.tolist())


@dataclass(frozen=True, eq=False)
class Maps:
    """Channels of maps of `size` (rows, columns) in a value.

    Attributes:
        ids: None for a value (N, C, H, W); else, for each entry of a value (2, ...), the number
            (image * channels + channel) * positions + position.
        by: what arranged them so, for messages.
    """

    channels: Channels
    size: tuple[int, int]
    ids: Tensor | None = None
    by: str = ""

    @property
    def positions(self) -> int:
        """Rows times columns."""
        return self.size[0] * self.size[1]

    def numbered(self) -> Tensor:
        """The numbers of the entries, in the shape of the value."""
        if self.ids is not None:
            return self.ids.contiguous()
        count = len(self.channels)
        return torch.arange(BATCH * count * self.positions).view(BATCH, count, *self.size)

    def settled(self) -> "Maps":
        """The same as (N, C, H, W) maps.

        Raises:
            Unknown: the value is arranged in another way.
        """
        if self.ids is not None:
            raise Unknown(f"it is given maps in the arrangement {tuple(self.ids.shape)}{self.by}, not (N, C, H, W)")
        return self

    def arranged(self, ids: Tensor) -> "Maps":
        """The value whose entries are those of this one that have these numbers."""
        return _as_maps(replace(self, ids=ids)) or replace(self, ids=ids)

    def through(self, view: Callable[[Tensor], Tensor]) -> "Maps | None":
        """As (N, C, H, W) maps if the value is that after `view`; else None."""
        try:
            return _as_maps(replace(self, ids=view(self.numbered())))
        except (RuntimeError, IndexError):
            return None

    def per_channel(self, constant: Tensor) -> NDArray[np.float64]:
        """What a constant is for each channel when it is broadcast to the value.

        Raises:
            Unknown: it differs from image to image or position to position, or changes the value's shape.
        """
        numbers = self.numbered()
        if torch.broadcast_shapes(constant.shape, numbers.shape) != numbers.shape:  # type: ignore[no-untyped-call]
            raise Unknown(f"a constant of shape {tuple(constant.shape)} changes the shape {tuple(numbers.shape)}")
        spread = constant.double().expand(numbers.shape).reshape(-1)
        slots = (numbers // self.positions % len(self.channels)).reshape(-1)
        found = torch.zeros(len(self.channels), dtype=torch.float64)
        found[slots] = spread
        if not torch.equal(found[slots], spread):
            raise Unknown("its constant differs from position to position")
        return found.numpy()


def _as_maps(value: Maps) -> Maps | None:
    """A value (N, C, H, W) with whole channels, cropped or spread maybe; None when it is nothing of the kind."""
    ids, channels, positions = value.ids, value.channels, value.positions
    assert ids is not None
    if ids.ndim != 4 or len(ids) != BATCH or ids.numel() == 0:
        return None
    place = ids[0] % positions  # (C, H, W)
    slots = ids[0, :, 0, 0] // positions % len(channels)
    image = torch.arange(BATCH).view(-1, 1, 1, 1)
    if not torch.equal(ids, (image * len(channels) + slots.view(-1, 1, 1)) * positions + place):
        return None
    taken, size = channels.take(slots.numpy()), (int(place.shape[1]), int(place.shape[2]))
    if torch.equal(place, place[:1].expand_as(place)):
        moves = _spatial(place[0], value.size)
        if moves is None:
            return None
        return Maps(taken.after(lambda path, number: moves) if moves.name else taken, size)
    return _each_its_own(taken, place, value.size)


def _each_its_own(channels: Channels, place: Tensor, size: tuple[int, int]) -> Maps | None:
    """Channels that are cropped each in its own way, as where positions become channels."""
    kinds, kind = torch.unique(place.flatten(1), dim=0, return_inverse=True)
    moves = [_spatial(each.view(place.shape[1:]), size) for each in kinds]
    if any(each is None for each in moves) or channels.zeros():
        return None
    paths, path = [], np.empty(len(channels), dtype=np.int64)
    for number, pair in enumerate(zip(channels.path.tolist(), kind.tolist(), strict=True)):
        if pair not in paths:
            paths.append(pair)
        path[number] = paths.index(pair)
    made = [channels.paths[old].after(*(each for each in [moves[how]] if each and each.name)) for old, how in paths]
    return Maps(Channels.of(made, path, channels.channel), (int(place.shape[1]), int(place.shape[2])))


def _spatial(place: Tensor, size: tuple[int, int]) -> Operation | None:
    """What turns maps of `size` into maps of these positions; one without a name where nothing does."""
    rows, columns = place[:, 0] // size[1], place[0, :] % size[1]
    if not torch.equal(place, rows[:, None] * size[1] + columns):
        return None
    if size == (1, 1) and place.numel() > 1:
        return Operation("expand", (("size", [int(each) for each in place.shape]),))
    found = [_steps(rows), _steps(columns)]
    if any(each is None for each in found):
        return None
    starts, steps = zip(*(each for each in found if each is not None), strict=True)
    kept = [int(each) for each in place.shape]
    if starts == (0, 0) and steps == (1, 1) and tuple(kept) == size:
        return Operation("")
    return Operation("crop", (("start", list(starts)), ("step", list(steps)), ("size", kept)))


def _steps(numbers: Tensor) -> tuple[int, int] | None:
    """Start and step of numbers in equal, positive steps."""
    step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    even = step > 0 and torch.equal(numbers, numbers[0] + step * torch.arange(len(numbers)))
    return (int(numbers[0]), step) if even else None


def joined(values: Sequence[Maps]) -> Channels:
    """The channels of several values, one behind the other.

    Raises:
        Unknown: the sizes of their maps differ.
    """
    sizes = {each.size for each in values}
    if len(sizes) > 1:
        raise Unknown(f"it joins maps of sizes {', '.join(f'{r}x{c}' for r, c in sorted(sizes))}")
    paths: list[Path] = []
    path, channel = [], []
    for each in values:
        path.append(np.where(each.channels.path < 0, -1, each.channels.path + len(paths)))
        channel.append(each.channels.channel)
        paths += each.channels.paths
    return _merged(paths, np.concatenate(path), np.concatenate(channel))


def _numbered_together(values: Sequence[Maps]) -> list[Tensor]:
    """The numbers of the entries of several values among the channels that `joined` makes."""
    total, positions, start = sum(len(each.channels) for each in values), values[0].positions, 0
    found = []
    for each in values:
        numbers, count = each.numbered(), len(each.channels)
        image, slot = numbers // (positions * count), numbers // positions % count
        found.append((image * total + start + slot) * positions + numbers % positions)
        start += count
    return found


def _merged(paths: list[Path], path: NDArray[np.int64], channel: NDArray[np.int64]) -> Channels:
    """Channels whose paths of the same source and operations are one."""
    first: list[int] = []
    for number, each in enumerate(paths):
        same = (
            other
            for other in range(number)
            if paths[other].source == each.source and paths[other].operations == each.operations
        )
        first.append(next(same, number))
    numbers = np.array([*first, -1], dtype=np.int64)  # -1 stays -1
    return Channels.of(paths, numbers[path], channel)


def moved(values: Sequence[Maps], function: Callable[[list[Tensor]], Any]) -> Any:
    """What a function that only moves data makes of values: Maps, or a tuple of them where it returns several.

    Raises:
        Unknown: the values' sizes differ.
    """
    if len(values) == 1:
        base, inputs = values[0], [values[0].numbered()]
    else:
        base, inputs = Maps(joined(values), values[0].size), _numbered_together(values)
    result = function(inputs)
    if isinstance(result, Tensor):
        return base.arranged(result)
    return tuple(base.arranged(each) for each in result)
