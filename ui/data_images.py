"""What the page knows of image sets: calls of the public API, cached where nobody else can change them."""

import numpy as np
import streamlit as st
from PIL import Image

from viscnn.errors import ImagesError
from viscnn.ui import data, figures

__all__ = ["drop", "input_names", "own", "paths", "save", "thumbnails"]

SIDE = 64
"""Longest side of a thumbnail in pixels."""
_EVERY = 1_000_000


def input_names(stamp: str, model: str) -> list[dict[str, str]]:
    """What an input expression can name, see `VISCNN.input_names`."""
    known = data.session().image_sets(model)
    return _input_names(stamp, model, tuple((str(each["name"]), str(each["hash"])) for each in known))


@st.cache_data(show_spinner=False, max_entries=16)
def _input_names(stamp: str, model: str, sets: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return data.session().input_names(model)


def own(model: str) -> dict[str, int]:
    """Image sets that people have made: their number of images by name."""
    return {str(each["name"]): int(each["images"]) for each in data.session().image_sets(model) if each["own"]}


def paths(model: str, image_set: str) -> list[str]:
    """Paths of all images of a set."""
    return data.session().image_paths(model, image_set, limit=_EVERY)


@st.cache_data(show_spinner="Opening images", max_entries=64)
def thumbnails(stamp: str, model: str, shown: tuple[str, ...]) -> dict[str, str]:
    """Small pictures as addresses, by path; images that cannot be decoded are left out."""
    found = {}
    for path in shown:
        try:
            picture = Image.fromarray(data.image(stamp, model, path))
        except ImagesError:
            continue
        picture.thumbnail((SIDE, SIDE))
        found[path] = figures.data_uri(np.asarray(picture))
    return found


def save(model: str, name: str, images: list[str]) -> str:
    """Store an image set; returns what should be said of it."""
    found = data.session().save_image_set(model, name, images)
    parts = f"{found['scoreImages']} that queries read, {found['checkImages']} that circuits are verified on"
    return f"Image set {found['name']!r}: {found['images']} images, {parts}"


def drop(model: str, name: str) -> None:
    """Remove an image set of one's own."""
    data.session().drop_image_set(model, name)
