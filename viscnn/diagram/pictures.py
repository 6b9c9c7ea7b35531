"""Small pictures of filters for diagrams: the kernels of those that read the image, and thumbnails of other images."""

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "image_kernels", "kernels_picture", "thumbnail"]

SIDE = 96
"""Pixels of a thumbnail: twice what it measures at full size."""
BRIGHTENING = 9.0
_CHANNELS = (1, 3)
Pixels = NDArray[np.uint8]


def image_kernels(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Pictures by uid from rows of `read/image_kernels`; none where weights are missing or channels are not 1 or 3."""
    found = {}
    for row in rows:
        weights = row["weights"]
        if len(weights) not in _CHANNELS or row["channels"] != list(range(len(weights))):
            continue
        kernels = np.array(weights, dtype=np.float64).reshape(len(weights), *row["kernelSize"])
        found[row["uid"]] = thumbnail(kernels_picture(kernels))
    return found


def kernels_picture(kernels: NDArray[np.float64]) -> Pixels:
    """What an image must look like for a filter that reads it, (rows, columns[, 3]).

    Of three kernels (3, rows, columns) the positive part as RGB, brightened by a logarithm, the largest weight white;
    of a single one (1, rows, columns) its values in grey, zero in the middle.
    """
    largest = float(np.abs(kernels).max(initial=0.0)) or 1.0
    if len(kernels) == 1:
        grey: Pixels = np.rint(127.5 + 127.5 * kernels[0] / largest).astype(np.uint8)
        return grey
    positive = np.clip(kernels, 0, None) / (float(kernels.max(initial=0.0)) or 1.0)
    bright = np.log1p(BRIGHTENING * positive) / np.log1p(BRIGHTENING)
    coloured: Pixels = np.rint(255 * np.moveaxis(bright, 0, -1)).astype(np.uint8)
    return coloured


def thumbnail(pixels: Pixels) -> str:
    """An image (rows, columns[, 1 or 3]) as a PNG in a data address, SIDE pixels at its longer side.

    Smaller ones are enlarged by whole cells, so that they stay sharp wherever they are drawn.
    """
    from PIL import Image

    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    longest = max(flat.shape[:2])
    if longest < SIDE:
        times = -(-SIDE // longest)
        flat = flat.repeat(times, axis=0).repeat(times, axis=1)
    picture, buffer = Image.fromarray(np.ascontiguousarray(flat)), io.BytesIO()
    if max(picture.size) > SIDE and longest >= SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
