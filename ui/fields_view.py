"""An image beside the activation map of a filter on it; a cell of the map outlines its receptive field in the image.

A Streamlit component (sources in `ui/component/`, ready build in `ui/component/dist/fields.js`). Pointing at a
cell, and walking over the cells by the arrow keys, needs no answer from Python; a choice (a click, Escape) is told it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import figures

if TYPE_CHECKING:
    from viscnn.engine.receptive import LayerFields

__all__ = ["Cell", "chosen_cell", "fields_view"]

Cell = tuple[int, int]
"""Row and column of an activation map."""


def fields_view(
    image: NDArray[np.uint8],
    activation: NDArray[np.floating[Any]],
    fields: "LayerFields",
    *,
    captions: tuple[str, str],
    descriptions: tuple[str, str],
    revision: str,
    cell: Cell | None = None,
    key: str = "fields",
    on_choose: Callable[[], None] = lambda: None,
) -> None:
    """Draw both pictures.

    Args:
        image: (rows, columns) or (rows, columns, 3) as the model sees it.
        activation: (P, Q); the colours are centred at zero.
        fields: the boxes of all units of the filter in the image.
        captions, descriptions: of the image and of the map; descriptions are their texts for screen readers.
        revision: names all of it; only when it changes is `cell` taken anew.
        cell: the chosen one, if any.
        on_choose: called before the rerun that a choice starts; `chosen_cell(key)` is the choice.
    """
    settings = {
        "revision": revision,
        "image": figures.data_uri(image),
        "map": figures.data_uri(figures.diverging(activation, figures.largest([activation])), exact=True),
        "imageCaption": captions[0],
        "mapCaption": captions[1],
        "imageAlt": descriptions[0],
        "mapAlt": descriptions[1],
        "size": list(activation.shape),
        "imageSize": list(fields.size),
        "rows": fields.rows.tolist(),
        "columns": fields.columns.tolist(),
        "cell": None if cell is None else list(cell),
    }
    values = pd.DataFrame({"value": activation.ravel().astype(np.float32)})
    _component()(key=key, data={"values": values, "cfg": _kept(key, settings)}, on_cell_change=on_choose)


def chosen_cell(key: str = "fields") -> Cell | None:
    """The cell that was chosen last, for use in `on_choose`; None when the choice was taken back."""
    state = st.session_state.get(key)
    value = cast(dict[str, Any] | None, state.get("cell") if isinstance(state, Mapping) else None)
    cell = value["cell"] if value else None
    return None if cell is None else (int(cell[0]), int(cell[1]))


def _kept(key: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the cell as it was when the revision changed: a click shall not send the pictures again."""
    memory = f"{key}:cell"
    known = st.session_state.get(memory)
    if known is None or known[0] != settings["revision"] or key not in st.session_state:
        known = st.session_state[memory] = (settings["revision"], settings["cell"])
    return settings | {"cell": known[1]}


@cache
def _component() -> Callable[..., Any]:
    """The mounting function; registered once a process."""
    build = resources.files("viscnn.ui").joinpath("component", "dist", "fields.js")
    return st.components.v2.component("viscnn_fields", js=build.read_text(encoding="utf-8"))
