"""Blocks of kernels: facts by literal sums, every kernel once, exactly those asked for, and little memory."""

import math
import tracemalloc

import numpy as np
import pytest

from tests import built, nets
from viscnn.errors import ModelError
from viscnn.ingest import kernels
from viscnn.ingest.kernels import Extent, identity_blocks, kept_kernels, kernel_blocks, kernel_facts
from viscnn.ingest.structure import Architecture, Feed


@pytest.fixture(scope="module")
def branching() -> Architecture:
    return built.branching()


def names(architecture: Architecture) -> list[str]:
    """Layer and channel of each filter by its number."""
    found = [f"input/c{channel}" for channel in range(architecture.input_shape[0])]
    return found + [f"{layer.name}/{channel}" for layer in architecture.layers for channel in range(layer.filters)]


def edges(architecture: Architecture, blocks: list[kernels.Block]) -> list[tuple[str, str, int]]:
    """Source, target and input of all relationships of some blocks, in their order."""
    named = names(architecture)
    return [
        (f"m/{named[source]}", f"m/{block.layer.name}/{output}", i)
        for block in blocks
        for source, output, i in zip(block.sources.tolist(), block.outputs.tolist(), block.inputs.tolist(), strict=True)
    ]


def all_l1(architecture: Architecture) -> list[float]:
    """l1 of every kernel in the order of the network."""
    found = []
    for layer in architecture.layers:
        if not layer.is_sum:
            weight = architecture.convolution(layer).weight.double()
            found += [weight[o, i].abs().sum().item() for o in range(layer.filters) for i in range(layer.inputs)]
    return found


def test_facts_are_literal_sums() -> None:
    weights = nets.images(3, shape=(2, 3, 5)).numpy()
    weights[0, 0] = np.abs(weights[0, 0])
    weights[0, 1] = -np.abs(weights[0, 1])
    weights[1, 0] = 0.0
    facts = kernel_facts(weights)
    for o in range(3):
        for i in range(2):
            entries = [float(value) for row in weights[o, i] for value in row]
            l1, total = sum(abs(value) for value in entries), sum(entries)
            assert facts.l1[o, i] == pytest.approx(l1)
            assert facts.l2[o, i] == pytest.approx(math.sqrt(sum(value**2 for value in entries)))
            assert facts.sign_ratio[o, i] == pytest.approx(total / l1 if l1 else 0.0)
            ratio = total / l1 if l1 else 0.0
            assert facts.sign[o, i] == (1 if ratio > 1 / 3 else -1 if ratio < -1 / 3 else 0)
    assert facts.sign_ratio[0].tolist() == [1.0, -1.0]
    assert (facts.sign_ratio[1, 0], facts.sign[1, 0]) == (0.0, 0)


@pytest.mark.parametrize(
    ("kernel", "sign"), [([2.0, -1.0], 0), ([2.01, -1.0], 1), ([-2.01, 1.0], -1), ([1.0, -1.0], 0)]
)
def test_a_kernel_is_mixed_up_to_two_thirds_of_either_sign(kernel: list[float], sign: int) -> None:
    assert kernel_facts(np.array(kernel, dtype=np.float32).reshape(1, 1, 1, 2)).sign[0, 0] == sign


@pytest.mark.parametrize("size", [1, 8, 5_000])
def test_every_kernel_and_identity_is_there_once(
    branching: Architecture, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "KERNELS_PER_BLOCK", size)
    blocks = list(kernel_blocks(branching))
    assert all(len(block.inputs) <= max(size, block.layer.inputs) for block in blocks)
    found = edges(branching, [*blocks])
    assert len(found) == len(set(found)) == branching.kernels
    assert set(found) == built.branching_kernels("m")
    identities = edges(branching, list(identity_blocks(branching)))
    assert len(identities) == 7
    assert set(identities) == built.branching_identities("m")


def test_a_block_has_the_weights_and_facts_of_its_kernels(branching: Architecture) -> None:
    for block in kernel_blocks(branching):
        assert block.weights is not None
        kernel = branching.convolution(block.layer).weight.numpy()[block.outputs, block.inputs]
        np.testing.assert_array_equal(block.weights, kernel.reshape(len(kernel), -1))
        facts = kernel_facts(kernel[:, None])
        for mine, own in ((block.l1, facts.l1), (block.l2, facts.l2), (block.sign_ratio, facts.sign_ratio)):
            np.testing.assert_allclose(mine, own[:, 0], rtol=1e-12)
        np.testing.assert_array_equal(block.sign, facts.sign[:, 0])


def test_the_weights_can_be_left_out(branching: Architecture) -> None:
    assert all(block.weights is None for block in kernel_blocks(branching, Extent(weights=False)))


@pytest.mark.parametrize("count", [1, 2, 50, 85, 86, 87, 1000])
def test_the_kernels_of_largest_l1_are_kept(count: int) -> None:
    architecture = built.branching()
    l1 = np.array(all_l1(architecture))
    assert len(l1) == 14 + 42 + 12 + 18 == architecture.kernels
    kept = kept_kernels(architecture, Extent(top=count))
    assert (kept.kernels, kept.left_out) == (min(count, len(l1)), max(0, len(l1) - count))
    blocks = list(kernel_blocks(architecture, Extent(top=count)))
    found = np.concatenate([block.l1 for block in blocks])
    np.testing.assert_allclose(np.sort(found), np.sort(l1)[-count:])


def test_equal_kernels_are_kept_in_the_order_of_the_network() -> None:
    architecture = built.branching()
    for layer in architecture.layers:
        if not layer.is_sum:
            architecture.convolution(layer).weight.fill_(0.5)
            architecture.convolution(layer).weight[0, 0] = 2.0
    every = edges(architecture, list(kernel_blocks(architecture)))
    l1 = all_l1(architecture)
    for count in (1, 3, 5, 6, 20, 60):
        literal = sorted(range(len(l1)), key=lambda number: (-l1[number], number))[:count]
        found = edges(architecture, list(kernel_blocks(architecture, Extent(top=count))))
        assert found == [every[number] for number in sorted(literal)]


@pytest.mark.parametrize("above", [0.0, 0.4, 2.0, 1e9])
def test_only_kernels_above_a_norm_are_kept(branching: Architecture, above: float) -> None:
    l1, every = all_l1(branching), edges(branching, list(kernel_blocks(branching)))
    kept = kept_kernels(branching, Extent(above=above))
    found = edges(branching, list(kernel_blocks(branching, Extent(above=above), kept)))
    assert found == [edge for edge, norm in zip(every, l1, strict=True) if norm > above]
    assert (kept.kernels, kept.left_out) == (len(found), len(every) - len(found))


def test_zero_kernels_are_not_above_zero() -> None:
    architecture = built.branching()
    architecture.convolution(architecture.layers[0]).weight[1] = 0.0
    assert kept_kernels(architecture, Extent(above=0.0)).left_out == 2
    assert kept_kernels(architecture, Extent()).left_out == 0


@pytest.mark.parametrize(
    "options", [{"above": -1.0}, {"above": math.inf}, {"above": math.nan}, {"top": 0}, {"above": 1.0, "top": 3}]
)
def test_an_extent_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"--kernels-above|--top-kernels"):
        Extent(**options)  # type: ignore[arg-type]


def test_a_cut_is_exact_for_numbers_of_every_size() -> None:
    generator = np.random.default_rng(0)
    numbers = np.concatenate([10.0 ** generator.uniform(-300, 300, 500), np.zeros(20), np.full(30, 1.5), [np.inf]])
    generator.shuffle(numbers)
    parts = [numbers[:7], numbers[7:300], numbers[300:]]
    for count in (1, 2, 100, 260, 300, 531, 540, 551):
        cut, ties = kernels._cut(lambda: parts, count)
        assert cut == np.sort(numbers)[-count]
        assert (numbers > cut).sum() + ties == count


def test_memory_does_not_grow_with_the_number_of_kernels() -> None:
    peaks = []
    for filters in (256, 2048):
        layers = [built.convolution("wide", 2, 512, depth=1), built.convolution("wider", 512, filters, depth=2)]
        made = built.architecture(layers, [Feed("input", "wide", (), 2), Feed("wide", "wider", (), 512)])
        tracemalloc.start()
        count = sum(len(block.inputs) for block in kernel_blocks(made, Extent(top=100_000)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 100_000
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 8_000_000
