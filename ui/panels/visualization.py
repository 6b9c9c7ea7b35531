"""Feature visualisations in the panels: those of a filter, and of a kernel between those of its ends."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data_visualize, figures
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.progress import phases

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from viscnn.engine.visualize.settings import Visualization

__all__ = ["kernel_visualization", "visualization_panel"]

_OBJECTIVES = {"channel": "whole map", "neuron": "middle unit"}
_SIGNS = {1: "largest", -1: "smallest"}
_MARGIN = 10 / 224
"""Around a receptive field, as a share of the image."""


@dataclass(frozen=True)
class _Wanted:
    """A visualisation with a place on the page; `title` says what it is."""

    model: str
    target: str
    title: str
    objective: str = "channel"
    sign: int = 1
    circuit: str | None = None
    crop: tuple[int, int, int, int] | None = None

    @property
    def key(self) -> str:
        return f"render_{self.target}_{self.objective}_{self.sign}"


def visualization_panel(stamp: str, model: str, uid: str, *, circuit: str | None = None) -> None:
    """The images that drive a filter highest and lowest, by the chosen objective; a button renders what is missing.

    Args:
        circuit: show those rendered from this circuit's masked network.
    """
    left, right = st.columns([2, 3], vertical_alignment="center")
    left.markdown("**Feature visualisation**")
    with right:
        objective = st.segmented_control(
            "Objective",
            list(_OBJECTIVES),
            format_func=lambda each: _OBJECTIVES[each],
            default="channel",
            key="visualization_objective",
            required=True,
            label_visibility="collapsed",
            help="what is driven: the mean of the filter's map, or its middle position",
        )
    with shown_errors("visualization"):
        crop = _crop(stamp, model, uid) if objective == "neuron" else None
        wanted = [
            _Wanted(model, uid, f"{_SIGNS[sign]} activation", str(objective), sign, circuit, crop) for sign in _SIGNS
        ]
        _row(stamp, wanted)
        if crop is not None:
            st.caption("Cropped to the receptive field of the middle unit.")


def kernel_visualization(stamp: str, model: str, source: str, target: str, *, circuit: str | None = None) -> None:
    """What drives the kernel's own edge map, between what drives its two ends."""
    st.markdown("**Feature visualisations**")
    ends = [] if source.startswith(f"{model}/input/") else [_Wanted(model, source, "from", circuit=circuit)]
    edge = _Wanted(model, f"{source} -> {target}", "this kernel alone", circuit=circuit)
    with shown_errors("kernel_visualization"):
        _row(stamp, [*ends, edge, _Wanted(model, target, "to", circuit=circuit)])


def _row(stamp: str, wanted: list[_Wanted]) -> None:
    """Some visualisations side by side; the one whose button is pressed is rendered below, and then shown above."""
    pressed: tuple[_Wanted, DeltaGenerator] | None = None
    for column, each in zip(st.columns(len(wanted)), wanted, strict=True):
        with column:
            found = data_visualize.found(
                stamp, each.model, each.target, objective=each.objective, sign=each.sign, circuit=each.circuit
            )
            place = st.empty()
            if found is not None:
                place.html(_figure(each, found))
            elif _asked(place.container(), each):
                pressed = each, place
    if pressed is not None:
        _render(*pressed)


def _asked(place: "DeltaGenerator", wanted: _Wanted) -> bool:
    place.caption(f"{wanted.title}: not rendered yet")
    return place.button("Render", key=wanted.key, icon=":material/auto_fix_high:", width="stretch")


def _render(wanted: _Wanted, place: "DeltaGenerator") -> None:
    with phases("Rendering; whatever else you do on this page stops it", "Rendered") as progress:
        found = data_visualize.render(
            wanted.model,
            wanted.target,
            objective=wanted.objective,
            sign=wanted.sign,
            circuit=wanted.circuit,
            progress=progress,
        )
    place.html(_figure(wanted, found))


def _figure(wanted: _Wanted, found: "Visualization") -> str:
    pixels = data_visualize.picture(_cropped(found.image, wanted.crop))
    caption = f"{wanted.title}: {figures.number(found.activation)}"
    return figures.figure(pixels, alt=f"visualisation of {found.target}, {wanted.title}", caption=caption)


def _cropped(image: NDArray[np.uint8], box: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    if box is None:
        return image
    top, bottom, left, right = box
    return image[top : bottom + 1, left : right + 1]


def _crop(stamp: str, model: str, uid: str) -> tuple[int, int, int, int] | None:
    """The receptive field of a filter's middle with a margin, within the image; None where that is most of it."""
    rows, columns = (int(side) for side in data_visualize.input_size(stamp, model))
    top, bottom, left, right = data_visualize.receptive_box(stamp, model, uid)
    margin = round(_MARGIN * min(rows, columns))
    top, left = max(0, top - margin), max(0, left - margin)
    bottom, right = min(rows - 1, bottom + margin), min(columns - 1, right + margin)
    whole = (bottom - top + 1) * (right - left + 1) > 0.8 * rows * columns
    return None if whole else (top, bottom, left, right)
