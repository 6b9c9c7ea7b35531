"""Colours of signs and numbers, for whatever draws: the page, diagrams, tables. Pure functions.

Red is excitatory or positive, blue inhibitory or negative, grey mixed. Diverging scales are centred at zero and white
there.
"""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLUE", "GREY", "RED", "SIGNS", "SMALL_IMAGE", "data_uri", "diverging", "kernel_uri"]

RED, BLUE, GREY = (194, 0, 19), (10, 87, 168), (170, 170, 170)
SIGNS = {"excitatory": RED, "inhibitory": BLUE, "mixed": GREY}
SMALL_IMAGE = 128  # pixels
_CELL = 8
Pixels = NDArray[np.uint8]


def diverging(values: NDArray[np.floating[Any]], limit: float) -> Pixels:
    """RGB of `values` (...,): white at 0, red at `limit`, blue at -`limit`; beyond it the colour saturates."""
    share = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)) / limit, -1, 1)[..., None]
    end = np.where(share >= 0, np.array(RED, dtype=np.float64), np.array(BLUE, dtype=np.float64))
    colours: Pixels = np.rint(255 + np.abs(share) * (end - 255)).astype(np.uint8)
    return colours


def data_uri(pixels: Pixels, *, exact: bool = False) -> str:
    """An image (rows, columns[, 3]) inside an address: PNG when small or `exact`, every cell as it is; else JPEG."""
    from PIL import Image

    image, buffer = Image.fromarray(pixels), io.BytesIO()
    small = exact or max(image.size) <= SMALL_IMAGE
    image.save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": 90}))
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def kernel_uri(weights: NDArray[np.floating[Any]], limit: float) -> str:
    """A kernel (rows, columns) as a PNG inside an address; cells of several pixels, for programs that smooth images."""
    cell = max(1, min(_CELL, SMALL_IMAGE // max(weights.shape)))
    return data_uri(diverging(weights, limit).repeat(cell, axis=0).repeat(cell, axis=1))
