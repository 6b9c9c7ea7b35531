"""Models by name: always the same weights, what their images look like, clear errors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from viscnn.errors import ModelError
from viscnn.ingest.bundled import nets as bundled
from viscnn.ingest.zoo import BUNDLED, Recipe, build, model_name, parse_shape, weights_hash


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models(name: str) -> None:
    zoo = build(Recipe(name))
    entry = BUNDLED[name]
    assert (zoo.architecture, zoo.input_shape, zoo.classes) == (f"viscnn.{name}", entry.input_shape, entry.classes)
    assert (tuple(zoo.preprocess["mean"]), tuple(zoo.preprocess["std"])) == (entry.mean, entry.std)
    assert zoo.images == f"bundled:{name}"
    assert not zoo.module.training
    assert build(Recipe(name)).weights_hash == zoo.weights_hash
    with torch.no_grad():
        assert zoo.module(torch.zeros(1, *zoo.input_shape)).shape == (1, len(zoo.classes))


def test_random_weights_are_always_the_same_and_not_the_trained_ones() -> None:
    state = torch.random.get_rng_state()
    one, two = (build(Recipe("mnist", weights="random")) for _ in range(2))
    assert one.weights_hash == two.weights_hash != build(Recipe("mnist")).weights_hash
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_of_a_file(tmp_path: Path) -> None:
    other = bundled.mnist()
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    zoo = build(Recipe("mnist", weights=str(tmp_path / "w.safetensors")))
    assert zoo.weights_hash == weights_hash(other)


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    def net() -> nn.Module:
        module = nn.Linear(2, 3)
        module.load_state_dict({"weight": torch.arange(6.0).view(3, 2), "bias": torch.zeros(3)})
        return module

    assert weights_hash(net()) == weights_hash(net())
    changed, wrapped, reshaped = net(), nn.Sequential(net()), nn.Linear(3, 2)
    changed.get_parameter("bias").data[1] = 1e-30
    reshaped.load_state_dict({"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)})
    hashes = {weights_hash(each) for each in (net(), net().double(), changed, wrapped, reshaped)}
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("mnis", "mnist"),
        ("cifar-10", "cifar10"),
        ("alexnett", "alexnet"),
        ("vgg-16", "vgg16"),
        ("googlenet_bvlc", "googlenet-bvlc"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, suggested: str) -> None:
    with pytest.raises(ModelError, match=f"no model is called '{name}'; did you mean .*{suggested}"):
        build(Recipe(name))


@pytest.mark.parametrize(
    "text", ["", "3x224", "3x224x224x1", "ax2x3", "0x8x8", "-1x8x8", "3 x 8 x 8", "²x8x8", "3x8.5x8"]
)
def test_a_malformed_input_size_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is not CHANNELSxROWSxCOLUMNS"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("mnist", "mnist"),
        ("squeezenet1_0-pruned", "squeezenet1_0-pruned"),
        ("timm:resnet18.a1_in1k", "timm-resnet18.a1_in1k"),
        ("some/net.py:make", "make"),
    ],
)
def test_the_default_name(source: str, name: str) -> None:
    assert model_name(source) == name


@pytest.mark.parametrize(
    ("shape", "size", "resize"),
    [(None, [224, 224], 256), ((3, 112, 112), [112, 112], 128), ((3, 160, 224), [160, 224], 256)],
)
def test_another_input_size_sees_the_same_share_of_a_picture(
    shape: tuple[int, int, int] | None, size: list[int], resize: int
) -> None:
    zoo = build(Recipe("squeezenet1_1", weights="random", input_shape=shape))
    assert (zoo.preprocess["size"], zoo.preprocess["resize"]) == (size, resize)


def test_an_input_size() -> None:
    assert parse_shape("3x224x160") == parse_shape("3X224X160") == (3, 224, 160)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("mnist", mean=(0.1, 0.2)), "--mean needs 1 numbers"),
        (Recipe("mnist", std=(0.0,)), "--std must be positive"),
        (Recipe("mnist", std=(float("nan"),)), "--std must be finite"),
        (Recipe("mnist", mean=(float("inf"),)), "--mean must be finite"),
        (Recipe("mnist", weights="absent.pt"), "no weights file absent.pt"),
    ],
)
def test_settings_that_do_not_fit_are_refused(recipe: Recipe, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(recipe)


def test_the_preprocessing_can_be_set() -> None:
    zoo = build(Recipe("squeezenet1_1", weights="random", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)))
    assert (zoo.preprocess["mean"], zoo.preprocess["std"]) == ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0])
    assert (zoo.preprocess["interpolation"], zoo.preprocess["scale"]) == ("bilinear", 1 / 255)
