# mypy: ignore-errors
# ruff: noqa: N803
"""The CUDA kernel of `triton_products.py`, which imports this module when it is first needed (Linux and CUDA only).

Arguments of `products_kernel`, and of the steps that it is made of:

    x: padded maps (N, groups, inputs, places), a place being a position of the padded map.
    weight: (groups, inputs, entries, of_group): neighbours in memory are read together.
    gradient: (N, groups * of_group, P, columns), with the four strides.
    absolute, signed: (N * pieces, groups * of_group, inputs); `signed` is left alone without SIGNED.
    row_step, column_step: places to the next row and column of the output.
    tap_down, tap_across: places to the next row and column of the kernel.
    ROWS, COLUMNS: size of the kernel.
"""

import triton
import triton.language as tl

__all__ = ["products_kernel"]


@triton.jit
def _block(block, inputs, of_group, INPUTS: tl.constexpr, FILTERS: tl.constexpr):
    """Group, inputs and filters of a program."""
    input_blocks = tl.cdiv(inputs, INPUTS)
    filter_blocks = tl.cdiv(of_group, FILTERS)
    i = block % input_blocks * INPUTS + tl.arange(0, INPUTS)
    o = block // input_blocks % filter_blocks * FILTERS + tl.arange(0, FILTERS)
    return block // (input_blocks * filter_blocks), i, o


@triton.jit
def _tile(tile, positions, columns, POSITIONS: tl.constexpr):
    """Which positions of a tile there are, and their rows and columns; those beyond the last read the first."""
    position = tile * POSITIONS + tl.arange(0, POSITIONS)
    inside = position < positions
    position = tl.where(inside, position, 0)
    return inside, position // columns, position % columns


@triton.jit
def _edge_values(
    under, kernels, of_group, tap_down, tap_across,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    INPUTS: tl.constexpr, FILTERS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """The edge maps at a tile's positions, (INPUTS, FILTERS, POSITIONS); `under` are the places of the first taps."""
    values = tl.zeros((INPUTS, FILTERS, POSITIONS), dtype=tl.float32)
    for r in range(ROWS):
        for s in range(COLUMNS):
            pixels = tl.load(under + (r * tap_down + s * tap_across))
            factors = tl.load(kernels + (r * COLUMNS + s) * of_group)
            values += factors[:, :, None] * pixels[:, None, :]
    return values


@triton.jit
def products_kernel(
    x, weight, gradient, absolute, signed, groups, of_group, inputs, places, positions, columns,
    image_stride, filter_stride, row_stride, column_stride, row_step, column_step, tap_down, tap_across, pieces,
    SIGNED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    INPUTS: tl.constexpr, FILTERS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Sums of |A G| (and A G) over a piece of one image's positions for a block of inputs and filters of one group.

    Nobody else writes what a program writes, so sums come out the same every time. Edge-map values live in registers,
    a block (INPUTS, FILTERS, POSITIONS) of them; so do their sums, which are added up over positions at the end only.
    """
    group, i, o = _block(tl.program_id(0), inputs, of_group, INPUTS, FILTERS)
    part = tl.program_id(1)
    image = (part // pieces).to(tl.int64)  # 64 bits wherever a tensor may have more than 2^31 elements
    # rows beyond the last input or filter read the last one again; what they add up to is not stored
    channel = (group * inputs + tl.minimum(i, inputs - 1)).to(tl.int64)
    in_group = tl.minimum(o, of_group - 1)
    maps = x + (image * (groups * inputs) + channel) * places
    kernels = weight + channel[:, None] * (ROWS * COLUMNS * of_group) + in_group[None, :]
    slopes = gradient + image * image_stride + (group * of_group + in_group).to(tl.int64) * filter_stride
    sizes = tl.zeros((INPUTS, FILTERS, POSITIONS), dtype=tl.float32)
    plain = tl.zeros((INPUTS, FILTERS, POSITIONS), dtype=tl.float32)
    tiles = tl.cdiv(positions, POSITIONS)
    in_piece = tl.cdiv(tiles, pieces)
    start = part % pieces * in_piece
    for tile in range(start, tl.minimum(start + in_piece, tiles)):
        inside, row, column = _tile(tile, positions, columns, POSITIONS)
        offset = row.to(tl.int64) * row_stride + column.to(tl.int64) * column_stride
        g = tl.load(slopes[:, None] + offset[None, :], mask=inside[None, :], other=0.0)
        if tl.sum((g != 0).to(tl.int32)) > 0:
            under = maps[:, None] + (row * row_step + column * column_step)[None, :]
            values = _edge_values(
                under, kernels, of_group, tap_down, tap_across, ROWS, COLUMNS, INPUTS, FILTERS, POSITIONS
            )
            products = values * g[None, :, :]
            sizes += tl.abs(products)
            if SIGNED:
                plain += products
    to = (part.to(tl.int64) * (groups * of_group) + (group * of_group + o)[None, :]) * inputs + i[:, None]
    known = (i < inputs)[:, None] & (o < of_group)[None, :]
    tl.store(absolute + to, tl.sum(sizes, axis=2), mask=known)
    if SIGNED:
        tl.store(signed + to, tl.sum(plain, axis=2), mask=known)
