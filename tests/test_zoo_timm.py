"""Models of timm, where it is installed: structure, preprocessing and classes are timm's own."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from viscnn.engine.preprocess import Preprocess
from viscnn.errors import ModelError
from viscnn.ingest import zoo_timm
from viscnn.ingest.zoo import Recipe, build

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 400, 3), np.uint8))


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # what an import then meets is what it meets where timm is missing
    with pytest.raises(ModelError, match=r"pip install 'viscnn\[timm\]'"):
        build(Recipe("timm:resnet18", weights="random"))
    assert not zoo_timm.installed()
    assert (zoo_timm.listed(), "pip install" in zoo_timm.at_hand()) == ([], True)


def test_a_model_with_random_weights() -> None:
    timm = pytest.importorskip("timm")
    zoo = build(Recipe("timm:test_resnet.r160_in1k", weights="random"))
    assert zoo.weights_hash == build(Recipe("timm:test_resnet", weights="random")).weights_hash
    assert (zoo.architecture, zoo.input_shape) == ("timm.test_resnet.r160_in1k", (3, 160, 160))
    assert zoo.module.state_dict().keys() == timm.create_model("test_resnet").state_dict().keys()
    assert (len(zoo.classes), zoo.classes[0], zoo.classes[134]) == (1000, "tench, Tinca tinca", "crane")
    assert (zoo.preprocess["size"], zoo.preprocess["mean"]) == ([160, 160], [0.5, 0.5, 0.5])
    with torch.no_grad():
        assert zoo.module(torch.zeros(1, 3, 160, 160)).shape == (1, 1000)


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"},
        {"crop_pct": 0.875, "crop_mode": "center", "interpolation": "bilinear"},
        {"crop_pct": 1.0, "crop_mode": "center", "interpolation": "bicubic"},
        {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"},
    ],
)
def test_the_preprocessing_is_timms_own(settings: dict[str, float | str]) -> None:
    data = pytest.importorskip("timm").data
    config = {"input_size": (3, 112, 112), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), **settings}
    ours = Preprocess.from_json({"size": [112, 112], **zoo_timm.preprocess("net", config)})
    expected = data.create_transform(**config)(PICTURE)
    torch.testing.assert_close(ours.apply(PICTURE), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("mode", "share", "size"), [("border", 1.0, (112, 112)), ("squash", 0.9, (112, 112)), ("center", 0.9, (112, 96))]
)
def test_preprocessing_that_cannot_be_followed_is_refused(mode: str, share: float, size: tuple[int, int]) -> None:
    config = {"input_size": (3, *size), "mean": (0.5,) * 3, "std": (0.2,) * 3, "interpolation": "bicubic"}
    with pytest.raises(ModelError, match=f"timm:net prepares its images by a '{mode}' crop"):
        zoo_timm.preprocess("net", config | {"crop_mode": mode, "crop_pct": share})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18x", "timm has no model 'resnet18x'; did you mean .*resnet18"),
        ("resnet18.no_such_tag", "timm has no model 'resnet18.no_such_tag'"),
        ("hf-hub:someone/something", "timm has no model 'hf-hub:someone/something'"),
        ("", "timm has no model ''"),
        ("resnet18.a1_in1k", "weights of timm:resnet18.a1_in1k cannot be had .*--weights random"),
    ],
)
def test_names_that_cannot_be_built(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=message) as caught:
        build(Recipe(f"timm:{name}"))
    assert "\n" not in str(caught.value)
