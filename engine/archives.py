"""Image sources that are arrays: npz files of pixels or of JPEG bytes, and arrays of the Python API."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viscnn.engine.decode import decode
from viscnn.engine.folders import SPLITS
from viscnn.engine.images import ImageCollection, ImageItem, Part, Picture, part_of
from viscnn.errors import ImagesError

__all__ = ["from_arrays", "open_archive"]

Content = memoryview | NDArray[np.uint8]  # JPEG bytes, or pixels (H, W) or (H, W, C)
_FORMS = "`images` (with `labels`, `class_names`, `split`), {train,test}_images or {train,test}_jpeg and _offsets"


@dataclass(frozen=True)
class _Block:
    """Images that lie together: their contents, labels (or None) and supplied parts (None where by hash)."""

    prefix: str
    contents: Sequence[Content]
    labels: Sequence[tuple[str | None, tuple[str, ...]]]
    parts: Sequence[Part | None]


def from_arrays(
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    *,
    split: Sequence[str] | None = None,
    name: str = "images",
) -> ImageCollection:
    """A collection of raw pixels.

    Args:
        images: uint8 array (N, H, W) or (N, H, W, C) with C = 1, 3 or 4, or anything that numpy makes one of.
        labels: one per image: positions in `class_names`, or names.
        class_names: names of the classes.
        split: one per image: `train`, `test`, `score`, `check`... By content hash when left out.
        name: first part of the images' paths, as in `mnist/00017`.

    Raises:
        ImagesError: another type or shape, labels that do not fit, or no image.
    """
    classes = None if class_names is None else [str(each) for each in class_names]
    return _collection([_pixels(name, images, labels, classes, split)], classes, name)


def open_archive(path: Path) -> ImageCollection:
    """The images of an npz file; see `sources.open_source` for the arrays it may hold.

    Raises:
        ImagesError: not an npz file, arrays of objects (never unpickled), or arrays that do not fit together.
    """
    arrays = _load(path)
    classes = [str(each) for each in _strings(arrays["class_names"], path)] if "class_names" in arrays else None
    if "images" in arrays:
        split = _strings(arrays["split"], path) if "split" in arrays else None
        return _collection(
            [_pixels(path.stem, arrays["images"], arrays.get("labels"), classes, split)], classes, str(path)
        )
    blocks = []
    for name in SPLITS:
        labels = arrays.get(f"{name}_labels")
        if f"{name}_jpeg" in arrays:
            contents = _jpegs(name, arrays[f"{name}_jpeg"], arrays.get(f"{name}_offsets"), path)
            blocks.append(_block(name, contents, labels, classes, [name] * len(contents)))
        elif f"{name}_images" in arrays:
            blocks.append(
                _pixels(name, arrays[f"{name}_images"], labels, classes, [name] * len(arrays[f"{name}_images"]))
            )
    if not blocks:
        raise ImagesError(f"{path} has arrays {', '.join(arrays) or '(none)'}; expected {_FORMS}")
    return _collection(blocks, classes, str(path))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ImagesError(f"{path} is a single array, not an npz file; expected {_FORMS}")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        problem = " ".join(str(error).split())[:160]
        raise ImagesError(f"{path} cannot be read as an npz file of plain arrays: {problem}") from error


def _strings(array: NDArray[Any], source: Path | str) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise ImagesError(f"{source}: names must be a list of text, not {array.dtype} of shape {array.shape}")
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in array]


def _pixels(
    prefix: str, images: Any, labels: Any, classes: Sequence[str] | None, split: Sequence[str] | None
) -> _Block:
    array = np.asarray(images)
    if array.dtype != np.uint8:
        raise ImagesError(f"{prefix}: pixels must be uint8 (0 to 255), not {array.dtype}")
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)) or 0 in array.shape[1:]:
        raise ImagesError(
            f"{prefix}: images have shape {array.shape}; expected (N, H, W) or (N, H, W, C), C = 1, 3 or 4"
        )
    return _block(prefix, list(np.ascontiguousarray(array)), labels, classes, split)


def _jpegs(prefix: str, stream: NDArray[Any], offsets: NDArray[Any] | None, path: Path) -> Sequence[memoryview]:
    """Slices of one buffer of JPEG files; nothing is decoded."""
    if stream.dtype != np.uint8 or stream.ndim != 1:
        raise ImagesError(f"{path}: {prefix}_jpeg must be a flat uint8 array, not {stream.dtype} {stream.shape}")
    if offsets is None or offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) < 2:
        raise ImagesError(f"{path}: {prefix}_offsets must be a list of N + 1 whole numbers")
    ends = [int(each) for each in offsets]
    if ends[0] < 0 or ends[-1] > len(stream) or any(left >= right for left, right in pairwise(ends)):
        raise ImagesError(f"{path}: {prefix}_offsets must rise within the {len(stream)} bytes of {prefix}_jpeg")
    buffer = memoryview(np.ascontiguousarray(stream).data)
    return [buffer[left:right] for left, right in pairwise(ends)]


def _block(
    prefix: str,
    contents: Sequence[Content],
    labels: Any,
    classes: Sequence[str] | None,
    split: Sequence[str] | None,
) -> _Block:
    count = len(contents)
    parts: list[Part | None] = [None] * count
    if split is not None:
        unknown = next((each for each in split if each.casefold() not in SPLITS), None)
        if unknown is not None or len(split) != count:
            problem = f"{len(split)} entries for {count} images" if unknown is None else f"{unknown!r}"
            raise ImagesError(f"{prefix}: split has {problem}; give one of {', '.join(SPLITS)} per image")
        parts = [SPLITS[each.casefold()] for each in split]
    return _Block(prefix, contents, _labels(prefix, labels, classes, count), parts)


def _labels(
    prefix: str, labels: Any, classes: Sequence[str] | None, count: int
) -> list[tuple[str | None, tuple[str, ...]]]:
    """Label and aliases of every image."""
    if labels is None:
        return [(None, ())] * count
    array = np.asarray(labels)
    if array.shape != (count,):
        raise ImagesError(f"{prefix}: labels have shape {array.shape} for {count} images; give one label per image")
    if array.dtype.kind in "US":
        return [(name, ()) for name in _strings(array, prefix)]
    if array.dtype.kind not in "iu":
        raise ImagesError(f"{prefix}: labels must be whole numbers or names, not {array.dtype}")
    numbers = [int(each) for each in array]
    if classes is None:
        return [(str(each), ()) for each in numbers]
    wrong = next((each for each in numbers if not 0 <= each < len(classes)), None)
    if wrong is not None:
        raise ImagesError(
            f"{prefix}: label {wrong} is not among the {len(classes)} class names (0 to {len(classes) - 1})"
        )
    known = _known(classes)
    return [known[each] for each in numbers]


def _known(classes: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, (f"#{number}",)) for number, name in enumerate(classes)]


def _items(blocks: Sequence[_Block]) -> Iterator[tuple[ImageItem, Content]]:
    for block in blocks:
        width = max(5, len(str(len(block.contents) - 1)))
        rows = zip(block.contents, block.labels, block.parts, strict=True)
        for number, (content, (label, aliases), part) in enumerate(rows):
            image_hash = hashlib.sha256(content if isinstance(content, memoryview) else content.data).hexdigest()
            path = f"{block.prefix}/{number:0{width}d}"
            yield ImageItem(path, image_hash, label, part or part_of(image_hash), aliases), content


def _collection(blocks: Sequence[_Block], classes: Sequence[str] | None, source: str) -> ImageCollection:
    rows = list(_items(blocks))
    numbered = any(aliases for block in blocks for _, aliases in block.labels)
    return ImageCollection.of(
        (item for item, _ in rows),
        lambda index: _picture(rows[index]),
        source=source,
        classes=_known(classes) if classes is not None and numbered else (),
        whole=Path(source).stem,
    )


@dataclass(frozen=True)
class _JpegPicture:
    path: str
    content: bytes

    def decode(self) -> Image.Image:
        return decode(io.BytesIO(self.content), self.path)


@dataclass(frozen=True)
class _PixelPicture:
    content: NDArray[np.uint8]

    def decode(self) -> Image.Image:
        one_channel = self.content.ndim == 3 and self.content.shape[2] == 1
        return Image.fromarray(self.content[:, :, 0] if one_channel else self.content)


def _picture(row: tuple[ImageItem, Content]) -> Picture:
    """The one image alone: what lies beside it in the archive does not travel to another process."""
    item, content = row
    return _JpegPicture(item.path, bytes(content)) if isinstance(content, memoryview) else _PixelPicture(content)
