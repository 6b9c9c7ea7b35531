"""Collections of images: parts, image sets, lookup, samples and preprocessing."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from viscnn.engine.images import ImageCollection, ImageItem, images_hash, part_of
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.sources import from_arrays, open_source
from viscnn.errors import ExpressionError, ImagesError, StoredDataError

NOISE: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 3), dtype=np.uint8)


def test_part_of_a_hash() -> None:
    assert part_of("0" * 64) == "score"
    assert part_of("b3333332" + "f" * 56) == "score"  # int(0.7 * 2**32) = 0xb3333333
    assert part_of("b3333333" + "0" * 56) == "check"
    assert part_of("f" * 64) == "check"


def test_images_hash_depends_on_the_contents_alone() -> None:
    items = [ImageItem(f"{each}.png", each * 64, None, "score") for each in "cab"]
    expected = hashlib.sha256("\n".join(each * 64 for each in "abc").encode()).hexdigest()
    assert images_hash(items) == expected
    assert images_hash(reversed(items)) == expected
    assert images_hash(items[:2]) != expected


@pytest.fixture
def zoo(tmp_path: Path) -> ImageCollection:
    names = (
        "Bernese_mountain_dog/a.png",
        "Bernese_mountain_dog/b.png",
        "tiger, Panthera tigris/t1.png",
        "panther, jaguar/p.png",
        "cougar, panther/a.png",
        "Cat/x y.png",
        "cat/c.png",
        "3/n.png",
    )
    for shade, name in enumerate(names):
        file = tmp_path / "zoo" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(file)
    (tmp_path / "zoo" / "empty").mkdir()
    return open_source(tmp_path / "zoo")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("overall", "overall"),
        ("Overall", "overall"),
        ("Bernese_mountain_dog", "Bernese_mountain_dog"),
        ("Bernese mountain dog", "Bernese_mountain_dog"),
        ("bernese mountain_dog", "Bernese_mountain_dog"),
        ("tiger", "tiger, Panthera tigris"),
        ("Panthera tigris", "tiger, Panthera tigris"),
        ("PANTHERA_TIGRIS", "tiger, Panthera tigris"),
        ("jaguar", "panther, jaguar"),
        ("cat", "cat"),
        ("Cat", "Cat"),
        ("3", "3"),
        ("empty", "empty"),
    ],
)
def test_find_image_set(zoo: ImageCollection, name: str, found: str) -> None:
    assert zoo.find(name).name == found
    assert not zoo.find(name).single
    assert zoo.find(name).indices == zoo.sets[found]
    assert zoo.find(zoo.find(name).name) == zoo.find(name)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tiger, Panthera tigris/t1.png", "tiger, Panthera tigris/t1.png"),
        ("t1.png", "tiger, Panthera tigris/t1.png"),
        ("T1.PNG", "tiger, Panthera tigris/t1.png"),
        ("./Cat/x y.png", "Cat/x y.png"),
        ("cougar, panther/a.png", "cougar, panther/a.png"),
    ],
)
def test_find_single_image(zoo: ImageCollection, name: str, path: str) -> None:
    found = zoo.find(name)
    assert found.single
    assert [zoo.items[index].path for index in found.indices] == [path]
    assert zoo.select(name, "score") == zoo.select(name, "check") == found.indices, "whatever its part"


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("CAT", ["'CAT' is one of 2 image sets", '"Cat", "cat"']),
        ("panther", ["is one of 2 image sets", '"cougar, panther", "panther, jaguar"']),
        ("a.png", ["is one of 2 images", '"Bernese_mountain_dog/a.png", "cougar, panther/a.png"']),
        ("tigre", ["no image set or image is called 'tigre'", "did you mean tiger"]),
        ("Bernesse_mountain", ["did you mean Bernese_mountain_dog"]),
        ("tiger/2", ["to divide, write tiger / 2"]),
        ("t2.png", ["did you mean t1.png"]),
        ("qqqqqq", ["it has overall, ", "..."]),
    ],
)
def test_find_nothing_or_too_much(zoo: ImageCollection, name: str, messages: list[str]) -> None:
    with pytest.raises(ExpressionError) as caught:
        zoo.find(name)
    for message in messages:
        assert message in str(caught.value)


def test_accents_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cafe\u0301" / "a.png")
    assert open_source(tmp_path).find("caf\u00e9").indices == (0,)


def test_select() -> None:
    collection = from_arrays(NOISE, [0] * 30 + [1] * 10, ["cat", "dog", "emu"])
    cats = set(collection.sets["cat"])
    score, check = collection.select("cat", "score"), collection.select("cat", "check")
    assert set(score) | set(check) == cats
    assert not set(score) & set(check)
    assert all(part_of(collection.items[each].image_hash) == "score" for each in score)
    assert collection.select("cat", None) == collection.sets["cat"]
    by_hash = sorted(score, key=lambda each: collection.items[each].image_hash)
    for limit in (1, 5, 10_000):
        assert sorted(collection.select("cat", "score", limit)) == sorted(by_hash[:limit])
    assert collection.select("emu", "score") == ()


def test_select_refuses() -> None:
    collection = from_arrays(NOISE, [0] * 40, ["cat", "emu"], split=["train"] * 40)
    with pytest.raises(ImagesError, match="'emu' of images has no images to use: it is empty"):
        collection.select("emu", "score", required=True)
    with pytest.raises(ImagesError, match="none of its 40 images is in the check part"):
        collection.select("cat", "check", required=True)
    with pytest.raises(ImagesError, match="cannot use 0 images per image set"):
        collection.select("cat", "score", 0)
    with pytest.raises(ExpressionError):
        collection.select("dog", "score")


PRESET = Preprocess(size=(224, 224), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.parametrize("size", [(341, 256), (256, 341), (500, 333), (100, 77), (256, 256), (1000, 10)])
def test_preprocess_is_torchvision_s_classification_preset(size: tuple[int, int]) -> None:
    from torchvision.transforms._presets import ImageClassification

    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = ImageClassification(crop_size=224)(image)
    assert PRESET.apply(image).dtype == torch.float32
    assert torch.allclose(PRESET.apply(image), expected, atol=1e-5)


def test_preprocess_by_hand() -> None:
    image = Image.fromarray(np.array([[[255, 0, 51], [0, 255, 102]]], np.uint8))
    assert torch.allclose(Preprocess().apply(image), torch.tensor([[[1.0, 0]], [[0, 1]], [[0.2, 0.4]]]))
    raw = Preprocess(scale=1, mean=(123, 117, 104)).apply(image)
    assert raw.tolist() == [[[132.0, -123.0]], [[-117.0, 138.0]], [[-53.0, -2.0]]]
    gray = Preprocess(mode="L", scale=1, std=(2,)).apply(image)
    assert gray.tolist() == [[[round(0.299 * 255 + 0.114 * 51) / 2, round(0.587 * 255 + 0.114 * 102) / 2]]]
    assert Preprocess(size=(6, 4)).apply(image).shape == (3, 6, 4)
    assert Preprocess(resize=5).apply(image).shape == (3, 5, 10)
    assert Preprocess(resize=5, size=(8, 6)).apply(image).shape == (3, 8, 6), "a resize smaller than the crop"


def test_a_sliver_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ImagesError, match="30000x1 pixels is too long to be resized"):
        PRESET.apply(Image.new("RGB", (30_000, 1)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_preprocess_of_every_mode(mode: str) -> None:
    image = Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode)
    for wanted, channels in (("RGB", 3), ("L", 1)):
        tensor = Preprocess(mode=wanted).apply(image)  # type: ignore[arg-type]
        assert tensor.shape == (channels, 4, 5)
        assert torch.allclose(tensor, torch.ones(channels, 4, 5))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 0x7F00], [0x8000, 0xFFFF]], np.uint16)).save(buffer, "PNG")
    tensor = Preprocess(mode="L", scale=1).apply(Image.open(buffer))
    assert tensor.tolist() == [[[0, 127], [128, 255]]]


def test_preprocess_survives_json() -> None:
    odd = Preprocess(size=(28, 30), mode="L", scale=1 / 3, mean=(0.1,), std=(0.3,), interpolation="bicubic")
    for each in (PRESET, odd, Preprocess()):
        assert Preprocess.from_json(each.to_json()) == each
    zoo = {"size": [28, 28], "resize": None, "mode": "L", "scale": 1 / 255, "mean": [0.0], "std": [1.0]}
    assert Preprocess.from_json(zoo) == Preprocess(size=(28, 28), mode="L")


@pytest.mark.parametrize(
    "stored", ["", "[1]", "3", '{"colour": 1}', '{"mode": "XYZ"}', '{"mean": ["a", 1, 2]}', "null"]
)
def test_bad_json(stored: str) -> None:
    with pytest.raises(StoredDataError, match="stored preprocess"):
        Preprocess.from_json(stored)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "BGR"},
        {"mean": (1.0,)},
        {"std": (1.0, 1.0, 0.0)},
        {"mean": (float("nan"), 0.0, 0.0)},
        {"scale": 0.0},
        {"size": (0, 5)},
        {"resize": 0},
        {"interpolation": "lanczos"},
    ],
)
def test_bad_preprocess(options: dict[str, object]) -> None:
    with pytest.raises(ImagesError, match="preprocess: "):
        Preprocess(**options)  # type: ignore[arg-type]
