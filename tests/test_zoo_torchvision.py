"""Torchvision's classifiers: which there are, their own preprocessing and structure; what is no 2-D CNN is refused."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.models._api import get_model_weights

from viscnn.engine.preprocess import Preprocess
from viscnn.errors import ModelError
from viscnn.ingest import zoo_torchvision
from viscnn.ingest.zoo import Recipe, build, weights_hash

FAMILIES = {
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "vgg11", "vgg16_bn", "wide_resnet50_2"),
}


def fitting() -> list[str]:
    return [each.name for each in zoo_torchvision.listed()]


def test_every_family_of_2d_classifiers_is_there() -> None:
    assert set(fitting()) >= FAMILIES
    assert len(fitting()) >= 68


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_b_16", r"it is a transformer \(MultiheadAttention\)"),
        ("swin_v2_t", r"it is a transformer \(ShiftedWindowAttention"),
        ("maxvit_t", r"it is a transformer \(RelativePositionalMultiHeadAttention\)"),
        ("fasterrcnn_resnet50_fpn", "it is made for object detection"),
        ("fcn_resnet50", "it is made for semantic segmentation"),
        ("r3d_18", "it is made for video classification"),
        ("raft_small", "it is made for optical flow"),
        ("quantized_resnet18", "it is quantized; use resnet18"),
    ],
)
@pytest.mark.parametrize("weights", [None, "random"])
def test_what_is_no_2d_cnn_classifier_is_refused_before_anything_is_downloaded(
    name: str, reason: str, weights: str | None
) -> None:
    with pytest.raises(ModelError, match=f"^{name} is not a 2-D CNN classifier: {reason}"):
        build(Recipe(name, weights=weights))
    assert name not in fitting()


def _pictures() -> list[Image.Image]:
    """Wide, tall and too small, each of noise on a slope."""
    pictures = []
    for height, width in ((281, 500), (411, 270), (120, 131)):
        slope = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
        noise = np.random.default_rng(height).integers(0, 55, (height, width, 3))
        pictures.append(Image.fromarray((slope + noise).astype(np.uint8)))
    return pictures


def test_every_preprocessing_is_torchvisions_own() -> None:
    pictures = _pictures()
    seen = set()
    for name in fitting():
        (channels, rows, columns), settings = zoo_torchvision.inputs(name)
        if str((rows, settings)) in seen:
            continue
        seen.add(str((rows, settings)))
        ours = Preprocess.from_json({**settings, "size": [rows, columns]})
        preset = get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
        for picture in pictures:
            found = ours.apply(picture)
            assert found.shape == (channels, rows, columns)
            assert torch.allclose(found, preset(picture), atol=1e-5, rtol=0), name
    assert len(seen) >= 15


@pytest.mark.parametrize(
    ("name", "size", "resize", "interpolation", "mean"),
    [
        ("alexnet", 224, 256, "bilinear", 0.485),
        ("inception_v3", 299, 342, "bilinear", 0.485),
        ("efficientnet_b0", 224, 256, "bicubic", 0.485),
        ("efficientnet_b1", 240, 255, "bilinear", 0.485),
        ("efficientnet_b3", 300, 320, "bicubic", 0.485),
        ("efficientnet_v2_l", 480, 480, "bicubic", 0.5),
        ("regnet_y_128gf", 384, 384, "bicubic", 0.485),
        ("convnext_tiny", 224, 236, "bilinear", 0.485),
    ],
)
def test_preprocessing_by_name(name: str, size: int, resize: int, interpolation: str, mean: float) -> None:
    shape, settings = zoo_torchvision.inputs(name)
    assert shape == (3, size, size)
    assert (settings["resize"], settings["interpolation"], settings["mean"][0]) == (resize, interpolation, mean)


def test_a_model_with_random_weights() -> None:
    zoo = build(Recipe("squeezenet1_1", weights="random"))
    assert zoo.weights_hash == build(Recipe("squeezenet1_1", weights="random")).weights_hash
    assert (zoo.architecture, zoo.input_shape, len(zoo.classes)) == ("torchvision.squeezenet1_1", (3, 224, 224), 1000)
    assert (zoo.preprocess["resize"], zoo.preprocess["mean"]) == (256, [0.485, 0.456, 0.406])
    assert (zoo.classes[0], zoo.classes[134], zoo.classes[517]) == ("tench", "crane bird", "crane")


def _with_heads(name: str) -> nn.Module:
    torch.manual_seed(3)
    found: nn.Module = getattr(models, name)(aux_logits=True, init_weights=False, transform_input=True)
    return found.eval()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_random_weights_are_drawn_fast_and_for_the_structure_of_the_pretrained_model(name: str) -> None:
    began = time.process_time()
    module = build(Recipe(name, weights="random")).module  # a warning of torchvision's would fail this test
    assert time.process_time() - began < 10, "torchvision's own initialisation takes longer"
    pretrained = _with_heads(name)
    heads = [key for key in pretrained.state_dict() if key.lower().startswith("aux")]
    assert heads
    assert module.state_dict().keys() == pretrained.state_dict().keys() - set(heads)
    assert vars(module)["transform_input"] is True


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_weights_file_may_hold_the_heads_that_only_training_uses(name: str, tmp_path: Path) -> None:
    trained = _with_heads(name)
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    zoo = build(Recipe(name, weights=str(tmp_path / "weights.pth")))
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(zoo.module(images), trained(images))


def test_weights_that_lie_in_torchs_folder_are_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (before,) = [each for each in zoo_torchvision.listed() if each.name == "squeezenet1_1"]
    assert (before.ready, before.weights) == (False, "downloaded on first use")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    stored = models.squeezenet1_1()
    torch.save(stored.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    (after,) = [each for each in zoo_torchvision.listed() if each.name == "squeezenet1_1"]
    assert (after.ready, after.weights) == (True, str(folder / "squeezenet1_1-b8a52dc0.pth"))
    assert build(Recipe("squeezenet1_1")).weights_hash == weights_hash(stored)


def test_pretrained_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ModelError, match=r"weights of squeezenet1_1 cannot be downloaded.*--weights random"):
        build(Recipe("squeezenet1_1"))
