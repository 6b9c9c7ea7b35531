"""Which positions of its input maps each position of a result reads: one rule per operation, axis by axis.

Rows and columns are independent for every operation there is: what position (r, c) reads is the product of what r
reads among the rows and what c reads among the columns. A rule gives both as *steps*: a step holds exactly what is
read within the maps, and where the same window would lie if the maps had no borders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from viscnn.errors import StoredDataError
from viscnn.ingest.operations import POINTWISE, Operation, apply
from viscnn.ingest.structure import LayerSpec

__all__ = ["RULES", "Rule", "Settings", "Step", "Steps", "convolution_steps", "repeated", "rule_of"]

Settings = Mapping[str, Any]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """Along one axis, what each position of a result reads.

    Attributes:
        reads: (positions of the result, positions of the input), true where one reads the other.
        rise, run, first, last: without borders position p reads from floor((rise p + first) / run) on, up to
            floor((rise p + last) / run).
    """

    reads: csr_array
    rise: int = 1
    run: int = 1
    first: int = 0
    last: int = 0

    @property
    def inputs(self) -> int:
        """Positions of the input."""
        return int(self.reads.shape[1])

    @property
    def results(self) -> int:
        """Positions of the result."""
        return int(self.reads.shape[0])

    def unbounded(self, low: Integers, high: Integers) -> tuple[Integers, Integers]:
        """First and last position that is read from intervals [low, high] of the result, borders or not."""
        return (self.rise * low + self.first) // self.run, (self.rise * high + self.last) // self.run


Steps = tuple[Step, ...]
"""One after the other, from the result back to the input; none where each position reads itself."""


@dataclass(frozen=True)
class Rule:
    """What an operation reads.

    Attributes:
        space: its steps along an axis (0 rows, 1 columns), from its settings and its input's size (rows, columns).
        channels: channels of the result by sources, true where one reads the other, from the same of its input.
    """

    space: Callable[[Settings, int, tuple[int, int]], Steps]
    channels: Callable[[Settings, Bools], Bools] = lambda settings, reads: reads


def _step(table: Integers, size: int, **unbounded: int) -> Step:
    """A step from a table (positions, reads) of the positions that are read; those outside [0, size) are none."""
    result, place = np.nonzero((table >= 0) & (table < size))
    data = np.ones(len(result), dtype=np.bool_)
    return Step(csr_array((data, (result, table[result, place])), shape=(len(table), size)), **unbounded)


def _windows(size: int, results: int, kernel: int, *, stride: int = 1, dilation: int = 1, before: int = 0) -> Steps:
    """A window that moves over positions with `before` empty ones in front of them."""
    if (kernel, stride, before, results) == (1, 1, 0, size):
        return ()
    table = np.arange(results)[:, None] * stride - before + np.arange(kernel) * dilation
    return (_step(table, size, rise=stride, first=-before, last=(kernel - 1) * dilation - before),)


def _padded(size: int, before: int, after: int, mode: str) -> Steps:
    """Positions around the maps, which are empty or read real ones; negative amounts cut positions off."""
    if not before and not after:
        return ()
    places = np.arange(-before, size + after)
    if mode == "replicate":
        read = places.clip(0, size - 1)
    elif mode == "circular":
        read = places % size
    elif mode == "reflect":
        read = size - 1 - abs(size - 1 - abs(places))
    elif mode in {"constant", "zeros"}:
        read = places
    else:
        raise StoredDataError(f"there is no padding mode {mode!r} (there are zeros, reflect, replicate and circular)")
    return (_step(read[:, None], size, first=-before, last=-before),)


def convolution_steps(layer: LayerSpec, axis: int, size: int) -> Steps:
    """What a layer reads of its input maps along an axis of `size` positions."""
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    if isinstance(layer.padding, str):
        total = dilation * (kernel - 1) if layer.padding == "same" else 0
        before, after = total // 2, total - total // 2
    else:
        before = after = layer.padding[axis]
    results = layer.output_size[axis]
    if layer.padding_mode == "zeros":
        return _windows(size, results, kernel, stride=stride, dilation=dilation, before=before)
    around = _padded(size, before, after, layer.padding_mode)
    return _windows(size + before + after, results, kernel, stride=stride, dilation=dilation) + around


def _pool(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    """Max and average pooling; its number of windows is torch's (`pooling_output_shape` in ATen/native/Pool.h)."""
    kernel, stride, padding = (settings[key][axis] for key in ("kernel", "stride", "padding"))
    dilation = settings.get("dilation", [1, 1])[axis]
    room = size[axis] + 2 * padding - dilation * (kernel - 1) - 1
    results = (room + (stride - 1 if settings["ceilMode"] else 0)) // stride + 1
    if settings["ceilMode"] and (results - 1) * stride >= size[axis] + padding:
        results -= 1  # the last window must begin in the maps or in the padding before them
    return _windows(size[axis], results, kernel, stride=stride, dilation=dilation, before=padding)


def _adaptive_pool(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    inputs, results = size[axis], settings["size"][axis]
    if results is None or results == inputs:
        return ()
    numbers = np.arange(results)
    first, end = numbers * inputs // results, -((numbers + 1) * inputs // -results)
    places = np.arange(inputs)
    inside = (places >= first[:, None]) & (places < end[:, None])
    return (_step(np.where(inside, places, -1), inputs, rise=inputs, run=results, last=inputs - 1),)


def _pad(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    amounts = [*settings["amounts"], 0, 0][:4]  # left, right, top, bottom; or left, right
    before, after = amounts[2:] if axis == 0 else amounts[:2]
    return _padded(size[axis], before, after, settings["mode"])


def _crop(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    start, step, results = (settings[key][axis] for key in ("start", "step", "size"))
    return _windows(size[axis], results, 1, stride=step, before=-start)


def _expand(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    return repeated(size[axis], settings["size"][axis])


def repeated(size: int, results: int) -> Steps:
    """One position that many read."""
    if size == results:
        return ()
    return (_step(np.zeros((results, 1), dtype=np.int64), size, rise=0),)


def _whole(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    """Every position reads all of them: as one that reads all, and many that read this one."""
    everything = _step(np.arange(size[axis])[None], size[axis], rise=0, last=size[axis] - 1)
    return (*repeated(1, size[axis]), everything)


def _itself(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    return ()


def _interpolate(settings: Settings, axis: int, size: tuple[int, int]) -> Steps:
    """Read from the operation itself: which positions answer when one of the input is not zero."""
    # as columns of one row, whatever the axis: with antialias torch treats one column of rows wrongly
    scaled = {key: None if settings[key] is None else [1, _along(settings[key], axis)] for key in ("size", "scale")}
    impulses = torch.eye(size[axis])[None, :, None]
    answers = apply(Operation("interpolate", tuple({**settings, **scaled}.items())), impulses)[0, :, 0]
    if settings["mode"] == "area":
        return _adaptive_pool({"size": [answers.shape[1]] * 2}, axis, size)
    step = Step(csr_array(answers.T.numpy() != 0), **_interpolated(settings, axis, size[axis], answers.shape[1]))
    numbers, ends = np.arange(step.results), step.reads.indptr
    low, high = step.unbounded(numbers, numbers)
    # where a window should end exactly on a position, torch's rounding may give the next one a tiny weight
    before = int((step.reads.indices[ends[:-1]] < low).any())
    behind = int((step.reads.indices[ends[1:] - 1] > high).any())
    return (replace(step, first=step.first - before, last=step.last + behind),)


def _along(value: Any, axis: int) -> Any:
    """A size or scale along an axis, where it is one for both or a list."""
    return value[axis] if isinstance(value, list | tuple) else value


def _interpolated(settings: Settings, axis: int, size: int, results: int) -> dict[str, int]:
    """Where a position reads without borders, as `Step` has it; from ATen/native/UpSample.h."""
    scale = _along(settings["scale"], axis)
    kept = scale is not None and not settings["recomputeScale"]
    ratio = 1 / Fraction(scale).limit_denominator(10**6) if kept else Fraction(size, results)
    if settings["alignCorners"]:
        ratio = Fraction(size - 1, max(results - 1, 1))
    rise, run = ratio.numerator, ratio.denominator
    if settings["mode"] == "nearest":
        return {"rise": rise, "run": run}
    if settings["mode"] == "nearest-exact":
        return {"rise": 2 * rise, "run": 2 * run, "first": rise, "last": rise}
    reach = 2 if settings["mode"] == "bicubic" else 1
    if settings["antialias"]:
        wide = 2 * reach * max(rise, run)
        return {"rise": 2 * rise, "run": 2 * run, "first": rise + run - wide, "last": rise - run + wide}
    first = 0
    if not settings["alignCorners"]:
        rise, run, first = 2 * rise, 2 * run, rise - run
    return {"rise": rise, "run": run, "first": first - (reach - 1) * run, "last": first + reach * run - 1}


def _neighbours(settings: Settings, reads: Bools) -> Bools:
    """Channels `size` wide around each, as torch pads them: the larger half in front."""
    before, after = settings["size"] // 2, (settings["size"] - 1) // 2
    numbers = range(len(reads))
    return np.stack([reads[max(number - before, 0) : number + after + 1].any(axis=0) for number in numbers])


def _groups(settings: Settings, reads: Bools) -> Bools:
    groups = settings["groups"]
    return reads.reshape(groups, -1, reads.shape[1]).any(axis=1).repeat(len(reads) // groups, axis=0)


def _all(settings: Settings, reads: Bools) -> Bools:
    return np.broadcast_to(reads.any(axis=0), reads.shape)


RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE, Rule(_itself)),
    "maxpool": Rule(_pool),
    "avgpool": Rule(_pool),
    "adaptive_avgpool": Rule(_adaptive_pool),
    "adaptive_maxpool": Rule(_adaptive_pool),
    "pad": Rule(_pad),
    "affine": Rule(_itself),
    "power": Rule(_itself),
    "crop": Rule(_crop),
    "expand": Rule(_expand),
    "interpolate": Rule(_interpolate),
    "instancenorm": Rule(_whole),
    "lrn": Rule(_itself, _neighbours),
    "layernorm": Rule(_itself, _all),
    "groupnorm": Rule(_whole, _groups),
    "softmax": Rule(_itself, _all),
    "gate": Rule(_itself),
}
"""The rule of every operation that FEEDS may hold; a gate reads its factors besides (`links.py`)."""


def rule_of(operation: Operation) -> Rule:
    """The rule of an operation; raises StoredDataError for one that has none."""
    if operation.name not in RULES:
        raise StoredDataError(f"it is not known which positions the operation {operation.name!r} reads")
    return RULES[operation.name]
