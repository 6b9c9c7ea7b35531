"""The benchmarks measure what they say: the dissected form is right, peaks are seen, and the printed keys are there."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import measure
from benchmarks.dissected import dissected, dissected_scores
from benchmarks.pipeline import Ours
from benchmarks.workload import Goal, Workload, forward_backward
from tests import nets, oracles
from viscnn.errors import UnsupportedModel

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "score.py"
LABELS = [0, 2, 1]
GOALS = {
    "loss": (Goal(labels=torch.tensor(LABELS)), oracles.loss(LABELS)),
    "filter": (Goal(layer="conv2", channel=1), oracles.filter_mean("conv2", 1)),
    "filter of the first layer": (Goal(layer="conv1", channel=2), oracles.filter_mean("conv1", 2)),
}


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", ["plain", "strided", "dilated", "asymmetric", "no-bias", "in-place"])
def test_the_dissected_form_gives_the_literal_scores(name: str, goal: str) -> None:
    network, images, (ours, literal) = nets.make(name), nets.images(3), GOALS[goal]
    found = dissected_scores(dissected(network), images, ours)
    for layer, (kernels, filters) in oracles.scores("taylor", oracles.layers(network, images, literal)).items():
        np.testing.assert_allclose(found[layer][0], kernels, rtol=1e-4, atol=1e-6 * kernels.max())
        if layer != ours.layer:  # the original takes the ReLU of a target filter's own map too
            np.testing.assert_allclose(found[layer][1], filters, rtol=1e-4, atol=1e-6 * filters.max())


def test_the_dissected_form_scores_every_pass_anew() -> None:
    network = dissected(nets.make("plain"))
    first, second = nets.images(2, seed=1), nets.images(2, seed=2)
    goal = Goal(labels=torch.tensor([0, 1]))
    expected = dissected_scores(network, second, goal)
    dissected_scores(network, first, goal)
    again = dissected_scores(network, second, goal)
    for layer, scores in expected.items():
        torch.testing.assert_close(again[layer], scores)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("name", ["grouped", "reflect", "same"])
def test_what_the_original_cannot_dissect_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedModel, match="cannot be dissected"):
        dissected(nets.make(name))


@pytest.mark.parametrize("goal", GOALS)
def test_the_plain_pass_has_the_gradients_of_plain_autograd(goal: str) -> None:
    network, images, (ours, literal) = nets.make("in-place"), nets.images(3), GOALS[goal]
    found = forward_backward(network, images, ours)
    expected = [layer.gradient for layer in oracles.layers(network, images, literal).values()]
    assert len(found) == len(expected)
    for gradient, of_layer in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient.flatten(2), of_layer, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("goal", GOALS)
def test_the_parts_of_our_pass_are_what_a_query_runs(goal: str) -> None:
    network, images, (ours, literal) = nets.make("plain").requires_grad_(False), nets.images(3), GOALS[goal]
    found = Ours(Workload(network, images, ours, "random", "noise")).scores()
    expected = oracles.scores("taylor", oracles.layers(network, images, literal))
    for number, (kernels, filters) in enumerate(expected.values()):
        np.testing.assert_allclose(found.kernels[number], kernels, rtol=1e-4, atol=1e-6 * kernels.max())
        np.testing.assert_allclose(found.filters[number], filters, rtol=1e-4, atol=1e-6 * filters.max())
    assert len(found.kernels) == 2


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    contenders = {name: (lambda name=name: turns.append(name)) for name in "abc"}
    seconds = measure.interleaved(contenders, rounds=3, most={"b": 1})
    assert "".join(turns) == "abc" + "abc" + "ac" + "ac"
    assert {name: len(each) for name, each in seconds.items()} == {"a": 3, "b": 1, "c": 3}


@pytest.mark.skipif(not measure.SUPPORTED, reason="peaks are read from Linux's /proc")
def test_growth_is_what_was_used_inside_even_if_it_was_there_before() -> None:
    def use(count: int) -> float:
        return sum(float(torch.ones(2**18).sum()) for _ in range(count)) + float(torch.ones(16 * 2**20).sum())

    use(8)  # 64 MiB that the allocator may keep
    with measure.Growth() as growth:
        use(8)
    assert growth.mib is not None
    assert 60 < growth.mib < 90


def test_the_matrix_product_reaches_a_plausible_rate() -> None:
    assert 1e9 < measure.gemm_peak(repeats=1) < 1e15


@pytest.mark.slow
def test_a_short_run_prints_one_object_with_all_keys() -> None:
    arguments = ["--model", "alexnet", "--images", "1", "--target", "filter", "--threads", "1", "--repeats", "1"]
    command = [sys.executable, str(SCRIPT), *arguments, "--json"]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # its errors are shown
    found = json.loads(result.stdout)
    assert (found["model"], found["images"], found["threads"]) == ("alexnet", 1, 1)
    assert found["target"] == "features.8/7"
    assert found["tier"] in {"native", "numba", "torch"}
    ratios = ("scoringOverForwardBackward", "pipelineOverForwardBackward", "signedOverForwardBackward")
    speedups = ("pipelineSpeedupOverDissected", "scoringSpeedupOverDissected")
    for key in (*ratios, *speedups, "sparseLimitShare", "gemmPeakGflops", "kernelDifference"):
        assert 0 < found[key] < math.inf, key
        assert key == "kernelDifference" or found["byThreads"]["1"][key] == found[key]
    assert found["pipelineOverForwardBackward"] == pytest.approx(
        found["msPerImage"]["pipeline"] / found["msPerImage"]["forwardBackward"]
    )
    assert set(found["msPerImage"]) == {"forwardBackward", "pipeline", "scoring", "signed", "dissected"}
    assert found["extraPeakMiB"] == found["peakMiB"]["pipeline"]


def test_the_networks_of_the_targets_have_a_known_filter_layer() -> None:
    from torchvision.models._api import get_model

    from benchmarks.workload import FILTER, FILTER_LAYERS

    for name, layer in FILTER_LAYERS.items():
        with torch.device("meta"):
            convolution = get_model(name, weights=None).get_submodule(layer)
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.out_channels > FILTER
