"""Which kernels lie on a path from an input channel to a target.

A network is a tuple of layers in the order of execution over one numbering of all filters, input channels included.
Nothing here assumes a chain: a layer may read filters of any earlier layers, in any order, so concatenations, groups
and branches need no case of their own.

A sum is a layer of *identities*: entry (o, i) joins filter o of the sum to its i-th addend. They carry paths as kernels
do, but they are no kernels: nothing counts them. A gate's filters are read by no kernel, so it lies on no path (unless
it is the target itself).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import StoredDataError

__all__ = [
    "NO_SOURCE",
    "LayerScores",
    "Mask",
    "Network",
    "Values",
    "effective",
    "filter_count",
    "filter_flags",
    "kept_filters",
    "kernel_count",
    "makers",
    "strongest_path",
    "upstream",
]

NO_SOURCE = -1
"""Stands for the filter that is read where an input map is always zero: such a kernel lies on no path."""

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class LayerScores:
    """The kernels of one layer, or the identities of a sum, their scores and the filters they join.

    Attributes:
        uid: the layer's uid, such as `mnist/conv2`.
        kernel: scores, (outputs, inputs per group), element (o, i) belonging to the kernel W[o, i].
        source_of: number of the filter that kernel (o, i) reads, same shape; NO_SOURCE where there is none.
        target_of: number of the filter that output o is, (outputs,).
        positions: height times width of the layer's output map.
        identity: whether it is a sum: its entries are identities, which are never counted as kernels nor ranked.

    Raises:
        StoredDataError: when the shapes contradict each other.
    """

    uid: str
    kernel: NDArray[np.float64]
    source_of: NDArray[np.int64]
    target_of: NDArray[np.int64]
    positions: int
    identity: bool = False

    def __post_init__(self) -> None:
        shape = self.kernel.shape
        if len(shape) != 2 or self.source_of.shape != shape or self.target_of.shape != shape[:1]:
            raise StoredDataError(
                f"layer {self.uid} has scores {shape}, sources {self.source_of.shape} and targets "
                f"{self.target_of.shape}; expected (o, i), (o, i) and (o,): ingest the model again"
            )

    @cached_property
    def joined(self) -> NDArray[np.bool_]:
        """(outputs, inputs) the entries that read a filter."""
        found: NDArray[np.bool_] = self.source_of != NO_SOURCE
        return found

    def of_sources(self, values: NDArray[T]) -> NDArray[T]:
        """`values` (filters,) of the filter that each entry reads, (outputs, inputs); any value where it reads none."""
        if self.alike:
            return np.broadcast_to(values[self.source_of[0]], self.source_of.shape)
        return values[self.source_of]

    def read_by(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Numbers of the filters that `kept` entries read, some of them perhaps several times."""
        found: NDArray[np.int64] = self.source_of[0][kept.any(axis=0)] if self.alike else self.source_of[kept]
        some: NDArray[np.int64] = found[found != NO_SOURCE]
        return some

    @cached_property
    def alike(self) -> bool:
        """Whether all outputs read the same filters, by the way the array is laid out: then one row is looked at."""
        return len(self.source_of) > 0 and self.source_of.strides[0] == 0


Network = tuple[LayerScores, ...]
Mask = tuple[NDArray[np.bool_], ...]
"""Kept kernels and identities, one (outputs, inputs per group) array per layer."""
Values = tuple[NDArray[np.float64], ...]
"""One number per kernel, arrays as in `Mask`."""


def filter_count(network: Network) -> int:
    """Number of filters, input channels included."""
    return 1 + max(
        (int(numbers.max(initial=-1)) for x in network for numbers in (x.source_of, x.target_of)), default=-1
    )


def kernel_count(network: Network, mask: Mask) -> int:
    """Number of kept kernels, identities left out."""
    return sum(int(np.count_nonzero(kept)) for layer, kept in zip(network, mask, strict=True) if not layer.identity)


def filter_flags(network: Network, numbers: Iterable[int]) -> NDArray[np.bool_]:
    """(filters,) flags that are set at `numbers`.

    Raises:
        StoredDataError: when a number is not one of the network's filters.
    """
    flags = np.zeros(filter_count(network), dtype=np.bool_)
    for number in numbers:
        if not 0 <= number < flags.size:
            raise StoredDataError(f"filter number {number} is not one of the network's {flags.size} filters")
        flags[number] = True
    return flags


def makers(network: Network) -> NDArray[np.int64]:
    """(filters,) index of the layer that makes each filter, -1 for an input channel.

    Raises:
        StoredDataError: when a layer reads a filter that it makes itself, or that a later layer makes.
    """
    maker = np.full(filter_count(network), -1, dtype=np.int64)
    for index, layer in enumerate(network):
        maker[layer.target_of] = index
    for index, layer in enumerate(network):
        if (layer.joined & (layer.of_sources(maker) >= index)).any():
            raise StoredDataError(
                f"layer {layer.uid} reads filters that are made later; list the layers in the order of execution"
            )
    return maker


def kept_filters(network: Network, mask: Mask) -> NDArray[np.bool_]:
    """(filters,) filters at either end of a kept kernel or identity."""
    flags = np.zeros(filter_count(network), dtype=np.bool_)
    for layer, kept in zip(network, mask, strict=True):
        flags[layer.read_by(kept)] = True
        flags[layer.target_of[kept.any(axis=1)]] = True
    return flags


def upstream(network: Network, targets: Iterable[int], sources: Iterable[int] | None = None) -> Mask:
    """Kernels and identities of the whole network on any path from an input channel (or `sources`) to a target."""
    if sources is None:
        sources = np.flatnonzero(makers(network) < 0)
    every = tuple(np.ones(layer.kernel.shape, dtype=np.bool_) for layer in network)
    return effective(network, every, targets, sources)


def effective(network: Network, mask: Mask, targets: Iterable[int], sources: Iterable[int]) -> Mask:
    """Kernels and identities of `mask` that lie on a path from a source to a target inside `mask`.

    Forward reachability and backward reachability, layer by layer: one is on a path exactly if a source reaches its
    own source and its own target reaches a target. So identities of `mask` remain exactly where a path needs them.
    """
    reached = filter_flags(network, sources)
    live = []
    for layer, kept in zip(network, mask, strict=True):
        fed = kept & layer.joined & layer.of_sources(reached)
        reached[layer.target_of] |= fed.any(axis=1)
        live.append(fed)
    needed = filter_flags(network, targets)
    for index in reversed(range(len(network))):
        layer = network[index]
        live[index] &= needed[layer.target_of][:, None]
        needed[layer.read_by(live[index])] = True
    return tuple(live)


def strongest_path(network: Network, strengths: Values, targets: Iterable[int], sources: Iterable[int]) -> Mask:
    """The path from a source to a target whose weakest kernel is strongest (bottleneck or widest path).

    Kernels of strength -inf are never used; without any path the mask is empty. Of several kernels into a filter that
    give the same bottleneck, the strongest is taken, then the one of lowest input; of several targets, the first.
    Identities are as strong as given: more than every kernel, if they are to weaken no path, but finite.
    """
    best = np.where(filter_flags(network, sources), np.inf, -np.inf)
    choices = []
    for layer, strength in zip(network, strengths, strict=True):
        through = np.where(layer.joined, np.minimum(layer.of_sources(best), strength), -np.inf)
        top = through.max(axis=1)
        tied = layer.joined & (through == top[:, None])
        choices.append(np.where(tied, strength, -np.inf).argmax(axis=1))
        best[layer.target_of] = np.maximum(best[layer.target_of], top)
    path = tuple(np.zeros(layer.kernel.shape, dtype=np.bool_) for layer in network)
    end = max(targets, key=lambda number: float(best[number]), default=None)
    if end is None or best[end] == -np.inf:
        return path
    for index, output, entry in _walk_back(network, choices, best, int(end)):
        path[index][output, entry] = True
    return path


def _walk_back(
    network: Network, choices: list[NDArray[np.int64]], best: NDArray[np.float64], end: int
) -> Iterator[tuple[int, int, int]]:
    """(layer, output, input) of the chosen kernels from `end` back to a source, where `best` is infinite."""
    maker = makers(network)
    current = end
    while best[current] != np.inf:
        index = int(maker[current])
        layer = network[index]
        output = int(np.flatnonzero(layer.target_of == current)[0])
        entry = int(choices[index][output])
        yield index, output, entry
        current = int(layer.source_of[output, entry])
