"""One recorded pass: the maps and gradients of the plain network, whatever activations do to tensors in place."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import nets, oracles
from viscnn.engine.capture import convolve, record
from viscnn.engine.padding import padded
from viscnn.errors import StoredDataError
from viscnn.ingest.architecture import Architecture, read_architecture

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def read(network: nn.Module, shape: tuple[int, int, int] = nets.INPUT) -> Architecture:
    architecture = read_architecture(network, shape)
    architecture.module.double()
    return architecture


@pytest.mark.parametrize("name", nets.NETS)
def test_a_recording_has_the_maps_of_the_plain_network(name: str) -> None:
    network, images = nets.make(name), nets.images(2)
    literal = oracles.run(network, images)
    found = record(read(network), images.double())
    assert list(found.maps) == list(literal.z) == list(found.inputs) == list(found.activated)
    for layer in literal.z:
        torch.testing.assert_close(found.inputs[layer], literal.x[layer].detach())
        torch.testing.assert_close(found.maps[layer], literal.z[layer])
        torch.testing.assert_close(found.activated[layer], literal.a[layer])
    assert found.output is not None
    torch.testing.assert_close(found.output, literal.logits)


@pytest.mark.parametrize("name", nets.NETS)
def test_gradients_are_those_of_plain_autograd(name: str) -> None:
    network, images = nets.make(name), nets.images(2)
    literal = oracles.run(network, images)
    literal.logits[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    found = record(read(network), images.double())
    assert found.output is not None
    of_maps, of_activated = found.gradients(found.output[:, 1].sum())
    for layer in literal.z:
        torch.testing.assert_close(of_maps[layer], literal.z[layer].grad)
        torch.testing.assert_close(of_activated[layer], literal.a[layer].grad)


def test_a_recording_ends_at_the_last_layer() -> None:
    architecture = read(nets.make("plain"))
    found = record(architecture, nets.images(2).double(), last=architecture.layer("conv1"))
    assert list(found.maps) == ["conv1"]
    assert found.output is None
    assert found.activated["conv1"] is found.maps["conv1"]  # for the target's filters a = Z
    of_maps, of_activated = found.gradients(found.maps["conv1"][:, 2].mean())
    assert of_maps["conv1"].flatten(2).abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(of_activated["conv1"], of_maps["conv1"])


def test_layers_that_t_does_not_depend_on_have_no_gradient() -> None:
    architecture = read(nets.make("plain"))
    found = record(architecture, nets.images(2).double())
    of_maps, of_activated = found.gradients(found.maps["conv1"].sum())
    assert list(of_maps) == ["conv1"]
    assert of_activated == {}  # dT/da is not dT/dZ: T is made of Z here


def test_without_gradients_nothing_is_kept_for_them() -> None:
    found = record(read(nets.make("plain")), nets.images(2).double(), gradients=False)
    assert found.map_edges == {}
    assert not found.maps["conv2"].requires_grad


def test_the_images_are_left_alone() -> None:
    images = nets.images(2).double()
    before = images.clone()
    record(read(nets.make("in-place")), images)
    assert not images.requires_grad
    assert torch.equal(images, before)


def test_an_intervention_replaces_a_convolution_and_all_that_follows() -> None:
    network, images = nets.make("grouped"), nets.images(3)
    changed = oracles.without(network, "conv1", 2, 0)

    def removed(x: Tensor, convolution: nn.Conv2d) -> Tensor:
        weight = convolution.weight.clone()
        weight[2, 0] = 0
        return convolve(x, convolution, weight, convolution.bias)

    found = record(read(network), images.double(), interventions={"conv1": removed})
    literal = oracles.run(changed, images)
    assert found.output is not None
    torch.testing.assert_close(found.maps["conv2"], literal.z["conv2"])
    torch.testing.assert_close(found.output, literal.logits)
    plain = oracles.run(network, images)
    assert not torch.allclose(found.output, plain.logits)


@pytest.mark.parametrize("name", nets.GEOMETRIES)
def test_convolve_is_the_convolution_with_its_own_weights(name: str) -> None:
    convolution = nets.make(name).get_submodule("conv1")
    assert isinstance(convolution, nn.Conv2d)
    x = nets.images(2)
    torch.testing.assert_close(convolve(x, convolution, convolution.weight, convolution.bias), convolution(x))


@pytest.mark.parametrize("name", nets.GEOMETRIES)
def test_padded_maps_are_the_literal_ones(name: str) -> None:
    convolution = nets.make(name).get_submodule("conv1")
    assert isinstance(convolution, nn.Conv2d)
    x = nets.images(1)
    (top, bottom), (left, right) = oracles.paddings(convolution)
    rows, columns = x.shape[2:]
    found = padded(x, convolution)[0, 0].numpy()
    expected = np.zeros((rows + top + bottom, columns + left + right), dtype=np.float32)
    for p, q in np.ndindex(*expected.shape):
        row = oracles.source_index(p - top, rows, convolution.padding_mode)
        column = oracles.source_index(q - left, columns, convolution.padding_mode)
        expected[p, q] = 0.0 if row is None or column is None else x[0, 0, row, column]
    np.testing.assert_array_equal(found, expected)


def test_maps_that_are_not_finite_name_their_layer() -> None:
    architecture = read_architecture(nets.make("plain"), nets.INPUT)
    for parameter in architecture.convolution(architecture.layer("conv2")).parameters():
        parameter.data[1] = 3e38
    with pytest.raises(StoredDataError, match="layer conv2 hold NaN or infinity"):
        record(architecture, nets.images(2))


def test_an_output_that_is_not_finite_is_refused_too() -> None:
    architecture = read_architecture(nets.make("plain"), nets.INPUT)
    architecture.module.get_parameter("logits.weight").data[:] = 3e38
    with pytest.raises(StoredDataError, match="output"):
        record(architecture, nets.images(2))


def test_images_that_are_not_finite_are_refused() -> None:
    with pytest.raises(StoredDataError, match="conv1"):
        record(read(nets.make("plain")), torch.full((1, *nets.INPUT), float("nan")).double())


def test_a_relu_may_be_called_in_any_way_when_memory_is_spared() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)

        def forward(self, images: Tensor) -> Tensor:
            z: Tensor = self.conv2(torch.relu(input=self.conv1(images)))
            return z

    architecture = read_architecture(Named(), (2, 10, 10))
    images = nets.images(2, shape=(2, 10, 10))
    spared, whole = record(architecture, images, sparing=[]), record(architecture, images)
    assert list(spared.maps) == []
    for layer in ("conv1", "conv2"):
        torch.testing.assert_close(spared.activated[layer], whole.activated[layer])
