"""Choosing the image that maps are shown on.

One of the model's own, an upload, which stays in the session, or a rendered feature visualisation.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from viscnn.errors import nearest
from viscnn.ui import data, data_images, data_visualize, figures, state
from viscnn.ui.panels.errors import plain, shown_errors
from viscnn.ui.panels.visualization import can_be_input, described, rendered, use_as_input
from viscnn.ui.state import Visualized

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from viscnn.engine.visualize.settings import Visualization

__all__ = ["Shown", "choose_image"]

_REFUSED = "viscnn_image_refused"
_MOST_COMPARED = 5_000
"""Of larger sets no path is suggested for a wrong one: it would take seconds."""

UPLOAD_TYPES = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff", "gif", "ppm")
_WIDTHS = {False: (4, 5, 1.5), True: (6, 3, 1.5)}
"""Of the columns, with and without a visualisation as the image."""


@dataclass(frozen=True)
class Shown:
    """An image.

    Attributes:
        name: what it is called.
        picture: what the API is given of it: a path of the model's source, pixels, or a visualisation.
        content: tells two of one name apart.
    """

    name: str
    picture: "str | Image.Image | Visualization"
    content: str = ""


def choose_image(stamp: str, model: str) -> Shown | None:
    """Widgets to choose an image; None while there is none.

    Raises:
        ImagesError: an upload that is no picture.
        ViscnnError: a visualisation of what the model has not, or the model is not on this machine.
    """
    wanted = state.current().visualization
    left, middle, right = st.columns(_WIDTHS[wanted is not None], gap="xsmall", vertical_alignment="bottom")
    with right:
        file = _other(stamp, model)
    if wanted is not None:
        return _visualization(stamp, model, wanted, left, middle)
    if file is not None:
        left.caption("Uploaded; take it away to go back to the model's images.")
        picture = data.decoded(file, file.name)
        return Shown(file.name, picture, hashlib.sha256(picture.tobytes()).hexdigest())
    return _of_the_model(stamp, model, left, middle)


def _other(stamp: str, model: str) -> "st.runtime.uploaded_file_manager.UploadedFile | None":
    """A box with other images than the model's own; returns the upload, if any."""
    help_text = "An upload, or a feature visualisation"
    with st.popover("", icon=":material/upload:", help=help_text, key="image_other", on_change="rerun") as box:
        file = st.file_uploader(  # what is uploaded stays in the session
            "Image",
            UPLOAD_TYPES,
            key=f"upload_{state.looks()}",
            label_visibility="collapsed",
            on_change=lambda: state.update(visualization=None),
        )
        if box.open:
            with shown_errors("image_other"):
                _offer(stamp, model)
    return file


def _offer(stamp: str, model: str) -> None:
    """The visualisations of what is selected that have been rendered."""
    st.markdown("**Or a feature visualisation of the selection**")
    found = [
        (each, one)
        for each in _candidates()
        if (one := data_visualize.found(stamp, model, **vars(each))) is not None and can_be_input(one)
    ]
    if not found:
        st.caption("None is rendered yet: *Render* does it in the panel, `viscnn visualize` for whole layers.")
        return
    for column, (each, one) in zip(st.columns(max(3, len(found))), found, strict=False):
        with column:
            picture = data_visualize.picture(one.image)
            st.html(figures.figure(picture, alt=f"visualisation of {described(each)}", caption=described(each)))
            use_as_input(each, key="offered")


def _candidates() -> Iterator[Visualized]:
    """Visualisations of the selected filter, or of the selected kernel and its ends."""
    view = state.current()
    if view.selected is None or "/input/" in view.selected:
        return
    if view.source is None:
        for objective in state.OBJECTIVES:
            yield from (Visualized(view.selected, objective, sign) for sign in (1, -1))
    else:
        targets = [view.source, f"{view.source} -> {view.selected}", view.selected]
        yield from map(Visualized, targets[1:] if "/input/" in view.source else targets)


def _visualization(
    stamp: str, model: str, wanted: Visualized, left: "DeltaGenerator", right: "DeltaGenerator"
) -> Shown | None:
    """A visualisation as the image, and the way back; None where it is not rendered on this machine."""
    left.caption(f"On the feature visualisation of {figures.plain(described(wanted))}")
    right.button("Back", key="image_back", icon=":material/undo:", help="Back to images", on_click=state.look_at)
    found = data_visualize.found(stamp, model, **vars(wanted))
    if found is None:
        place = st.empty()
        with place.container():
            st.info("This feature visualisation is not rendered on this machine.", icon=":material/image:")
            if not st.button("Render", key="image_render", icon=":material/auto_fix_high:"):
                return None
            found = rendered(model, wanted)
        place.empty()
    return Shown(f"visualisation of {described(wanted)}", found, hashlib.sha256(found.image.tobytes()).hexdigest())


def _of_the_model(stamp: str, model: str, left: "DeltaGenerator", right: "DeltaGenerator") -> Shown | None:
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
    listed = paths = data.image_paths(stamp, model, chosen)
    if view.image is not None and view.image not in paths:
        paths = [view.image, *paths]  # an exemplar, say: only some images of a set are listed
    if not paths:
        right.caption("This image set is empty.")
        return None
    path = st.session_state["image"] = view.image or paths[0]
    right.selectbox(
        "Image",
        paths,
        key="image",
        accept_new_options=True,
        help=f"{len(listed):,} images of the set are listed; the path of any other can be typed.",
        on_change=_take,
        args=(model, chosen),
    )
    refused = st.session_state.pop(_REFUSED, None)
    if refused is not None:
        st.error(plain(refused), icon=":material/error:")
    return Shown(path, path)


def _take(model: str, image_set: str) -> None:
    """An image of the set, chosen or typed, becomes the view's; any other text is refused."""
    path = str(st.session_state["image"])
    with shown_errors("image_typed"):
        known = data_images.paths(model, image_set)
        if path in known:
            state.update(image=path)
            return
        close = nearest(path, known) if len(known) <= _MOST_COMPARED else ""
        st.session_state[_REFUSED] = f"image set {image_set!r} has no image {path!r}{close}"
