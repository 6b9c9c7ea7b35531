"""Networks read as layers and feeds: geometry, names, activations, folded norms, heads, and known networks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets, oracles
from tests.nets import conv, custom
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.bundled import nets as bundled


def assert_same_function(model: nn.Module, shape: tuple[int, int, int], *, count: int = 3) -> Architecture:
    """The traced, folded module computes what the model computes."""
    architecture = read_architecture(model, shape)
    images = nets.images(count, shape=shape)
    own = copy.deepcopy(model).eval()
    with torch.no_grad():
        torch.testing.assert_close(architecture.module(images), own(images.clone()), rtol=1e-5, atol=1e-5)
    return architecture


def names(architecture: Architecture) -> list[str]:
    return [layer.name for layer in architecture.layers]


def steps(architecture: Architecture) -> list[list[str]]:
    return [[operation.name for operation in feed.operations] for feed in architecture.feeds]


@pytest.mark.parametrize("name", nets.NETS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_geometry_is_that_of_the_convolutions(name: str) -> None:
    network = nets.make(name)
    architecture = assert_same_function(network, nets.INPUT)
    maps = oracles.run(network, nets.images(1)).z
    assert names(architecture) == list(maps) == ["conv1", "conv2"]
    for number, (layer, before) in enumerate(zip(architecture.layers, (2, 4), strict=True), start=1):
        own = network.get_submodule(layer.name)
        assert isinstance(own, nn.Conv2d)
        assert (layer.index, layer.in_channels) == (number, before)
        assert (layer.filters, layer.inputs) == tuple(own.weight.shape[:2])
        assert (layer.kernel_size, layer.stride, layer.dilation) == (own.kernel_size, own.stride, own.dilation)
        assert (layer.groups, layer.padding, layer.padding_mode) == (own.groups, own.padding, own.padding_mode)
        assert layer.output_size == tuple(maps[layer.name].shape[2:])
        assert layer.positions == maps[layer.name][0, 0].numel()
        per_group = layer.filters // own.groups
        assert [layer.source_start(o) for o in range(layer.filters)] == [
            o // per_group * layer.inputs for o in range(layer.filters)
        ]
        torch.testing.assert_close(architecture.convolution(layer).weight, own.weight)
    assert architecture.kernels == sum(own.weight[:, :, 0, 0].numel() for own in _convolutions(network))
    assert architecture.logits == nets.CLASSES
    assert [(feed.source, feed.target, feed.channels) for feed in architecture.feeds] == [
        ("input", "conv1", 2),
        ("conv1", "conv2", 4),
    ]


def _convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [step for step in network.modules() if isinstance(step, nn.Conv2d)]


def test_activations_are_those_that_alone_consume_the_maps() -> None:
    expected = {
        "plain": ["relu", "relu"],
        "in-place": ["relu", "relu"],
        "leaky in-place": ["leaky_relu", "leaky_relu"],
        "gelu": ["gelu", "gelu"],
        "none": [None, None],
        "pooled first": [None, "relu"],
        "lrn": ["relu", None],
    }
    found = {
        name: [layer.activation for layer in read_architecture(nets.make(name), nets.INPUT).layers] for name in expected
    }
    assert found == expected


def test_every_operation_is_followed() -> None:
    model = nets.with_statistics(nets.seeded(nets.every_operation))
    architecture = assert_same_function(model, (1, 24, 24))
    assert steps(architecture) == [
        [],
        ["relu", "lrn", "maxpool"],
        ["gelu", "affine", "pad", "avgpool"],
        ["softplus", "pad", "adaptive_maxpool"],
        ["hardtanh", "pad", "adaptive_avgpool"],
    ]
    assert [layer.activation for layer in architecture.layers] == ["relu", "gelu", "softplus", "hardtanh", "elu"]


def test_functional_calls_are_followed() -> None:
    def forward(own: Any, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(own.a(x), inplace=True), kernel_size=2)
        x = torch.relu_(own.b(x))
        x = F.dropout(x, training=own.training)
        return own.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]

    model = custom(forward, a=conv(2, 4), b=conv(4, 3), head=lambda: nn.Linear(3, 5))
    architecture = assert_same_function(model, (2, 11, 10))
    assert steps(architecture) == [[], ["relu", "maxpool"]]
    assert [layer.activation for layer in architecture.layers] == ["relu", "relu"]
    assert architecture.logits == 5


def test_calls_by_keyword_are_followed() -> None:
    def forward(own: Any, x: Tensor) -> Tensor:
        x = own.pool(input=own.act(input=own.norm(input=own.a(input=x))))
        x = F.relu(input=own.b(input=F.max_pool2d(input=x, kernel_size=2, stride=1)))
        return own.head(input=torch.flatten(input=x, start_dim=1))  # type: ignore[no-any-return]

    model = nets.with_statistics(
        custom(
            forward,
            a=conv(2, 4),
            norm=lambda: nn.BatchNorm2d(4),
            act=nn.GELU,
            pool=lambda: nn.AvgPool2d(2),
            b=conv(4, 3),
            head=lambda: nn.Linear(3, 2),
        )
    )
    architecture = assert_same_function(model, (2, 10, 10))
    assert steps(architecture) == [[], ["gelu", "avgpool", "maxpool"]]
    from viscnn.engine.capture import record

    assert list(record(architecture, nets.images(2, shape=(2, 10, 10))).maps) == ["a", "b"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_is_folded_exactly(bias: bool, affine: bool) -> None:
    model = nets.with_statistics(
        nets.seeded(
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine, eps=0.1), nn.ReLU(), nn.Conv2d(4, 1, 1)
            )
        )
    )
    architecture = assert_same_function(model, nets.INPUT)
    own, norm = model[0], model[1]  # type: ignore[index]
    folded = architecture.convolution(architecture.layers[0])
    assert steps(architecture) == [[], ["relu"]]
    assert folded.bias is not None
    for o in range(4):
        scale = 1 / (norm.running_var[o].item() + 0.1) ** 0.5 * (norm.weight[o].item() if affine else 1.0)
        shift = (norm.bias[o].item() if affine else 0.0) - norm.running_mean[o].item() * scale
        torch.testing.assert_close(folded.weight[o], own.weight[o].detach() * scale)
        own_bias = own.bias[o].item() if bias else 0.0
        torch.testing.assert_close(folded.bias[o].item(), own_bias * scale + shift, rtol=1e-5, atol=1e-6)


def test_a_batch_norm_elsewhere_is_a_step() -> None:
    model = nets.with_statistics(
        nn.Sequential(
            nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1)
        )
    )
    assert steps(assert_same_function(model, nets.INPUT)) == [["affine"], ["relu", "affine", "maxpool"]]


def test_steps_that_do_nothing_do_not_hide_what_follows() -> None:
    model = nets.with_statistics(
        nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.Identity(),
            nn.BatchNorm2d(4),
            nn.Dropout2d(),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(4, 3, 1),
            nn.Identity(),
            nn.Tanh(),
        )
    )
    architecture = assert_same_function(model, nets.INPUT)
    assert steps(architecture) == [[], ["relu"]]
    assert [layer.activation for layer in architecture.layers] == ["relu", "tanh"]


def test_asking_for_the_size_is_no_use_of_the_maps() -> None:
    def forward(own: Any, x: Tensor) -> Tensor:
        x = own.a(x)
        count = x.size(0)
        x = F.relu(x)
        return own.head(x.view(count, -1))  # type: ignore[no-any-return]

    model = custom(forward, a=conv(2, 3), head=lambda: nn.Linear(60, 2))
    assert assert_same_function(model, nets.INPUT).layers[0].activation == "relu"


def test_a_shared_convolution_is_a_layer_per_call() -> None:
    def forward(own: Any, x: Tensor) -> Tensor:
        return own.act(own.second(own.c(own.act(own.first(own.c(x))))))  # type: ignore[no-any-return]

    model = nets.with_statistics(
        custom(forward, c=conv(2, 2), act=nn.ReLU, first=lambda: nn.BatchNorm2d(2), second=lambda: nn.BatchNorm2d(2))
    )
    architecture = assert_same_function(model, nets.INPUT)
    assert names(architecture) == ["c", "c#2"]
    assert [(feed.source, feed.target) for feed in architecture.feeds] == [("input", "c"), ("c", "c#2")]
    one, two = (architecture.convolution(layer) for layer in architecture.layers)
    assert not torch.equal(one.weight, two.weight)  # each is folded with its own norm


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_input_channels(channels: int) -> None:
    model = nn.Sequential(nn.Conv2d(channels, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    assert assert_same_function(model, (channels, 4, 4)).input_shape == (channels, 4, 4)


HEADS: dict[str, Callable[[Any, Tensor], Any]] = {
    "flatten": lambda own, x: own.head(own.flat(x)),
    "torch.flatten": lambda own, x: own.head(torch.flatten(x, 1)),
    "Tensor.flatten": lambda own, x: own.head(x.flatten(1)),
    "view": lambda own, x: own.head(x.view(x.size(0), -1)),
    "view by shape": lambda own, x: own.head(x.view(x.shape[0], 12)),
    "reshape": lambda own, x: own.head(x.reshape(-1, 12)),
    "mean": lambda own, x: x.mean(dim=(2, 3)),
    "torch.mean": lambda own, x: torch.mean(x, dim=[2, 3]),
    "adaptive": lambda own, x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "branching": lambda own, x: own.head(x.flatten(1)) + x.mean(dim=(2, 3)),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str) -> None:
    model = custom(
        lambda own, x: HEADS[name](own, own.act(own.c(x))),
        c=conv(2, 3, 2, stride=3),
        act=nn.ReLU,
        flat=nn.Flatten,
        head=lambda: nn.Linear(12, 3),
    )
    architecture = assert_same_function(model, nets.INPUT)
    assert architecture.logits == 3
    assert architecture.layers[0].activation == "relu"


@pytest.mark.parametrize("after", [[], [nn.ReLU()], [nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()]])
def test_a_model_without_a_head_has_no_logits(after: list[nn.Module]) -> None:
    architecture = assert_same_function(nn.Sequential(nn.Conv2d(2, 4, 3), *after).eval(), nets.INPUT)
    assert architecture.logits is None
    assert architecture.layers[0].activation == ("relu" if after else None)


def test_layers_are_named_by_their_path() -> None:
    inner = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    model = nn.Sequential()
    model.add_module("input", nn.Conv2d(2, 2, 1))
    model.add_module("block", nn.ModuleList([inner])[0])
    architecture = assert_same_function(model, nets.INPUT)
    assert names(architecture) == ["input#1", "block.0"]  # `input` is the image


def test_a_convolution_that_is_not_used_is_no_layer() -> None:
    model = custom(lambda own, x: (own.b(x), own.a(x))[1], a=conv(2, 3), b=conv(2, 4))
    architecture = assert_same_function(model, nets.INPUT)
    assert names(architecture) == ["a"]
    assert architecture.kernels == 6


def test_a_parametrised_convolution_is_read() -> None:
    model = custom(
        lambda own, x: own.b(F.relu(own.a(x))),
        a=lambda: torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)),
        b=conv(3, 2),
    )
    architecture = assert_same_function(model, nets.INPUT)
    assert not architecture.convolution(architecture.layers[0]).weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_in_single(dtype: torch.dtype) -> None:
    model = nets.make("plain").to(dtype)
    architecture = read_architecture(model, nets.INPUT)
    assert architecture.convolution(architecture.layers[0]).weight.dtype == torch.float32
    with torch.no_grad():
        expected = copy.deepcopy(model).float()(nets.images(2))
        torch.testing.assert_close(architecture.module(nets.images(2)), expected)
    assert next(model.parameters()).dtype == dtype


def test_the_bundled_networks_are_read() -> None:
    mnist = assert_same_function(bundled.mnist(), (1, 28, 28))
    assert names(mnist) == ["conv1", "conv2", "conv3", "conv4"]
    assert mnist.kernels == 16 + 16 * 24 + 24 * 32 + 32 * 32
    plain = assert_same_function(nets.with_statistics(bundled.mnist(batch_norm=True)), (1, 28, 28))
    assert [layer.activation for layer in plain.layers] == ["relu"] * 4
    assert [layer.output_size for layer in plain.layers] == [(28, 28), (14, 14), (7, 7), (7, 7)]


def test_alexnet_has_the_known_number_of_kernels() -> None:
    from torchvision.models import alexnet

    architecture = read_architecture(nets.seeded(alexnet), (3, 224, 224))
    assert names(architecture) == [f"features.{n}" for n in (0, 3, 6, 8, 10)]
    assert architecture.kernels == 250_048
    assert [layer.output_size for layer in architecture.layers] == [(55, 55), (27, 27), *[(13, 13)] * 3]


RESNET18 = 3 * 64 + 4 * 64**2 + sum(c * 2 * c + 3 * (2 * c) ** 2 + c * 2 * c for c in (64, 128, 256))
SQUEEZENET = 3 * 64 + 512 * 1000
SQUEEZENET += sum(i * s + 2 * s * e for i, s, e in [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)])
SQUEEZENET += sum(i * s + 2 * s * e for i, s, e in [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)])


@pytest.mark.parametrize(
    ("name", "layers", "sums", "kernels"),
    [("resnet18", 20, 8, RESNET18), ("squeezenet1_1", 26, 0, SQUEEZENET)],
)
def test_known_networks_have_the_known_number_of_kernels(name: str, layers: int, sums: int, kernels: int) -> None:
    from torchvision import models

    architecture = assert_same_function(nets.seeded(getattr(models, name)), (3, 64, 64), count=1)
    assert sum(layer.kind == "convolution" for layer in architecture.layers) == layers
    assert sum(layer.is_sum for layer in architecture.layers) == sums
    assert len(architecture.layers) == layers + sums
    assert architecture.kernels == kernels
    assert architecture.logits == 1000


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_every_convolution_of_branching_networks_is_a_layer(name: str) -> None:
    from torchvision import models

    network = nets.with_statistics(nets.seeded(getattr(models, name)))
    architecture = assert_same_function(network, (3, 64, 64), count=1)
    own = {path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert {layer.name for layer in architecture.layers if layer.kind == "convolution"} == own
    assert architecture.kernels == sum(each.weight[:, :, 0, 0].numel() for each in _convolutions(network))
    gates = {layer.name for layer in architecture.layers if layer.gate}
    assert gates == {path for path in own if path.endswith(("fc1", "fc2"))}  # squeeze and excite
