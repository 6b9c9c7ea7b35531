"""Image sources that are arrays: npz files of pixels and of JPEG bytes, arrays of the Python API; bad ones refused."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from viscnn.engine.images import part_of
from viscnn.engine.sources import from_arrays, open_source
from viscnn.errors import ImagesError


def save(file: Path, arrays: dict[str, Any]) -> None:
    np.savez(file, **arrays)


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 255 - shade)).save(buffer, "JPEG")
    return buffer.getvalue()


PIXELS: NDArray[np.uint8] = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)


def test_npz_of_pixels(tmp_path: Path) -> None:
    file = tmp_path / "toy.npz"
    np.savez(file, images=PIXELS, labels=np.array([1, 0, 1, 1]), class_names=np.array(["cat", "dog", "emu"]))
    collection = open_source(file)
    assert [(item.path, item.label) for item in collection.items] == [
        ("toy/00000", "dog"),
        ("toy/00001", "cat"),
        ("toy/00002", "dog"),
        ("toy/00003", "dog"),
    ]
    assert dict(collection.sets) == {"overall": (0, 1, 2, 3), "cat": (1,), "dog": (0, 2, 3), "emu": ()}
    for index, item in enumerate(collection.items):
        assert item.image_hash == hashlib.sha256(PIXELS[index].tobytes()).hexdigest()
        assert item.part == part_of(item.image_hash)
        assert np.array_equal(np.asarray(collection.read(index)), PIXELS[index])


@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_npz_without_labels(tmp_path: Path, channels: int) -> None:
    pixels = np.full((2, 5, 6) + ((channels,) if channels else ()), 9, np.uint8)
    np.savez(tmp_path / "toy.npz", images=pixels, split=np.array(["test", "train"]))
    collection = open_source(tmp_path)  # a folder that holds nothing but an npz file
    assert [item.part for item in collection.items] == ["check", "score"]
    assert collection.names() == ("overall", "toy")
    assert collection.read(0).mode == {0: "L", 1: "L", 3: "RGB", 4: "RGBA"}[channels]
    assert collection.items[0].image_hash == hashlib.sha256(pixels[0].tobytes()).hexdigest()


def test_npz_of_splits(tmp_path: Path) -> None:
    arrays = {"train_images": PIXELS[:3], "test_images": PIXELS[3:]}
    names = {"train_labels": np.array(["a", "b", "a"]), "test_labels": np.array(["b"])}
    save(tmp_path / "toy.npz", arrays | names)
    items = open_source(tmp_path / "toy.npz").items
    assert [(item.path, item.label, item.part) for item in items] == [
        ("train/00000", "a", "score"),
        ("train/00001", "b", "score"),
        ("train/00002", "a", "score"),
        ("test/00000", "b", "check"),
    ]


def stream(*files: bytes) -> dict[str, Any]:
    ends = np.cumsum([0, *map(len, files)])
    return {"train_jpeg": np.frombuffer(b"".join(files), np.uint8), "train_offsets": ends}


def test_npz_of_jpegs(tmp_path: Path) -> None:
    files = [jpeg(10), jpeg(200), b"no image"]
    names = {"train_labels": np.array([0, 1, 1]), "class_names": np.array(["cat", "dog"])}
    save(tmp_path / "j.npz", stream(*files) | names)
    collection = open_source(tmp_path / "j.npz")
    assert [item.image_hash for item in collection.items] == [hashlib.sha256(each).hexdigest() for each in files]
    assert np.array_equal(np.asarray(collection.read(1)), np.asarray(Image.open(io.BytesIO(files[1]))))
    with pytest.raises(ImagesError, match="image train/00002: not an image"):
        collection.read(2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": PIXELS.astype(float)}, "pixels must be uint8"),
        ({"images": PIXELS.transpose(0, 3, 1, 2)}, r"shape \(4, 3, 5, 6\); expected \(N, H, W\)"),
        ({"images": PIXELS[0, 0]}, "expected"),
        ({"images": PIXELS[:0]}, "holds no images"),
        ({"images": PIXELS, "labels": np.arange(3)}, r"labels have shape \(3,\) for 4 images"),
        (
            {"images": PIXELS, "labels": np.arange(4), "class_names": np.array(["a"])},
            "label 1 is not among the 1 class",
        ),
        ({"images": PIXELS, "labels": -np.ones(4, int), "class_names": np.array(["a"])}, "label -1 is not among"),
        ({"images": PIXELS, "labels": np.ones(4)}, "labels must be whole numbers or names"),
        ({"images": PIXELS, "split": np.array(["train", "dev", "test", "test"])}, "split has 'dev'"),
        ({"images": PIXELS, "split": np.array(["train"])}, "split has 1 entries for 4 images"),
        ({"images": PIXELS, "class_names": np.arange(3)}, "names must be a list of text"),
        ({"pictures": PIXELS}, "has arrays pictures; expected `images`"),
        ({"train_jpeg": PIXELS.reshape(-1)}, "train_offsets must be a list of N"),
        ({"train_jpeg": PIXELS.reshape(-1), "train_offsets": np.array([0, 9, 5])}, "must rise within the 360 bytes"),
        ({"train_jpeg": PIXELS.reshape(-1), "train_offsets": np.array([0, 400])}, "must rise within the 360 bytes"),
        ({"train_jpeg": PIXELS.reshape(-1), "train_offsets": np.array([-4, 40])}, "must rise within the 360 bytes"),
        ({"train_jpeg": PIXELS, "train_offsets": np.array([0, 40])}, "must be a flat uint8 array"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    save(tmp_path / "bad.npz", arrays)
    with pytest.raises(ImagesError, match=message):
        open_source(tmp_path / "bad.npz")


class Trap:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_pickles_are_refused_and_never_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    objects = np.array([Trap(str(sprung))], dtype=object)
    np.savez(tmp_path / "objects.npz", images=PIXELS[:1], labels=objects)
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Trap(str(sprung))))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, PIXELS)
    for name in ("objects", "raw", "text", "empty", "array"):
        with pytest.raises(ImagesError, match=rf"{name}\.npz"):
            open_source(tmp_path / f"{name}.npz")
    assert not sprung.exists()


def test_from_arrays() -> None:
    collection = from_arrays(PIXELS, [0, 0, 1, 1], ["cat", "dog"], name="mine")
    assert dict(collection.sets) == {"overall": (0, 1, 2, 3), "cat": (0, 1), "dog": (2, 3)}
    assert collection.items[3].path == "mine/00003"
    assert from_arrays(PIXELS, [7, 7, 3, 3]).names() == ("overall", "7", "3")
    assert from_arrays(PIXELS, ["a", "b", "a", "b"]).names() == ("overall", "a", "b")
    assert from_arrays(list(PIXELS)).names() == ("overall", "images")
    twins = from_arrays(PIXELS, [0, 1, 1, 2], ["crane", "crane", "dog"])
    assert dict(twins.sets) == {"overall": (0, 1, 2, 3), "crane (#0)": (0,), "crane (#1)": (1, 2), "dog": (3,)}
