"""Every criterion against its literal definition, the identities between them, and other ways to the same numbers."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import nets, oracles
from viscnn.engine import edge_maps
from viscnn.engine.batch import Batch
from viscnn.engine.criteria import CRITERIA, criterion_called
from viscnn.engine.output import parse_output
from viscnn.engine.target import Target, resolve
from viscnn.errors import ExpressionError
from viscnn.ingest.architecture import Architecture, read_architecture

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

CLASSES = ("ant", "bee", "cat")
LABELS = [2, 0]
TARGETS: dict[str, oracles.T] = {
    "loss": oracles.loss(LABELS),
    "class:bee": oracles.logit(1),
    "filter:net/conv2/1": oracles.filter_mean("conv2", 1),
    "filter:net/conv2/2@max": oracles.filter_max("conv2", 2),
    "filter:net/conv1/3@1,2": oracles.filter_at("conv1", 3, 1, 2),
    "layer:conv2": oracles.layer_mean("conv2"),
}

Scores = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def read(network: nn.Module, *, double: bool = True, shape: tuple[int, int, int] = nets.INPUT) -> Architecture:
    """The architecture of a network, in float64 where only the method is compared."""
    architecture = read_architecture(network, shape)
    if double:
        architecture.module.double()
    return architecture


def target_of(architecture: Architecture, text: str) -> Target:
    return resolve(parse_output(text), model="net", architecture=architecture, classes=CLASSES)


def batch_of(
    architecture: Architecture, images: Tensor, text: str, labels: list[int], *, gradients: bool = True
) -> Batch:
    return Batch(
        architecture,
        images,
        target_of(architecture, text),
        labels=labels,
        gradients=gradients,
        signed=True,
        baseline=torch.zeros_like(images[0]),
    )


def measured(architecture: Architecture, images: Tensor, text: str, criterion: str, labels: list[int]) -> Scores:
    """Our mean scores by layer."""
    chosen = criterion_called(criterion)
    batch = batch_of(architecture, images, text, labels, gradients=chosen.gradients)
    with torch.no_grad():
        return {
            layer.name: (
                (scores.kernel.double() / len(images)).numpy(),
                scores.filter.double().mean(dim=0).numpy(),
            )
            for layer, scores in zip(batch.scored, chosen.of(batch), strict=True)
        }


def assert_same(found: Scores, expected: Scores, *, rtol: float) -> None:
    """Equal layers, shapes and numbers; `rtol` is relative to the layer's largest value."""
    assert list(found) == list(expected)
    for name in expected:
        for ours, literal in zip(found[name], expected[name], strict=True):
            assert ours.shape == literal.shape
            np.testing.assert_allclose(ours, literal, rtol=rtol, atol=rtol * np.abs(literal).max(), err_msg=name)


@pytest.mark.parametrize("name", nets.NETS)
def test_every_criterion_is_its_literal_definition(name: str) -> None:
    network = nets.make(name)
    images = nets.images(2)
    literal = oracles.layers(network, images, TARGETS["loss"])
    double, single = read(network), read(network, double=False)
    for criterion in oracles.LITERAL:
        expected = oracles.scores(criterion, literal)
        assert_same(measured(double, images.double(), "loss", criterion, LABELS), expected, rtol=1e-9)
        assert_same(measured(single, images, "loss", criterion, LABELS), expected, rtol=1e-5)


@pytest.mark.parametrize("text", TARGETS)
@pytest.mark.parametrize("name", ["strided", "grouped", "in-place"])
def test_every_criterion_towards_every_target(name: str, text: str) -> None:
    network = nets.make(name)
    architecture, images = read(network), nets.images(2)
    literal = oracles.layers(network, images, TARGETS[text])
    for criterion in oracles.LITERAL:
        expected = oracles.scores(criterion, literal)
        assert_same(measured(architecture, images.double(), text, criterion, LABELS), expected, rtol=1e-9)


@pytest.mark.parametrize("text", ["loss", "filter:net/conv2/2@max"])
def test_the_oracles_own_gradients_agree_with_finite_differences(text: str) -> None:
    network = nets.chain(nn.Conv2d(1, 2, 2), nn.GELU(), nn.Conv2d(2, 3, 2, padding=1), shape=(1, 4, 3))
    images = nets.images(2, shape=(1, 4, 3))
    for name, layer in oracles.layers(network, images, TARGETS[text]).items():
        literal = oracles.finite_differences(network, images, TARGETS[text], name)
        np.testing.assert_allclose(layer.gradient, literal, atol=1e-8)


@pytest.mark.parametrize("name", nets.GEOMETRIES)
def test_the_dissected_convolution_of_the_original_tool_gives_the_same_scores(name: str) -> None:
    network = nets.make(name)
    images = nets.images(3)
    dissected = oracles.dissected_scores(network, images, oracles.loss([0, 1, 2]))
    ours = measured(read(network), images.double(), "loss", "taylor", [0, 1, 2])
    assert dissected.keys() == ours.keys()
    for layer, expected in dissected.items():
        np.testing.assert_allclose(ours[layer][0], expected, rtol=1e-9)


@pytest.mark.parametrize("name", nets.NETS)
def test_signed_scores_are_weight_times_weight_gradient(name: str) -> None:
    network = nets.make(name)
    images = nets.images(2)
    ours = measured(read(network), images.double(), "loss", "taylor-signed", LABELS)
    plain = copy.deepcopy(network).double()
    for step in plain.modules():
        if hasattr(step, "inplace"):
            step.inplace = False  # type: ignore[assignment]
    torch.nn.functional.cross_entropy(plain(images.double()), torch.tensor(LABELS)).backward()  # type: ignore[no-untyped-call]
    for layer, (kernels, _) in ours.items():
        weight = plain.get_submodule(layer).weight
        assert isinstance(weight, nn.Parameter)
        assert weight.grad is not None
        np.testing.assert_allclose(kernels, (weight * weight.grad).sum(dim=(2, 3)).detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", nets.NETS)
def test_signed_scores_and_the_bias_add_up_to_the_map_times_its_gradient(name: str) -> None:
    network = nets.make(name)
    images = nets.images(2)
    literal = oracles.layers(network, images, TARGETS["loss"])
    for layer, (kernels, _) in measured(read(network), images.double(), "loss", "taylor-signed", LABELS).items():
        of = literal[layer]
        z = of.edge.sum(axis=2) + of.bias[None, :, None]
        whole = (z * of.gradient).sum(axis=2).mean(axis=0)
        bias = of.bias * of.gradient.sum(axis=2).mean(axis=0)
        np.testing.assert_allclose(kernels.sum(axis=1) + bias, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_do_not_depend_on_how_images_are_batched(criterion: str) -> None:
    architecture = read(nets.make("reflect"))
    images, labels = nets.images(5).double(), [0, 1, 2, 1, 0]
    whole = measured(architecture, images, "loss", criterion, labels)
    for sizes in ([1, 1, 1, 1, 1], [2, 3], [4, 1]):
        parts = zip(torch.split(images, sizes), torch.split(torch.tensor(labels), sizes), strict=True)
        found = [measured(architecture, part, "loss", criterion, numbers.tolist()) for part, numbers in parts]
        together = {
            layer: tuple(
                sum(size / 5 * part[layer][kind] for size, part in zip(sizes, found, strict=True)) for kind in (0, 1)
            )
            for layer in whole
        }
        assert_same(together, whole, rtol=1e-10)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["strided", "grouped", "same"])
def test_scores_do_not_depend_on_the_parts_that_edge_maps_come_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, images = read(nets.make(name)), nets.images(2).double()
    whole = {each: measured(architecture, images, "loss", each, LABELS) for each in ("taylor", "activation")}
    for floats in (1, 800):
        monkeypatch.setattr(edge_maps, "PART_FLOATS", floats)
        for criterion, expected in whole.items():
            assert_same(measured(architecture, images, "loss", criterion, LABELS), expected, rtol=1e-12)


def test_gradient_scores_are_equal_for_all_kernels_into_a_filter() -> None:
    kernels = measured(read(nets.make("plain")), nets.images(2).double(), "loss", "gradient", LABELS)["conv2"][0]
    assert kernels.shape == (3, 4)
    assert np.ptp(kernels, axis=1).max() == 0
    assert np.ptp(kernels, axis=0).min() > 0


def test_weight_scores_are_the_same_for_all_images() -> None:
    architecture = read(nets.make("plain"))
    one = measured(architecture, nets.images(1).double(), "loss", "weight", [0])
    assert_same(measured(architecture, nets.images(4, seed=9).double(), "loss", "weight", [0] * 4), one, rtol=1e-12)


@pytest.mark.parametrize("name", ["strided", "circular", "grouped", "lrn"])
def test_a_signed_score_is_the_change_that_removing_a_kernel_into_the_target_makes(name: str) -> None:
    network = nets.make(name)
    images, target = nets.images(3), oracles.filter_mean("conv2", 1)
    kernels = measured(read(network), images.double(), "filter:net/conv2/1", "taylor-signed", [0] * 3)["conv2"][0]
    before = target.values(oracles.run(network, images)).mean()
    for i in range(kernels.shape[1]):
        after = target.values(oracles.run(oracles.without(network, "conv2", 1, i), images)).mean()
        np.testing.assert_allclose(kernels[1, i], (before - after).item(), rtol=1e-9)
    assert np.abs(np.delete(kernels, 1, axis=0)).max() == 0


def test_layers_beyond_the_target_are_not_scored() -> None:
    architecture = read(nets.make("plain"))
    for criterion in CRITERIA:
        assert list(measured(architecture, nets.images(2).double(), "filter:net/conv1/0", criterion, LABELS)) == [
            "conv1"
        ]


def test_a_target_filter_is_scored_on_its_map_before_the_activation() -> None:
    network = nets.make("in-place")
    images = nets.images(2)
    found = measured(read(network), images.double(), "filter:net/conv2/1", "activation", LABELS)["conv2"][1]
    z = oracles.run(network, images).z["conv2"]
    np.testing.assert_allclose(found, z.mean(dim=(0, 2, 3)).detach().numpy(), rtol=1e-9)
    assert found.min() < 0  # after the ReLU none could be


def test_the_naive_way_is_wrong_where_activations_work_in_place() -> None:
    """A forward hook that keeps a convolution's output keeps what the in-place ReLU makes of it."""
    network = nets.make("in-place").double()
    kept: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        kept["conv1"] = output

    handle = network.get_submodule("conv1").register_forward_hook(keep)
    images = nets.images(2)
    torch.nn.functional.cross_entropy(network(images.double()), torch.tensor(LABELS), reduction="sum").backward()  # type: ignore[no-untyped-call]
    handle.remove()
    literal = oracles.layers(network, images, TARGETS["loss"])["conv1"]
    assert kept["conv1"].grad is not None
    naive = (kept["conv1"] * kept["conv1"].grad).sum(dim=(2, 3)).mean(dim=0).detach().numpy()
    z = literal.edge.sum(axis=2) + literal.bias[None, :, None]
    right = (z * literal.gradient).sum(axis=2).mean(axis=0)
    ours = measured(read(network), images.double(), "loss", "taylor-signed", LABELS)["conv1"][0].sum(axis=1)
    bias = literal.bias * literal.gradient.sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(ours + bias, right, rtol=1e-9)
    assert (kept["conv1"] >= 0).all()
    assert (oracles.run(network, images).z["conv1"] < 0).any()
    assert not np.allclose(kept["conv1"].grad.detach().flatten(2).numpy(), literal.gradient)
    assert naive.shape == right.shape


def test_scores_of_a_normalised_network_are_those_of_the_folded_one() -> None:
    network = nets.with_statistics(
        nets.chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3), nn.ReLU())
    )
    norm, convolution = network.get_submodule("batchnorm2d1"), network.get_submodule("conv1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(convolution, nn.Conv2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert convolution.bias is not None
    folded = nets.chain(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3), nn.ReLU())
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded.load_state_dict(
        {key: value for key, value in network.state_dict().items() if not key.startswith("batchnorm")}
        | {
            "conv1.weight": convolution.weight * scale.view(-1, 1, 1, 1),
            "conv1.bias": (convolution.bias - norm.running_mean) * scale + norm.bias,
        }
    )
    images = nets.images(2)
    expected = oracles.scores("taylor", oracles.layers(folded, images, TARGETS["loss"]))
    assert_same(measured(read(network, double=False), images, "loss", "taylor", LABELS), expected, rtol=2e-5)


def test_an_unknown_criterion_is_refused_with_the_nearest() -> None:
    with pytest.raises(ExpressionError, match="did you mean taylor-signed or taylor"):
        criterion_called("taylor-sign")
