"""What a unit sees of an image: the picture cropped to the unit's receptive field."""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import fx

from viscnn.engine.bundle import Bundle
from viscnn.engine.receptive import Interval, ReceptiveField, ReceptiveFields
from viscnn.errors import ImagesError

__all__ = ["GREY", "exemplar_patches", "patch"]

GREY = 128
"""What stands where the unit sees nothing: padding around the image, or a pixel that it cannot be influenced by."""

Pixels = NDArray[np.uint8]

_known: "WeakKeyDictionary[fx.GraphModule, ReceptiveFields]" = WeakKeyDictionary()


def patch(pixels: Pixels, field: ReceptiveField, *, rows: int, columns: int) -> Pixels:
    """The receptive field of a unit in the picture (H, W) or (H, W, 3) that the model sees.

    The patch is the box that the unit would see if the image had no border, so that the unit is at the same place in
    all patches of a filter; of an axis along which that is longer than the image, the whole image. Grey stands outside
    the image, and outside the box that the unit sees.

    Args:
        rows, columns: height and width in pixels of the largest unclipped box of the filter's units; with them all
            patches of a filter have one size, also where a resized map makes some boxes a pixel smaller.

    Returns:
        (min(rows, H), min(columns, W)) or the same with 3 channels.
    """
    windows = [
        _window(unclipped, length, size)
        for unclipped, length, size in zip(
            (field.unclipped_rows, field.unclipped_columns), (rows, columns), pixels.shape[:2], strict=True
        )
    ]
    found = np.full((*(last - first + 1 for first, last in windows), *pixels.shape[2:]), GREY, dtype=np.uint8)
    if field.rows is None or field.columns is None:
        return found
    (top, bottom), (left, right) = (
        (max(window[0], seen[0]), min(window[1], seen[1]))
        for window, seen in zip(windows, (field.rows, field.columns), strict=True)
    )
    if top <= bottom and left <= right:
        above, before = windows[0][0], windows[1][0]
        seen_rows, seen_columns = slice(top - above, bottom - above + 1), slice(left - before, right - before + 1)
        found[seen_rows, seen_columns] = pixels[top : bottom + 1, left : right + 1]
    return found


def _window(unclipped: Interval, length: int, size: int) -> Interval:
    """What a patch spans along an axis of so many pixels."""
    return (0, size - 1) if length > size else (unclipped[0], unclipped[0] + length - 1)


def exemplar_patches(
    bundle: Bundle, uid: str, exemplars: Iterable[Mapping[str, Any]]
) -> tuple[dict[int, Pixels], dict[int, ImagesError]]:
    """The patches of exemplars of the filter `uid`, each given by its rank, path, hash, row and column.

    Returns:
        The patches by rank, and by rank why others cannot be had: the image is not in the bundle's collection, cannot
        be decoded, or is another one by now.

    Raises:
        ImagesError: the bundle has no images.
    """
    layer, _, channel = uid.removeprefix(f"{bundle.name}/").rpartition("/")
    fields, collection = _fields(bundle), bundle.collection
    boxes = fields.layer(layer, channel=int(channel))
    rows, columns = (_longest(each) for each in (boxes.unclipped_rows, boxes.unclipped_columns))
    found: dict[int, Pixels] = {}
    missing: dict[int, ImagesError] = {}
    for each in exemplars:
        try:
            image = collection.read(_index(bundle, each["path"], each["hash"]))
            pixels = np.asarray(bundle.preprocess.crop(image))
        except ImagesError as error:
            missing[each["rank"]] = error
            continue
        unit = fields.unit(layer, int(channel), (each["row"], each["column"]))
        found[each["rank"]] = patch(pixels, unit, rows=rows, columns=columns)
    return found, missing


def _fields(bundle: Bundle) -> ReceptiveFields:
    module = bundle.architecture.module
    if module not in _known:
        _known[module] = ReceptiveFields(bundle.architecture)
    return _known[module]


def _longest(boxes: NDArray[np.int64]) -> int:
    return int((boxes[:, 1] - boxes[:, 0]).max()) + 1


def _index(bundle: Bundle, path: str, image_hash: str) -> int:
    """The position of an image in the collection; raises ImagesError."""
    collection = bundle.collection
    found = next((index for index, item in enumerate(collection.items) if item.path == path), None)
    if found is None or collection.items[found].image_hash != image_hash:
        what = "is not there" if found is None else "is another one now"
        raise ImagesError(
            f"image {path!r} of {collection.source} {what}: the exemplars of model {bundle.name!r} were found in other"
            f" images; give the source that they are of, or find them again with: viscnn exemplars {bundle.name}"
        )
    return found
