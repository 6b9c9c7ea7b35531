"""What a check on one image of noise would not see, or would end in an error of torch: read exactly, or refused."""

import copy
import random
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from tests import nets
from tests.nets import conv, custom
from tests.untouched import assert_read, assert_refused, plain, untouched
from viscnn.engine.replay_rows import replay_rows
from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.forward import forward

SHAPE = (2, 8, 8)
Forward = Callable[[Any, Tensor], Any]


def net(function: Forward, **parts: Callable[[], nn.Module]) -> nn.Module:
    """Two convolutions `a` and `b`, two more on the way, and what else is given; of random weights."""
    made = {"a": conv(2, 4, padding=1), "b": conv(4, 3), "d": conv(4, 3), **parts}
    return nets.seeded(lambda: custom(function, **made)).eval()


def wide() -> Tensor:
    """Images of all scales, and of all zeros."""
    noise = nets.images(3, shape=SHAPE)
    return torch.cat([noise, 100 * noise, noise.abs() * 80, 0 * noise[:1]])


def assert_exact(model: nn.Module, images: Tensor) -> None:
    """The graph, the feeds and the rows compute what the model does."""
    with untouched(model):
        architecture = read_architecture(model, SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(architecture.module(images.clone()), copy.deepcopy(model)(images.clone()))
        last = architecture.layers[-1].name
        assert torch.isfinite(forward(architecture, images)[last]).all()
    assert replay_rows(architecture, images).exact


def assert_refused_here(model: nn.Module, named: str, *, kind: type[ModelError] = UnsupportedModel) -> str:
    with untouched(model), pytest.raises(kind, match=named) as caught:
        read_architecture(model, SHAPE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- in place, and only where values are large -------------------------------------------------------------------


def _twice(own: Any, x: Tensor) -> Any:
    z = own.a(x)
    y = z
    y += F.relu(z - 20)
    return own.b(y) + own.d(z)


def _shortcut(own: Any, x: Tensor) -> Any:
    x = own.a(x)
    same = own.same(x)
    return own.b(own.clip(x)) + own.d(same)


def _all_signs(own: Any, x: Tensor) -> Any:
    y = own.a(x)
    for each in (1.5, 2.0):
        y *= each
        y -= 1
        y /= 3
    return own.b(y)


FOLLOWED: dict[str, nn.Module] = {
    "by dropout": net(lambda own, x: [z := own.a(x), own.drop(z).clamp_(-20, 20), own.b(z)][-1], drop=nn.Dropout),
    "by float": net(lambda own, x: [z := own.a(x), z.float().clamp_(-20, 20), own.b(z)][-1]),
    "by data": net(lambda own, x: [z := own.a(x), z.data.clamp_(-20, 20), own.b(z)][-1]),
    "by an identity": net(_shortcut, same=nn.Identity, clip=lambda: nn.Hardtanh(-20, 20, inplace=True)),
    "by augmented assignment": net(_twice),
    "by several assignments": net(_all_signs),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_maps_that_are_overwritten_under_another_name(name: str) -> None:
    assert_exact(FOLLOWED[name], wide())


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda own, x: [z := own.a(x), z.movedim(1, -1).clamp_(-20, 20), own.b(z)][-1], "'clamp_'.*a part of maps"),
        (lambda own, x: [z := own.a(x), torch.clamp(z, -20, 20, out=z), own.b(z)][-1], r"'clamp'.*\(`out`\)"),
        (lambda own, x: own.b(own.a(x).zero_() + 1), "'zero_'.*has no other form"),
        (lambda own, x: own.b(torch.empty_like(z := own.a(x)).normal_() * z), "'normal_'|random"),
    ],
)
def test_overwriting_that_cannot_be_followed(function: Forward, named: str) -> None:
    assert_refused_here(net(function), named)


# --- values, batches, chance -------------------------------------------------------------------------------------


def _swallowed(own: Any, x: Tensor) -> Any:
    try:
        if x.max() > 50:
            x = x / 255
    except Exception:  # noqa: BLE001, S110 -- as models do
        pass
    return own.b(own.a(x))


def _not_traced(own: Any, x: Tensor) -> Any:
    return own.b(own.a(x.clamp(-60, 60) if torch.is_tensor(x) else x))


def test_code_that_only_large_values_reach() -> None:
    assert_refused_here(net(_swallowed), "computes something else than the model|alone and in a batch")
    assert_exact(net(_not_traced), wide())  # by torch.export


HEADS: list[Callable[[Tensor], Tensor]] = [
    lambda z: z.softmax(0),
    lambda z: z - z.mean(0),
    lambda z: z * z.shape[0],
    lambda z: z / z.amax(0),
]


@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_mixes_images_is_refused(head: Callable[[Tensor], Tensor]) -> None:
    assert_refused_here(net(lambda own, x: head(own.b(own.a(x)).mean((2, 3)))), "alone and in a batch")


@pytest.mark.parametrize(
    "factor",
    [
        lambda: torch.bernoulli(torch.tensor(0.8)),
        lambda: 2.0 if torch.rand(()).item() < 0.01 else 1.0,
        lambda: 2.0 if random.random() < 0.01 else 1.0,
        lambda: 2.0 if np.random.rand() < 0.01 else 1.0,
    ],
)
def test_chance_is_refused_however_rare(factor: Callable[[], Any]) -> None:
    assert_refused_here(net(lambda own, x: own.b(own.a(x) * factor())), "random even in eval mode")


def test_maps_that_are_finite_for_positive_images_are_checked() -> None:
    model = net(lambda own, x: own.b(own.a(x.sqrt())))
    assert_exact(model, wide()[-4:].abs())


def test_maps_that_are_never_finite_are_refused() -> None:
    model = net(lambda own, x: own.b(torch.log(-1 - own.a(x).abs())))
    assert_refused_here(model, "NaN or infinity for noise and for pixels|'log'")


def test_a_weak_channel_is_checked_beside_strong_ones() -> None:
    def function(own: Any, x: Tensor) -> Any:
        z = own.a(x)
        y = z.contiguous()
        y += 1.0
        return torch.cat([own.b(y) + own.d(z), 1e5 * own.b(z)], 1)

    assert_exact(net(function), nets.images(3, shape=SHAPE))


# --- modules that are not what they say --------------------------------------------------------------------------


def test_weights_of_another_size_than_the_module_says() -> None:
    first, last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1)
    first.weight, first.bias = nn.Parameter(torch.randn(5, 2, 3, 3)), nn.Parameter(torch.randn(5))
    last.weight, last.padding = nn.Parameter(torch.randn(3, 5, 3, 3)), (1, 1)
    gray = nn.Sequential(first, nn.ReLU(), last)
    assert_exact(gray, nets.images(2, shape=SHAPE))
    layer = read_architecture(gray, SHAPE).layers[0]
    assert (layer.in_channels, layer.filters, layer.kernels) == (2, 5, 10)


def test_settings_that_do_nothing_are_left_alone() -> None:
    model = net(lambda own, x: own.b(own.a(x)), a=conv(2, 4, padding=1, padding_mode="circular"))
    model.get_submodule("a").padding = (0, 0)  # type: ignore[assignment]  # torch pads as it was told at first
    assert_exact(model, wide())


PATCHES: dict[str, Callable[[Any], None]] = {
    "forward": lambda module: setattr(module, "forward", lambda x: torch.relu(x)),
    "_conv_forward": lambda module: setattr(module, "_conv_forward", lambda x, w, b: F.conv2d(x, w, b)),
    "partial": lambda module: setattr(module, "forward", partial(lambda x: x)),
    "method": lambda module: setattr(module, "forward", MethodType(lambda self, x: x, module)),
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_forward_that_was_exchanged_is_refused(name: str) -> None:
    model = plain()
    PATCHES[name](model.get_submodule("conv2"))
    assert_refused(model, r"conv2\.(_conv_)?forward of the model was exchanged", kind=UnsupportedModel)


def test_a_closure_around_the_whole_model_is_refused_before_it_runs() -> None:
    model = net(lambda own, x: own.b(own.n(own.a(x))), n=lambda: nn.BatchNorm2d(4)).train()
    old = model.forward
    model.forward = lambda x: old(x)
    assert_refused_here(model, "forward of the model was exchanged")


def test_a_method_of_its_own_that_was_bound_anew_is_followed() -> None:
    model = plain()
    model.forward = partial(model.forward)
    assert_read(model, like=plain())


def test_a_model_that_copies_to_itself_is_refused() -> None:
    class Shared(nn.Conv2d):
        def __deepcopy__(self, memo: Any) -> "Shared":
            return self

    model = nn.Sequential(Shared(2, 3, 3), nn.BatchNorm2d(3)).double().train()
    assert_refused_here(model, "cannot be copied: its copy shares 0 with it", kind=ModelError)


def test_a_batch_norm_that_stays_in_train_mode_is_refused() -> None:
    class Stays(nn.BatchNorm2d):
        __module__ = "torch.nn.modules.batchnorm"

        def train(self, mode: bool = True) -> "Stays":
            return super().train(True)

    model = net(lambda own, x: own.b(own.n(own.a(x))), n=lambda: Stays(4))
    assert_refused_here(model, "train mode|alone and in a batch")


def test_train_that_returns_nothing() -> None:
    class Forgets(nn.Sequential):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

    assert_exact(nets.seeded(lambda: Forgets(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1))), wide())


def test_what_is_kept_from_a_run() -> None:
    def function(own: Any, x: Tensor) -> Any:
        z = own.a(x)
        if not hasattr(own, "kept"):
            own.kept = torch.linspace(0, 1, z.shape[1]).view(1, -1, 1, 1)
        return own.b(z * own.kept)

    assert_refused_here(net(function), "'linspace'.*of its own, not out of the image")


# --- calls -------------------------------------------------------------------------------------------------------


class Filters(nn.Module):
    """A blur whose settings come from sizes."""

    def __init__(self, settings: Callable[[Tensor, Tensor], dict[str, Any]], weight: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, **self.settings(x, self.weight))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (lambda x, w: {"stride": 2, "groups": x.shape[1]}, (2, 1, 3, 3)),
        (lambda x, w: {"padding": w.shape[-1] // 2}, (3, 2, 5, 5)),
        (lambda x, w: {"groups": w.shape[0]}, (2, 1, 3, 3)),
        (lambda x, w: {"padding": (w.shape[-1] - 1, 1)}, (3, 2, 3, 3)),
    ],
)
def test_settings_that_are_computed(settings: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert_exact(nn.Sequential(Filters(settings, torch.randn(shape)), nn.ReLU(), nn.Conv2d(shape[0], 2, 1)), wide())


@fx.wrap
def my_act_(x: Tensor) -> Tensor:
    return x.relu()


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda own, x: own.b(my_act_(own.a(x))), "'my_act_'"),
        (lambda own, x: F.linear(own.b(own.a(x)).mean((2, 3)), torch.ones(3)), "."),
    ],
)
def test_odd_calls_end_in_no_error_of_torch(function: Forward, named: str) -> None:
    assert_refused_here(net(function), named)


def test_a_truth_as_output_is_read() -> None:
    assert len(read_architecture(net(lambda own, x: own.b(own.a(x)).mean((2, 3)) > 0), SHAPE).layers) == 2


def test_arguments_with_defaults_keep_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
            z = self.a(x) * scale
            return self.b(z if mask is None else z * mask)  # type: ignore[no-any-return]

    model = nets.seeded(Scaled)
    assert_exact(model, wide())
    assert type(model) is Scaled


@pytest.mark.parametrize("module", [nn.LeakyReLU(torch.tensor(0.1)), nn.ELU(np.float32(0.7))])  # type: ignore[arg-type]
def test_settings_of_modules_that_cannot_be_stored_are_refused(module: nn.Module) -> None:
    assert_refused_here(nn.Sequential(nn.Conv2d(2, 3, 3), module, nn.Conv2d(3, 2, 1)), "arguments cannot be stored")


def test_zero_channels_before_a_large_window() -> None:
    def function(own: Any, x: Tensor) -> Any:
        z = F.pad(own.a(x), (0, 0, 0, 0, 2, 2))
        return own.c(F.pad(z, (7, 7, 7, 7), mode="reflect") + F.pad(own.e(x), (7, 7, 7, 7)))

    assert_exact(net(function, c=conv(8, 2), e=conv(2, 8, padding=1)), wide())


def test_mixing_again_and_again_is_refused_in_time() -> None:
    def function(own: Any, x: Tensor) -> Any:
        z = own.a(x)
        for norm in own.norms:
            z = norm(z)
            z = torch.cat([z, own.b(z[:, :4])[:, :1]], 1)
        return own.d(z[:, :4])

    norms = partial(nn.ModuleList, [nn.GroupNorm(1, 4 + each) for each in range(12)])
    assert_refused_here(net(function, b=conv(4, 3, padding=1), norms=norms), r"more than 2,000 operations")


@pytest.mark.parametrize("rounds", [26, 70])
def test_networks_that_enlarge_rounding(rounds: int) -> None:
    def function(own: Any, x: Tensor) -> Any:
        z = own.a(x).sigmoid()
        for _ in range(rounds):
            z = 0.9 - 1.9 * z.abs()  # each nearly doubles a difference
        return own.d(z)

    if rounds < 50:  # a double has 52 bits
        read_architecture(net(function), SHAPE)
    else:
        assert_refused_here(net(function), "rounding alone changes the model's output")
