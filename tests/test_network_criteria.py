"""SNIP, FORCE, integrated gradients and GraSP against literal loops, and by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import nets, oracles, toy
from tests.network_oracles import (
    GOALS,
    Scores,
    filter_max,
    filter_mean,
    literal_force,
    literal_grasp,
    literal_integrated,
    literal_snip,
    mean_over_images,
    weights_of,
    with_weights,
)
from viscnn.engine.baseline import mean_image
from viscnn.engine.batch import Batch
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import criterion_called
from viscnn.engine.criteria.force import keep_best, kept_after
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import score_images
from viscnn.engine.sums import SetScores
from viscnn.engine.target import Target, resolve
from viscnn.ingest.architecture import Architecture, read_architecture

CLASSES = ("ant", "bee", "cat")
LABELS = [2, 0]


# --- ours --------------------------------------------------------------------------------------------------------


def read(network: nn.Module, *, shape: tuple[int, int, int] = nets.INPUT) -> Architecture:
    """The architecture in float64."""
    architecture = read_architecture(network, shape)
    architecture.module.double()
    return architecture


def target_of(architecture: Architecture, text: str) -> Target:
    return resolve(parse_output(text), model="net", architecture=architecture, classes=CLASSES)


def measured(
    architecture: Architecture,
    images: Tensor,
    text: str,
    criterion: str,
    labels: Sequence[int | None],
    *,
    baseline: Tensor | None = None,
    masks: dict[str, Tensor] | None = None,
) -> Scores:
    """Our mean scores of float64 images by layer."""
    chosen = criterion_called(criterion)
    target = target_of(architecture, text)
    batch = Batch(
        architecture,
        images.double(),
        target,
        labels=labels,
        gradients=chosen.gradients,
        signed=chosen.products,
        baseline=None if baseline is None else baseline.double(),
        masks=masks or {},
    )
    with torch.no_grad():
        return {
            layer.name: ((scores.kernel / len(images)).numpy(), scores.filter.mean(dim=0).numpy())
            for layer, scores in zip(batch.scored, chosen.of(batch), strict=True)
        }


def assert_same(found: Scores, expected: Scores, *, rtol: float = 1e-9, some: bool = True) -> None:
    """Equal layers, shapes and numbers, relative to the layer's largest one; and not everything is zero."""
    assert list(found) == list(expected)
    assert any(kernels.any() for kernels, _ in expected.values()) == some
    for name in expected:
        for ours, literal in zip(found[name], expected[name], strict=True):
            assert ours.shape == literal.shape
            np.testing.assert_allclose(
                ours, literal, rtol=rtol, atol=rtol * np.abs(literal).max() + 1e-14, err_msg=name
            )


def pairs() -> list[tuple[str, str]]:
    """Every net of a few towards the loss, and one net towards every target."""
    names = ("strided", "grouped", "reflect", "in-place", "gelu", "pooled first")
    return [(name, "loss") for name in names] + [("plain", text) for text in GOALS]


# --- SNIP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), pairs())
def test_snip_is_weight_times_slope_entry_by_entry(name: str, text: str) -> None:
    network, images = nets.make(name), nets.images(2)
    expected = literal_snip(network, images, LABELS, GOALS[text])
    assert_same(measured(read(network), images, text, "snip", LABELS), expected)


def test_snip_in_a_masked_network_scores_what_is_masked_too() -> None:
    network, images = nets.make("gelu"), nets.images(2)
    generator = torch.Generator().manual_seed(4)
    masks = {name: (torch.rand(shape, generator=generator) < 0.5).double() for name, shape in SHAPES.items()}
    expected = literal_snip(network, images, LABELS, GOALS["loss"], **{n: each.numpy() for n, each in masks.items()})
    found = measured(read(network), images, "loss", "snip", LABELS, masks=masks)
    assert_same(found, expected)
    assert all((found[name][0][mask.numpy() == 0] > 0).any() for name, mask in masks.items())
    assert not np.allclose(found["conv1"][0], measured(read(network), images, "loss", "snip", LABELS)["conv1"][0])


SHAPES = {"conv1": (4, 2), "conv2": (3, 4)}


def test_snip_takes_sizes_before_the_mean_over_images() -> None:
    """Of two images with opposite slopes nothing cancels."""
    network = nets.chain(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False), shape=(1, 2, 2))
    image = nets.images(1, shape=(1, 2, 2))
    both = torch.cat([image, -image])
    one, other = (
        measured(read(network, shape=(1, 2, 2)), each, "filter:net/conv2/0", "snip", []) for each in (image, both)
    )
    assert_same(other, one)


# --- FORCE -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    return toy.bundle_of(toy.toy_network(), toy.split_pictures(tmp_path / "pictures", score=2))


def scored(bundle: Bundle, criterion: str, *, output: str = "loss") -> SetScores:
    target = resolve(parse_output(output), model="toy", architecture=bundle.architecture, classes=bundle.classes)
    return score_images(bundle, bundle.collection.select("overall", "score"), target, criterion_called(criterion))


def pictures(bundle: Bundle) -> tuple[Tensor, list[int]]:
    """The images of the score part as the model sees them, and their class numbers."""
    items = [bundle.collection.items[each] for each in bundle.collection.select("overall", "score")]
    images = torch.stack([toy.pixels(Path(str(bundle.images)) / item.path) for item in items])
    return images, [toy.CLASSES.index(str(item.label)) for item in items]


def by_layer(found: SetScores) -> Scores:
    return {f"conv{n}": each for n, each in enumerate(zip(found.kernels, found.filters, strict=True), start=1)}


FORCES = [("loss", 0.2, 4), ("loss", 0.05, 7), ("filter:toy/conv2/1@max", 0.1, 3), ("filter:toy/conv2/2", 0.1, 1)]


@pytest.mark.parametrize(("output", "keep", "rounds"), FORCES)
def test_force_is_snip_round_after_round(bundle: Bundle, output: str, keep: float, rounds: int) -> None:
    goals = {
        "loss": GOALS["loss"],
        "filter:toy/conv2/1@max": filter_max("conv2", 1),
        "filter:toy/conv2/2": filter_mean("conv2", 2),
    }
    images, labels = pictures(bundle)
    expected, _ = literal_force(toy.toy_network(), images, labels, goals[output], keep=keep, rounds=rounds)
    found = by_layer(scored(bundle, f"force(keep={keep},rounds={rounds})", output=output))
    assert_same(found, expected, rtol=2e-5)
    if rounds > 1:
        assert not np.allclose(found["conv1"][0], scored(bundle, "snip", output=output).kernels[0], rtol=1e-2)


def test_force_that_keeps_everything_is_snip(bundle: Bundle) -> None:
    assert_same(by_layer(scored(bundle, "force(keep=1,rounds=3)")), by_layer(scored(bundle, "snip")), rtol=1e-6)
    assert_same(by_layer(scored(bundle, "force(keep=0.1,rounds=1)")), by_layer(scored(bundle, "snip")), rtol=1e-6)


@pytest.mark.parametrize(
    ("kernels", "keep", "rounds", "expected"),
    [
        (1000, 0.001, 3, [1000, 100, 10, 1]),
        (10_000, 0.01, 2, [10_000, 1000, 100]),
        (8, 0.125, 3, [8, 4, 2, 1]),
        (18, 0.5, 2, [18, 13, 9]),  # sqrt(18 * 9) = 12.7
        (64, 1.0, 3, [64, 64, 64, 64]),
        (5, 0.01, 2, [5, 3, 1]),  # never fewer than one; sqrt(5) = 2.2
        (250_048, 0.05, 1, [250_048, 12_503]),  # 12502.4
        (16_454_249, 0.2, 1, [16_454_249, 3_290_850]),  # 3290849.8: no more than there are at the start
    ],
)
def test_the_schedule_by_hand(kernels: int, keep: float, rounds: int, expected: list[int]) -> None:
    assert [kept_after(done, kernels, keep, rounds) for done in range(rounds + 1)] == expected


def test_the_best_of_all_layers_together_are_kept_and_the_first_of_equal_ones() -> None:
    kernels = {"one": torch.tensor([[5.0, 1.0], [2.0, 2.0]]), "two": torch.tensor([[2.0, 4.0]])}
    masks = keep_best(kernels, 1, keep=0.5, rounds=1)
    assert {name: each.tolist() for name, each in masks.items()} == {"one": [[1, 0], [1, 0]], "two": [[0, 1]]}


def revivable() -> nn.Sequential:
    """Of one position: two kernels hold each other down until both are gone."""
    network = nets.chain(nn.Conv2d(3, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(2, 1, 1, bias=False), shape=(3, 1, 1))
    first, second = network.get_submodule("conv1"), network.get_submodule("conv2")
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert first.bias is not None
    first.weight.data[:, :, 0, 0] = torch.tensor([[2.0, -5.0, 0.1], [1.0, 0.5, 0.2]])
    first.bias.data[:] = torch.tensor([0.5, 0.0])
    second.weight.data[0, :, 0, 0] = torch.tensor([3.0, 1.0])
    return network


def test_a_removed_kernel_comes_back_round_by_round_by_hand() -> None:
    """8 kernels, then 4, 2, 1 are kept. Z of the first filter is -2.4, and 0.5 (its bias) once its kernels are gone."""
    rounds = [
        ([[0.06, 0.15, 0.003], [1.0, 0.5, 0.2]], [[0.072, 1.7]]),
        ([[0.0, 0.0, 0.0], [1.0, 0.5, 0.2]], [[1.5, 1.7]]),  # 3 x 0.5 comes back, 3 kernels of filter 1 are kept
        ([[6.0, 15.0, 0.3], [0.01, 0.005, 0.002]], [[1.5, 0.0]]),  # and the two that held each other down
    ]
    architecture = read(revivable(), shape=(3, 1, 1))
    masks: dict[str, Tensor] = {}
    kept = []
    for done, (first, second) in enumerate(rounds, start=1):
        found = measured(architecture, torch.ones(1, 3, 1, 1), "filter:net/conv2/0", "force", [], masks=masks)
        np.testing.assert_allclose(found["conv1"][0], first, atol=1e-6)
        np.testing.assert_allclose(found["conv2"][0], second, atol=1e-6)
        kernels = {name: torch.from_numpy(each) for name, (each, _) in found.items()}
        masks = keep_best(kernels, done, keep=0.125, rounds=3)
        kept.append([each.int().tolist() for each in masks.values()])
    assert kept == [
        [[[0, 0, 0], [1, 1, 1]], [[0, 1]]],
        [[[0, 0, 0], [0, 0, 0]], [[1, 1]]],
        [[[0, 1, 0], [0, 0, 0]], [[0, 0]]],
    ]
    goal = filter_mean("conv2", 0)
    literal, sets = literal_force(revivable(), torch.ones(1, 3, 1, 1), [0], goal, keep=0.125, rounds=3)
    assert sets[2] == {("conv1", 0, 1)}
    assert_same(found, literal)


# --- integrated gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("name", "text"), pairs())
def test_integrated_gradients_are_a_loop_over_steps(name: str, text: str, signed: bool) -> None:
    network, (*images, baseline) = nets.make(name), nets.images(3)
    steps = 2 if text == "loss" else 3
    expected = mean_over_images(
        [
            literal_integrated(network, image, baseline, label, GOALS[text], steps=steps, signed=signed)
            for image, label in zip(images, LABELS, strict=True)
        ]
    )
    criterion = f"integrated-gradients{'-signed' if signed else ''}(steps={steps})"
    found = measured(read(network), torch.stack(images), text, criterion, LABELS, baseline=baseline)
    assert_same(found, expected)


@pytest.mark.parametrize(
    "text", ["loss", "class:bee", "filter:net/conv2/2@max", "class:cat - 2*filter:net/conv1/1@max"]
)
@pytest.mark.parametrize("name", ["plain", "gelu", "circular"])
def test_scores_of_the_first_layer_add_up_to_the_change_of_t(name: str, text: str) -> None:
    network, (baseline, *images) = nets.make(name), nets.images(6).double()
    start, *ends = (GOALS[text].value(oracles.run(network, each[None]), 2).item() for each in (baseline, *images))
    change, image = max(((end - start, each) for end, each in zip(ends, images, strict=True)), key=lambda x: abs(x[0]))

    def whole(steps: int) -> float:
        criterion = f"integrated-gradients-signed(steps={steps})"
        kernels, _ = measured(read(network), image[None], text, criterion, [2], baseline=baseline)["conv1"]
        return float(kernels.sum())

    assert whole(200) == pytest.approx(change, rel=3e-2 if "max" in text else 1e-2)  # a maximum has kinks on the way
    assert abs(whole(200) - change) < abs(whole(2) - change) / 10


def test_of_a_linear_network_one_step_is_exact() -> None:
    network, (image, baseline) = nets.make("none"), nets.images(2).double()
    change = oracles.run(network, image[None]).logits[0, 1] - oracles.run(network, baseline[None]).logits[0, 1]
    for steps in (1, 4):
        criterion = f"integrated-gradients-signed(steps={steps})"
        found = measured(read(network), image[None], "class:bee", criterion, [0], baseline=baseline)
        for kernels, _ in found.values():  # of the second layer too: what is removed is all that it reads
            np.testing.assert_allclose(kernels.sum(), change.item(), rtol=1e-10)


def test_an_image_keeps_its_own_class_on_the_way() -> None:
    """Where there is no label, the class is what the model takes the *image* for, not what is on the way."""
    network, (*images, baseline) = nets.make("gelu"), 3 * nets.images(9, seed=5).double()
    logits = [oracles.run(network, each[None]).logits[0] for each in (baseline, *images)]
    other = next(n for n, each in enumerate(logits) if each.argmax() != logits[0].argmax()) - 1
    image, label = images[other], int(logits[other + 1].argmax())
    expected = literal_integrated(network, image, baseline, label, GOALS["loss"], steps=4, signed=False)
    criterion = "integrated-gradients(steps=4)"
    found = measured(read(network), image[None], "loss", criterion, [None], baseline=baseline)
    assert_same(found, expected)
    of_baseline = int(logits[0].argmax())
    wrong = literal_integrated(network, image, baseline, of_baseline, GOALS["loss"], steps=4, signed=False)
    assert not np.allclose(found["conv1"][0], wrong["conv1"][0], rtol=1e-3)


def test_the_baseline_is_the_mean_image_of_overalls_score_part(bundle: Bundle) -> None:
    images, labels = pictures(bundle)
    baseline = images.mean(dim=0)
    np.testing.assert_allclose(mean_image(bundle).numpy(), baseline.numpy(), rtol=1e-6, atol=1e-7)
    expected = mean_over_images(
        [
            literal_integrated(toy.toy_network(), image, baseline, label, GOALS["loss"], steps=3, signed=False)
            for image, label in zip(images, labels, strict=True)
        ]
    )
    assert_same(by_layer(scored(bundle, "integrated-gradients(steps=3)")), expected, rtol=2e-5)


# --- GraSP -------------------------------------------------------------------------------------------------------


SMALL = (1, 4, 4)
CURVED: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "in-place relu": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def small_network(activation: str) -> nn.Sequential:
    """40 weights in convolutions."""
    build = CURVED[activation]
    found = nets.seeded(
        lambda: nets.chain(nn.Conv2d(1, 2, 2), build(), nn.Conv2d(2, 4, 2, padding=1), build(), shape=SMALL)
    )
    assert isinstance(found, nn.Sequential)
    return found


@pytest.mark.parametrize(
    ("activation", "text"), [*((name, "loss") for name in CURVED), *(("gelu", text) for text in GOALS)]
)
def test_grasp_is_weight_times_hessian_times_slope(activation: str, text: str) -> None:
    network, images = small_network(activation), nets.images(2, shape=SMALL)
    expected = mean_over_images(
        [literal_grasp(network, image, label, GOALS[text]) for image, label in zip(images, LABELS, strict=True)]
    )
    found = measured(read(network, shape=SMALL), images, text, "grasp", LABELS)
    assert_same(found, expected, some=not text.startswith("filter:net/conv1/"))  # T is linear in conv1: no curvature


def test_grasp_is_the_gradient_flow_that_a_kernel_carries() -> None:
    """The change of |dT/dW|^2 / 2 as one kernel grows by a small share of itself, by finite differences."""
    network, image = small_network("gelu"), nets.images(1, shape=SMALL)
    found = measured(read(network, shape=SMALL), image, "loss", "grasp", [1])

    def flow(name: str, o: int, i: int, share: float) -> float:
        weights = weights_of(network, GOALS["loss"])
        with torch.no_grad():
            weights[name][o, i] *= 1 + share
        slopes = torch.autograd.grad(
            GOALS["loss"].value(with_weights(network, image[0], weights), 1), list(weights.values())
        )
        return sum(float((each**2).sum()) for each in slopes) / 2

    for name, (kernels, _) in found.items():
        for o, i in np.ndindex(*kernels.shape):
            slope = (flow(name, o, i, 1e-5) - flow(name, o, i, -1e-5)) / 2e-5
            assert kernels[o, i] == pytest.approx(slope, rel=1e-5, abs=1e-9)
