"""Bytes to pictures: Pillow with a fixed list of formats, and its many errors as one."""

import struct
import zlib
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from viscnn.errors import ImagesError

__all__ = ["FORMATS", "decode", "flaw"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Only these are tried: Pillow has readers that call other programs, or that nobody needs here."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError)
_ERRORS = (*_BOMBS, *_BROKEN, MemoryError, Warning, struct.error, zlib.error)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of an unknown format"
    if isinstance(error, _BOMBS):
        return "too large: the picture has more pixels than Pillow's limit"
    return f"corrupt image ({' '.join(str(error).split())[:120] or type(error).__name__})"


def flaw(file: BinaryIO) -> str | None:
    """Why the file is no usable image as far as its header and checksums tell, or None; its body is not decoded."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.verify()
    except _ERRORS as error:
        return _reason(error)
    return None


def decode(file: BinaryIO, path: str) -> Image.Image:
    """The decoded picture (the first frame of an animation).

    Raises:
        ImagesError: names `path`; the file is no image, or its body is corrupt, or it is too large.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.load()
            return image.copy()
    except _ERRORS as error:
        raise ImagesError(f"image {path}: {_reason(error)}") from error
