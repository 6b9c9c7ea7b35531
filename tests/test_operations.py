"""Stored operations: each one, written as JSON and read again, does what the module or function does."""

import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets import parametrised, with_statistics
from viscnn.errors import StoredDataError, UnsupportedModel
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.operations import Operation, apply

MODULES: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.3),
    "elu": nn.ELU(0.4),
    "selu": nn.SELU(),
    "celu": nn.CELU(0.6),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "hardtanh": nn.Hardtanh(-0.4, 0.7),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "softplus": nn.Softplus(2.0, 5.0),
    "maxpool": nn.MaxPool2d(2),
    "maxpool with all": nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True),
    "avgpool": nn.AvgPool2d((2, 3)),
    "avgpool with all": nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    "avgpool with divisor": nn.AvgPool2d(2, divisor_override=3),
    "adaptive_avgpool": nn.AdaptiveAvgPool2d((3, None)),
    "adaptive_maxpool": nn.AdaptiveMaxPool2d(2),
    "lrn": nn.LocalResponseNorm(3, alpha=0.2, beta=0.6, k=2.0),
    "zero pad": nn.ZeroPad2d((1, 2, 0, 3)),
    "negative pad": nn.ZeroPad2d((-1, 1, 0, 0)),
    "constant pad": nn.ConstantPad2d(1, 0.5),
    "reflection pad": nn.ReflectionPad2d((1, 0, 2, 1)),
    "replication pad": nn.ReplicationPad2d(2),
    "circular pad": nn.CircularPad2d((0, 1, 1, 2)),
    "prelu": nn.PReLU(init=0.3),
    "prelu per channel": parametrised(nn.PReLU(4)),
    "hardshrink": nn.Hardshrink(0.2),
    "softshrink": nn.Softshrink(0.2),
    "threshold": nn.Threshold(0.1, -2.0),
    "logsigmoid": nn.LogSigmoid(),
    "softsign": nn.Softsign(),
    "tanhshrink": nn.Tanhshrink(),
    "groupnorm": parametrised(nn.GroupNorm(2, 4)),
    "groupnorm without parameters": nn.GroupNorm(4, 4, affine=False),
    "instancenorm": nn.InstanceNorm2d(4),
    "softmax": nn.Softmax2d(),
    "upsample": nn.Upsample(scale_factor=2),
    "upsample bilinear": nn.Upsample(size=(11, 7), mode="bilinear", align_corners=True),
    "upsample by part": nn.Upsample(scale_factor=(1.5, 0.7), mode="bilinear"),
    "shuffle": nn.ChannelShuffle(2),
    "affine": with_statistics(nn.BatchNorm2d(4)),
    "affine without parameters": with_statistics(nn.BatchNorm2d(4, affine=False)),
}

CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu in place, positional": lambda x: F.relu(x, True),
    "torch.relu_": torch.relu_,
    "Tensor.relu_": lambda x: x.relu_(),
    "Tensor.sigmoid_": lambda x: x.sigmoid_(),
    "F.relu by keyword": lambda x: F.relu(input=x),
    "torch.relu by keyword": lambda x: torch.relu(input=x),
    "F.leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "F.leaky_relu by keyword": lambda x: F.leaky_relu(input=x, negative_slope=0.3),
    "F.elu": lambda x: F.elu(x, alpha=0.5),
    "torch.celu": lambda x: torch.celu(x, 0.5),
    "F.gelu": F.gelu,
    "F.gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "F.softplus": F.softplus,
    "F.softplus positional": lambda x: F.softplus(x, 2.0, 3.0),
    "F.softplus by keyword": lambda x: F.softplus(x, threshold=2.0),
    "F.hardtanh": lambda x: F.hardtanh(x, max_val=0.5),
    "F.silu": F.silu,
    "torch.tanh": torch.tanh,
    "F.sigmoid": F.sigmoid,
    "F.max_pool2d": lambda x: F.max_pool2d(x, 2),
    "F.max_pool2d positional": lambda x: F.max_pool2d(x, 3, 2, 1, 1, True),
    "F.max_pool2d by keyword": lambda x: F.max_pool2d(input=x, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    "torch.max_pool2d": lambda x: torch.max_pool2d(x, kernel_size=(2, 3), stride=1),
    "F.avg_pool2d": lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False),
    "F.avg_pool2d positional": lambda x: F.avg_pool2d(x, (2, 3), (1, 2)),
    "F.avg_pool2d by keyword": lambda x: F.avg_pool2d(input=x, kernel_size=2, divisor_override=3),
    "F.adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "F.adaptive_avg_pool2d by keyword": lambda x: F.adaptive_avg_pool2d(input=x, output_size=2),
    "F.adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 2),
    "F.local_response_norm": lambda x: F.local_response_norm(x, 3, 0.2, k=2.0),
    "F.pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "F.pad reflect": lambda x: F.pad(x, pad=[1, 1, 0, 2], mode="reflect"),
    "F.pad value": lambda x: F.pad(x, (1, 1, 1, 1), value=0.5),
    "F.dropout in eval mode": lambda x: F.dropout(x, 0.5, training=False),
    "Tensor.contiguous": lambda x: x.contiguous(),
    "Tensor.clamp": lambda x: x.clamp(0.1, 1),
    "torch.clip": lambda x: torch.clip(x, max=0.5),
    "times a number": lambda x: x * 2,
    "a number times": lambda x: 0.3 * x,
    "plus a number": lambda x: x + 1,
    "a number less": lambda x: 1 - x,
    "divided": lambda x: (x - 0.5) / 0.2,
    "negative": lambda x: -x,
    "power": lambda x: x**3,
    "Tensor.abs": lambda x: x.abs(),
    "cropped": lambda x: x[:, :, 1:-2, 2:],
    "every other position": lambda x: x[..., ::2, 1::3],
    "narrow": lambda x: x.narrow(2, 1, 4),
    "F.interpolate": lambda x: F.interpolate(x, scale_factor=2),
    "F.interpolate to a size": lambda x: F.interpolate(x, (5, 4), mode="bilinear", antialias=True),
    "F.group_norm": lambda x: F.group_norm(x, 2),
    "F.layer_norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
    "F.prelu": lambda x: F.prelu(x, torch.tensor([0.2])),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "maximum": lambda x: x.amax(dim=(-1, -2), keepdim=True),
    "spread": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 5),
    "there and back": lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
}


ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Softplus,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Threshold,
    nn.LogSigmoid,
    nn.Softsign,
    nn.Tanhshrink,
)


class Around(nn.Module):
    """Convolution, one step, convolution."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.ReLU()  # so that a BatchNorm is not folded
        self.step = step
        self.second = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.step(self.norm(self.first(x))))
        return found


def applied(architecture: Architecture, maps: Tensor) -> Tensor:
    """The steps between the two convolutions, from their stored text alone."""
    feed = architecture.feeds[1]
    for operation in feed.operations:
        text = operation.to_json()
        json.loads(text, parse_constant=pytest.fail)
        maps = apply(Operation.from_json(text), maps)
    return maps[:, feed.reads]


def assert_replayed(model: Around) -> Architecture:
    """The stored steps turn the first layer's maps into what the second convolution reads."""
    architecture = read_architecture(model, (2, 9, 8))
    x = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0)) * 2
    with torch.no_grad():
        z = model.first(x)
        expected = model.step(model.norm(z).clone())
        torch.testing.assert_close(applied(architecture, z), expected)
    return architecture


@pytest.mark.parametrize("name", MODULES)
def test_a_module_survives_being_stored(name: str) -> None:
    assert_replayed(Around(MODULES[name].eval()).eval())


@pytest.mark.parametrize("name", CALLS)
def test_a_functional_call_survives_being_stored(name: str) -> None:
    assert_replayed(Around(CALLS[name]).eval())


def test_negative_values_pass_through_activations_as_in_the_module() -> None:
    x = torch.linspace(-8, 8, 33).view(1, 1, 3, 11)
    for name, module in MODULES.items():
        if not isinstance(module, ACTIVATIONS):
            continue
        model = nn.Sequential(nn.Conv2d(1, 1, 1), module, nn.Conv2d(1, 1, 1))
        operation = read_architecture(model, (1, 3, 11)).feeds[1].operations[0]
        assert operation.pointwise
        torch.testing.assert_close(apply(Operation.from_json(operation.to_json()), x), module(x.clone()), msg=name)


def test_steps_that_mix_channels_say_so() -> None:
    feed = assert_replayed(Around(nn.LocalResponseNorm(3))).feeds[1]
    assert [json.loads(each.to_json()).get("mixesChannels", False) for each in feed.operations] == [False, True]


@pytest.mark.parametrize(
    "step",
    [nn.Identity(), nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout()],
    ids=lambda each: type(each).__name__,
)
def test_what_does_nothing_in_eval_mode_is_not_stored(step: nn.Module) -> None:
    feed = assert_replayed(Around(step.eval()).eval()).feeds[1]
    assert [each.name for each in feed.operations] == ["relu"]


@pytest.mark.parametrize(
    "step",
    [
        lambda x: F.dropout(x, 0.5, training=True),
        lambda x: F.dropout(x),
        lambda x: torch.dropout(x, 0.5, True),
        lambda x: torch.dropout(x, p=0.5, train=True),
        lambda x: F.dropout2d(x),
    ],
)
def test_dropout_that_is_always_on_is_refused(step: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedModel, match=r"dropout.*random"):
        read_architecture(Around(step), (2, 9, 8))


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (nn.InstanceNorm2d(4, affine=True), "InstanceNorm2d"),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm2d.*batch"),
        (nn.LayerNorm((9, 8)), "LayerNorm"),
        (nn.LPPool2d(2, 2), "LPPool2d"),
        (nn.ConvTranspose2d(4, 4, 2), "ConvTranspose2d"),
        (lambda x: x.permute(0, 1, 3, 2), r"arrangement \(2, 4, 8, 9\)"),
        (lambda x: x.flip(3), "flip"),
        (lambda x: x + torch.arange(72.0).view(9, 8), "add.*position"),
        (lambda x: x * x, "mul.*neither is a gate"),
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1), "mean"),
        (lambda x: torch.softmax(x, 3), "softmax"),
        (lambda x: F.max_pool2d(x, 2, 2, 0, 1, False, True)[0], "max_pool2d"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 1, -1)), "pad"),
    ],
)
def test_other_steps_are_refused_by_name(step: Callable[[Tensor], Tensor], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named) as caught:
        read_architecture(Around(step).eval(), (2, 9, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '"relu"', '{"name": "relu"}', "null", "[1]"])
def test_what_is_no_operation_is_refused(text: str) -> None:
    with pytest.raises(StoredDataError, match="not an operation"):
        Operation.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"op": "explode"}',
        '{"op": "maxpool"}',
        '{"op": "relu", "slope": 1}',
        '{"op": "leaky_relu", "negative_slope": "steep"}',
        '{"op": "affine", "scale": [1.0], "shift": ["a"]}',
        '{"op": "affine", "scale": [1.0, 2.0], "shift": [0.0, 0.0]}',
        '{"op": "pad", "amounts": [1, 1], "mode": "nonsense", "value": 0.0}',
    ],
)
def test_an_operation_that_cannot_be_applied_is_refused(text: str) -> None:
    with pytest.raises(StoredDataError, match="cannot apply"):
        apply(Operation.from_json(text), torch.zeros(1, 3, 4, 4))
