"""The activation map of a filter on an image, beside it; a cell outlines its receptive field."""

import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.fields_view import chosen_cell, fields_view
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.picture import Shown, choose_image

__all__ = ["activation_panel"]


def activation_panel(stamp: str, model: str, uid: str, *, key: str = "fields") -> Shown | None:
    """Choose an image and see the map; needs the model on this machine. Returns the image."""
    st.markdown("**Activation map**")
    with shown_errors("activation"):
        shown = choose_image(stamp, model)
        if shown is not None:
            _map(stamp, model, uid, shown, key)
        return shown
    return None


def _map(stamp: str, model: str, uid: str, shown: Shown, key: str) -> None:
    image = data.image(stamp, model, shown.picture)
    activation = data.activation(stamp, uid, shown.picture)
    rows, columns = activation.shape
    layer, _, channel = uid.removeprefix(f"{model}/").rpartition("/")
    view = state.current()
    fields_view(
        image,
        activation,
        data.receptive_fields(stamp, model, layer, int(channel)),
        captions=("input image", f"map of {rows} x {columns}: point at a cell to see what it sees"),
        descriptions=(f"image {shown.name}", f"activation map of {uid}"),
        revision=f"{stamp}|{uid}|{shown.name}|{shown.content}|{state.looks()}",
        cell=None if view.row is None or view.column is None else (view.row, view.column),
        key=key,
        on_choose=lambda: _take(key),
    )
    st.html(figures.colour_bar(figures.largest([activation]), label="pre-activation Z, centred at zero"))


def _take(key: str) -> None:
    """The chosen cell becomes part of the view."""
    row, column = chosen_cell(key) or (None, None)
    state.update(row=row, column=column)
