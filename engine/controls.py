"""Control circuits: random, worst and magnitude circuits of the same size as a circuit, layer by layer.

A control has, in every layer, as many kept filters and as many kept kernels as the circuit, keeps the target and has
every kernel on a path, so that it differs from the circuit in *which* kernels it keeps and in nothing else. Top-down:
first the filters of each layer are chosen among those that feed the filters already kept, then kernels: as few as
cover every kept filter on both sides (an assignment problem), then more in order of preference. In chains of dense
layers the sizes are always met, because the circuit itself meets them; with groups and branches the cover is greedy,
and `size_gaps` tells where a control came out smaller.

A sum has filters to choose like any layer, and as many are kept as in the circuit. Its identities are free: all between
kept filters are kept, and of the filters of a layer as many as in the circuit are read by one (they need no kernel to
be read). What a filter of a sum is liked for is handed on to its addends, so that a filter is liked for the kernels
that read it, whether or not additions lie between.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from viscnn.engine.connectivity import (
    NO_SOURCE,
    LayerScores,
    Mask,
    Network,
    Values,
    effective,
    filter_count,
    filter_flags,
    kept_filters,
    makers,
    upstream,
)
from viscnn.engine.selection import Selection
from viscnn.errors import StoredDataError

__all__ = ["magnitude_control", "random_control", "size_gaps", "worst_control"]

Numbers = Collection[int] | NDArray[np.int64]


def random_control(
    selection: Selection, network: Network, targets: Numbers, sources: Numbers, *, seed: int, repaired: bool = True
) -> Mask:
    """Filters and kernels drawn at random among those upstream of the targets.

    Args:
        selection: the circuit whose size per layer is copied.
        network: layers in the order of execution.
        targets: numbers of the target filters; where the circuit keeps only some of them, as many are kept.
        sources: numbers of the input channels.
        seed: of the draw.
        repaired: without, only the number of kernels per layer is copied and they may be dead ends.
    """
    generator = np.random.default_rng(seed)
    kernels = tuple(generator.random(layer.kernel.shape) for layer in network)
    filters = generator.random(filter_count(network))
    return _control(selection, network, targets, sources, _Preference(kernels, filters), repaired=repaired)


def worst_control(
    selection: Selection, network: Network, targets: Numbers, sources: Numbers, *, repaired: bool = True
) -> Mask:
    """The lowest-ranked filters (sum of the ranks of their kernels into kept filters) and kernels; see the random one.

    Ranks are those the circuit was selected by, so a control of a signed circuit is the worst by the same measure.
    """
    preference = _Preference(tuple(-rank for rank in selection.ranks))
    return _control(selection, network, targets, sources, preference, repaired=repaired)


def magnitude_control(
    selection: Selection,
    network: Network,
    magnitudes: Values,
    targets: Numbers,
    sources: Numbers,
    *,
    repaired: bool = True,
) -> Mask:
    """Filters and kernels of the largest `magnitudes`, arrays like `LayerScores.kernel`; see the random one.

    Raises:
        StoredDataError: when the magnitudes do not fit the network or are not finite.
    """
    if [values.shape for values in magnitudes] != [layer.kernel.shape for layer in network]:
        raise StoredDataError(f"the magnitudes do not fit the {len(network)} layers; ingest the model again")
    for layer, values in zip(network, magnitudes, strict=True):
        if not np.isfinite(values).all():
            raise StoredDataError(f"layer {layer.uid} has magnitudes that are not finite; ingest the model again")
    return _control(selection, network, targets, sources, _Preference(magnitudes), repaired=repaired)


def size_gaps(network: Network, circuit: Mask, control: Mask) -> dict[str, tuple[int, int]]:
    """Layers where a control's size differs: uid -> (kernels, filters) of the control less those of the circuit.

    Input channels stand under `input`; identities are not counted; empty when all sizes agree.
    """
    maker = makers(network)
    names = ["input", *(layer.uid for layer in network)]
    pairs = zip(network, circuit, control, strict=True)
    kernels = [0, *(0 if layer.identity else int(ours.sum()) - int(theirs.sum()) for layer, theirs, ours in pairs)]
    filters = _per_maker(maker, kept_filters(network, control)) - _per_maker(maker, kept_filters(network, circuit))
    gaps = {name: (kernel, int(gap)) for name, kernel, gap in zip(names, kernels, filters, strict=True)}
    return {name: gap for name, gap in gaps.items() if gap != (0, 0)}


def _per_maker(maker: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Kept filters of the input channels, then of each layer."""
    return np.bincount(maker[kept] + 1, minlength=int(maker.max(initial=-1)) + 2).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Preference:
    """What a control takes first: higher is taken earlier; filters without one by the sum over their kernels."""

    kernels: Values
    filters: NDArray[np.float64] | None = None


def _control(
    selection: Selection,
    network: Network,
    targets: Numbers,
    sources: Numbers,
    preference: _Preference,
    *,
    repaired: bool,
) -> Mask:
    allowed = upstream(network, targets, sources)
    wanted = [int(kept.sum()) for kept in selection.mask]
    if not repaired:
        layers = zip(network, allowed, preference.kernels, wanted, strict=True)
        return tuple(may if layer.identity else _first(may, values, count) for layer, may, values, count in layers)
    is_target = filter_flags(network, targets)
    kept = _choose_filters(selection, network, allowed, is_target, preference)
    mask = _choose_kernels(wanted, network, allowed, kept, is_target, preference.kernels)
    return effective(network, mask, targets, sources)


def _first(allowed: NDArray[np.bool_], values: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The `count` allowed kernels of the highest values; ties by output, then input."""
    listed = np.flatnonzero(allowed)
    chosen = np.zeros(allowed.shape, dtype=np.bool_)
    chosen.flat[listed[np.argsort(-values.flat[listed], kind="stable")][:count]] = True
    return chosen


# --- filters -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Links:
    """Allowed kernels and identities as flat arrays: filter read, filter written, value, whether it is an identity."""

    read: NDArray[np.int64]
    written: NDArray[np.int64]
    value: NDArray[np.float64]
    free: NDArray[np.bool_]


def _choose_filters(
    selection: Selection, network: Network, allowed: Mask, is_target: NDArray[np.bool_], preference: _Preference
) -> NDArray[np.bool_]:
    """(filters,) as many of every layer as the circuit has: targets first, then filters that feed kept ones."""
    circuit = selection.filters
    read_free = np.zeros(circuit.size, dtype=np.bool_)
    for layer, mask in zip(network, selection.mask, strict=True):
        if layer.identity:
            read_free[layer.read_by(mask)] = True
    maker = makers(network)
    readers = _readers(network, maker)
    kept = np.zeros(maker.size, dtype=np.bool_)
    unfed = np.zeros(maker.size, dtype=np.bool_)
    worth = np.zeros(maker.size)  # what filters are liked for, to be handed on by identities into them
    for index in reversed(range(-1, len(network))):
        mine = maker == index
        quota, target_quota = int((circuit & mine).sum()), int((circuit & mine & is_target).sum())
        if index >= 0:
            incoming = _links(network[index], allowed[index], preference.kernels[index], is_target & mine)
            liking = _liking(incoming.written, incoming, preference, maker.size)
            kept[_liked(np.unique(incoming.written), liking)[:target_quota]] = True
            worth[mine] = liking[mine]
        outgoing = _outgoing(network, allowed, preference.kernels, kept, mine & ~kept, worth, readers[index])
        liking = _liking(outgoing.read, outgoing, preference, maker.size)
        room = quota - int((kept & mine).sum())
        chosen = _feeders(outgoing, liking, unfed, room, int((read_free & mine).sum()))
        kept[chosen] = True
        worth[chosen] = liking[chosen]
        unfed |= kept & mine & (index >= 0)
    return kept


def _readers(network: Network, maker: NDArray[np.int64]) -> dict[int, list[tuple[int, NDArray[np.int64]]]]:
    """By layer, the layers that read it: their numbers, and at which inputs (of any group) they do."""
    found: dict[int, list[tuple[int, NDArray[np.int64]]]] = defaultdict(list)
    for number, layer in enumerate(network):
        read = layer.source_of[:1] if layer.alike else layer.source_of
        made = np.where(read != NO_SOURCE, maker[read], len(network))
        for index in np.unique(made).tolist():
            found[index].append((number, np.flatnonzero((made == index).any(axis=0))))
    return found


def _links(
    layer: LayerScores,
    allowed: NDArray[np.bool_],
    values: NDArray[np.float64],
    written: NDArray[np.bool_],
) -> _Links:
    """Allowed kernels into the filters `written`."""
    rows = np.flatnonzero(written[layer.target_of])
    return _between(layer, allowed[rows], values[rows], rows, layer.source_of[rows])


def _between(
    layer: LayerScores,
    grid: NDArray[np.bool_],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    read: NDArray[np.int64],
) -> _Links:
    targets = np.broadcast_to(layer.target_of[rows][:, None], grid.shape)
    found = read[grid]
    return _Links(found, targets[grid], values[grid], np.full(found.size, layer.identity))


def _outgoing(
    network: Network,
    allowed: Mask,
    values: Values,
    kept: NDArray[np.bool_],
    mine: NDArray[np.bool_],
    worth: NDArray[np.float64],
    readers: list[tuple[int, NDArray[np.int64]]],
) -> _Links:
    """Allowed kernels, and identities, out of the filters `mine` of one layer into kept filters of its `readers`."""
    nothing = np.empty(0, dtype=np.int64)
    parts = [_Links(nothing, nothing, np.empty(0), np.empty(0, dtype=np.bool_))]
    for number, columns in readers:
        layer = network[number]
        rows = np.flatnonzero(kept[layer.target_of])
        read = layer.source_of[np.ix_(rows, columns)]
        grid = allowed[number][np.ix_(rows, columns)] & mine[read]
        if layer.identity:
            own = np.broadcast_to(worth[layer.target_of[rows]][:, None], grid.shape)
        else:
            own = values[number][np.ix_(rows, columns)]
        parts.append(_between(layer, grid, own, rows, read))
    return _Links(
        np.concatenate([part.read for part in parts]),
        np.concatenate([part.written for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.free for part in parts]),
    )


def _liking(ends: NDArray[np.int64], links: _Links, preference: _Preference, count: int) -> NDArray[np.float64]:
    """(filters,) the preference among filters: as given, else the sum over the links at `ends`."""
    if preference.filters is not None:
        return preference.filters
    return np.bincount(ends, weights=links.value, minlength=count).astype(np.float64)


def _liked(numbers: NDArray[np.int64], liking: NDArray[np.float64]) -> NDArray[np.int64]:
    """`numbers` (ascending) by falling liking; ties by number."""
    return numbers[np.argsort(-liking[numbers], kind="stable")]


def _feeders(
    links: _Links, liking: NDArray[np.float64], unfed: NDArray[np.bool_], room: int, free: int
) -> NDArray[np.int64]:
    """Up to `room` filters that feed kept ones, in three passes; among equals the most liked.

    First, until none is `unfed` (updated), those that feed most of these: one filter feeds a whole dense layer, so this
    matters only with groups and sums. Then those that an identity reads, until there are `free` of them; then any.
    """
    chosen: list[int] = []
    while len(chosen) < room and (waiting := unfed[links.written]).any():
        feeders, fed = np.unique(links.read[waiting], return_counts=True)
        best = int(_liked(feeders[fed == fed.max()], liking)[0])
        chosen.append(best)
        unfed[links.written[links.read == best]] = False
    by_identity = np.unique(links.read[links.free])
    wanted = max(0, free - int(np.isin(chosen, by_identity).sum()))
    chosen += _liked(np.setdiff1d(by_identity, chosen), liking)[:wanted].tolist()
    rest = _liked(np.setdiff1d(links.read, chosen), liking)
    return np.concatenate([np.array(chosen, dtype=np.int64), rest])[: max(room, 0)]


# --- kernels -----------------------------------------------------------------------------------------------------


def _choose_kernels(
    wanted: list[int],
    network: Network,
    allowed: Mask,
    kept: NDArray[np.bool_],
    is_target: NDArray[np.bool_],
    values: Values,
) -> Mask:
    """Kernels between kept filters: a cover of both sides, then up to the `wanted` number per layer; all identities."""
    usable = tuple(
        may & kept[layer.target_of][:, None] & layer.of_sources(kept)
        for layer, may in zip(network, allowed, strict=True)
    )
    elsewhere = _read_earlier(network, usable, kept.size)
    unread = kept & ~is_target
    for layer, may in zip(network, usable, strict=True):
        if layer.identity:
            unread[layer.read_by(may)] = False
    mask = []
    for index in reversed(range(len(network))):
        layer, may = network[index], usable[index]
        if layer.identity:
            mask.append(may)
            continue
        order = np.argsort(-values[index][may], kind="stable")
        place = np.full(may.shape, order.size, dtype=np.int64)
        place.flat[np.flatnonzero(may)[order]] = np.arange(order.size)
        chosen = _cover(layer, may, place, (unread & ~elsewhere[index], unread), wanted[index])
        chosen |= _first(may & ~chosen, -place.astype(np.float64), max(0, wanted[index] - int(chosen.sum())))
        unread[layer.read_by(chosen)] = False
        mask.append(chosen)
    return tuple(reversed(mask))


def _read_earlier(network: Network, usable: Mask, count: int) -> list[NDArray[np.bool_]]:
    """Per layer, (filters,) the filters that a usable kernel of a layer before it reads as well."""
    read = np.zeros(count, dtype=np.bool_)
    found = []
    for layer, may in zip(network, usable, strict=True):
        found.append(read.copy())
        read[layer.read_by(may)] = True
    return found


def _cover(
    layer: LayerScores,
    may: NDArray[np.bool_],
    place: NDArray[np.int64],
    wishes: tuple[NDArray[np.bool_], ...],
    room: int,
) -> NDArray[np.bool_]:
    """Few kernels that give each output one and, up to `room`, read each filter of `wishes` once, the first wish first.

    A matching of outputs and filters covers two with each kernel; what it leaves takes its own best kernel. The first
    wish is the filters that only this layer can still read: with branches the others may find a reader elsewhere.
    """
    chosen = np.zeros(may.shape, dtype=np.bool_)
    for wish in wishes:
        waiting = _waiting(layer, chosen, wish)
        chosen |= _matching(layer, may & waiting & ~chosen.any(axis=1, keepdims=True), place)
    bare = np.flatnonzero(may.any(axis=1) & ~chosen.any(axis=1))
    chosen[bare, place[bare].argmin(axis=1)] = True
    for wish in wishes:
        listed = np.flatnonzero(may & _waiting(layer, chosen, wish))
        listed = listed[np.argsort(place.flat[listed])]
        firsts = np.unique(layer.source_of.flat[listed], return_index=True)[1]
        spare = max(0, room - int(chosen.sum()))
        chosen.flat[listed[np.sort(firsts)[:spare]]] = True
    return chosen


def _waiting(layer: LayerScores, chosen: NDArray[np.bool_], wish: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Kernels whose source is wished for and not read by a chosen kernel."""
    waiting = wish.copy()
    waiting[layer.read_by(chosen)] = False
    return layer.of_sources(waiting)


def _matching(layer: LayerScores, may: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Largest set of kernels that share neither output nor source, of the smallest sum of places."""
    outputs, inputs = np.nonzero(may)
    rows, row = np.unique(outputs, return_inverse=True)
    read, column = np.unique(layer.source_of[outputs, inputs], return_inverse=True)
    never = (float(place.max(initial=0)) + 1) * (min(rows.size, read.size) + 1)  # dearer than any set of kernels
    cost = np.full((rows.size, read.size), never)
    cost[row, column] = place[outputs, inputs]
    entry = np.full(cost.shape, -1, dtype=np.int64)
    entry[row, column] = inputs
    row, column = linear_sum_assignment(cost)
    real = entry[row, column] >= 0
    chosen = np.zeros(may.shape, dtype=np.bool_)
    chosen[rows[row[real]], entry[row[real], column[real]]] = True
    return chosen
