"""Image sources: every layout, everything that must be skipped, and what is refused."""

import hashlib
import io
import os
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from viscnn.config import data_folder
from viscnn.engine.images import ImageCollection, part_of
from viscnn.engine.sources import open_source
from viscnn.errors import ImagesError


def picture(shade: int, *, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, (shade, 0, 255 - shade))


def save(path: Path, shade: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(shade).save(path)
    return path


def jpeg(shade: int, *, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    picture(shade, size=size).save(buffer, "JPEG")
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose header promises side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def labels(collection: ImageCollection) -> dict[str, str | None]:
    return {item.path: item.label for item in collection.items}


def reasons(collection: ImageCollection) -> dict[str, str]:
    return dict(collection.skipped)


def test_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "dog" / "b.png", 1)
    save(tmp_path / "cat" / "deep" / "a.jpg", 2)
    save(tmp_path / "loose.png", 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".DS_Store").write_text("x")
    collection = open_source(tmp_path)
    assert labels(collection) == {"cat/deep/a.jpg": "cat", "dog/b.png": "dog", "loose.png": None}
    assert dict(collection.sets) == {"overall": (0, 1, 2), "cat": (0,), "dog": (1,), "empty": ()}
    assert collection.skipped == ()
    for item in collection.items:
        assert item.image_hash == hashlib.sha256((tmp_path / item.path).read_bytes()).hexdigest()
        assert item.part == part_of(item.image_hash)
    assert collection.read(1).getpixel((0, 0)) == (1, 0, 254)


@pytest.mark.parametrize(
    ("split", "part"),
    [
        ("train", "score"),
        ("score", "score"),
        ("test", "check"),
        ("val", "check"),
        ("check", "check"),
        ("Train", "score"),
        ("validation", "check"),
    ],
)
def test_supplied_split_decides(tmp_path: Path, split: str, part: str) -> None:
    for shade in range(12):
        save(tmp_path / split / "cat" / f"{shade}.png", shade)
    collection = open_source(tmp_path)
    assert {item.part for item in collection.items} == {part}
    assert collection.names() == ("overall", "cat")
    assert {part_of(item.image_hash) for item in collection.items} == {"score", "check"}, "the hash says otherwise"


def test_split_merges_the_sets_of_one_name(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "1.png", 1)
    save(tmp_path / "test" / "cat" / "2.png", 2)
    save(tmp_path / "test" / "dog" / "3.png", 3)
    collection = open_source(str(tmp_path))
    assert [(item.path, item.label, item.part) for item in collection.items] == [
        ("test/cat/2.png", "cat", "check"),
        ("test/dog/3.png", "dog", "check"),
        ("train/cat/1.png", "cat", "score"),
    ]
    assert dict(collection.sets) == {"overall": (0, 1, 2), "cat": (0, 2), "dog": (1,)}


def test_split_without_classes(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "train" / "1.png", 1)
    save(tmp_path / "photos" / "test" / "2.png", 2)
    collection = open_source(tmp_path / "photos")
    assert [(item.label, item.part) for item in collection.items] == [(None, "check"), (None, "score")]
    assert collection.names() == ("overall", "photos")


def test_a_class_called_train_beside_others_is_a_class(tmp_path: Path) -> None:
    save(tmp_path / "train" / "1.png", 1)
    save(tmp_path / "truck" / "2.png", 2)
    assert open_source(tmp_path).names() == ("overall", "train", "truck")


def test_flat_folder_and_single_file(tmp_path: Path) -> None:
    save(tmp_path / "zebras" / "b.png", 1)
    save(tmp_path / "zebras" / "a.webp", 2)
    collection = open_source(tmp_path / "zebras")
    assert labels(collection) == {"a.webp": None, "b.png": None}
    assert dict(collection.sets) == {"overall": (0, 1), "zebras": (0, 1)}
    single = open_source(tmp_path / "zebras" / "b.png")
    assert labels(single) == {"b.png": None}
    assert single.read(0).size == (8, 6)


def test_what_is_skipped_and_why(tmp_path: Path) -> None:
    root = tmp_path / "root"
    good = save(root / "cat" / "good.jpg")
    (root / "cat" / "zero.jpg").write_bytes(b"")
    (root / "cat" / "text.jpg").write_text("no image at all")
    (root / "cat" / "notes.txt").write_text("labels")
    (root / "cat" / "header.jpg").write_bytes(good.read_bytes()[:20])
    (root / "cat" / "bomb.png").write_bytes(bomb(30_000))
    flipped = bytearray(save(tmp_path / "x.png").read_bytes())
    flipped[45] ^= 0xFF
    (root / "cat" / "crc.png").write_bytes(flipped)
    (root / "cat" / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (root / "cat" / "inside.jpg").symlink_to(good)
    (root / "cat" / "outside.png").symlink_to(save(tmp_path / "secret.png"))
    (root / "cat" / "dangling.png").symlink_to(root / "gone.png")
    (root / "cat" / "loop.png").symlink_to(root / "cat" / "loop.png")
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "elsewhere" / "e.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / "cat" / "pipe.png")
    collection = open_source(root)
    assert labels(collection) == {"cat/good.jpg": "cat", "cat/inside.jpg": "cat"}
    found = reasons(collection)
    expected = {
        "cat/zero.jpg": "empty file",
        "cat/text.jpg": "not an image",
        "cat/notes.txt": "not an image",
        "cat/header.jpg": "",
        "cat/bomb.png": "more pixels than Pillow's limit",
        "cat/crc.png": "corrupt image",
        "cat/script.eps": "not an image",
        "cat/outside.png": "leaves the folder",
        "cat/dangling.png": "missing",
        "cat/loop.png": "",
        "cat/pipe.png": "not a regular file",
        "linked": "a link to a folder",
    }
    assert set(found) == set(expected)
    for path, reason in expected.items():
        assert reason in found[path], path
    assert collection.names() == ("overall", "cat")


def test_a_folder_that_is_itself_a_link(tmp_path: Path) -> None:
    save(tmp_path / "real" / "cat" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert open_source(tmp_path / "link").names() == ("overall", "cat")


def test_reading_checks_the_file_again(tmp_path: Path) -> None:
    file = save(tmp_path / "root" / "a.jpg")
    collection = open_source(tmp_path / "root")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImagesError, match=r"image a\.jpg: "):
        collection.read(0)
    file.unlink()
    with pytest.raises(ImagesError, match=r"image a\.jpg cannot be read: No such file"):
        collection.read(0)
    file.symlink_to(save(tmp_path / "secret.jpg"))
    with pytest.raises(ImagesError, match=r"image a\.jpg leaves the folder"):
        collection.read(0)


def test_body_that_is_cut_off_is_listed_but_not_read(tmp_path: Path) -> None:
    whole = jpeg(7, size=(640, 480))
    (tmp_path / "cut.jpg").write_bytes(whole[:-400])
    collection = open_source(tmp_path)
    with pytest.raises(ImagesError, match=r"image cut\.jpg: corrupt image"):
        collection.read(0)


@pytest.mark.parametrize("files", [{}, {"a/x.txt": b"text"}, {"x.jpg": b"", "y.jpg": b"abc"}])
def test_nothing_usable(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImagesError) as caught:
        open_source(tmp_path)
    wanted = f"holds no usable images: {len(files)} files skipped" if files else "holds no images"
    assert f"{tmp_path} {wanted}" in str(caught.value)


def test_a_set_called_overall_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "Overall" / "a.png")
    with pytest.raises(ImagesError, match="'Overall', a name that means all images; rename it"):
        open_source(tmp_path)


def table(root: Path, *rows: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def test_labels_tsv(tmp_path: Path) -> None:
    root = table(
        tmp_path / "root",
        "index\twnid\tname\tfile",
        "134\tn02012849\tcrane\tbird.png",
        "517\tn03126707\tcrane\thoist.png",
        "0\tn01440764\ttench, Tinca tinca\ttench.png",
        "0\tn01440764\ttench, Tinca tinca\ttench.png",
        "1\tn01443537\tgoldfish\tgone.png",
        "2\tn00000001\tsecret\t../secret.png",
        f"2\tn00000001\tsecret\t{tmp_path / 'secret.png'}",
        "3\tn00000002\ttruncated",
    )
    save(tmp_path / "secret.png")
    for shade, name in enumerate(("bird.png", "images/hoist.png", "images/tench.png", "unlisted.png")):
        save(root / name, shade)
    collection = open_source(root)
    assert [(item.path, item.label, item.aliases) for item in collection.items] == [
        ("bird.png", "crane", ("n02012849", "#134")),
        ("images/hoist.png", "crane", ("n03126707", "#517")),
        ("images/tench.png", "tench, Tinca tinca", ("n01440764", "#0")),
    ]
    assert collection.names() == ("overall", "crane (n02012849)", "crane (n03126707)", "tench, Tinca tinca")
    assert reasons(collection) == {
        "tench.png": "listed twice",
        "gone.png": "missing",
        "../secret.png": "leaves the folder",
        str(tmp_path / "secret.png"): "leaves the folder",
        "labels.tsv:9": "no file is named",
    }


def test_labels_tsv_with_a_split(tmp_path: Path) -> None:
    root = table(tmp_path / "root", "file\tname\tsplit", "a.png\tcat\ttest", "b.png\tcat\ttrain")
    save(root / "a.png", 1)
    save(root / "b.png", 2)
    assert [item.part for item in open_source(root).items] == ["check", "score"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,label\na.png,cat\n", "needs tab-separated columns `file` and `name`"),
        (b"", "needs tab-separated columns"),
        (b"file\tname\n\xff\xfe\tcat\n", "cannot be read as tab-separated UTF-8 text"),
        (b"file\tname\n", "holds no images"),
    ],
)
def test_bad_labels_tsv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.tsv").write_bytes(content)
    save(tmp_path / "a.png")
    with pytest.raises(ImagesError, match=message):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("/no/such/folder", "no image source '/no/such/folder'"),
        ("", "no image source ''"),
        ("a\0b", "no image source"),
        ("bundled:mnits", "did you mean bundled:mnist"),
        ("bundled:", "known: bundled:mnist, bundled:cifar10"),
        ("/dev/null", "neither a folder nor a file"),
    ],
)
def test_unknown_sources(spec: str, message: str) -> None:
    with pytest.raises(ImagesError) as caught:
        open_source(spec)
    assert message in str(caught.value)


def test_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ImagesError, match=r"1 files skipped, the first is a\.txt \(not an image"):
        open_source(tmp_path / "a.txt")


def test_bundled_mnist_is_split_as_the_bundled_net_was_trained() -> None:
    collection = open_source("bundled:mnist")
    assert len(collection.items) == 5000
    assert collection.names()[1:] == ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert {len(collection.sets[name]) for name in collection.names()[1:]} == {500}
    assert Counter(item.part for item in collection.items) == {"score": 3498, "check": 1502}
    assert collection.items[17].path == "mnist/00017"
    assert collection.read(17).size == (28, 28)
    assert collection.read(17).mode == "L"


def test_bundled_cifar10_from_the_data_folder() -> None:
    data = data_folder()
    if data is None or not (data / "cifar10" / "cifar10_jpeg.npz").is_file():
        pytest.skip("needs cifar10/cifar10_jpeg.npz in $VISCNN_DATA")
    began = time.process_time()
    collection = open_source("bundled:cifar10")
    assert time.process_time() - began < 8, "images must be hashed, not decoded, when listed"
    assert Counter(item.part for item in collection.items) == {"score": 50_000, "check": 10_000}
    assert len(collection.sets["cat"]) == 6000
    assert collection.items[42].path == "train/00042"
    assert collection.read(59_999).size == (32, 32)
    assert open_source(data / "cifar10").items == collection.items


def test_cifar10_that_cannot_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there: refused at once
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path))
    with pytest.raises(ImagesError) as caught:
        open_source("bundled:cifar10")
    assert "--images" in str(caught.value)
    assert "$VISCNN_DATA" in str(caught.value)
    assert capsys.readouterr().out == ""


def test_imagenet_sample() -> None:
    data = data_folder()
    if data is None or not (data / "imagenet_sample").is_dir():
        pytest.skip("needs imagenet_sample in $VISCNN_DATA")
    collection = open_source(data / "imagenet_sample")
    assert len(collection.items) == 1000
    assert len(collection.sets) == 1001
    assert collection.skipped == ()
    assert collection.items[0].path == "images/0000_n01440764_tench.jpg"
    assert collection.items[0].aliases == ("n01440764", "#0")
    assert collection.read(0).size == (341, 256)
