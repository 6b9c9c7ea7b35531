"""Rendered visualisations on disk: one PNG file each, named by the hash of everything that it depends on.

The file holds the pixels as they are and, in a text chunk, what was rendered, what activation it reaches and a hash of
the pixels. A file that is cut off, altered, or of something else is removed, and rendered again.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from viscnn.config import cache_folder

__all__ = ["Stored", "as_picture", "file_of", "load", "save"]

_CHUNK = "viscnn"
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, eq=False)
class Stored:
    """Pixels (H, W, C) 0..255, the activation that they reach, and how long rendering took."""

    image: NDArray[np.uint8]
    activation: float
    seconds: float


def file_of(parts: Mapping[str, Any]) -> Path:
    """The file of a visualisation that depends on `parts`; the folder is that of the model's weights."""
    text = json.dumps(parts, sort_keys=True)
    folder = hashlib.sha256(str(parts["weights"]).encode()).hexdigest()[:16]
    return cache_folder() / "visualizations" / folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.png"


def save(file: Path, stored: Stored, about: Mapping[str, Any]) -> None:
    """Store a visualisation; a reader sees all of it or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = {
        "shape": list(stored.image.shape),
        "activation": stored.activation,
        "seconds": stored.seconds,
        "sha256": _hash(stored.image),
        "about": dict(about),
    }
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text(_CHUNK, json.dumps(text))
    partial = file.with_suffix(f".{uuid.uuid4().hex}.part")  # two that render the same write a file each
    try:
        as_picture(stored.image).save(partial, "PNG", pnginfo=chunk)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def load(file: Path, shape: tuple[int, int, int]) -> Stored | None:
    """A stored visualisation of shape (H, W, C); None when there is none, or it is damaged (it is then removed)."""
    try:
        with Image.open(file) as picture:
            picture.load()
            text = json.loads(picture.info[_CHUNK])
            image = _from_picture(np.array(picture, dtype=np.uint8), shape)
        if tuple(text["shape"]) != shape or text["sha256"] != _hash(image):
            raise ValueError("of something else")
        return Stored(image, float(text["activation"]), float(text["seconds"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):  # Pillow raises these for broken files
        with contextlib.suppress(OSError):
            file.unlink()
        return None


def as_picture(image: NDArray[np.uint8]) -> Image.Image:
    """Pixels (H, W, C) as a picture: grey, RGB, or for other numbers of channels these side by side in grey."""
    channels = image.shape[2]
    if channels in _MODES:
        return Image.fromarray(image[..., 0] if channels == 1 else image)
    return Image.fromarray(np.ascontiguousarray(np.concatenate(list(np.moveaxis(image, 2, 0)), axis=1)))


def _from_picture(pixels: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The inverse of `as_picture`; raises ValueError where it is not of that shape."""
    rows, columns, channels = shape
    if channels in _MODES:
        return pixels.reshape(shape)
    if pixels.shape != (rows, columns * channels):
        raise ValueError("of something else")
    return np.ascontiguousarray(np.moveaxis(pixels.reshape(rows, channels, columns), 1, 2))


def _hash(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
