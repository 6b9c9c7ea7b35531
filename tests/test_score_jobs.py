"""Several criteria and targets in one pass: the same scores as alone, and no forward pass too many."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import toy
from tests.reads import use_small_batches
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA, criterion_called
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import Job, score_jobs
from viscnn.engine.sums import SetScores
from viscnn.engine.target import resolve

ONCE = [5, 5, 2]
"""Images of each batch."""

TEXTS = [*sorted({*CRITERIA} - {"force"}), "force(keep=0.3,rounds=2)"]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The toy with 12 images, 5 a batch."""
    use_small_batches(monkeypatch, tmp_path / "home", per_batch=5)
    return toy.bundle_of(toy.toy_network(), toy.split_pictures(tmp_path / "pictures"))


class Passes:
    """Counts the images of each forward pass through the pooling behind the first layer."""

    def __init__(self, bundle: Bundle) -> None:
        self.images: list[int] = []
        step = bundle.architecture.module.get_submodule("maxpool2d1")
        step.register_forward_hook(lambda module, inputs, output: self.images.append(len(output)))

    def taken(self) -> list[int]:
        """Those since the last call."""
        found, self.images = self.images, []
        return found


def scored(bundle: Bundle, *jobs: tuple[str, str]) -> tuple[SetScores, ...]:
    found = []
    for output, criterion in jobs:
        target = resolve(parse_output(output), model="toy", architecture=bundle.architecture, classes=bundle.classes)
        found.append(Job(target, criterion_called(criterion)))
    return score_jobs(bundle, bundle.collection.select("overall", "score"), found)


def assert_same(one: SetScores, other: SetScores) -> None:
    for left, right in zip((*one.kernels, *one.filters), (*other.kernels, *other.filters), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-6 * np.abs(right).max())
    np.testing.assert_allclose(one.totals, other.totals, rtol=1e-6)


OUTPUTS = [
    "loss",
    "class:bee",
    "filter:toy/conv1/2",
    "filter:toy/conv2/1@max",
    "filter:toy/conv2/1@post",
    "direction:conv2[0:0.5, 2:-1]",
    "loss - 2*filter:toy/conv1/0@max",
]


@pytest.mark.parametrize("criterion", TEXTS)
def test_targets_of_one_pass_are_scored_as_each_alone(
    bundle: Bundle, criterion: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those that end in an early layer too, and those that read one layer's maps before and after its activation."""
    together = scored(bundle, *((output, criterion) for output in OUTPUTS))
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "alone"))
    for output, found in zip(OUTPUTS, together, strict=True):
        (alone,) = scored(bundle, (output, criterion))
        assert not alone.cached
        assert_same(found, alone)


@pytest.mark.parametrize("output", ["loss", "filter:toy/conv2/0"])
def test_criteria_of_one_pass_are_scored_as_each_alone(
    bundle: Bundle, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    together = scored(bundle, *((output, criterion) for criterion in TEXTS))
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "alone"))
    for criterion, found in zip(TEXTS, together, strict=True):
        assert_same(found, scored(bundle, (output, criterion))[0])


def test_three_criteria_and_two_targets_take_one_forward_pass_a_batch(bundle: Bundle) -> None:
    passes = Passes(bundle)
    criteria = ("taylor", "snip", "taylor-signed")
    found = scored(bundle, *((output, each) for output in ("loss", "filter:toy/conv2/1@max") for each in criteria))
    assert passes.taken() == ONCE
    assert len(found) == 6
    assert [len(each.totals) for each in found] == [12] * 6


def test_what_is_in_the_cache_is_not_run_again(bundle: Bundle) -> None:
    passes = Passes(bundle)
    first = scored(bundle, ("loss", "taylor"), ("class:bee", "snip"))
    assert passes.taken() == ONCE
    again = scored(bundle, ("class:bee", "snip"), ("loss", "taylor"))
    assert passes.taken() == []
    assert [each.cached for each in again] == [True, True]
    for one, other in zip(first, again[::-1], strict=True):
        assert_same(one, other)
    mixed = scored(bundle, ("loss", "taylor"), ("loss", "gradient"))
    assert passes.taken() == ONCE
    assert [each.cached for each in mixed] == [True, False]


def test_the_same_job_twice_is_done_once(bundle: Bundle) -> None:
    passes = Passes(bundle)
    one, other = scored(bundle, ("loss", "force(rounds=2)"), ("loss", "force(keep=0.05,rounds=2)"))
    assert passes.taken() == 2 * ONCE
    assert_same(one, other)


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_force_takes_a_pass_a_round(bundle: Bundle, rounds: int) -> None:
    passes = Passes(bundle)
    scored(bundle, ("loss", f"force(keep=0.3,rounds={rounds})"), ("loss", "taylor"))
    assert passes.taken() == (rounds if rounds == 1 else rounds + 1) * ONCE  # one round joins the others' pass


def test_integrated_gradients_take_a_pass_a_step_and_one_of_the_baseline(bundle: Bundle) -> None:
    passes = Passes(bundle)
    scored(bundle, ("loss", "integrated-gradients(steps=3)"))
    assert sorted(passes.taken()) == sorted([*3 * ONCE, *[1] * len(ONCE)])


def test_criteria_without_gradients_do_not_ask_for_any(bundle: Bundle) -> None:
    recorded: list[bool] = []
    step = bundle.architecture.module.get_submodule("maxpool2d1")
    step.register_forward_hook(lambda module, inputs, output: recorded.append(torch.is_grad_enabled()))
    scored(bundle, *(("loss", each) for each in ("activation", "weight", "magnitude", "random")))
    assert recorded == [False] * len(ONCE)
