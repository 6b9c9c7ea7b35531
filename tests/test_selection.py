"""Selection and connectivity against hand-drawn networks and an enumeration of all paths."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from viscnn.engine.connectivity import (
    NO_SOURCE,
    LayerScores,
    Mask,
    Network,
    effective,
    filter_count,
    kernel_count,
    makers,
    strongest_path,
    upstream,
)
from viscnn.engine.selection import SCALES, rank_values, select
from viscnn.errors import ExpressionError, StoredDataError

Step = tuple[int, int, int]
SEEDS = range(40)


def layer(name: str, scores: object, sources: object, targets: object, positions: int = 1) -> LayerScores:
    kernel = np.array(scores, dtype=np.float64)
    source_of = np.broadcast_to(np.array(sources, dtype=np.int64), kernel.shape)
    return LayerScores(f"tiny/{name}", kernel, source_of, np.array(targets, dtype=np.int64), positions)


def chain() -> Network:
    """Inputs 0, 1; filters 2, 3; filters 4, 5; filter 6."""
    return (
        layer("one", [[9, 1], [8, 2]], [0, 1], [2, 3], positions=4),
        layer("two", [[7, 0], [3, 6]], [2, 3], [4, 5], positions=2),
        layer("three", [[5, 4]], [4, 5], [6], positions=1),
    )


def drawn(*rows: object) -> Mask:
    return tuple(np.array(row, dtype=np.bool_) for row in rows)


def same(one: Mask, other: Mask) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def paths(network: Network, mask: Mask, targets: list[int], sources: list[int]) -> list[tuple[Step, ...]]:
    """Every path from a source to a target, by plain recursion from the target."""
    into: dict[int, list[tuple[Step, int]]] = {}
    for index, (one, kept) in enumerate(zip(network, mask, strict=True)):
        for output, entry in zip(*np.nonzero(kept & (one.source_of != NO_SOURCE)), strict=True):
            step = (index, int(output), int(entry))
            into.setdefault(int(one.target_of[output]), []).append((step, int(one.source_of[output, entry])))

    def walk(number: int) -> Iterator[tuple[Step, ...]]:
        if number in sources:
            yield ()
        for step, source in into.get(number, []):
            for rest in walk(source):
                yield (*rest, step)

    return [path for target in targets for path in walk(target) if path]


def covered(network: Network, found: list[tuple[Step, ...]]) -> Mask:
    mask = tuple(np.zeros(one.kernel.shape, dtype=np.bool_) for one in network)
    for path in found:
        for index, output, entry in path:
            mask[index][output, entry] = True
    return mask


def random_network(generator: np.random.Generator, *, signed: bool = False) -> tuple[Network, list[int], list[int]]:
    """A small graph of layers that read concatenations of earlier layers, some in two groups, and of sums.

    Some inputs are always zero: they read no filter.
    """
    blocks = [np.arange(2)]
    layers: list[LayerScores] = []
    for index in range(int(generator.integers(2, 6))):
        chosen = sorted({len(blocks) - 1, int(generator.integers(len(blocks)))})
        read = np.concatenate([blocks[block] for block in chosen])
        if layers and generator.random() < 0.3:
            layers.append(random_sum(generator, f"n{index}", blocks))
            blocks.append(layers[-1].target_of)
            continue
        read = np.where(generator.random(read.size) < 0.1, NO_SOURCE, read)
        outputs = 2 * int(generator.integers(1, 3))
        if read.size % 2 == 0 and generator.random() < 0.4:
            sources = np.repeat(read.reshape(2, -1), outputs // 2, axis=0)
        else:
            sources = np.tile(read, (outputs, 1))
        scores = generator.integers(-6 if signed else 0, 7, size=sources.shape)  # small integers: many ties
        blocks.append(np.arange(outputs) + blocks[-1][-1] + 1)
        layers.append(layer(f"n{index}", scores, sources, blocks[-1], positions=int(generator.integers(1, 4))))
    last = blocks[-1].tolist()
    return tuple(layers), last if generator.random() < 0.5 else last[:1], [0, 1]


def random_sum(generator: np.random.Generator, name: str, blocks: list[NDArray[np.int64]]) -> LayerScores:
    """A sum of the last layer and an earlier one (or itself), some of whose channels are always zero."""
    first, other = blocks[-1], blocks[int(generator.integers(len(blocks)))]
    padded = np.full(first.size, NO_SOURCE)
    padded[: other.size] = other[: first.size]
    scores = generator.integers(-9, 10, size=(first.size, 2))
    return replace(
        layer(name, scores, np.stack([first, padded], axis=1), first + first[-1] + 1 - first[0]), identity=True
    )


def random_mask(generator: np.random.Generator, network: Network) -> Mask:
    return tuple(generator.random(one.kernel.shape) < 0.6 for one in network)


# --- connectivity ------------------------------------------------------------------------------------------------


def test_upstream_of_a_middle_filter_is_its_own_cone() -> None:
    assert same(upstream(chain(), [5]), drawn([[1, 1], [1, 1]], [[0, 0], [1, 1]], [[0, 0]]))
    assert same(upstream(chain(), [2]), drawn([[1, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 0]]))
    assert kernel_count(chain(), upstream(chain(), [6])) == 10


def test_effective_drops_dead_ends_on_both_sides() -> None:
    mask = drawn([[1, 0], [0, 0]], [[1, 1], [0, 1]], [[1, 1]])
    assert same(effective(chain(), mask, [6], [0, 1]), drawn([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))
    assert kernel_count(chain(), effective(chain(), mask, [6], [1])) == 0


def test_groups_and_concatenation_follow_the_sources_table() -> None:
    network = (
        layer("grouped", [[1], [1], [1], [1]], [[0], [0], [1], [1]], [2, 3, 4, 5]),
        layer("joined", [[1, 1, 1]], [5, 2, 0], [6]),
    )
    assert same(upstream(network, [6]), drawn([[1], [0], [0], [1]], [[1, 1, 1]]))
    assert same(upstream(network, [6], [1]), drawn([[0], [0], [0], [1]], [[1, 0, 0]]))
    assert makers(network).tolist() == [-1, -1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_effective_and_upstream_are_the_union_of_all_paths(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network, targets, sources = random_network(generator)
    mask = random_mask(generator, network)
    assert same(effective(network, mask, targets, sources), covered(network, paths(network, mask, targets, sources)))
    every = tuple(np.ones_like(kept) for kept in mask)
    assert same(upstream(network, targets), covered(network, paths(network, every, targets, sources)))


def test_strongest_path_has_the_strongest_weakest_kernel() -> None:
    strengths = tuple(one.kernel for one in chain())
    # by way of 4 the weakest kernel is 5 (9, 7, 5); by way of 5 it is at most 4
    assert same(strongest_path(chain(), strengths, [6], [0, 1]), drawn([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))
    # from input 1 both ways end at 2 (2, 6, 4) or 1 (1, 7, 5)
    assert same(strongest_path(chain(), strengths, [6], [1]), drawn([[0, 0], [0, 1]], [[0, 0], [0, 1]], [[0, 1]]))
    # a source in the middle ends the path there, whatever leads into it
    assert same(strongest_path(chain(), strengths, [6], [0, 4]), drawn([[0, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 0]]))


@pytest.mark.parametrize("seed", SEEDS)
def test_strongest_path_is_the_best_of_all_paths(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network, targets, sources = random_network(generator)
    usable = random_mask(generator, network)
    strengths = tuple(np.where(kept, one.kernel, -np.inf) for one, kept in zip(network, usable, strict=True))
    chosen = strongest_path(network, strengths, targets, sources)
    every = paths(network, usable, targets, sources)
    if not every:
        assert kernel_count(network, chosen) == 0
        return
    taken = paths(network, chosen, targets, sources)
    assert len(taken) == 1
    assert same(covered(network, taken), chosen)

    def weakest(path: tuple[Step, ...]) -> float:
        return min(float(strengths[index][output, entry]) for index, output, entry in path)

    assert weakest(taken[0]) == max(weakest(path) for path in every)


def test_layers_out_of_order_and_bad_shapes_are_named() -> None:
    one, two, three = chain()
    with pytest.raises(StoredDataError, match="tiny/two reads filters that are made later"):
        upstream((two, one, three), [6])
    with pytest.raises(StoredDataError, match=r"tiny/bad has scores \(2, 1\), sources \(2, 1\) and targets \(3,\)"):
        layer("bad", [[1], [1]], [0], [1, 2, 3])
    with pytest.raises(StoredDataError, match="filter number 7 is not one of the network's 7 filters"):
        upstream(chain(), [7])


# --- ranks -------------------------------------------------------------------------------------------------------


def test_scales_by_hand() -> None:
    network = (layer("one", [[3, -4]], [0, 1], [2], positions=10), layer("two", [[0]], [2], [3], positions=2))
    assert [rank.tolist() for rank in rank_values(network, scale="sum")] == [[[30, -40]], [[0]]]
    assert [rank.tolist() for rank in rank_values(network, scale="raw")] == [[[3, -4]], [[0]]]
    assert np.allclose(rank_values(network, scale="layer-l2")[0], [[0.6, -0.8]], rtol=1e-15)
    assert rank_values(network, scale="layer-l2")[1].tolist() == [[0]]
    assert rank_values(network, scale="raw", signed=True)[0].tolist() == [[3, 4]]
    assert rank_values(network, scale="raw", signed=True, excitatory=True)[0].tolist() == [[3, -4]]
    tiny = (layer("one", [[3e-200, 4e-200]], [0, 1], [2]),)
    assert np.allclose(rank_values(tiny, scale="layer-l2")[0], [[0.6, 0.8]], rtol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_layer(bad: float) -> None:
    network = (*chain()[:2], layer("three", [[5, bad]], [4, 5], [6]))
    with pytest.raises(StoredDataError, match="tiny/three"):
        select(network, [6], [0, 1], keep=0.5, scale="raw")


@pytest.mark.parametrize("keep", [0, -0.1, 1.0001, float("nan")])
def test_a_kept_fraction_out_of_range_is_named(keep: float) -> None:
    with pytest.raises(ExpressionError, match=str(keep)):
        select(chain(), [6], [0, 1], keep=keep, scale="raw")


def test_an_unknown_scale_is_named_with_a_suggestion() -> None:
    with pytest.raises(ExpressionError, match="'layer-l1'; did you mean layer-l2"):
        select(chain(), [6], [0, 1], keep=0.5, scale="layer-l1")


def test_targets_that_nothing_reaches_are_an_error() -> None:
    with pytest.raises(StoredDataError, match=r"no path .* \[1\]"):
        select(chain(), [1], [0, 1], keep=0.5, scale="raw")
    with pytest.raises(StoredDataError, match=r"no path .* \[\]"):
        select(chain(), [], [0, 1], keep=0.5, scale="raw")


# --- selection ---------------------------------------------------------------------------------------------------


def test_selection_by_hand() -> None:
    # raw order: 9 (0>2), 8 (0>3), 7 (2>4), 6 (3>5), 5 (4>6), 4 (5>6), 3 (2>5), 2 (1>3), 1 (1>2); 0 never.
    # With the first five only 9-7-5 is on a path; the sixth completes 8-6-4 as well.
    small = select(chain(), [6], [0, 1], keep=0.5, scale="raw")
    assert (small.asked_kernels, small.kernels, small.upstream_kernels, small.collapsed) == (5, 3, 10, False)
    assert small.kept_fraction == 0.3
    assert same(small.mask, drawn([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))
    assert small.filters.tolist() == [True, False, True, False, True, False, True]
    large = select(chain(), [6], [0, 1], keep=0.6, scale="raw")
    assert large.kernels == 6
    assert same(large.mask, drawn([[1, 0], [1, 0]], [[1, 0], [0, 1]], [[1, 1]]))


def test_repair_spends_the_budget_of_dead_ends_on_paths() -> None:
    # Plain top-3 is 9, 8, 7 with no path; top-5 has the three kernels 9, 7, 5 on one.
    chosen = select(chain(), [6], [0, 1], keep=0.3, scale="raw")
    assert same(chosen.mask, drawn([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))
    assert not chosen.collapsed


def test_a_collapsed_selection_is_the_strongest_path() -> None:
    chosen = select(chain(), [6], [0, 1], keep=0.1, scale="raw")
    assert (chosen.asked_kernels, chosen.kernels, chosen.collapsed) == (1, 3, True)
    assert same(chosen.mask, drawn([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))


def test_scale_changes_the_choice() -> None:
    # By sum: 36 (0>2), 32 (0>3), 14 (2>4), 12 (3>5), 8 (1>3), 6 (2>5), 5 (4>6), 4 (1>2), 4 (5>6); the ninth would make
    # nine kernels effective at once. Raw keeps 9, 8, 7, 6, 5, 4, 3, 2 instead.
    chosen = select(chain(), [6], [0, 1], keep=0.8, scale="sum")
    assert same(chosen.mask, drawn([[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0]]))
    raw = select(chain(), [6], [0, 1], keep=0.8, scale="raw")
    assert same(raw.mask, drawn([[1, 0], [1, 1]], [[1, 0], [1, 1]], [[1, 1]]))


def test_nothing_to_choose_gives_an_empty_circuit() -> None:
    network = (*chain()[:2], layer("three", [[0, -1]], [4, 5], [6]))
    chosen = select(network, [6], [0, 1], keep=1.0, scale="raw")
    assert (chosen.kernels, chosen.kept_fraction, chosen.collapsed) == (0, 0.0, True)
    assert not chosen.filters.any()


def test_signed_scores_rank_by_size_unless_excitatory() -> None:
    network = (layer("one", [[-5, 1]], [0, 1], [2]), layer("two", [[3]], [2], [3]))
    by_size = select(network, [3], [0, 1], keep=0.67, scale="raw", signed=True)
    assert same(by_size.mask, drawn([[1, 0]], [[1]]))
    by_value = select(network, [3], [0, 1], keep=1, scale="raw", signed=True, excitatory=True)
    assert same(by_value.mask, drawn([[0, 1]], [[1]]))
    assert same(select(network, [3], [0, 1], keep=1, scale="raw").mask, by_value.mask)


def residual(*, addend: float = 0.0) -> Network:
    """Input 0; filters 1, 2; a block of filters 3, 4 that reads them, added to them as 5, 6; filter 7."""
    return (
        layer("stem", [[9], [8]], [0], [1, 2]),
        layer("block", [[7, 1], [2, 3]], [1, 2], [3, 4]),
        replace(layer("add", [[addend, 100.0], [addend, -100.0]], [[3, 1], [4, 2]], [5, 6]), identity=True),
        layer("head", [[6, 5]], [5, 6], [7]),
    )


@pytest.mark.parametrize("addend", [0.0, -1e9, 1e9])
def test_identities_cost_nothing_and_stay_where_a_path_needs_them(addend: float) -> None:
    """By rank: 9 (0>1), 8 (0>2), 7 (1>3), 6 (5>7), 5 (6>7), 3 (2>4), 2, 1; whatever the identities score."""
    network = residual(addend=addend)
    two = select(network, [7], [0], keep=0.25, scale="raw")
    # 9 and 6 alone: past the block, for 9 8 7 6 would be four
    assert (two.asked_kernels, two.kernels, two.upstream_kernels, two.collapsed) == (2, 2, 8, True)
    assert same(two.mask, drawn([[1], [0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]], [[1, 0]]))
    three = select(network, [7], [0], keep=0.375, scale="raw")
    assert same(three.mask, drawn([[1], [0]], [[1, 0], [0, 0]], [[1, 1], [0, 0]], [[1, 0]]))
    assert (three.kernels, three.kept_fraction, three.collapsed) == (3, 0.375, False)
    five = select(network, [7], [0], keep=0.625, scale="raw")
    assert same(five.mask, drawn([[1], [1]], [[1, 0], [0, 0]], [[1, 1], [0, 1]], [[1, 1]]))
    assert select(network, [7], [0], keep=1, scale="raw").kernels == 8
    assert five.filters.tolist() == [True, True, True, True, False, True, True, True]


def test_an_identity_alone_may_be_the_circuit() -> None:
    """The target is a sum that the input is an addend of: the smallest circuit has no kernels."""
    network = (layer("one", [[5]], [0], [1]), replace(layer("add", [[1.0, 1.0]], [[1, 0]], [2]), identity=True))
    chosen = select(network, [2], [0], keep=1, scale="raw")
    assert same(chosen.mask, drawn([[1]], [[1, 1]]))
    longer = (*network[:1], layer("two", [[5]], [1], [3]), replace(layer("a", [[1, 1]], [[3, 0]], [2]), identity=True))
    small = select(longer, [2], [0], keep=0.5, scale="raw")
    assert (small.kernels, small.asked_kernels, small.collapsed) == (0, 1, False)
    assert same(small.mask, drawn([[0]], [[0]], [[0, 1]]))
    with pytest.raises(StoredDataError, match="no path with a kernel"):
        select((replace(layer("a", [[1.0, 1.0]], [[0, 1]], [2]), identity=True),), [2], [0, 1], keep=1, scale="raw")


def test_a_kernel_that_reads_nothing_is_on_no_path() -> None:
    network = (layer("one", [[5, 9]], [0, NO_SOURCE], [1]), layer("two", [[1]], [1], [2]))
    chosen = select(network, [2], [0], keep=1, scale="raw")
    assert same(chosen.mask, drawn([[1, 0]], [[1]]))
    assert chosen.upstream_kernels == 2


def test_gates_are_read_by_nothing_and_have_no_kernels_in_a_circuit() -> None:
    network = (
        layer("one", [[5], [4]], [0], [1, 2]),
        layer("gate", [[99, 99]], [1, 2], [3]),  # its filter 3 reaches the next layer as a factor alone
        layer("two", [[3, 2]], [1, 2], [4]),
    )
    assert same(select(network, [4], [0], keep=1, scale="raw").mask, drawn([[1], [1]], [[0, 0]], [[1, 1]]))
    assert same(select(network, [3], [0], keep=1, scale="raw").mask, drawn([[1], [1]], [[1, 1]], [[0, 0]]))


def test_ties_go_to_the_lower_output_then_the_lower_input() -> None:
    network = (layer("one", [[1, 1, 1]] * 2, [0, 1, 2], [3, 4]), layer("two", [[2, 2]], [3, 4], [5]))
    chosen = select(network, [5], [0, 1, 2], keep=3 / 8, scale="raw")
    assert same(chosen.mask, drawn([[1, 1, 0], [0, 0, 0]], [[1, 0]]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", SCALES)
def test_selection_against_every_top_k(seed: int, scale: str) -> None:
    """The best of all top-k' sets by enumeration; nested in `keep`; every kernel on a path; all of them at 1."""
    generator = np.random.default_rng(seed)
    network, targets, sources = random_network(generator, signed=True)
    ranks = np.concatenate([rank.ravel() for rank in rank_values(network, scale=scale)])
    reachable = upstream(network, targets, sources)
    if kernel_count(network, reachable) == 0:
        with pytest.raises(StoredDataError, match="no path with a kernel"):
            select(network, targets, sources, keep=1.0, scale=scale)
        return
    kernels = np.concatenate(
        [np.full(kept.size, not one.identity) for one, kept in zip(network, reachable, strict=True)]
    )
    usable = np.concatenate([kept.ravel() for kept in reachable]) & (ranks > 0) & kernels
    order = sorted(np.flatnonzero(usable).tolist(), key=lambda place: (-ranks[place], place))
    free = np.flatnonzero(~kernels).tolist()
    sets = [on_paths(network, free + order[:count], targets, sources) for count in range(len(order) + 1)]
    before: Mask | None = None
    for keep in (0.05, 0.2, 0.4, 0.6, 0.8, 1.0):
        chosen = select(network, targets, sources, keep=keep, scale=scale)
        assert chosen.kernels == kernel_count(network, chosen.mask)
        fitting = [found for found in sets if kernel_count(network, found) <= chosen.asked_kernels]
        largest = max(kernel_count(network, found) for found in fitting)
        empty = not any(kept.any() for kept in sets[0])
        assert chosen.collapsed == (largest == 0 and empty)
        if not chosen.collapsed:
            assert same(chosen.mask, next(found for found in fitting if kernel_count(network, found) == largest))
        assert same(chosen.mask, covered(network, paths(network, chosen.mask, targets, sources)))
        assert before is None or all((a <= b).all() for a, b in zip(before, chosen.mask, strict=True))
        before = chosen.mask
    assert before is not None
    assert same(before, sets[-1])


def on_paths(network: Network, listed: list[int], targets: list[int], sources: list[int]) -> Mask:
    flat: NDArray[np.bool_] = np.zeros(sum(one.kernel.size for one in network), dtype=np.bool_)
    flat[listed] = True
    parts = np.split(flat, np.cumsum([one.kernel.size for one in network])[:-1])
    mask = tuple(part.reshape(one.kernel.shape) for part, one in zip(parts, network, strict=True))
    return covered(network, paths(network, mask, targets, sources))


def test_filter_numbers_count_the_input_channels() -> None:
    assert filter_count(chain()) == 7
