"""Control circuits: the same size as the circuit in every layer, every kernel on a path."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from viscnn.engine.connectivity import LayerScores, Mask, Network, effective, kept_filters, kernel_count, upstream
from viscnn.engine.controls import magnitude_control, random_control, size_gaps, worst_control
from viscnn.engine.selection import Selection, select
from viscnn.errors import StoredDataError

Control = Callable[[Selection, Network, list[int], list[int]], Mask]


def layer(name: str, scores: object, sources: object, targets: object) -> LayerScores:
    kernel = np.array(scores, dtype=np.float64)
    source_of = np.broadcast_to(np.array(sources, dtype=np.int64), kernel.shape)
    return LayerScores(f"tiny/{name}", kernel, source_of, np.array(targets, dtype=np.int64), 1)


def dense(widths: list[int], *, seed: int) -> Network:
    """A chain of dense layers with random scores; widths[0] input channels."""
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0, *widths])
    blocks = [np.arange(start, start + width) for start, width in zip(starts, widths, strict=False)]
    return tuple(
        layer(f"n{n}", generator.gamma(0.5, size=(after.size, before.size)), before, after)
        for n, (before, after) in enumerate(pairwise(blocks))
    )


def magnitude(selection: Selection, network: Network, targets: list[int], sources: list[int]) -> Mask:
    generator = np.random.default_rng(5)
    values = tuple(generator.random(one.kernel.shape) for one in network)
    return magnitude_control(selection, network, values, targets, sources)


def drawn_with(seed: int) -> Control:
    return lambda selection, network, targets, sources: random_control(selection, network, targets, sources, seed=seed)


CONTROLS: dict[str, Control] = {
    "random-1": drawn_with(1),
    "random-2": drawn_with(2),
    "worst": worst_control,
    "magnitude": magnitude,
}


def same(one: Mask, other: Mask) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def drawn(*rows: object) -> Mask:
    return tuple(np.array(row, dtype=np.bool_) for row in rows)


def kernels_per_layer(mask: Mask) -> list[int]:
    return [int(kept.sum()) for kept in mask]


def filters_per_layer(network: Network, mask: Mask, inputs: int) -> list[int]:
    kept = kept_filters(network, mask)
    return [int(kept[:inputs].sum()), *(int(kept[one.target_of].sum()) for one in network)]


# --- chains of dense layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("keep", [0.01, 0.05, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_sizes_are_exactly_those_of_the_circuit(name: str, keep: float, seed: int) -> None:
    network = dense([3, 8, 12, 9, 10], seed=seed)
    last = network[-1].target_of.tolist()
    for targets in ([last[4]], last, [network[2].target_of.tolist()[1]]):
        circuit = select(network, targets, [0, 1, 2], keep=keep, scale="layer-l2")
        control = CONTROLS[name](circuit, network, targets, [0, 1, 2])
        assert kernels_per_layer(control) == kernels_per_layer(circuit.mask)
        assert filters_per_layer(network, control, 3) == filters_per_layer(network, circuit.mask, 3)
        assert same(effective(network, control, targets, [0, 1, 2]), control)
        assert size_gaps(network, circuit.mask, control) == {}
        assert kept_filters(network, control)[targets].sum() == circuit.filters[targets].sum()


def test_controls_by_hand() -> None:
    # circuit: 0>2, 2>5, of the kernels 0>2, 0>3, 0>4 (9, 2, 1) and 2>5, 3>5, 4>5 (8, 1, 3)
    network = (layer("one", [[9], [2], [1]], [0], [1, 2, 3]), layer("two", [[8, 1, 3]], [1, 2, 3], [4]))
    circuit = select(network, [4], [0], keep=2 / 6, scale="raw")
    assert same(circuit.mask, drawn([[1], [0], [0]], [[1, 0, 0]]))
    assert same(worst_control(circuit, network, [4], [0]), drawn([[0], [1], [0]], [[0, 1, 0]]))
    magnitudes = (np.array([[5.0], [4.0], [1.0]]), np.array([[1.0, 2.0, 3.0]]))
    assert same(magnitude_control(circuit, network, magnitudes, [4], [0]), drawn([[0], [0], [1]], [[0, 0, 1]]))


def test_the_worst_control_covers_first_and_then_fills_up_lowest_first() -> None:
    first = layer("one", [[9, 8], [7, 1], [6, 5]], [0, 1], [2, 3, 4])
    network = (first, layer("two", [[4, 3, 2]], [2, 3, 4], [5]))
    circuit = select(network, [5], [0, 1], keep=5 / 9, scale="raw")
    # 9 8 7 6 5 4 3: 2>5 and 3>5 complete 0>2, 1>2, 0>3: five kernels
    assert same(circuit.mask, drawn([[1, 1], [1, 0], [0, 0]], [[1, 1, 0]]))
    # filters 3 and 4 (3 and 2 into the target); the cheapest cover of 3, 4, 0, 1 is 1>3 and 0>4, then 1>4
    assert same(worst_control(circuit, network, [5], [0, 1]), drawn([[0, 0], [0, 1], [1, 1]], [[0, 1, 1]]))


def test_the_worst_control_of_a_signed_circuit_uses_the_same_ranks() -> None:
    network = (layer("one", [[1], [1], [1]], [0], [1, 2, 3]), layer("two", [[-8, 1, 3]], [1, 2, 3], [4]))
    by_size = select(network, [4], [0], keep=2 / 6, scale="raw", signed=True)
    assert same(worst_control(by_size, network, [4], [0])[1:], drawn([[0, 1, 0]]))
    by_value = select(network, [4], [0], keep=2 / 6, scale="raw", signed=True, excitatory=True)
    assert same(worst_control(by_value, network, [4], [0])[1:], drawn([[1, 0, 0]]))


def test_random_controls_repeat_with_their_seed_and_differ_between_seeds() -> None:
    network = dense([3, 10, 10, 4], seed=1)
    circuit = select(network, [23], [0, 1, 2], keep=0.2, scale="raw")
    once, again, other = (random_control(circuit, network, [23], [0, 1, 2], seed=seed) for seed in (7, 7, 8))
    assert same(once, again)
    assert not same(once, other)


def test_random_controls_draw_every_filter_about_equally_often() -> None:
    network = dense([1, 5, 1], seed=3)
    circuit = select(network, [6], [0], keep=0.4, scale="raw")
    assert filters_per_layer(network, circuit.mask, 1) == [1, 2, 1]
    drawn_filters = sum(
        kept_filters(network, random_control(circuit, network, [6], [0], seed=seed)).astype(int) for seed in range(500)
    )
    assert np.abs(np.asarray(drawn_filters)[1:6] - 200).max() < 50  # sd 11


def test_a_control_of_everything_is_everything() -> None:
    network = dense([2, 4, 5, 3], seed=2)
    targets = network[-1].target_of.tolist()
    circuit = select(network, targets, [0, 1], keep=1.0, scale="raw")
    for control in CONTROLS.values():
        assert same(control(circuit, network, targets, [0, 1]), circuit.mask)


# --- without repair ----------------------------------------------------------------------------------------------


def test_unrepaired_controls_copy_only_the_kernel_counts() -> None:
    network = (layer("one", [[9], [2], [1]], [0], [1, 2, 3]), layer("two", [[8, 1, 3]], [1, 2, 3], [4]))
    circuit = select(network, [4], [0], keep=2 / 6, scale="raw")
    plain = worst_control(circuit, network, [4], [0], repaired=False)
    assert same(plain, drawn([[0], [0], [1]], [[0, 1, 0]]))  # a dead end
    drawn_masks = [random_control(circuit, network, [4], [0], seed=seed, repaired=False) for seed in range(20)]
    assert all(kernels_per_layer(mask) == [1, 1] for mask in drawn_masks)
    dead = [kernel_count(network, effective(network, mask, [4], [0])) == 0 for mask in drawn_masks]
    assert any(dead)
    assert not all(dead)


def test_unrepaired_controls_stay_upstream_of_the_target() -> None:
    network = dense([3, 6, 6, 6], seed=4)
    circuit = select(network, [17], [0, 1, 2], keep=0.3, scale="raw")
    for control in (
        random_control(circuit, network, [17], [0, 1, 2], seed=0, repaired=False),
        worst_control(circuit, network, [17], [0, 1, 2], repaired=False),
    ):
        assert kernels_per_layer(control) == kernels_per_layer(circuit.mask)
        assert all((a <= b).all() for a, b in zip(control, upstream(network, [17]), strict=True))


# --- groups, branches --------------------------------------------------------------------------------------------


def depthwise(*, seed: int) -> Network:
    """3 inputs, 6 filters, a depthwise layer of 6, a layer of 4 in two groups, one of 2."""
    generator = np.random.default_rng(seed)
    a, b, c, d = np.arange(3, 9), np.arange(9, 15), np.arange(15, 19), np.arange(19, 21)
    return (
        layer("one", generator.random((6, 3)), np.arange(3), a),
        layer("depthwise", generator.random((6, 1)), a[:, None], b),
        layer("groups", generator.random((4, 3)), np.repeat(b.reshape(2, 3), 2, axis=0), c),
        layer("two", generator.random((2, 4)), c, d),
    )


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("keep", [0.2, 0.4, 0.7, 1.0])
def test_groups_are_covered_and_gaps_reported(name: str, seed: int, keep: float) -> None:
    network = depthwise(seed=seed)
    circuit = select(network, [20], [0, 1, 2], keep=keep, scale="raw")
    control = CONTROLS[name](circuit, network, [20], [0, 1, 2])
    assert kernel_count(network, control) > 0
    assert same(effective(network, control, [20], [0, 1, 2]), control)
    gaps = size_gaps(network, circuit.mask, control)
    assert all(kernels <= 0 and filters <= 0 for kernels, filters in gaps.values())
    pairs = zip(network, kernels_per_layer(circuit.mask), kernels_per_layer(control), strict=True)
    for one, ours, theirs in pairs:
        assert gaps.get(one.uid, (0, 0))[0] == theirs - ours


def test_every_kept_group_is_fed_before_the_preferred_filters_are_taken() -> None:
    network = (
        layer("one", [[9], [1], [9], [1]], [0], [1, 2, 3, 4]),
        layer("groups", [[9, 1], [9, 1]], [[1, 2], [3, 4]], [5, 6]),
        layer("two", [[9, 9]], [5, 6], [7]),
    )
    circuit = select(network, [7], [0], keep=0.6, scale="raw")
    assert same(circuit.mask, drawn([[1], [0], [1], [0]], [[1, 0], [1, 0]], [[1, 1]]))
    magnitudes = (np.ones((4, 1)), np.array([[5.0, 4.0], [1.0, 2.0]]), np.ones((1, 2)))
    control = magnitude_control(circuit, network, magnitudes, [7], [0])
    assert same(control, drawn([[1], [0], [0], [1]], [[1, 0], [0, 1]], [[1, 1]]))


def branched(*, seed: int) -> Network:
    """2 inputs, a stem of 4, two branches of 5 that read it, and a layer of 3 that reads both branches and the stem."""
    generator = np.random.default_rng(seed)
    stem, left, right, top = np.arange(2, 6), np.arange(6, 11), np.arange(11, 16), np.arange(16, 19)
    return (
        layer("stem", generator.random((4, 2)), np.arange(2), stem),
        layer("left", generator.random((5, 4)), stem, left),
        layer("right", generator.random((5, 4)), stem, right),
        layer("top", generator.random((3, 14)), np.concatenate([left, right, stem]), top),
    )


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.6, 1.0])
def test_branches_give_controls_of_the_same_size(name: str, seed: int, keep: float) -> None:
    network = branched(seed=seed)
    circuit = select(network, [17], [0, 1], keep=keep, scale="raw")
    control = CONTROLS[name](circuit, network, [17], [0, 1])
    assert kernel_count(network, control) > 0
    assert same(effective(network, control, [17], [0, 1]), control)
    assert size_gaps(network, circuit.mask, control) == {}


def residual(*, seed: int, blocks: int = 3) -> Network:
    """2 inputs, a stem of 6, blocks of 4 and 6 filters whose maps are added to those before, and a layer of 3."""
    generator = np.random.default_rng(seed)
    stream = np.arange(2, 8)
    found = [layer("stem", generator.random((6, 2)), np.arange(2), stream)]
    for number in range(blocks):
        inner = np.arange(4) + stream.max() + 1
        outer, total = np.arange(6) + inner.max() + 1, np.arange(6) + inner.max() + 7
        found += [
            layer(f"inner{number}", generator.gamma(0.5, size=(4, 6)), stream, inner),
            layer(f"outer{number}", generator.gamma(0.5, size=(6, 4)), inner, outer),
            replace(
                layer(f"add{number}", generator.random((6, 2)), np.stack([outer, stream], axis=1), total), identity=True
            ),
        ]
        stream = total
    return (*found, layer("top", generator.random((3, 6)), stream, np.arange(3) + stream.max() + 1))


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("target", ["top", "add2"])
def test_controls_of_residual_networks_have_the_circuits_size(name: str, seed: int, keep: float, target: str) -> None:
    network = residual(seed=seed)
    targets = next(one for one in network if one.uid == f"tiny/{target}").target_of.tolist()
    circuit = select(network, targets, [0, 1], keep=keep, scale="raw")
    control = CONTROLS[name](circuit, network, targets, [0, 1])
    assert kernel_count(network, control) > 0
    assert same(effective(network, control, targets, [0, 1]), control)
    gaps = size_gaps(network, circuit.mask, control)
    assert all(kernels <= 0 and filters <= 0 for kernels, filters in gaps.values())
    if target == "top":
        assert gaps == {}
    kept = kept_filters(network, control)
    for one, mine in zip(network, control, strict=True):
        if one.identity:  # every identity that lies between two kept filters of paths
            between = kept[one.target_of][:, None] & kept[one.source_of]
            assert (mine <= between).all()


def test_a_filter_is_liked_for_what_reads_it_beyond_additions() -> None:
    """Filters 1, 2 and 3, 4 are added to 5, 6, of which 6 is worth more; the worst control goes by way of 5."""
    network = (
        layer("one", [[2], [3]], [0], [1, 2]),
        layer("two", [[2], [3]], [0], [3, 4]),
        replace(layer("add", [[0, 0], [0, 0]], [[1, 3], [2, 4]], [5, 6]), identity=True),
        layer("top", [[1, 9]], [5, 6], [7]),
    )
    circuit = select(network, [7], [0], keep=0.5, scale="raw")
    assert same(circuit.mask, drawn([[0], [1]], [[0], [1]], [[0, 0], [1, 1]], [[0, 1]]))
    worst = worst_control(circuit, network, [7], [0])
    assert same(worst, drawn([[1], [0]], [[1], [0]], [[1, 1], [0, 0]], [[1, 0]]))
    assert size_gaps(network, circuit.mask, worst) == {}
    plain = worst_control(circuit, network, [7], [0], repaired=False)
    assert same(plain, drawn([[1], [0]], [[1], [0]], [[1, 1], [1, 1]], [[1, 0]]))


def test_gaps_name_the_layer() -> None:
    network = (layer("one", [[9], [2]], [0], [1, 2]), layer("two", [[8, 1]], [1, 2], [3]))
    circuit, control = drawn([[1], [1]], [[1, 1]]), drawn([[1], [0]], [[1, 0]])
    assert size_gaps(network, circuit, control) == {"tiny/one": (-1, -1), "tiny/two": (-1, 0)}


def test_magnitudes_must_fit() -> None:
    network = dense([2, 3, 2], seed=0)
    circuit = select(network, [5], [0, 1], keep=0.5, scale="raw")
    with pytest.raises(StoredDataError, match="do not fit the 2 layers"):
        magnitude_control(circuit, network, (np.ones((3, 2)), np.ones((3, 2))), [5], [0, 1])
    with pytest.raises(StoredDataError, match="n1 has magnitudes that are not finite"):
        magnitude_control(circuit, network, (np.ones((3, 2)), np.full((2, 3), np.nan)), [5], [0, 1])
