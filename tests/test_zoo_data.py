"""Models of the data folder: their weights as stored, right on real photographs, clear errors without the folder.

A figure of the slow test is a check that structure, weights, preprocessing and labels fit together: the photographs
are likely among the images that the networks were trained on.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from viscnn.config import data_folder
from viscnn.engine.images import ImageCollection
from viscnn.engine.labels import class_indices
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.sources import open_source
from viscnn.errors import ConfigError, ImagesError, ModelError
from viscnn.ingest.zoo import DATA, Recipe, ZooModel, build
from viscnn.ingest.zoo_parts import imagenet_classes

IMAGES = "bundled:imagenet-sample"
FILTERS = {  # filters of all convolutions, from the papers
    "googlenet-bvlc": 7280,
    "squeezenet1_0-dense": 3976,
    "squeezenet1_0-pruned": 3976,
    "vgg16-trunk": 4224,
    "alexnet-bvlc-conv": 1376,
}


@pytest.fixture(scope="module")
def data() -> Path:
    folder = data_folder()
    if folder is None or not all((folder / entry.file).is_file() for entry in DATA.values()):
        pytest.skip("needs the networks of $VISCNN_DATA")
    return folder


@pytest.fixture(scope="module")
def photographs(data: Path) -> ImageCollection:
    if not (data / "imagenet_sample").is_dir():
        pytest.skip("needs imagenet_sample in $VISCNN_DATA")
    return open_source(IMAGES)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def convolutions(zoo: ZooModel) -> list[torch.nn.Conv2d]:
    return [each for each in zoo.module.modules() if isinstance(each, torch.nn.Conv2d)]


def right(zoo: ZooModel, collection: ImageCollection, numbers: list[int]) -> int:
    """How many of these images the network puts into their class."""
    preprocess = Preprocess.from_json(zoo.preprocess)
    classes = class_indices([collection.items[number] for number in numbers], zoo.classes)
    found = 0
    for start in range(0, len(numbers), 25):
        batch = torch.stack([preprocess.apply(collection.read(number)) for number in numbers[start : start + 25]])
        with torch.no_grad():
            guesses = zoo.module(batch).argmax(dim=1).tolist()
        found += sum(guess == each for guess, each in zip(guesses, classes[start : start + 25], strict=True))
    return found


@pytest.mark.parametrize("name", DATA)
def test_structure_without_the_data(name: str) -> None:
    zoo = build(Recipe(name, weights="random"))
    assert sum(each.out_channels for each in convolutions(zoo)) == FILTERS[name]
    assert zoo.input_shape == ((3, 224, 224) if name in ("googlenet-bvlc", "vgg16-trunk") else (3, 227, 227))
    assert (zoo.architecture, zoo.images) == (f"viscnn.{name}", IMAGES)
    size = (6, 6) if name == "alexnet-bvlc-conv" else (7, 7)
    maps = (1, 512 if name == "vgg16-trunk" else 256, *size)
    head = name in ("googlenet-bvlc", "squeezenet1_0-dense", "squeezenet1_0-pruned")
    with torch.no_grad():
        assert zoo.module(torch.zeros(1, *zoo.input_shape)).shape == ((1, 1000) if head else maps)
    assert len(zoo.classes) == (1000 if head else 0)
    assert build(Recipe(name, weights="random")).weights_hash == zoo.weights_hash


def test_googlenet_is_the_published_one() -> None:
    module = build(Recipe("googlenet-bvlc", weights="random")).module
    assert sum(each.numel() for each in module.parameters()) == 6_998_552
    with torch.no_grad():
        maps = module.get_submodule("conv1_7x7_s2")(torch.zeros(1, 3, 224, 224))
        assert maps.shape == (1, 64, 112, 112)
        assert module.get_submodule("pool1_3x3_s2")(maps).shape == (1, 64, 56, 56), (
            "its last window hangs over the edge"
        )


@pytest.mark.parametrize("name", DATA)
def test_the_weights_are_the_stored_ones_in_full_precision(name: str, data: Path) -> None:
    state = build(Recipe(name)).module.state_dict()
    assert {each.dtype for each in state.values()} == {torch.float32}
    with np.load(data / DATA[name].file) as stored:
        if name == "alexnet-bvlc-conv":
            expected = {key.removesuffix("_q"): stored[key] / np.float32(128) for key in stored.files if key != "scale"}
        else:
            expected = dict(stored)
    assert state.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(state[key].numpy(), values.astype(np.float32), err_msg=key)


def test_most_of_the_pruned_weights_are_zero(data: Path) -> None:
    state = build(Recipe("squeezenet1_0-pruned")).module.state_dict()
    for name in ("features.3.expand3x3.weight", "classifier.1.weight"):
        assert 0.65 < float((state[name] == 0).float().mean()) < 0.82


def test_pixels_less_the_mean_colour(data: Path) -> None:
    zoo = build(Recipe("googlenet-bvlc"))
    assert zoo.preprocess == {
        "resize": 256,
        "mode": "RGB",
        "scale": 1.0,
        "mean": [123.0, 117.0, 104.0],
        "std": [1.0, 1.0, 1.0],
        "size": [224, 224],
    }
    pixels = torch.tensor([[[123, 118, 0]]], dtype=torch.uint8)
    assert Preprocess.from_json(zoo.preprocess).normalise(pixels).flatten().tolist() == [0.0, 1.0, -104.0]


def test_the_classes_are_in_the_order_of_the_sample(data: Path, photographs: ImageCollection) -> None:
    with (data / "imagenet_sample" / "labels.tsv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = [row["name"].split(", ")[0] for row in rows]
    different = {number: name for number, name in enumerate(imagenet_classes()) if name != names[number]}
    assert different == {134: "crane bird", 639: "maillot tank suit"}  # ImageNet has two cranes and two maillots
    assert (names[517], names[638]) == ("crane", "maillot")
    assert class_indices(photographs.items, imagenet_classes()) == list(range(1000))


def test_googlenet_knows_photographs(photographs: ImageCollection, two_threads: None) -> None:
    zoo = build(Recipe("googlenet-bvlc"))
    assert right(zoo, photographs, list(range(0, 1000, 50))) >= 12
    wrong = ZooModel(**{**vars(zoo), "preprocess": zoo.preprocess | {"scale": 1 / 255}})
    assert right(wrong, photographs, list(range(0, 1000, 100))) <= 3, "the preprocessing does not matter"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "expected"), [("googlenet-bvlc", 73), ("squeezenet1_0-dense", 60.2), ("squeezenet1_0-pruned", 62)]
)
def test_accuracy_on_the_sample(
    name: str, expected: float, photographs: ImageCollection, two_threads: None, capsys: pytest.CaptureFixture[str]
) -> None:
    percent = right(build(Recipe(name)), photographs, list(range(1000))) / 10
    with capsys.disabled():
        print(f"\n{name}: {percent} % of 1,000 photographs")
    assert percent == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("name", DATA)
def test_without_the_data_folder(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path))
    with pytest.raises(ModelError, match=rf"the data folder {tmp_path} \(\$VISCNN_DATA\) has no {DATA[name].file}"):
        build(Recipe(name))
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"VISCNN_DATA names .*absent, which is not a folder"):
        build(Recipe(name))


def test_a_machine_that_names_no_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VISCNN_DATA", raising=False)
    monkeypatch.setattr("viscnn.config.__file__", str(tmp_path / "site-packages" / "viscnn" / "config.py"))
    with pytest.raises(ModelError, match=r"there is none: set \$VISCNN_DATA to a folder with googlenet_bvlc/"):
        build(Recipe("googlenet-bvlc"))
    with pytest.raises(ImagesError, match=r"set \$VISCNN_DATA to a folder with imagenet_sample"):
        open_source(IMAGES)


def test_a_damaged_file_of_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path))
    file = tmp_path / DATA["alexnet-bvlc-conv"].file
    file.parent.mkdir()
    arrays: dict[str, Any] = {"conv1.weight_q": np.zeros((96, 3, 11, 11), np.int8)}
    np.savez(file, **arrays)
    with pytest.raises(ModelError, match=r"alexnet_conv_int8.npz lacks conv1.bias"):
        build(Recipe("alexnet-bvlc-conv"))
