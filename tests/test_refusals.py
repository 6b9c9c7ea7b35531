"""What cannot be written as layers and feeds is refused: by the operation's name and the line of the model's code.

Nothing is ever half-ingested, and nothing is read as another network than it is.
"""

import importlib.util
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests import nets, toy
from tests.awkward_refused import NAMED, REFUSED
from tests.untouched import untouched
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.errors import ModelError, UnsupportedModel, ViscnnError
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name_and_line(name: str) -> None:
    named, line = NAMED[name]
    net = REFUSED[name]
    model = net.build()
    with untouched(model), pytest.raises(UnsupportedModel, match=named) as caught:
        read_architecture(model, net.shape)
    message = str(caught.value)
    assert "\n" not in message
    if line:
        assert "(in `" in message
        assert line in message.partition("(in `")[2]


def test_a_part_of_a_map_that_is_overwritten_is_refused_by_its_line() -> None:
    """torch.fx cannot hold the assignment; torch.export names the lines of `forward` methods."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.a(x)
            z[:, :2] = 0
            found: Tensor = self.b(z)
            return found

    with pytest.raises(UnsupportedModel, match=r"'fill_.*\(in `z\[:, :2\] = 0`\).*overwrites a part of maps"):
        read_architecture(Overwriting(), nets.INPUT)


FILE = """
import torch
from torch import nn

class Products(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        z = self.a(x)
        y = z * self.b(x)
        return self.c(y).flatten(1)

def products():
    return Products()
"""


def test_nothing_is_stored_of_a_refused_model(server: Connection, graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "products.py"
    path.write_text(FILE, encoding="utf-8")
    with VISCNN(server) as v:
        before = toy.snapshot(graph)
        with pytest.raises(UnsupportedModel, match=r"'mul' \(in `y = z \* self.b\(x\)`\)"):
            v.ingest(f"{path}:products", name="refused", input_shape=(3, 12, 12))
        assert toy.snapshot(graph) == before
        with pytest.raises(ViscnnError, match="no model 'refused'"):
            v.replay("refused")
        path.write_text(FILE.replace("z * self.b(x)", "z + self.b(x)"), encoding="utf-8")
        try:
            assert v.ingest(f"{path}:products", name="refused", input_shape=(3, 12, 12), importance=False)
        finally:
            v.drop("refused")
        assert toy.snapshot(graph) == before


@pytest.mark.parametrize("folder", ["models", "torch", "viscnn/ingest"])
def test_the_line_is_found_wherever_the_model_lies(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "products.py"
    path.parent.mkdir(parents=True)
    path.write_text(FILE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("products", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(UnsupportedModel, match=r"'mul' \(in `y = z \* self.b\(x\)`\)"):
        read_architecture(module.products(), (3, 12, 12))


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


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 6, 1), (2,), (), (2, 0, 6), (-2, 7, 6), (0, 7, 6)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    with pytest.raises(ModelError, match=r"channels, rows, columns|input of"):
        read_architecture(model, shape)  # type: ignore[arg-type]


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
