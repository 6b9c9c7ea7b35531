# mypy: ignore-errors
"""Compiled loops of `numba_products.py`, which imports this module when they are first needed (numba takes 0.5 s).

LLVM's vectoriser does not keep edge-map values in registers over a loop of kernel entries, so the innermost loop is
written with LLVM's own vectors of 16 input channels; it is the same code on every processor, and LLVM splits the
vectors where registers are shorter. All functions release the GIL: threads are plain Python threads, as numba's own
threading layers either abort on concurrent calls (workqueue) or do not survive a fork (OpenMP).
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "TOGETHER", "pack", "score"]

LANES = 16
TOGETHER = 8
"""Positions worked on together: each load of a kernel entry serves all of them. Eight were best or equal to it (of 3,
4, 6, 8 and 12) with AVX-512 and with AVX2 alone."""
SLICE = 1024 * TOGETHER
"""Positions added up in float32 before the sums go on in float64."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_WIDE = ir.VectorType(ir.DoubleType(), LANES)


@intrinsic
def _add_products(typing, maps, kernel, taps, places, slopes, start, stop, sums):
    """Add |t g| and t g of the positions start..stop (a multiple of TOGETHER apart) to the two rows of `sums`.

    t is the edge map of 16 channels at a position: the sum over kernel entries of kernel[entry] * maps[place + tap].

    Args:
        maps: (places, 16) float32. kernel: (entries, 16) float32. taps: (entries,) int64, in places.
        places, slopes: (positions,) int32 and float32, the first place under the kernel and g.
        sums: (2, 16) float64.
    """
    return types.void(maps, kernel, taps, places, slopes, start, stop, sums), _generate


def _generate(context, builder, signature, arguments):
    arrays = [*arguments[:5], arguments[7]]
    kinds = [*signature.args[:5], signature.args[7]]
    maps, kernel, taps, places, slopes, sums = (
        context.make_array(kind)(context, builder, array).data for kind, array in zip(kinds, arrays, strict=True)
    )
    maps, kernel = (builder.bitcast(each, _VECTOR.as_pointer()) for each in (maps, kernel))
    entries = builder.extract_value(context.make_array(kinds[2])(context, builder, arrays[2]).shape, 0)
    totals = [_variable(builder, _VECTOR) for _ in range(2)]
    with cgutils.for_range_slice(builder, *arguments[5:7], entries.type(TOGETHER), entries.type) as (first, _):
        numbers = [builder.add(first, first.type(each)) for each in range(TOGETHER)]
        values = _edge_map_values(builder, maps, kernel, taps, entries, [_load(builder, places, n) for n in numbers])
        for number, value in zip(numbers, values, strict=True):
            product = builder.fmul(value, _spread(builder, _load(builder, slopes, number)))
            for total, term in zip(totals, (_call(builder, "fabs", product), product), strict=True):
                builder.store(builder.fadd(builder.load(total), term), total)
    sums = builder.bitcast(sums, _WIDE.as_pointer())
    for row, total in enumerate(totals):
        address = builder.gep(sums, [entries.type(row)])
        grown = builder.fadd(builder.load(address, align=8), builder.fpext(builder.load(total), _WIDE))
        builder.store(grown, address, align=8)
    return context.get_dummy_value()


def _edge_map_values(builder, maps, kernel, taps, entries, places):
    """Edge-map values at all of `places`, as vectors over channels."""
    starts = [builder.gep(maps, [builder.sext(place, entries.type)]) for place in places]
    values = [_variable(builder, _VECTOR) for _ in places]
    with cgutils.for_range(builder, entries) as loop:
        factor = _load(builder, kernel, loop.index, align=4)
        tap = _load(builder, taps, loop.index)
        for start, value in zip(starts, values, strict=True):
            pixel = _load(builder, start, tap, align=4)
            builder.store(_call(builder, "fmuladd", factor, pixel, builder.load(value)), value)
    return [builder.load(each) for each in values]


def _variable(builder, kind):
    """A local variable, zero at this point of the code; LLVM turns it into a register."""
    address = cgutils.alloca_once(builder, kind)
    builder.store(kind(None), address)
    return address


def _load(builder, array, index, align=None):
    return builder.load(builder.gep(array, [index]), align=align)


def _call(builder, name, *vectors):
    """LLVM's own function `name` on vectors."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, vectors)


def _spread(builder, value):
    """A vector with one number in all lanes."""
    lanes = ir.VectorType(ir.IntType(32), LANES)
    single = builder.insert_element(_VECTOR(ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(single, _VECTOR(ir.Undefined), lanes(None))


@njit(nogil=True, cache=True)
def pack(x, corner, packed, image, block):
    """Copy 16 channels of one image into `packed[image, block]`, a block of (padded rows, padded columns, 16) zeros.

    Args:
        x: (N, groups, inputs, H, W).
        corner: row and column of the block where the map begins.
        packed: (N, blocks, padded rows, padded columns, 16); every group has blocks of its own.
    """
    inputs, rows, columns = x.shape[2:]
    blocks = (inputs + LANES - 1) // LANES
    channel = block % blocks * LANES
    source, to = x[image, block // blocks], packed[image, block]
    for row in range(rows):
        for lane in range(min(LANES, inputs - channel)):
            for column in range(columns):
                to[row + corner[0], column + corner[1], lane] = source[channel + lane, row, column]


@njit(nogil=True, cache=True)
def score(packed, weight, gradient, taps, steps, filters, sums):
    """Add the sums of some filters over all images.

    Args:
        packed: (N, blocks, places, 16), all of the images' groups and blocks of channels.
        weight: (O, inputs, entries). gradient: (N, groups, O per group, P, Q).
        taps: (entries,) places from the first to each entry of the kernel.
        steps: places to the next row and the next column of the output.
        filters: first filter, and the one after the last.
        sums: (3, O, channels in whole blocks) float64: absolute, signed, map_absolute.
    """
    groups, of_group = gradient.shape[1:3]
    blocks = packed.shape[1] // groups
    room = gradient.shape[3] * gradient.shape[4] + TOGETHER
    places, slopes = np.empty(room, np.int32), np.empty(room, np.float32)
    kernel = np.zeros((blocks, weight.shape[2], LANES), np.float32)
    row = np.empty((2, LANES), np.float64)
    for o in range(filters[0], filters[1]):
        group = o // of_group
        _pack_kernel(weight[o], kernel)
        for n in range(len(packed)):
            count = _alive(gradient[n, group, o % of_group], steps, places, slopes)
            for block in range(blocks if count else 0):
                row[:] = 0
                maps = packed[n, group * blocks + block]
                for start in range(0, count, SLICE):
                    _add_products(maps, kernel[block], taps, places, slopes, start, min(start + SLICE, count), row)
                for lane in range(LANES):
                    channel = block * LANES + lane
                    sums[0, o, channel] += row[0, lane]
                    sums[1, o, channel] += row[1, lane]
                    sums[2, o, channel] += abs(row[1, lane])


@njit(nogil=True, cache=True)
def _pack_kernel(weight, kernel):
    """Copy (inputs, entries) into (blocks, entries, 16)."""
    for channel in range(weight.shape[0]):
        for entry in range(weight.shape[1]):
            kernel[channel // LANES, entry, channel % LANES] = weight[channel, entry]


@njit(nogil=True, cache=True)
def _alive(gradient, steps, places, slopes):
    """List the positions of a map (P, Q) with a gradient; returns their count, filled up to whole TOGETHERs."""
    count = 0
    for p in range(gradient.shape[0]):
        for q in range(gradient.shape[1]):
            places[count] = p * steps[0] + q * steps[1]
            slopes[count] = gradient[p, q]
            count += gradient[p, q] != 0
    while count % TOGETHER:
        places[count], slopes[count] = places[count - 1], 0  # the last one again, with no weight
        count += 1
    return count
