"""Kernel scores on the CPU where there is no compiler: loops that numba compiles once per machine.

The method (survey of performance, sections 2 and 4): positions without gradient are skipped, 16 input channels are
worked on at once, and no edge map is stored. Compiled code is kept below `cache_folder()`.
"""

import importlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.config import cache_folder
from viscnn.engine.geometry import EdgeProducts, Geometry

__all__ = ["describe", "products"]

PACKED_BYTES = 32 * 2**20
"""Images are packed together until they take so much; a single image may take more."""
ALIGNMENT = 64
PARTS_PER_THREAD = 8
"""Filters differ in how many of their positions have a gradient, so threads take them in small parts."""

Array = NDArray[Any]


@lru_cache(maxsize=1)
def describe() -> tuple[bool, str]:
    """Whether numba can compile here, and what it is or why it cannot."""
    try:
        numba = importlib.import_module("numba")
    except (ImportError, OSError, SystemError) as error:
        return False, f"numba cannot be imported: {' '.join(str(error).split())[:160]}"
    if numba.config.DISABLE_JIT:
        return False, "NUMBA_DISABLE_JIT is set"
    return True, f"numba {numba.__version__}, compiled on first use"


def products(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, *, signed: bool) -> EdgeProducts:
    """Sums over the batch of edge map times gradient, on `torch.get_num_threads()` threads.

    Args:
        x: (N, C, H, W) float32 on the CPU, not padded.
        weight: (O, C / groups, rows, columns).
        gradient: dT/dZ, (N, O, P, Q); positions where it is exactly zero are skipped.
        signed: the signed sums as well (they cost nothing).

    Returns:
        float32 sums, (O, C / groups) each. A few thousand positions are added in float32, the rest in float64.

    Raises:
        ConfigError: the folder for compiled code cannot be created.
    """
    filters, inputs = weight.shape[:2]
    layer = _Layer.of(_array(weight), x.shape[2:], geometry)
    maps = _array(x).reshape(len(x), geometry.groups, inputs, *x.shape[2:])
    slopes = _array(gradient).reshape(len(x), geometry.groups, filters // geometry.groups, *gradient.shape[2:])
    sums = layer.sums(maps, slopes)[:, :, :inputs].astype(np.float32)
    absolute, plain, of_maps = (torch.from_numpy(each.copy()) for each in sums)
    return EdgeProducts(absolute, plain, of_maps) if signed else EdgeProducts(absolute)


@dataclass(frozen=True)
class _Layer:
    """One convolution on maps of one size, as the compiled loops want it.

    Attributes:
        weight: (O, inputs, entries).
        taps: (entries,) places from the first to each entry of the kernel.
        steps: places to the next row and the next column of the output.
        corner: row and column of the padded map where the map begins.
        size: rows and columns of the padded map.
    """

    weight: Array
    taps: Array
    steps: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, weight: Array, shape: Iterable[int], geometry: Geometry) -> "_Layer":
        left, right, top, bottom = geometry.padding
        height, width = shape
        columns = width + left + right
        downwards = np.arange(weight.shape[2], dtype=np.int64) * geometry.dilation[0] * columns
        across = np.arange(weight.shape[3], dtype=np.int64) * geometry.dilation[1]
        return cls(
            weight=weight.reshape(*weight.shape[:2], -1),
            taps=(downwards[:, None] + across).reshape(-1),
            steps=(geometry.stride[0] * columns, geometry.stride[1]),
            corner=(top, left),
            size=(height + top + bottom, columns),
        )

    def sums(self, maps: Array, slopes: Array) -> Array:
        """Absolute, signed and map_absolute sums, (3, O, channels in whole blocks) float64.

        Args:
            maps: (N, groups, inputs, H, W). slopes: (N, groups, O per group, P, Q).
        """
        kernels = _kernels()
        lanes: int = kernels.LANES
        filters, inputs = self.weight.shape[:2]
        in_group = -(-inputs // lanes)
        blocks = maps.shape[1] * in_group
        found = np.zeros((3, filters, in_group * lanes))
        rows, columns = self.size
        images = max(1, PACKED_BYTES // (blocks * rows * columns * lanes * 4))
        threads = torch.get_num_threads()
        parts = _parts(filters, threads * PARTS_PER_THREAD)
        for start in range(0, len(maps), images):
            some, their = maps[start : start + images], slopes[start : start + images]
            packed = _zeros((len(some), blocks, rows, columns, lanes))

            def pack(number: int, some: Array = some, packed: Array = packed) -> None:
                kernels.pack(some, self.corner, packed, number // blocks, number % blocks)

            places = packed.reshape(len(some), blocks, rows * columns, lanes)

            def score(number: int, places: Array = places, their: Array = their) -> None:
                kernels.score(places, self.weight, their, self.taps, self.steps, parts[number], found)

            _spread(pack, len(some) * blocks, threads)
            _spread(score, len(parts), threads)
        return found


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    """The compiled loops; numba is told where to keep them, and only them, while their module is imported."""
    config = importlib.import_module("numba").config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder() / "numba")
    try:
        return importlib.import_module("viscnn.engine.numba_kernels")
    finally:
        config.CACHE_DIR = before


def _parts(filters: int, count: int) -> list[tuple[int, int]]:
    size = max(1, filters // count)
    return [(start, min(start + size, filters)) for start in range(0, filters, size)]


def _spread(work: Callable[[int], None], count: int, threads: int) -> None:
    """Do `work` for every number; threads live for this call only, so that nothing is left to break in a fork."""
    if min(threads, count) <= 1:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(min(threads, count)) as pool:
        list(pool.map(work, range(count)))


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    return array


def _zeros(shape: tuple[int, ...]) -> Array:
    """Zeros that begin at a cache line: a vector of 16 channels then lies in one."""
    size = int(np.prod(shape))
    room = np.zeros(size + ALIGNMENT // 4, dtype=np.float32)
    skipped = -room.ctypes.data % ALIGNMENT // 4
    return room[skipped : skipped + size].reshape(shape)
