"""Models that are no chains of convolutions are refused, by the name of what cannot be followed, in one line."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets
from tests.nets import conv, custom
from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.architecture import read_architecture

FORWARDS: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "residual": (lambda own, x: own.b(x + own.a(x)), "'add'"),
    "residual in place": (lambda own, x: own.b(own.a(x).add_(x)), "'add'"),
    "operator in place": (lambda own, x: own.b(_increased(own.a(x), x)), "'add'"),
    "concatenation": (lambda own, x: own.c(torch.cat([x, own.a(x)], 1)), "'cat'"),
    "gate": (lambda own, x: own.b(torch.sigmoid(own.a(x)) * x), "'mul'"),
    "two branches": (lambda own, x: (own.a(x) + own.b(x)).flatten(1), "'b'"),
    "a branch into the head": (lambda own, x: own.b(own.a(x)).flatten(1) + own.a(x).flatten(1), "'a'"),
    "split": (lambda own, x: own.d(torch.chunk(own.a(x), 2, 1)[0]), "'getitem'"),
    "convolution in the head": (lambda own, x: own.b(own.a(x).flatten(1).view(-1, 2, 7, 6)), "'b'"),
    "functional convolution": (lambda own, x: F.conv2d(own.a(x), own.b.weight), "'conv2d'"),
    "control flow on values": (lambda own, x: own.a(x) if x.sum() > 0 else own.b(x), "traced"),
    "control flow on sizes": (lambda own, x: own.a(x) if x.shape[0] > 1 else own.b(x), "traced"),
    "loop over images": (lambda own, x: torch.stack([own.a(each) for each in x]), "traced"),
    "python number": (lambda own, x: own.a(x) * float(x.mean()), "traced"),
    "tuple": (lambda own, x: (own.a(x), x), "tuple"),
    "dictionary": (lambda own, x: {"out": own.a(x)}, "dictionary"),
    "nothing": (lambda own, x: None, "no 2-D"),
    "mixes images": (lambda own, x: own.a(x).view(1, -1), "batch"),
    "loses images": (lambda own, x: own.a(x).mean(), "batch"),
    "noise in the head": (lambda own, x: torch.rand_like(own.a(x).mean((2, 3))), "random"),
    "dropout in the head": (lambda own, x: F.dropout(own.a(x).flatten(1)), "random"),
}


def _increased(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


@pytest.mark.parametrize("name", FORWARDS)
def test_what_is_no_chain_is_refused_by_name(name: str) -> None:
    forward, named = FORWARDS[name]
    model = custom(forward, a=conv(2, 2, padding=1), b=conv(2, 2, padding=1), c=conv(4, 2), d=conv(1, 2))
    with pytest.raises(UnsupportedModel, match=named) as caught:
        read_architecture(model, nets.INPUT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 2, 1), (2, 4, 4)),
        (nn.Conv3d(1, 2, 1), (1, 4, 4)),
        (nn.ConvTranspose2d(2, 2, 2), (2, 4, 4)),
        (nn.ConvTranspose1d(2, 2, 2), (2, 4, 4)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_layers_are_refused_by_name(layer: nn.Module, shape: tuple[int, int, int]) -> None:
    model = nn.Sequential(nn.Conv2d(shape[0], 2, 1), nn.ReLU(), layer)
    with pytest.raises(UnsupportedModel, match=type(layer).__name__):
        read_architecture(model, shape)


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_branching_networks_of_torchvision_are_refused(name: str) -> None:
    from torchvision import models

    with pytest.raises(UnsupportedModel, match="follow"):
        read_architecture(nets.seeded(getattr(models, name)), (3, 64, 64))


def test_a_model_without_convolutions_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no 2-D convolution"):
        read_architecture(nn.Sequential(nn.Flatten(), nn.Linear(84, 3)), nets.INPUT)


def test_a_model_of_two_inputs_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(2, 2, 1)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            found: Tensor = self.c(left) + right
            return found

    with pytest.raises(UnsupportedModel, match="left, right"):
        read_architecture(Two(), nets.INPUT)


def test_an_optional_second_input_is_left_out() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
            found: Tensor = self.c(x)
            return found

    assert [layer.name for layer in read_architecture(Optional(), nets.INPUT).layers] == ["c"]


@pytest.mark.parametrize("shape", [(3, 7, 6), (2, 2, 2), (2, 7, 9)])
def test_an_input_that_does_not_fit_is_named(shape: tuple[int, int, int]) -> None:
    size = "x".join(map(str, shape))
    with pytest.raises(ModelError, match=f"input of {size} .give another with --input.*"):
        read_architecture(nets.make("valid"), shape)


def test_complex_weights_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"0\.weight is complex"):
        read_architecture(nn.Sequential(nn.Conv2d(2, 2, 1, dtype=torch.complex64)), nets.INPUT)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv2.weight", "logits.bias"])
def test_weights_that_are_not_finite_are_refused(name: str, value: float) -> None:
    model = nets.make("plain")
    model.get_parameter(name).data.view(-1)[1] = value
    with pytest.raises(ModelError, match=f"{name}.*NaN or infinity"):
        read_architecture(model, nets.INPUT)


def test_statistics_that_are_not_there_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"1.*running statistics"):
        read_architecture(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), nets.INPUT)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = nets.make("plain")
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot be copied"):
        read_architecture(model, nets.INPUT)
