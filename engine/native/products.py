"""Edge products of one convolution by the native library."""

import threading
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from viscnn.engine.geometry import EdgeProducts, Geometry
from viscnn.engine.native.library import CHANNELS, NativeLibrary, Problem, describe, load
from viscnn.errors import ConfigError

__all__ = ["map_products", "products"]

_IMAGES = 64
"""At most so many are summed up in float32; sums of more are added in float64."""


@dataclass(frozen=True)
class _Packed:
    """Weights in the order of the inner loop, and what they were made from."""

    values: Tensor
    version: int
    address: int
    lanes: int
    groups: int

    def fits(self, weight: Tensor, lanes: int, groups: int) -> bool:
        made_from = (self.version, self.address, self.lanes, self.groups)
        return made_from == (weight._version, weight.data_ptr(), lanes, groups)


_packed_weights = WeakTensorKeyDictionary()
_lock = threading.Lock()


def products(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, *, signed: bool) -> EdgeProducts:
    """Sums of edge map times gradient per kernel, over the batch and all positions.

    Packed weights are kept as long as `weight` lives: pass the same tensor object for the same layer each time.

    Args:
        x: input maps (N, C, H, W) without padding, float32.
        weight: (O, C/groups, KH, KW), float32.
        gradient: dT/dZ (N, O, P, Q), float32, in any strides; exact zeros cost nothing.
        signed: whether the signed sums are wanted too.

    Raises:
        ConfigError: the library was not built.
        ViscnnError: the packed maps of one image do not fit into memory.
    """
    library = load()
    if library is None:
        raise ConfigError(describe()[1])
    if len(x) > _IMAGES:
        return _in_parts(x, weight, gradient, geometry, signed)
    x, gradient, values = x.detach().contiguous(), gradient.detach(), weight.detach().contiguous()
    results = [torch.zeros(weight.shape[:2]) for _ in range(3 if signed else 1)]
    problem = _problem(x, values, gradient, geometry, results)
    if min(problem.images, problem.filters, problem.inputs, problem.rows, problem.columns) > 0:
        _run(library, problem, weight)
    return EdgeProducts(*results)


def map_products(maps: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over positions of |map x gradient| and of map x gradient, (N, O) each.

    Args:
        maps, gradient: (N, O, P, Q), float32.

    Raises:
        ConfigError: the library was not built.
    """
    library = load()
    if library is None:
        raise ConfigError(describe()[1])
    maps, gradient = maps.detach().contiguous(), gradient.detach().contiguous()
    absolute, total = torch.zeros(maps.shape[:2]), torch.zeros(maps.shape[:2])
    if maps.numel() > 0:
        addresses = (maps.data_ptr(), gradient.data_ptr()), (absolute.data_ptr(), total.data_ptr())
        positions = maps.shape[2] * maps.shape[3]
        threads = torch.get_num_threads()
        library.map_products(*addresses[0], absolute.numel(), positions, *addresses[1], threads=threads)
    return absolute, total


def _in_parts(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, signed: bool) -> EdgeProducts:
    parts = [
        products(part, weight, of_part, geometry, signed=signed)
        for part, of_part in zip(torch.split(x, _IMAGES), torch.split(gradient, _IMAGES), strict=True)
    ]

    def total(values: list[Tensor]) -> Tensor:
        return torch.stack([each.double() for each in values]).sum(dim=0).float()

    return EdgeProducts(
        total([part.absolute for part in parts]),
        total([part.signed for part in parts if part.signed is not None]) if signed else None,
        total([part.map_absolute for part in parts if part.map_absolute is not None]) if signed else None,
    )


def _problem(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, results: list[Tensor]) -> Problem:
    images, _, height, width = x.shape
    left, right, top, bottom = geometry.padding
    absolute, signed, map_absolute = (*(each.data_ptr() for each in results), None, None)[:3]
    return Problem(
        *(x.data_ptr(), weight.data_ptr(), None, gradient.data_ptr(), absolute, signed, map_absolute),
        *gradient.stride(),
        *(images, geometry.groups, weight.shape[1], weight.shape[0] // geometry.groups),
        *(height, width, gradient.shape[2], gradient.shape[3], weight.shape[2], weight.shape[3]),
        *geometry.stride,
        *geometry.dilation,
        *(left, right, top, bottom),
        torch.get_num_threads(),
        CHANNELS,
    )


def _run(library: NativeLibrary, problem: Problem, weight: Tensor) -> None:
    problem.method = library.choose_method(problem)
    if problem.method == CHANNELS:
        packed = _packed(library, problem, weight)
        problem.packed_weight = packed.data_ptr()
    library.add_products(problem)


def _packed(library: NativeLibrary, problem: Problem, weight: Tensor) -> Tensor:
    if weight.is_inference():  # such tensors do not count their changes
        return _pack(library, problem)
    with _lock:
        known = _packed_weights.get(weight)  # type: ignore[no-untyped-call]
    if known is not None and known.fits(weight, library.lanes, problem.groups):
        return known.values  # type: ignore[no-any-return]
    version = weight._version
    values = _pack(library, problem)
    with _lock:
        _packed_weights[weight] = _Packed(values, version, weight.data_ptr(), library.lanes, problem.groups)
    return values


def _pack(library: NativeLibrary, problem: Problem) -> Tensor:
    lanes = library.lanes
    inputs = -(-problem.inputs // lanes) * lanes
    entries = problem.kernel_height * problem.kernel_width
    room = torch.empty(problem.groups * problem.filters * inputs * entries + 16)
    values = room[-room.data_ptr() // 4 % 16 :]  # at a multiple of 64 bytes
    library.pack_weight(problem, values.data_ptr())
    return values
