"""Wrapped, compiled, scripted, quantised and lazy models, and modules of odd classes: read as they are, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets, toy
from tests.nets import conv, custom
from tests.untouched import LAYERS, SHAPE, Plain, assert_read, assert_refused, names, plain, read_or_refused
from viscnn.engine.capture import record
from viscnn.engine.replay import replay
from viscnn.errors import ModelError, UnsupportedModel
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture

# --- wrapped, scripted, quantised, lazy --------------------------------------------------------------------------


def test_a_model_in_data_parallel_is_read_by_its_own_names() -> None:
    assert names(assert_read(nn.DataParallel(plain()), like=plain())) == LAYERS


def test_a_compiled_model_is_read_by_its_own_names() -> None:
    compiled = torch.compile(plain())
    assert isinstance(compiled, nn.Module)
    assert names(assert_read(compiled, like=plain())) == LAYERS
    in_place = plain()
    in_place.compile()
    assert names(assert_read(in_place, like=plain())) == LAYERS


def test_a_compiled_part_is_read_by_its_own_name() -> None:
    model = plain()
    model.conv2 = torch.compile(model.get_submodule("conv2"))  # type: ignore[assignment]
    assert names(assert_read(model, like=plain())) == LAYERS


def test_a_graph_of_fx_is_read() -> None:
    assert names(assert_read(torch.fx.symbolic_trace(plain()), like=plain())) == LAYERS


def traced(model: nn.Module) -> nn.Module:
    found: nn.Module = torch.jit.trace(model, torch.zeros(1, *SHAPE))  # type: ignore[no-untyped-call]
    return found


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("make", [torch.jit.script, traced])
def test_a_scripted_model_is_refused_by_name(make: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(UnsupportedModel, match="TorchScript"):
        read_architecture(make(plain()), SHAPE)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_scripted_part_is_refused_by_name() -> None:
    model = plain()
    model.conv2 = torch.jit.script(model.get_submodule("conv2"))
    with pytest.raises(ModelError, match=r"conv2|TorchScript"):
        read_architecture(model, SHAPE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_convolution_is_refused_by_name() -> None:
    from torch.ao.nn.quantized import Conv2d as Quantised

    model = plain()
    model.conv2 = Quantised(4, 4, 3, padding=1)  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match=r"conv2|[Qq]uanti[sz]ed"):
        read_architecture(model, SHAPE)


def test_lazy_modules_are_refused_until_they_have_weights() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.LazyConv2d(3, 3))
    assert_refused(model, "(?i)lazy|uninitiali[sz]ed")
    model(nets.images(1, shape=SHAPE))
    assert names(assert_read(model)) == ["0", "2"]


# --- odd classes -------------------------------------------------------------------------------------------------


class Doubling(nn.Conv2d):
    """A convolution that is called in its own way."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Twice what the convolution returns."""
        return super().__call__(*given, **named) * 2


def test_a_call_of_its_own_is_followed_or_refused() -> None:
    model = plain()
    model.conv2 = Doubling(4, 4, 3, padding=1)
    read_or_refused(model, "conv2|Doubling")


def test_a_model_that_counts_its_calls() -> None:
    class Counting(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
            self.seen = 0

        def forward(self, x: Tensor) -> Tensor:
            self.get_buffer("calls").add_(1)
            self.seen += 1
            return super().forward(x)

    assert_read(nets.with_statistics(nets.seeded(Counting)).eval(), like=plain())


def test_a_model_whose_output_depends_on_the_call_is_refused() -> None:
    def forward(own: Any, x: Tensor) -> Any:
        own.norm.running_mean.add_(1)
        return own.norm(own.a(x))

    model = custom(forward, a=conv(2, 2), norm=lambda: nn.BatchNorm2d(2))
    assert_refused(model, "add_|in place|two runs|differ", kind=UnsupportedModel)


def test_the_images_are_not_overwritten() -> None:
    def forward(own: Any, x: Tensor) -> Any:
        return own.a(x.sub_(0.5).div_(0.25))

    architecture = read_architecture(custom(forward, a=conv(2, 2)), SHAPE)
    images = nets.images(2, shape=SHAPE)
    before = images.clone()
    record(architecture, images, gradients=False)
    architecture.module(images)
    assert torch.equal(images, before)


def test_a_model_that_moves_its_input_to_its_own_device() -> None:
    def forward(own: Any, x: Tensor) -> Any:
        return own.b(F.relu(own.a(x.to(device=own.a.weight.device, dtype=own.a.weight.dtype, non_blocking=True))))

    assert names(assert_read(custom(forward, a=conv(2, 2), b=conv(2, 2)))) == ["a", "b"]


def test_sizes_that_differ_from_the_ones_trained_on() -> None:
    model = custom(
        lambda own, x: own.head(F.adaptive_avg_pool2d(F.relu(own.a(x)), 2).flatten(1)),
        a=conv(2, 3),
        head=lambda: nn.Linear(12, 2),
    )
    for shape in [(2, 9, 8), (2, 16, 5), (2, 33, 40)]:
        architecture = assert_read(model, shape=shape)
        assert architecture.layers[0].output_size == (shape[1] - 2, shape[2] - 2)


def test_checkpointed_blocks() -> None:
    from torch.utils.checkpoint import checkpoint

    def forward(own: Any, x: Tensor) -> Any:
        return own.b(checkpoint(lambda y: F.relu(own.a(y)), x, use_reentrant=False))

    assert names(assert_read(custom(forward, a=conv(2, 2), b=conv(2, 2)))) == ["a", "b"]


def test_a_layer_norm_of_the_wrong_shape_is_an_input_that_does_not_fit() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 5, 5]))
    assert_refused(model, "input of 2x9x8")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)), "input of|Embedding"),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3)), "Conv1d|input of"),
        (nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), "no 2-D convolution|'0'"),
        (nn.Sequential(nn.Flatten(2), nn.LSTM(72, 3)), "LSTM|'1'|one tensor"),
        (nn.Sequential(), "no 2-D convolution"),
        (nn.Identity(), "no 2-D convolution"),
        (nn.Transformer(8, 2, 1, 1, 8, batch_first=True), "src|tgt|traced"),
    ],
    ids=["Embedding", "Conv1d", "Linear", "LSTM", "empty", "Identity", "Transformer"],
)
def test_models_of_other_things_than_images_are_refused(model: nn.Module, named: str) -> None:
    assert_refused(model.eval(), named)


def test_no_module_at_all_is_refused() -> None:
    with pytest.raises(ModelError, match=r"nn\.Module"):
        read_architecture(lambda x: x, SHAPE)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["positional", "named"])
def test_any_number_of_inputs_is_refused(kind: str) -> None:
    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(2, 2, 3)

        def forward(self, *inputs: Tensor) -> Any:
            return self.a(inputs[0])

    class Named(Positional):
        def forward(self, **inputs: Tensor) -> Any:  # type: ignore[override]
            return self.a(inputs["images"])

    assert_refused(Positional() if kind == "positional" else Named(), "inputs|input of 2x9x8")


def test_a_wrapped_part_is_read_by_its_own_names() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.DataParallel(plain()))
    assert names(assert_read(model)) == ["0", "1.conv1", "1.conv2", "1.add"]


def test_names_of_any_characters(graph: Graph) -> None:
    odd = {"1x1 a/b": nn.Conv2d(2, 3, 3), "é#2": nn.Conv2d(3, 4, 1), "-": nn.Conv2d(4, 2, 1)}
    model = custom(lambda own, x: _in_a_row(own.parts, x), parts=lambda: nn.ModuleDict(odd))
    expected = [f"parts.{name}" for name in odd]
    assert names(assert_read(model, shape=SHAPE)) == expected
    with toy.stored(graph, "odd-names", model, SHAPE):
        bundle = toy.bundle_of(model, None, name="odd-names", shape=SHAPE)
        report = replay(graph, bundle, nets.images(2, shape=SHAPE))
        uids = [row["uid"] for row in graph.read("read/filters", model="odd-names")]
    assert list(report.errors) == expected
    assert report.worst <= 1e-5
    assert len(set(uids)) == 2 + 3 + 4 + 2


def _in_a_row(parts: nn.ModuleDict, x: Tensor) -> Tensor:
    for part in parts.values():
        x = F.relu(part(x))
    return x
