"""Kernels and identities as blocks of arrays, made as they are asked for, with nothing of Neo4j in them.

Each relationship has its place in a block: the filter that it ends in, its `input`, and the number of the filter that
it starts at (`Architecture.sources`). Blocks are small and of whole filters, so that memory does not grow with the
number of kernels. Both loaders, over Bolt and by bulk import, write from them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import ModelError
from viscnn.ingest.structure import Architecture, LayerSpec

__all__ = [
    "SIGNS",
    "SIGN_CUTOFF",
    "Block",
    "Extent",
    "Kept",
    "KernelBlock",
    "KernelFacts",
    "identity_blocks",
    "kept_kernels",
    "kernel_blocks",
    "kernel_facts",
]

SIGN_CUTOFF = 1 / 3
"""A kernel is mixed when |sum(W)| / sum(|W|) <= 1/3: neither sign carries more than two thirds of its weight."""

SIGNS = ("inhibitory", "mixed", "excitatory")
"""Names of the signs -1, 0 and +1."""

KERNELS_PER_BLOCK = 5_000
"""Also per transaction; with 20,000 the server takes 1.4 times the CPU time."""

WEIGHTS_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class Extent:
    """How much of a model's kernels is stored: all of them with their weights, or less.

    Attributes:
        weights: whether KERNEL.weights is stored.
        above: only kernels with l1 above this.
        top: only so many kernels of largest l1 in the whole model; among equal ones the first in the network.

    Raises:
        ModelError: `above` and `top` together, or one out of range.
    """

    weights: bool = True
    above: float | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        if self.above is not None and self.top is not None:
            raise ModelError("--kernels-above and --top-kernels exclude each other; give one of them")
        if self.above is not None and not 0 <= self.above < np.inf:
            raise ModelError(f"--kernels-above {self.above} must be 0 or a positive number")
        if self.top is not None and self.top < 1:
            raise ModelError(f"--top-kernels {self.top} must be 1 or more")


@dataclass(frozen=True)
class Kept:
    """Which kernels an extent keeps: those of l1 above `above`, and the first `ties` that equal it (None: all).

    Attributes:
        kernels: how many are kept.
        left_out: how many are not.
    """

    kernels: int
    left_out: int
    above: float | None = None
    ties: int = 0


@dataclass(frozen=True)
class KernelFacts:
    """Per kernel of a layer, each (filters, inputs): norms, sign ratio sum(W) / sum(|W|), and sign -1, 0, +1."""

    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    sign_ratio: NDArray[np.float64]
    sign: NDArray[np.int8]


@dataclass(frozen=True)
class Block:
    """Relationships into filters of one layer, by filter and then by input, each array (k,).

    Attributes:
        outputs: channel of the filter that they end in.
        inputs: the property `input`: index i of W[o, i], of a sum the addend.
        sources: number of the filter that they start at, as `Architecture.numbers` counts them.
    """

    layer: LayerSpec
    outputs: NDArray[np.int64]
    inputs: NDArray[np.int64]
    sources: NDArray[np.int64]


@dataclass(frozen=True)
class KernelBlock(Block):
    """Kernels into neighbouring filters of one layer, with their properties.

    Attributes:
        weights: (k, rows * columns), or None when they are not stored.
        l1, l2, sign_ratio, sign: (k,), as in `KernelFacts`.
    """

    weights: NDArray[np.float32] | None
    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    sign_ratio: NDArray[np.float64]
    sign: NDArray[np.int8]


def kernel_facts(weights: NDArray[np.float32]) -> KernelFacts:
    """Facts of the kernels W (filters, inputs, rows, columns); an all-zero kernel has ratio 0 and is mixed."""
    w = weights.astype(np.float64)
    l1 = np.abs(w).sum(axis=(2, 3))
    total = w.sum(axis=(2, 3))
    ratio = np.divide(total, l1, out=np.zeros_like(l1), where=l1 > 0)
    sign = np.where(ratio > SIGN_CUTOFF, 1, np.where(ratio < -SIGN_CUTOFF, -1, 0)).astype(np.int8)
    return KernelFacts(l1, np.sqrt((w**2).sum(axis=(2, 3))), ratio, sign)


def identity_blocks(architecture: Architecture) -> Iterator[Block]:
    """The identities of each sum: one block a sum; maps of an addend that are always zero have none."""
    for layer in architecture.layers:
        if layer.is_sum:
            sources = architecture.sources(layer).reshape(layer.filters, layer.inputs)
            outputs, inputs = np.nonzero(sources >= 0)
            yield Block(layer, outputs, inputs, sources[outputs, inputs])


def kernel_blocks(
    architecture: Architecture, extent: Extent | None = None, kept: Kept | None = None
) -> Iterator[KernelBlock]:
    """All kernels that are stored, layer by layer, in blocks of whole filters and about 5,000 kernels.

    Args:
        extent: how much is stored; by default all of it.
        kept: what `kept_kernels` found for this extent, so that it is not looked for again.
    """
    extent = extent or Extent()
    kept = kept or kept_kernels(architecture, extent)
    ties = kept.ties
    for layer, outputs, sources, weights in _raw_blocks(architecture):
        facts = kernel_facts(weights)
        chosen = sources >= 0
        if kept.above is not None:
            equal = chosen & (facts.l1 == kept.above)
            first = equal & (np.cumsum(equal).reshape(equal.shape) <= ties)
            ties -= int(first.sum())
            chosen &= _above(facts.l1, kept.above) | first
        rows, inputs = np.nonzero(chosen)
        flat = weights.reshape(*weights.shape[:2], -1)
        yield KernelBlock(
            layer,
            outputs[rows],
            inputs,
            sources[chosen],
            flat[chosen] if extent.weights else None,
            facts.l1[chosen],
            facts.l2[chosen],
            facts.sign_ratio[chosen],
            facts.sign[chosen],
        )


def kept_kernels(architecture: Architecture, extent: Extent) -> Kept:
    """Which kernels an extent keeps, exactly, and how many; nothing is held in memory but a block and some counters."""
    norms = _Norms(architecture)
    if extent.above is not None:
        count = sum(int(_above(each, extent.above).sum()) for each in norms())
        return Kept(count, architecture.kernels - count, extent.above)
    sourced = sum(_sourced(architecture, layer) for layer in architecture.layers if not layer.is_sum)
    if extent.top is None or extent.top >= sourced:
        return Kept(sourced, architecture.kernels - sourced)
    return Kept(extent.top, architecture.kernels - extent.top, *_cut(norms, extent.top))


def _above(l1: NDArray[np.float64], above: float) -> NDArray[np.bool_]:
    """Whether each norm is above the cut; one that is no number is: it must not vanish unseen."""
    return ~(l1 <= above)


class _Norms:
    """l1 of all kernels with a source, block by block, computed anew at each call."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture

    def __call__(self) -> Iterator[NDArray[np.float64]]:
        for _, _, sources, weights in _raw_blocks(self._architecture):
            yield kernel_facts(weights).l1[sources >= 0]


def _cut(norms: Callable[[], Iterable[NDArray[np.float64]]], count: int) -> tuple[float, int]:
    """The count-th largest of some numbers >= 0, and how many that equal it are among the `count` largest.

    Their bit patterns have the same order, so it is found sixteen bits at a time by counting.
    """
    prefix, left = 0, count
    for shift in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, dtype=np.int64)
        for each in norms():
            bits = each.view(np.uint64)
            mine = bits if shift == 48 else bits[bits >> np.uint64(shift + 16) == prefix]
            counts += np.bincount(((mine >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64), minlength=1 << 16)
        at_least = np.cumsum(counts[::-1])[::-1]
        digit = int(np.flatnonzero(at_least >= left)[-1])
        left -= int(at_least[digit] - counts[digit])
        prefix = prefix << 16 | digit
    return float(np.array(prefix, dtype=np.uint64).view(np.float64)), left


def _raw_blocks(
    architecture: Architecture,
) -> Iterator[tuple[LayerSpec, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Layer, output channels (k,), sources (k, inputs; -1: none) and weights (k, inputs, rows, columns) of filters."""
    for layer in architecture.layers:
        if layer.is_sum:
            continue
        weights = architecture.convolution(layer).weight.detach().numpy()
        numbers = architecture.sources(layer)
        size = layer.kernel_size[0] * layer.kernel_size[1]
        step = max(1, min(KERNELS_PER_BLOCK, WEIGHTS_PER_BLOCK // size) // layer.inputs)
        for start in range(0, layer.filters, step):
            outputs = np.arange(start, min(start + step, layer.filters))
            starts = outputs // (layer.filters // layer.groups) * layer.inputs
            sources = numbers[starts[:, None] + np.arange(layer.inputs)]
            yield layer, outputs, sources, weights[start : start + step]


def _sourced(architecture: Architecture, layer: LayerSpec) -> int:
    """How many kernels of a layer read a filter, and not a map that is always zero."""
    return int((architecture.sources(layer) >= 0).sum()) * (layer.filters // layer.groups)
