"""Branches, sums, gates and shared convolutions: maps, gradients and every criterion against literal passes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests import branch_oracles, branches, nets, oracles
from tests.branch_oracles import Scores
from viscnn.engine.batch import Batch
from viscnn.engine.capture import record
from viscnn.engine.criteria import CRITERIA, criterion_called
from viscnn.engine.output import parse_output
from viscnn.engine.target import Target, resolve
from viscnn.ingest.architecture import Architecture, read_architecture

LABELS = [2, 0]

FILTERS = {
    "residual": "plus1.add",
    "inception": "three",
    "shuffled": "part",
    "gated": "out",
    "sums": "twice.add",
    "joined": "two",
    "twice": "shared#2",
    "parallel": "right",
}
"""A layer within each network that is not its last."""


def read(name: str, *, double: bool = True) -> Architecture:
    architecture = read_architecture(branches.make(name), branches.SHAPE)
    if double:
        architecture.module.double()
    return architecture


def pictures(count: int = 2) -> torch.Tensor:
    return nets.images(count, shape=branches.SHAPE)


def target_of(architecture: Architecture, text: str) -> Target:
    return resolve(parse_output(text), model="net", architecture=architecture, classes=branches.CLASSES)


def targets(name: str) -> dict[str, oracles.T]:
    within = FILTERS[name]
    return {
        "loss": oracles.loss(LABELS),
        f"filter:net/{within}/1@max": oracles.filter_max(within, 1),
        f"layer:{within}": oracles.layer_mean(within),
    }


PAIRS = [(name, text) for name in branches.NETS for text in targets(name)]


def measured(
    architecture: Architecture,
    images: torch.Tensor,
    text: str,
    criterion: str,
    *,
    baseline: torch.Tensor | None = None,
    masks: dict[str, torch.Tensor] | None = None,
) -> Scores:
    """Our mean scores of all layers; those that are not computed are zero."""
    chosen = criterion_called(criterion)
    batch = Batch(
        architecture,
        images,
        target_of(architecture, text),
        labels=LABELS[: len(images)],
        gradients=chosen.gradients,
        signed=chosen.products,
        baseline=baseline,
        masks=masks or {},
    )
    found = {
        layer.name: (np.zeros((layer.filters, layer.inputs)), np.zeros(layer.filters)) for layer in architecture.layers
    }
    with torch.no_grad():
        for layer, scores in zip(batch.scored, chosen.of(batch), strict=True):
            kernels, filters = scores.kernel.double() / len(images), scores.filter.double().mean(dim=0)
            found[layer.name] = kernels.numpy(), filters.numpy()
    return found


def assert_same(found: Scores, expected: Scores, *, rtol: float = 3e-7) -> None:
    """Equal layers, shapes and numbers, relative to the layer's largest one; and not everything is zero.

    Norms are folded in float32.
    """
    assert list(found) == list(expected)
    assert any(kernels.any() for kernels, _ in expected.values())
    for name in expected:
        for ours, literal in zip(found[name], expected[name], strict=True):
            assert ours.shape == literal.shape
            np.testing.assert_allclose(
                ours, literal, rtol=rtol, atol=rtol * np.abs(literal).max() + 1e-13, err_msg=name
            )


# --- one pass ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", branches.NETS)
def test_a_recording_has_the_maps_of_the_plain_network(name: str) -> None:
    network, images = branches.make(name), pictures()
    literal = branch_oracles.run(name, network, images)
    for sparing in (None, list(literal.z)):
        found = record(read(name), images.double(), sparing=sparing)
        assert list(found.maps) == list(literal.z) == list(found.inputs)
        assert found.activated.keys() == literal.a.keys()
        for layer in literal.z:
            torch.testing.assert_close(found.inputs[layer], literal.x[layer].detach())
            torch.testing.assert_close(found.maps[layer], literal.z[layer])
            torch.testing.assert_close(found.activated[layer], literal.a[layer])
            for ours, part in zip(found.inputs.parts(layer), literal.addends[layer], strict=True):
                torch.testing.assert_close(ours, part.detach())
        assert found.output is not None
        torch.testing.assert_close(found.output, literal.logits)


@pytest.mark.parametrize("name", branches.NETS)
def test_gradients_are_those_of_plain_autograd(name: str) -> None:
    network, images = branches.make(name), pictures()
    literal = branch_oracles.run(name, network, images)
    literal.logits[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    found = record(read(name), images.double())
    assert found.output is not None
    of_maps, of_activated = found.gradients(found.output[:, 1].sum())
    for layer in literal.z:
        torch.testing.assert_close(of_maps[layer], literal.z[layer].grad)
        torch.testing.assert_close(of_activated[layer], literal.a[layer].grad)


@pytest.mark.parametrize("name", branches.NETS)
def test_the_pass_ends_at_the_last_layer_in_the_order_of_execution(name: str) -> None:
    architecture = read(name)
    for layer in architecture.layers:
        found = record(architecture, pictures().double(), last=layer)
        assert list(found.maps) == [each.name for each in architecture.layers[: layer.index]]
        assert found.output is None


def test_a_sum_is_intervened_on_as_the_convolution_that_it_equals() -> None:
    architecture, images = read("residual"), pictures().double()
    plain = record(architecture, images)
    given: list[tuple[int, ...]] = []

    def same(x: torch.Tensor, convolution: torch.nn.Conv2d) -> torch.Tensor:
        given.append(tuple(x.shape))
        return torch.nn.Conv2d.forward(convolution, x)

    found = record(architecture, images, interventions={"plus1.add": same, "plus2.add": same})
    assert given == [(2, 12, 3, 3)] * 2
    torch.testing.assert_close(found.maps["plus2.add"], plain.maps["plus2.add"])
    assert found.output is not None
    torch.testing.assert_close(found.output, plain.output)
    expected = plain.gradients(plain.maps["plus2.add"].square().sum(), retain=True)[0]
    for layer, gradient in found.gradients(found.maps["plus2.add"].square().sum())[0].items():
        torch.testing.assert_close(gradient, expected[layer])  # an intervention lets gradients through


# --- criteria ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), PAIRS)
def test_every_criterion_is_its_literal_definition(name: str, text: str) -> None:
    network, images = branches.make(name), pictures()
    double, single = read(name), read(name, double=False)
    for criterion in oracles.LITERAL:
        expected = branch_oracles.scores(criterion, name, network, images, targets(name)[text])
        assert_same(measured(double, images.double(), text, criterion), expected)
        assert_same(measured(single, images, text, criterion), expected, rtol=2e-5)


@pytest.mark.parametrize(("name", "text"), PAIRS)
def test_signed_scores_and_bias_add_up_to_z_times_its_gradient(name: str, text: str) -> None:
    network, images = branches.make(name), pictures()
    literal = branch_oracles.layers(name, network, images, targets(name)[text])
    of = branch_oracles.run(name, network, images)
    found = measured(read(name), images.double(), text, "taylor-signed")
    for layer, each in literal.items():
        whole = (of.z[layer].detach().flatten(2).numpy() * each.gradient).sum(axis=2).mean(axis=0)
        bias = (each.bias[None, :, None] * each.gradient).sum(axis=2).mean(axis=0)
        np.testing.assert_allclose(found[layer][0].sum(axis=1) + bias, whole, atol=3e-7 * np.abs(whole).max() + 1e-12)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("filter:net/right/1", {"stem", "right"}),
        ("filter:net/leftmost/0", {"stem", "left", "leftmost"}),
        ("filter:net/left/0 + filter:net/right/1", {"stem", "left", "right"}),
    ],
)
def test_layers_that_t_does_not_depend_on_score_exactly_nothing(criterion: str, text: str, reached: set[str]) -> None:
    found = measured(read("parallel"), pictures().double(), text, criterion, baseline=pictures(1)[0].double())
    for layer, (kernels, filters) in found.items():
        if layer not in reached:
            assert not kernels.any()
            assert not filters.any()
        elif criterion != "grasp":
            assert kernels.any()
            assert filters.any()


@pytest.mark.parametrize(("name", "layer"), [("residual", "plus1.add"), ("sums", "twice.add"), ("gated", "plus.add")])
def test_an_identity_scores_what_t_loses_without_its_addend(name: str, layer: str) -> None:
    """T is linear in the sum that it reads, so the signed score is the loss exactly."""
    network, images = branches.make(name), pictures()
    found = measured(read(name), images.double(), f"filter:net/{layer}/1", "taylor-signed")[layer][0]
    target = oracles.filter_mean(layer, 1)
    whole = target.values(branch_oracles.run(name, network, images)).mean()
    for addend in range(2):
        weight = torch.ones(found.shape[0], 2, 1, 1, dtype=torch.float64)
        weight[1, addend] = 0
        without = target.values(branch_oracles.run(name, network, images, weights={layer: weight})).mean()
        assert found[1, addend] == pytest.approx((whole - without).item(), rel=3e-7, abs=1e-9)
    assert not np.delete(found, 1, axis=0).any()


# --- criteria of several passes ----------------------------------------------------------------------------------


def goals(name: str) -> dict[str, Callable[[int], oracles.T]]:
    """Targets of one image by its label."""
    within = FILTERS[name]
    return {
        "loss": lambda label: oracles.loss([label]),
        f"filter:net/{within}/1": lambda label: oracles.filter_mean(within, 1),
    }


SOME = [(name, text) for name in ("residual", "gated", "sums", "joined", "twice") for text in goals(name)]


@pytest.mark.parametrize(("name", "text"), SOME)
def test_snip_is_weight_times_slope_entry_by_entry(name: str, text: str) -> None:
    network, images, goal = branches.make(name), pictures(), goals(name)[text]
    pairs = list(zip(images, LABELS, strict=True))
    expected = branch_oracles.mean(
        [branch_oracles.literal_snip(name, network, image, goal(label), {}) for image, label in pairs]
    )
    assert_same(measured(read(name), images.double(), text, "snip"), expected)
    generator = np.random.default_rng(4)
    every = branch_oracles.shapes(name, network)
    masks = {layer: (generator.random(shape) < 0.6).astype(np.float64) for layer, shape in every.items()}
    expected = branch_oracles.mean(
        [branch_oracles.literal_snip(name, network, image, goal(label), masks) for image, label in pairs]
    )
    given = {layer: torch.from_numpy(mask) for layer, mask in masks.items()}
    assert_same(measured(read(name), images.double(), text, "snip", masks=given), expected)


@pytest.mark.parametrize("name", ["residual", "gated", "sums", "joined", "twice"])
def test_grasp_is_the_flow_of_the_kernels_alone(name: str) -> None:
    network, images = branches.make(name), pictures()
    pairs = list(zip(images, LABELS, strict=True))
    expected = branch_oracles.mean(
        [branch_oracles.literal_grasp(name, network, image, oracles.loss([label])) for image, label in pairs]
    )
    assert_same(measured(read(name), images.double(), "loss", "grasp"), expected)


@pytest.mark.parametrize(("name", "text"), SOME)
def test_integrated_gradients_are_a_loop_over_steps(name: str, text: str) -> None:
    network, (*images, baseline), goal = branches.make(name), pictures(3), goals(name)[text]
    expected = branch_oracles.mean(
        [
            branch_oracles.literal_integrated(name, network, image, baseline, goal(label), steps=3)
            for image, label in zip(images, LABELS, strict=True)
        ]
    )
    found = measured(
        read(name), torch.stack(images).double(), text, "integrated-gradients(steps=3)", baseline=baseline.double()
    )
    assert_same(found, expected)


def test_sums_have_no_weights_and_random_draws_of_kernels_do_not_know_of_them() -> None:
    architecture, images = read("residual"), pictures().double()
    for criterion in ("weight", "magnitude"):
        kernels, filters = measured(architecture, images, "loss", criterion)["plus1.add"]
        assert not kernels.any()
        assert not filters.any()
    drawn = measured(architecture, images, "loss", "random(seed=3)")
    assert drawn["plus1.add"][0].any()
    alone = measured(read("parallel"), images, "loss", "random(seed=3)")
    np.testing.assert_array_equal(drawn["stem"][0], alone["stem"][0])
