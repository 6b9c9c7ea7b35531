"""Choosing the image that maps are shown on: one of the model's own, or an upload that stays in the session."""

from dataclasses import dataclass

import streamlit as st
from PIL import Image

from viscnn.ui import data, state

__all__ = ["Shown", "choose_image"]

UPLOAD_TYPES = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff", "gif", "ppm")


@dataclass(frozen=True)
class Shown:
    """An image: its name, and what the API is given of it (a path of the model's source, or pixels)."""

    name: str
    picture: str | Image.Image


def choose_image(stamp: str, model: str) -> Shown | None:
    """Widgets to choose an image; None while there is none. Raises ImagesError for an upload that is no picture."""
    left, middle, right = st.columns([4, 6, 1], vertical_alignment="bottom")
    with right, st.popover("", icon=":material/upload:", help="An image of your own; it is not stored"):
        file = st.file_uploader("Image", UPLOAD_TYPES, key="upload", label_visibility="collapsed")
    if file is not None:
        left.caption("Uploaded; take it away to go back to the model's images.")
        return Shown(file.name, data.decoded(file, file.name))
    return _of_the_model(stamp, model, left, middle)


def _of_the_model(
    stamp: str, model: str, left: "st.delta_generator.DeltaGenerator", right: "st.delta_generator.DeltaGenerator"
) -> Shown | None:
    sets = data.image_sets(model)
    if not sets:
        left.caption("This model has no images; give them when ingesting it: `viscnn ingest MODEL --images FOLDER`.")
        return None
    view = state.current()
    st.session_state["image_set"] = view.image_set if view.image_set in sets else sets[0]
    chosen = left.selectbox(
        "Image set",
        sets,
        key="image_set",
        on_change=lambda: state.update(image_set=st.session_state["image_set"], image=None),
    )
    paths = data.image_paths(stamp, model, chosen)
    if view.image is not None and view.image not in paths:
        paths = [view.image, *paths]  # an exemplar, say: only some images of a set are listed
    if not paths:
        right.caption("This image set is empty.")
        return None
    st.session_state["image"] = view.image or paths[0]
    path = right.selectbox("Image", paths, key="image", on_change=lambda: state.update(image=st.session_state["image"]))
    return Shown(path, path)
