"""Criteria as text, what their parameters reach, those that read no image, and their page."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from tests import nets, toy
from tests.network_oracles import Scores
from tests.sources import ROOT
from tests.test_network_criteria import assert_same, by_layer, measured, read, scored
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA, criterion_called, criterion_forms
from viscnn.engine.output import parse_output
from viscnn.engine.run import QuerySpec, score_query
from viscnn.engine.scoring import score_key
from viscnn.engine.target import resolve
from viscnn.errors import ExpressionError
from viscnn.ingest.kernels import kernel_facts

PAGE = ROOT / "docs" / "criteria.md"


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    return toy.bundle_of(toy.toy_network(), toy.split_pictures(tmp_path / "pictures", score=2))


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("taylor", "taylor"),
        (" Taylor-Signed ", "taylor-signed"),
        ("taylor()", "taylor"),
        ("force", "force(keep=0.05,rounds=10)"),
        ("force(rounds=3)", "force(keep=0.05,rounds=3)"),
        ("force( rounds = 3 , keep=.5 )", "force(keep=0.5,rounds=3)"),
        ("force(keep=5e-2)", "force(keep=0.05,rounds=10)"),
        ("FORCE(keep=1)", "force(keep=1.0,rounds=10)"),
        ("integrated-gradients", "integrated-gradients(steps=5)"),
        ("integrated-gradients-signed(steps=20)", "integrated-gradients-signed(steps=20)"),
        ("random(seed=-7)", "random(seed=-7)"),
    ],
)
def test_texts_and_their_canonical_form(text: str, canonical: str) -> None:
    found = criterion_called(text)
    assert found.text == canonical
    assert criterion_called(canonical) == found


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_is_read_back_from_its_own_text(name: str) -> None:
    assert criterion_called(CRITERIA[name].text) == CRITERIA[name]
    assert CRITERIA[name].text in criterion_forms()
    assert CRITERIA[name].meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no criterion is called ''"),
        ("tailor", "did you mean taylor"),
        ("forse(keep=0.1)", "did you mean force"),
        ("force(keep=0.1", "no criterion is called 'force(keep=0.1'"),
        ("force(keep=0.1))", "no criterion is called"),
        ("force(share=0.1)", "'force' has no parameter 'share=0.1' (it has: keep, rounds)"),
        ("force(0.1)", "'force' has no parameter '0.1' (it has: keep, rounds)"),
        ("taylor(steps=5)", "'taylor' has no parameter 'steps=5' (it has: none)"),
        ("force(keep=much)", "'force': keep=much is not a number"),
        ("force(keep=)", "'force': keep= is not a number"),
        ("force(rounds=2.5)", "'force': rounds=2.5 is not a whole number"),
        ("force(keep=0)", "force(keep=0.0): the kept fraction must be above 0 and at most 1"),
        ("force(keep=1.01)", "must be above 0 and at most 1"),
        ("force(keep=-0.5)", "must be above 0 and at most 1"),
        ("force(keep=nan)", "must be above 0 and at most 1"),
        ("force(keep=inf)", "must be above 0 and at most 1"),
        ("force(rounds=0)", "force(rounds=0): give from 1 to 1000 rounds"),
        ("force(rounds=1001)", "from 1 to 1000 rounds"),
        ("force(keep=0.1,keep=0.2)", "'force': keep is given twice"),
        ("integrated-gradients(steps=0)", "integrated-gradients(steps=0): give from 1 to 1000 steps"),
        ("integrated-gradients-signed(steps=1001)", "from 1 to 1000 steps"),
        ("random(seed=x)", "'random': seed=x is not a whole number"),
    ],
)
def test_what_is_refused_and_why(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as found:
        criterion_called(text)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_parameters_belong_to_the_key_the_uid_and_the_text_of_a_query(bundle: Bundle) -> None:
    target = resolve(parse_output("loss"), model="toy", architecture=bundle.architecture, classes=bundle.classes)
    indices = bundle.collection.select("overall", "score")
    texts = ["snip", "grasp", "force(keep=0.5,rounds=2)", "force(keep=0.5,rounds=3)", "force(keep=0.3,rounds=3)"]
    texts += [
        f"{name}(steps={steps})" for name in ("integrated-gradients", "integrated-gradients-signed") for steps in (1, 2)
    ]
    texts += ["random", "random(seed=1)", "taylor", "taylor-signed", "taylor-map"]
    keys = [score_key(bundle, indices, target, criterion_called(each)) for each in texts]
    reports = [score_query(bundle, QuerySpec("overall", "loss", each)) for each in texts]
    assert len(set(keys)) == len({each.uid for each in reports}) == len(texts)
    assert [each.criterion for each in reports] == [criterion_called(each).text for each in texts]
    assert all(report.text == f"overall -> loss [{report.criterion}]" for report in reports)
    for one, other in itertools.combinations(reports, 2):
        assert not all(np.allclose(a, b) for a, b in zip(one.kernels, other.kernels, strict=True)), (one, other)


def test_the_same_parameters_written_otherwise_are_the_same_query(bundle: Bundle) -> None:
    one, other = (
        score_query(bundle, QuerySpec("overall", "loss", each))
        for each in ("force(rounds=2,keep=.10)", "FORCE(keep=0.1, rounds=2)")
    )
    assert one.uid == other.uid


# --- no image ----------------------------------------------------------------------------------------------------


def wide() -> nn.Sequential:
    """Two layers of one shape; 3 x 4,096 kernels in all."""
    found = nets.seeded(
        lambda: nets.chain(
            nn.Conv2d(2, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1), shape=(2, 1, 1)
        )
    )
    assert isinstance(found, nn.Sequential)
    return found


def drawn(criterion: str, *, images: int = 1) -> Scores:
    architecture = read(wide(), shape=(2, 1, 1))
    return measured(architecture, nets.images(images, shape=(2, 1, 1)), "class:bee", criterion, [])


def test_random_scores_are_uniform_and_belong_to_seed_and_layer() -> None:
    found = drawn("random")
    assert_same(drawn("random(seed=0)", images=3), found)
    everything = np.concatenate([each.ravel() for layer in found.values() for each in layer])
    assert everything.min() >= 0
    assert everything.max() < 1
    assert kstest(everything, "uniform").pvalue > 0.01
    other = drawn("random(seed=1)")
    unlike = [found["conv2"][0], found["conv3"][0], other["conv2"][0], other["conv3"][0]]
    for one, two in itertools.combinations([each.ravel() for each in unlike], 2):
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.06  # 4 standard deviations of 4,096 pairs
    assert not np.isin(found["conv2"][1], found["conv2"][0]).any()


def test_random_scores_leave_torchs_own_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    drawn("random")
    assert torch.equal(torch.rand(2), expected)


def test_magnitude_and_weight_are_the_graphs_l1_norms(bundle: Bundle) -> None:
    weights = [bundle.architecture.convolution(layer).weight.detach() for layer in bundle.architecture.layers]
    norms = [kernel_facts(each.numpy()).l1 for each in weights]
    magnitude = scored(bundle, "magnitude")
    expected = {f"conv{n}": (each, each.sum(axis=1)) for n, each in enumerate(norms, start=1)}
    assert_same(by_layer(magnitude), expected, rtol=1e-6)
    means = {
        f"conv{n}": (each / w[0, 0].numel(), each.mean(axis=1) / w[0, 0].numel())
        for n, (each, w) in enumerate(zip(norms, weights, strict=True), start=1)
    }
    assert_same(by_layer(scored(bundle, "weight")), means, rtol=1e-6)


# --- the page ----------------------------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    """The text of each section of the page by its heading."""
    parts = PAGE.read_text(encoding="utf-8").split("\n### ")[1:]
    return {part.partition("\n")[0].strip("` "): part.split("\n## ")[0] for part in parts}


def test_every_criterion_has_a_section_and_every_section_a_criterion() -> None:
    assert set(sections()) == set(CRITERIA)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_section_says_all_of_a_criterion(name: str) -> None:
    text = sections()[name]
    for part in ("Kernel:", "Filter:", "Source:", "Meaning:", "Cost:", "Use it"):
        assert f"**{part}**" in text, part
    for parameter, default in CRITERIA[name].parameters.items():
        assert f"`{parameter}` (default {default})" in " ".join(text.split())
    assert ("**Signed.**" in text) == CRITERIA[name].signed
