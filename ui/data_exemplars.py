"""What the page knows of exemplars: calls of the public API, cached by the hash of what they were found in."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from viscnn.errors import ImagesError, NotInGraph
from viscnn.progress import Progress
from viscnn.ui import data, figures

if TYPE_CHECKING:
    from viscnn.engine.exemplars import ExemplarReport

__all__ = ["SIDE", "Made", "find", "listed", "made", "patches", "small"]

SIDE = 68
"""Height of a patch in CSS pixels."""


_finding = threading.Lock()


@dataclass(frozen=True)
class Made:
    """The stored exemplars of a model: their hash, and the number of images that they were found among."""

    hash: str
    images: int


def made(model: str) -> Made | None:
    """Never cached: they may be found elsewhere. None while there are none."""
    found = data.session().model(model)
    return None if found["exemplars"] is None else Made(found["exemplars"], found["exemplarImages"])


def listed(filter_uid: str) -> list[dict[str, Any]]:
    """The exemplars of a filter, the top ones first; never cached either."""
    return data.session().exemplars(filter_uid)


def patches(stamp: str, found: str, filter_uid: str, ranks: tuple[int, ...]) -> tuple[dict[int, str], str]:
    """What the filter sees of its exemplars, by rank as addresses of pictures, and why others cannot be had."""
    pictures, missing = _patches(stamp, found, filter_uid, ranks)
    if missing:  # they may be there again the next time
        _patches.clear(stamp, found, filter_uid, ranks)
    return pictures, missing


@st.cache_data(show_spinner=False, max_entries=512)
def _patches(stamp: str, found: str, filter_uid: str, ranks: tuple[int, ...]) -> tuple[dict[int, str], str]:
    try:
        patches, missing = data.session().exemplar_patches(filter_uid, ranks=ranks)
    except (NotInGraph, ImagesError) as error:  # the model, or all of its images, are not on this machine
        return {}, str(error)
    reasons = [str(each) for each in missing.values()]
    said = f"{len(reasons)} of {len(ranks)} cannot be shown, such as this one: {reasons[0]}" if reasons else ""
    return {rank: figures.data_uri(small(pixels)) for rank, pixels in patches.items()}, said


def small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most twice as many pixels along each side as are drawn."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    return np.asarray(picture)


def find(model: str, *, max_images: int, progress: Progress) -> "ExemplarReport | None":
    """Find and store exemplars; None when another visitor has just done so."""
    with _finding:
        if made(model) is not None:
            return None
        return data.session().find_exemplars(model, max_images=max_images, progress=progress)
