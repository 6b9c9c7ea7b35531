"""Maps of one image, and interventions, against the plain network and literal changes of its weights."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import nets
from viscnn.engine.bundle import Bundle
from viscnn.engine.one_image import activation_map, intervened, kernel_maps, opened, parse_kernel, pixels
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.visualize.settings import Settings, Visualization
from viscnn.engine.wiring import filter_uids
from viscnn.errors import ImagesError, InputError, NotInGraph
from viscnn.ingest.architecture import read_architecture

CLASSES = ("ant", "bee", "cat")


def bundle(network: nn.Module, shape: tuple[int, int, int] = nets.INPUT) -> Bundle:
    return Bundle("net", read_architecture(network, shape), CLASSES, Preprocess(), "", None)


def with_sum() -> nn.Module:
    """Two convolutions whose maps are added, then a third."""

    def forward(own: Any, x: Tensor) -> Any:
        z = own.a(x)
        return own.head(own.c(torch.relu(own.b(torch.relu(z)) + z)).flatten(1))

    maps = {"a": nets.conv(2, 4, padding=1), "b": nets.conv(4, 4, padding=1), "c": nets.conv(4, 2)}
    return nets.custom(forward, **maps, head=lambda: nn.Linear(2 * 5 * 4, 3))


@pytest.mark.parametrize("name", ["plain", "grouped", "depthwise", "reflect", "dilated", "in-place"])
def test_edge_maps_add_up_to_the_activation_map(name: str) -> None:
    found, image = bundle(nets.make(name)), nets.images(1)
    uids = filter_uids("net", found.architecture)
    layer = found.architecture.layer("conv2")
    convolution = found.architecture.convolution(layer)
    assert convolution.bias is not None
    for channel in range(layer.filters):
        first = channel // (layer.filters // layer.groups) * layer.inputs
        sources = [uids[each] for each in found.architecture.sources(layer)[first : first + layer.inputs]]
        maps = kernel_maps(found, [(source, f"net/conv2/{channel}") for source in sources], image)
        total = sum(each.edge for each in maps) + float(convolution.bias[channel])
        np.testing.assert_allclose(total, activation_map(found, f"net/conv2/{channel}", image), atol=1e-5)
        reads = record_of_reads(found, image)[first : first + layer.inputs]
        for each, read in zip(maps, reads, strict=True):
            np.testing.assert_array_equal(each.input, read)


def record_of_reads(found: Bundle, image: Tensor) -> Any:
    """What conv2 reads, (channels, rows, columns), by a hook on the plain module."""
    kept: list[Tensor] = []
    handle = found.architecture.module.get_submodule("conv2").register_forward_pre_hook(
        lambda module, inputs: kept.append(inputs[0].clone())
    )
    with torch.no_grad():
        found.architecture.module(image)
    handle.remove()
    return kept[0][0].numpy()


def test_kernels_of_several_layers_in_one_pass() -> None:
    found, image = bundle(nets.make("plain")), nets.images(1)
    pairs = [("net/conv1/2", "net/conv2/0"), (filter_uids("net", found.architecture)[0], "net/conv1/3")]
    together = kernel_maps(found, pairs, image)
    for pair, maps in zip(pairs, together, strict=True):
        (alone,) = kernel_maps(found, [pair], image)
        np.testing.assert_array_equal(maps.edge, alone.edge)
        np.testing.assert_array_equal(maps.input, alone.input)
    assert kernel_maps(found, [], image) == []


def test_an_identity_gives_what_it_reads() -> None:
    found, image = bundle(with_sum(), (2, 7, 6)), nets.images(1, shape=(2, 7, 6))
    (add,) = [layer.name for layer in found.architecture.layers if layer.is_sum]
    maps = kernel_maps(found, [(f"net/{name}/3", f"net/{add}/3") for name in ("a", "b")], image)
    for each in maps:
        np.testing.assert_array_equal(each.input, each.edge)
    np.testing.assert_allclose(maps[0].edge + maps[1].edge, activation_map(found, f"net/{add}/3", image), atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, -1.5, 2.0])
def test_a_scaled_filter_is_one_with_other_weights(factor: float) -> None:
    network, image = nets.make("grouped"), nets.images(1)
    found = intervened(bundle(network), image, {"net/conv1/2": factor}, output="class:bee", watch=("net/conv2/1",))
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for name in ("conv1.weight", "conv1.bias"):
            changed.get_parameter(name)[2] *= factor
        before, after = network(image)[0], changed(image)[0]
    assert found.logits is not None
    np.testing.assert_allclose(found.logits, torch.stack([before, after]).numpy(), rtol=1e-4, atol=1e-5)
    assert (found.before, found.after) == pytest.approx((float(before[1]), float(after[1])), abs=1e-4)
    maps = [activation_map(bundle(each), "net/conv2/1", image) for each in (network, changed)]
    np.testing.assert_allclose(found.maps["net/conv2/1"], np.stack(maps), atol=1e-5)


def test_a_scaled_kernel_is_one_with_other_weights() -> None:
    network, image = nets.make("grouped"), nets.images(1)
    found = intervened(bundle(network), image, {"net/conv1/3 -> net/conv2/4": 0.25, "net/conv1/0->net/conv2/0": 0.0})
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.get_parameter("conv2.weight")[4, 1] *= 0.25  # the second of the second group
        changed.get_parameter("conv2.weight")[0, 0] = 0
        logits = changed(image)
        label = network(image).argmax(1)
        loss = nn.functional.cross_entropy(logits, label)
    assert found.logits is not None
    np.testing.assert_allclose(found.logits[1], logits[0].numpy(), rtol=1e-4, atol=1e-5)
    named = CLASSES[int(label)]
    assert (found.target, found.label, found.predicted) == (f"loss (predicted class {named})", named, True)
    assert found.after == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_loss_of_a_label(number: int) -> None:
    network, image = nets.make("plain"), nets.images(1)
    found = intervened(bundle(network), image, {"net/conv1/0": 0.0}, label=number)
    loss = nn.functional.cross_entropy(network(image).detach(), torch.tensor([number]))
    assert found.before == pytest.approx(float(loss), abs=1e-5)
    assert (found.target, found.label, found.predicted) == (f"loss (class {CLASSES[number]})", CLASSES[number], False)
    other = intervened(bundle(network), image, {}, output="class:bee", label=number)
    assert (other.target, other.label, other.predicted) == ("class:bee", None, False)


def test_an_ablated_identity_is_no_addend() -> None:
    network, image = with_sum(), nets.images(1, shape=(2, 7, 6))
    found = bundle(network, (2, 7, 6))
    (add,) = [layer.name for layer in found.architecture.layers if layer.is_sum]
    response = intervened(found, image, {f"net/a/1 -> net/{add}/1": 0.0}, watch=(f"net/{add}/1", f"net/{add}/2"))
    np.testing.assert_allclose(response.maps[f"net/{add}/1"][1], activation_map(found, "net/b/1", image), atol=1e-6)
    np.testing.assert_array_equal(*response.maps[f"net/{add}/2"])


def test_an_intervention_leaves_the_model_as_it_is() -> None:
    found, image = bundle(nets.make("plain")), nets.images(1)
    weights = copy.deepcopy(found.architecture.module.state_dict())
    first = intervened(found, image, {"net/conv1/0": 0.0})
    again = intervened(found, image, {})
    assert first.before == again.before == again.after != first.after
    for name, value in found.architecture.module.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("factors", "kind", "named"),
    [
        ({"net/conv9/0": 0.0}, NotInGraph, "no filter 'net/conv9/0' with a map"),
        ({"other/conv1/0": 0.0}, NotInGraph, "'other/conv1/0'"),
        ({"net/input/c0": 0.0}, NotInGraph, "'net/input/c0'"),
        ({"net/conv1/4": 0.0}, NotInGraph, "has filters 0 to 3, and no '4'"),
        ({"net/conv1/0 -> net/conv1/1": 0.0}, NotInGraph, "no kernel leads from net/conv1/0 to net/conv1/1"),
        ({"net/conv7/0 -> net/conv1/1": 0.0}, NotInGraph, "no filter 'net/conv7/0'"),
        ({"net/conv1/0": float("nan")}, InputError, "factor nan of net/conv1/0"),
    ],
)
def test_what_is_not_there_is_named(factors: dict[str, float], kind: type[Exception], named: str) -> None:
    with pytest.raises(kind, match=named):
        intervened(bundle(nets.make("plain")), nets.images(1), factors)


def test_pixels_are_read_like_a_file_s() -> None:
    preprocess = Preprocess(size=(7, 6), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    found = Bundle("net", bundle(nets.make("plain")).architecture, CLASSES, preprocess, "", None)
    picture = np.full((7, 6, 3), 255, dtype=np.uint8)
    torch.testing.assert_close(opened(found, picture), torch.full((1, 3, 7, 6), 2.0))
    with pytest.raises(ImagesError, match=r"pixels of float64 and shape \(7, 6\)"):
        opened(found, np.zeros((7, 6)))  # type: ignore[arg-type]


def test_kernels_are_written_with_an_arrow() -> None:
    assert parse_kernel("net/conv1/0 -> net/conv2/1") == ("net/conv1/0", "net/conv2/1")
    assert parse_kernel("net/conv1/0") is None


# -- visualisations as the image ---------------------------------------------------------------------------------------


def visualization(shape: tuple[int, ...]) -> Visualization:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Visualization("net", "net/conv/0", "channel", 1, None, Settings(), image, 0.0, 0.0, True, Path("x.png"))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_visualisation_is_neither_resized_nor_cropped(channels: int, mode: Any) -> None:
    how = Preprocess((8, 10), 12, mode, mean=(0.4,) * channels, std=(0.3,) * channels)
    network = nets.seeded(lambda: nn.Conv2d(channels, 2, 3))
    own = Bundle("net", read_architecture(network, (channels, 8, 10)), (), how, "", None)
    shown = visualization((8, 10, channels))
    np.testing.assert_array_equal(pixels(own, shown), shown.image)
    expected = (shown.image.transpose(2, 0, 1)[None] / 255 - 0.4) / 0.3
    np.testing.assert_allclose(opened(own, shown).numpy(), expected, atol=1e-5)
    with pytest.raises(ImagesError, match=f"has 10x8x{channels} pixels, model 'net' takes 8x10x{channels}"):
        opened(own, visualization((10, 8, channels)))


def test_a_visualisation_of_other_channels_is_no_picture() -> None:
    own = bundle(nets.seeded(lambda: nn.Conv2d(5, 2, 3)), (5, 8, 8))
    with pytest.raises(ImagesError, match="5 input channels"):
        opened(own, visualization((8, 8, 5)))
