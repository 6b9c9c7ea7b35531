"""A diagram as PNG: its SVG, drawn by resvg (a Rust library in a wheel of 3 MB; no browser, no system library)."""

import tempfile
from pathlib import Path

from viscnn.errors import InputError

__all__ = ["LARGEST", "MOST_PIXELS", "png"]

LARGEST, MOST_PIXELS = 12_000, 40_000_000
"""Pixels at the longer side, and in all; programs that show images give up beyond, and drawing takes a minute."""


def png(svg: str, *, scale: float = 2.0) -> bytes:
    """Draw an SVG; `scale` is pixels of the image for one of the drawing, less where it would become too large.

    Texts are set in a sans-serif font of this machine, else in the one that Pillow has with it.

    Raises:
        InputError: a scale that is not above 0.
    """
    from resvg_py import svg_to_bytes

    if not scale > 0:
        raise InputError(f"the scale {scale} of the image must be above 0")
    width, height = _size(svg)
    zoom = min(scale, LARGEST / max(width, height), (MOST_PIXELS / (width * height)) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        font = _spare_font(Path(folder))
        return bytes(svg_to_bytes(svg_string=svg, zoom=zoom, font_files=[str(font)] if font else []))


def _size(svg: str) -> tuple[float, float]:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


def _spare_font(folder: Path) -> Path | None:
    """Pillow's own font as a file, for machines without any; None where Pillow was built without fonts."""
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return None
    file = folder / "Aileron.otf"
    file.write_bytes(font.font_bytes)
    return file
