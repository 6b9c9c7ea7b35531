"""Feature visualisations: what they reach, by literal oracles; seeds, batches, dead ReLUs; the model stays as it is."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import nets, visualized
from tests.visualized import branching, bundle_of, inputs, mnist, renderer
from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import record
from viscnn.engine.streaming import image_batches
from viscnn.engine.visualize import network, optimise
from viscnn.engine.visualize.objectives import Objective, filter_objective, objective_of
from viscnn.engine.visualize.redirected import RedirectedRelu
from viscnn.engine.visualize.render import Renderer
from viscnn.engine.visualize.settings import Settings, Visualization
from viscnn.engine.visualize.views import Normalisation
from viscnn.errors import ExpressionError, InputError, NotInGraph, StoredDataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))


def objective(bundle: Bundle, text: str, *, kind: str = "channel", sign: int = 1) -> Objective:
    return objective_of(
        text, model=bundle.name, architecture=bundle.architecture, classes=bundle.classes, kind=kind, sign=sign
    )


def rendered(bundle: Bundle, text: str, *, kind: str = "channel", sign: int = 1, **settings: int) -> Visualization:
    return renderer(bundle, **settings).one(objective(bundle, text, kind=kind, sign=sign))


# --- what is reached ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["channel", "neuron"])
def test_it_reaches_more_than_noise_and_than_any_of_many_digits(kind: str) -> None:
    bundle = mnist()
    layer = bundle.architecture.layer("conv2")
    channels = [5, 11]
    found = list(
        renderer(bundle, steps=160).each([filter_objective("mnist", layer, each, kind=kind) for each in channels])
    )
    lowest = list(
        renderer(bundle, steps=160).each(
            [filter_objective("mnist", layer, each, kind=kind, sign=-1) for each in channels]
        )
    )
    digits = next(image_batches(bundle, tuple(range(200)), []))[0]
    noise = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for images in (digits, renderer(bundle).normalisation.apply(noise)):
        maps = record(bundle.architecture, images, last=layer, gradients=False).maps["conv2"]
        values = maps.mean(dim=(2, 3)) if kind == "channel" else maps[:, :, 7, 7]
        for up, down, channel in zip(found, lowest, channels, strict=True):
            assert up.activation > values[:, channel].max()
            assert down.activation < values[:, channel].min()
    assert found[0].image.shape == (28, 28, 1)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_images_have_the_models_channels_and_more_steps_reach_more(channels: int) -> None:
    bundle = branching(channels)
    few, many = (rendered(bundle, "net/two/1", steps=steps) for steps in (2, 40))
    assert few.image.shape == many.image.shape == (12, 10, channels)
    assert many.image.dtype == np.uint8
    assert many.activation > few.activation


ORACLES: dict[str, Callable[[dict[str, Tensor], Tensor], Tensor]] = {
    "net/two/1": lambda maps, x: maps["two"][0, 1].mean(),
    "net/two/1@neuron": lambda maps, x: maps["two"][0, 1, 6, 5],
    'filter:"net/two/1"@3,4': lambda maps, x: maps["two"][0, 1, 3, 4],
    "filter:net/two/1@max": lambda maps, x: maps["two"][0, 1].max(),
    "filter:net/one/2@post": lambda maps, x: maps["one"][0, 2].clamp(min=0).mean(),
    "direction:one[0:1, 4:-2]": lambda maps, x: (maps["one"][0, 0] - 2 * maps["one"][0, 4]).mean(),
    "layer:side": lambda maps, x: maps["side"][0].mean(),
    "net/one/2 -> net/side/3": lambda maps, x: (maps["side.weight"][3, 2] * maps["one"][0, 2].clamp(min=0)).mean(),
    # filter 3 is of the second group, which reads filters 3, 4 and 5
    "net/one/4 -> net/two/3": lambda maps, x: F.conv2d(
        maps["one"][:, 4:5].clamp(min=0), maps["two.weight"][3:4, 1:2], padding=1
    ).mean(),
    "net/input/g -> net/one/0@neuron": lambda maps, x: F.conv2d(x[:, 1:2], maps["one.weight"][0:1, 1:2], padding=1)[
        0, 0, 6, 5
    ],
    "net/side/2 -> net/add/2": lambda maps, x: maps["side"][0, 2].mean(),
    "class:bee": lambda maps, x: maps["logits"][0, 1],
    "class:bee - 2*class:#0": lambda maps, x: maps["logits"][0, 1] - 2 * maps["logits"][0, 0],
    "net/add/3": lambda maps, x: (maps["two"].clamp(0, 6) + maps["side"])[0, 3].mean(),
}


@pytest.mark.parametrize("text", ORACLES)
def test_the_activation_is_that_of_the_stored_image_by_the_models_own_modules(text: str) -> None:
    module = nets.seeded(visualized.Branching).eval()
    bundle = branching()
    target, _, kind = text.partition("@neuron") if text.endswith("@neuron") else (text, "", "")
    found = rendered(bundle, target, kind="neuron" if text.endswith("@neuron") else "channel", steps=3)
    assert kind == ""
    maps: dict[str, Tensor] = dict(module.named_parameters())
    for name in ("one", "two", "side"):
        module.get_submodule(name).register_forward_hook(lambda m, i, z, n=name: maps.__setitem__(n, z.clone()))
    x = inputs(bundle, found.image)
    with torch.no_grad():
        maps["logits"] = module(x)
        expected = ORACLES[text](maps, x)
    assert found.activation == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


# --- the same again ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_one_another_image() -> None:
    bundle = branching()
    some = [objective(bundle, "net/two/0"), objective(bundle, "net/two/2", sign=-1)]
    climbs = [climbed(bundle, some, seed=seed) for seed in (4, 4, 5)]
    np.testing.assert_array_equal(climbs[0], climbs[1])
    assert (climbs[0] != climbs[2]).any()


def climbed(bundle: Bundle, objectives: list[Objective], *, seed: int = 0, steps: int = 8) -> NDArray[np.uint8]:
    """Without the cache."""
    how = renderer(bundle, seed=seed, steps=steps)
    return optimise.climb(how._problem(objectives), objectives, how.settings, tell=lambda done: None)


@pytest.mark.parametrize("kind", ["channel", "neuron"])
def test_an_image_does_not_depend_on_its_batch(kind: str) -> None:
    bundle = branching()
    every = [objective(bundle, f"net/two/{channel}", kind=kind) for channel in range(4)]
    together = climbed(bundle, every).astype(int)
    for number, each in enumerate(every):
        assert np.abs(climbed(bundle, [each])[0] - together[number]).max() <= 2
    assert np.abs(together[0] - together[1]).max() > 10
    assert np.abs(climbed(bundle, every[::-1])[::-1] - together).max() <= 2


def test_the_random_state_of_the_caller_stays() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    rendered(branching(), "net/two/0", steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_is_untouched() -> None:
    bundle = branching()
    module = bundle.architecture.module
    before, code = copy.deepcopy(module.state_dict()), module.code
    kinds = [type(each) for each in module.modules()]
    for text in ("net/two/0", "class:ant", "net/one/1 -> net/side/0"):
        rendered(bundle, text, steps=2)
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert (module.code, [type(each) for each in module.modules()]) == (code, kinds)
    assert not any(each._forward_hooks or each._backward_hooks for each in module.modules())
    assert all(each.grad is None and not each.requires_grad for each in module.parameters())


# --- dead ReLUs --------------------------------------------------------------------------------------------------


def dead() -> Bundle:
    """On a grey image all that the second convolution reads is below zero: 9 * 5 * 0.02 * 0.5 - 0.6."""
    first, second = nn.Conv2d(5, 2, 3, padding=1), nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        first.weight.fill_(0.02)
        first.bias = nn.Parameter(torch.full((2,), -0.6))
        second.weight.fill_(1.0)
    return bundle_of(nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU()).eval(), (5, 8, 8))


def test_a_filter_behind_dead_relus_is_rescued(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Normalisation(1 / 255, (0.0,) * 5, (1.0,) * 5)

    def climb() -> float:
        bundle = dead()
        how = Renderer(bundle, Settings(steps=60), plain)
        some = [filter_objective("net", bundle.architecture.layer("2"), 0)]
        problem = how._problem(some)
        images = optimise.climb(problem, some, how.settings, tell=lambda done: None)
        return optimise.activations(problem, some, images)[0]

    assert climb() > 0.01
    monkeypatch.setattr(network, "redirect", lambda module: 0)
    assert climb() == 0.0


@pytest.mark.parametrize("top", [None, 6.0])
def test_the_redirected_gradient_is_lucids(top: float | None) -> None:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(4, 3, 5, generator=generator) * 8
    maps[1] = -maps[1].abs()  # dead
    maps[2] = maps[2].abs() + 7  # dead where there is a top
    slopes = torch.randn(4, 3, 5, generator=generator)
    slopes[3] = slopes[3].abs() * (maps[3] < 0)  # only dead values are asked for
    maps.requires_grad_()
    made = RedirectedRelu(top)(maps)
    (found,) = torch.autograd.grad(made, maps, slopes)
    torch.testing.assert_close(made.detach(), maps.detach().clamp(0, top))
    for number in range(4):
        x, slope = maps[number].detach().numpy().ravel(), slopes[number].numpy().ravel()
        alive = (x > 0) & ((top is None) | (x < (top or 0)))
        true = np.where(alive, slope, 0)
        pushed_out = (x <= 0) & (slope > 0)
        if top is not None:
            pushed_out |= (x >= top) & (slope < 0)
        expected = true if np.abs(true).max() > 0 else np.where(pushed_out, 0, slope)
        np.testing.assert_array_equal(found[number].numpy().ravel(), expected)


def test_every_form_of_relu_is_redirected() -> None:
    class Forms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.relu, self.six, self.last = nn.ReLU(inplace=True), nn.ReLU6(), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.conv(x))
            x = F.relu6(F.relu(self.six(x) - 0.1, inplace=True) - 0.1)
            return self.last(torch.relu(x - 0.1).sub(0.1).relu())  # type: ignore[no-any-return]

    bundle = bundle_of(nets.seeded(Forms).eval(), (3, 8, 8))
    some = filter_objective("net", bundle.architecture.layer("last"), 0)
    made = network.Network(bundle.architecture, some.parts)
    assert made.redirected == 6
    assert [each for each in made.modules() if isinstance(each, nn.ReLU | nn.ReLU6)] == []
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = record(bundle.architecture, images, gradients=False).maps["last"]
    torch.testing.assert_close(made(images)["maps"]["last"], expected)


def test_only_what_is_needed_runs() -> None:
    bundle = branching()
    made = network.Network(bundle.architecture, objective(bundle, "net/one/0").parts)
    assert sum(isinstance(each, nn.Conv2d) for each in made.modules()) == 1


# --- mistakes ----------------------------------------------------------------------------------------------------

MISTAKES = {
    "net/two/9": (NotInGraph, "filters 0 to 3"),
    "net/tow/0": (NotInGraph, "did you mean two"),
    "net/input/r": (InputError, "input channel"),
    "loss": (ExpressionError, "class:NAME"),
    "class:dog": (ExpressionError, "dog"),
    "net/one/5 -> net/two/0": (NotInGraph, "no kernel from net/one/5 to net/two/0"),
    "net/input/x -> net/one/0": (NotInGraph, "there are r, g, b"),
    "nonsense": (ExpressionError, "filter:UID"),
    "filter:net/two/0@40,1": (ExpressionError, "outside"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_target_that_is_not_there_is_refused_by_name(text: str) -> None:
    kind, says = MISTAKES[text]
    with pytest.raises(kind, match=says):
        objective(branching(), text)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "0 steps"),
        ({"seed": -1}, "seed -1"),
        ({"size": (0, 4)}, "0x4 pixels"),
        ({"backend": "lucnet"}, "did you mean lucent"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Settings(**settings)  # type: ignore[arg-type]


def test_objectives_and_signs_are_checked() -> None:
    with pytest.raises(InputError, match="no objective 'chanel'; did you mean channel"):
        objective(branching(), "net/two/0", kind="chanel")
    with pytest.raises(InputError, match="sign 2"):
        objective(branching(), "net/two/0", sign=2)


def test_another_size_is_rendered_where_the_model_can_run_on_it() -> None:
    bundle = mnist()
    found = rendered(bundle, "mnist/conv2/3", size=(40, 36), steps=4)  # type: ignore[arg-type]
    assert found.image.shape == (40, 36, 1)
    with pytest.raises(InputError, match=r"cannot be run on 40x36 pixels, it takes 28x28"):
        rendered(bundle, "class:three", size=(40, 36), steps=2)  # type: ignore[arg-type]


def test_what_is_not_finite_is_told() -> None:
    bundle = bundle_of(nets.seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1))).eval(), (3, 4, 4))
    with torch.no_grad():
        for parameter in bundle.architecture.module.parameters():
            parameter.fill_(1e30)
    with pytest.raises(StoredDataError, match=r"net/1/0 is NaN or infinite"):
        rendered(bundle, "net/1/0", steps=2)
