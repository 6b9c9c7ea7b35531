"""Kernel scores on CUDA: one Triton kernel, float32, no edge map in memory.

The method is that of the survey of performance, section 4: a program keeps the edge-map values of a few inputs and
filters at a tile of positions in registers, and leaves out tiles without any gradient. It has been held against the
float64 oracle in Triton's interpreter and compiled for an H100; block sizes come from reasoning, not from timings.
"""

import importlib
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from viscnn.engine.geometry import EdgeProducts, Geometry

__all__ = ["describe", "products"]

INPUTS, FILTERS, POSITIONS, WARPS = 2, 16, 64, 1
"""What a program works on at once, and its warps.

Read from the code compiled for an H100, not from timings: a thread has 16 filters, 2 positions and 2 inputs, so an
entry of the kernels costs 13 loads for 64 multiplications. One warp needs no barrier, and its 255 registers hold the
values and their sums. Larger tiles spill, and more warps share less. A tile of 64 positions fits maps of 7 * 7 well
enough, and 13 * 13 and 14 * 14.
"""
PROGRAMS = 4096
"""An image's positions are cut into pieces until there are so many programs: an H100 runs about 1000 at once."""
PARTIAL_FLOATS = 2**24
"""Sums of single pieces that are held at once."""
MOST_PARTS = 65_535
"""CUDA's limit for the second axis of a grid."""


@lru_cache(maxsize=1)
def describe() -> tuple[bool, str]:
    """Whether the kernel can run here, and on what, or why it cannot."""
    if not torch.cuda.is_available():
        return False, "no CUDA device"
    try:
        triton = importlib.import_module("triton")
    except (ImportError, OSError) as error:
        return False, f"triton cannot be imported: {' '.join(str(error).split())[:160]}"
    return True, f"triton {triton.__version__} on {torch.cuda.get_device_name()}"


def products(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, *, signed: bool) -> EdgeProducts:
    """Sums over the batch of edge map times gradient.

    Args:
        x: (N, C, H, W) float32, not padded, on a CUDA device (or on the CPU with TRITON_INTERPRET=1).
        weight: (O, C / groups, rows, columns).
        gradient: dT/dZ, (N, O, P, Q) with any strides; tiles where it is exactly zero are skipped.
        signed: the signed sums as well.

    Returns:
        float32 sums, (O, C / groups) each; added up in float32 within a piece of an image, then in float64.
    """
    x, weight, gradient = (each.detach() for each in (x, weight, gradient))
    x = geometry.padded(x).contiguous()  # once, so that no program asks whether a position is inside
    grid = _Grid.of(weight.shape, gradient.shape, geometry)
    images = max(1, min(MOST_PARTS, PARTIAL_FLOATS // weight[:, :, 0, 0].numel()) // grid.pieces)
    kernels = (
        weight.reshape(geometry.groups, -1, weight.shape[1], weight[0, 0].numel()).permute(0, 2, 3, 1).contiguous()
    )
    sums = torch.zeros((3, *weight.shape[:2]), dtype=torch.float64, device=x.device)
    for start in range(0, len(x), images):
        some = slice(start, start + images)
        sizes, plain = _launch(x[some], weight.shape, kernels, gradient[some], geometry, grid, signed)
        sums[0] += sizes.sum(dim=0, dtype=torch.float64)
        if signed:
            each = plain.view(-1, grid.pieces, *weight.shape[:2]).sum(dim=1, dtype=torch.float64)
            sums[1] += each.sum(dim=0)
            sums[2] += each.abs_().sum(dim=0)
    absolute, signed_sums, of_maps = sums.float()
    return EdgeProducts(absolute, signed_sums, of_maps) if signed else EdgeProducts(absolute)


@dataclass(frozen=True)
class _Grid:
    """How one image's work is cut into programs.

    Attributes:
        inputs, filters, positions: of a program's tiles; powers of two.
        blocks: programs for one piece of an image.
        pieces: programs that share the positions of an image, each with a tile of its own at least.
    """

    inputs: int
    filters: int
    positions: int
    blocks: int
    pieces: int

    @classmethod
    def of(cls, weight: torch.Size, gradient: torch.Size, geometry: Geometry) -> "_Grid":
        images, of_group, positions = gradient[0], weight[0] // geometry.groups, gradient[2] * gradient[3]
        wanted = ((weight[1], 1, INPUTS), (of_group, 4, FILTERS), (positions, 16, POSITIONS))
        tile = [min(most, max(least, 1 << (size - 1).bit_length())) for size, least, most in wanted]
        input_blocks, filter_blocks, tiles = (-(-size // of) for (size, _, _), of in zip(wanted, tile, strict=True))
        blocks = geometry.groups * input_blocks * filter_blocks
        return cls(tile[0], tile[1], tile[2], blocks, pieces=min(tiles, -(-PROGRAMS // (blocks * max(1, images)))))


def _launch(
    x: Tensor,
    shape: torch.Size,
    kernels: Tensor,
    gradient: Tensor,
    geometry: Geometry,
    grid: _Grid,
    signed: bool,
) -> tuple[Tensor, Tensor]:
    """Sums of every piece of every image, (images * pieces, O, I); the second is empty unless `signed`.

    Args:
        x: padded maps. shape: of the weight. kernels: the weight as (groups, I, entries, O per group).
    """
    filters, inputs, rows, columns = shape
    parts = len(x) * grid.pieces
    sizes = torch.empty((parts, filters, inputs), device=x.device)
    plain = torch.empty((parts if signed else 0, filters, inputs), device=x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # Triton launches on the current device, not on that of its arguments
        _kernels().products_kernel[(grid.blocks, parts)](
            x,
            kernels,
            gradient,
            sizes,
            plain,
            geometry.groups,
            filters // geometry.groups,
            inputs,
            x.shape[2] * x.shape[3],
            gradient.shape[2] * gradient.shape[3],
            gradient.shape[3],
            *gradient.stride(),
            geometry.stride[0] * x.shape[3],
            geometry.stride[1],
            geometry.dilation[0] * x.shape[3],
            geometry.dilation[1],
            grid.pieces,
            SIGNED=signed,
            ROWS=rows,
            COLUMNS=columns,
            INPUTS=grid.inputs,
            FILTERS=grid.filters,
            POSITIONS=grid.positions,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )
    return sizes, plain


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    return importlib.import_module("viscnn.engine.triton_kernels")
