"""Feature visualisations in the panels: those of a filter, and of a kernel between those of its ends."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data_visualize, figures, state
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.progress import phases
from viscnn.ui.state import Visualized

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from viscnn.engine.visualize.settings import Visualization

__all__ = [
    "MASKED",
    "WHOLE",
    "can_be_input",
    "described",
    "kernel_visualization",
    "rendered",
    "use_as_input",
    "visualization_panel",
]

_OBJECTIVES = {"channel": "whole map", "neuron": "middle unit"}
_SIGNS = {1: "largest", -1: "smallest"}
MASKED, WHOLE = "from this circuit", "from the whole network"
_MARGIN = 10 / 224
"""Around a receptive field, as a share of the image."""


@dataclass(frozen=True)
class _Wanted:
    """A visualisation with a place on the page; `title` says what it is there."""

    model: str
    title: str
    what: Visualized
    crop: tuple[int, int, int, int] | None = None


def described(what: Visualized) -> str:
    """What a visualisation is of, in words: `conv1/3 (largest, whole map)`."""
    ends = " -> ".join(end.strip().split("/", 1)[-1] for end in what.target.split("->"))
    circuit = "" if what.circuit is None else ", in a circuit"
    return f"{ends} ({_SIGNS[what.sign]}, {_OBJECTIVES[what.objective]}{circuit})"


def can_be_input(found: "Visualization") -> bool:
    """Whether the model takes it as an image: of other than 1 or 3 channels there are none."""
    return found.image.shape[2] in (1, 3)


def use_as_input(what: Visualized, *, key: str) -> None:
    """A button that makes a visualisation the image that all maps and interventions are shown on.

    Args:
        key: tells the places of a page apart.
    """
    used = state.current().visualization == what
    st.button(
        "Is the input" if used else "Use as input",
        key=f"{key}_{what.target}_{what.objective}_{what.sign}",
        type="tertiary",
        icon=":material/check:" if used else ":material/input:",
        disabled=used,
        help="Show activation maps, edge maps and interventions on this image",
        on_click=state.look_at,
        args=(what,),
    )


def rendered(model: str, what: Visualized) -> "Visualization":
    """Render a visualisation, with progress."""
    with phases("Rendering; whatever else you do on this page stops it", "Rendered") as progress:
        return data_visualize.render(model, **vars(what), progress=progress)


def visualization_panel(stamp: str, model: str, uid: str, *, circuit: str | None = None, outside: bool = False) -> None:
    """The images that drive a filter highest and lowest, by the chosen objective; a button renders what is missing.

    Args:
        circuit: show those rendered from this circuit's masked network.
        outside: the circuit has not this filter: those of the whole network.
    """
    left, right = st.columns([2, 3], vertical_alignment="center")
    with left:
        _title("Feature visualisation", circuit, outside)
    circuit = None if outside else circuit
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
            _Wanted(model, f"{_SIGNS[sign]} activation", Visualized(uid, str(objective), sign, circuit), crop)
            for sign in _SIGNS
        ]
        _row(stamp, wanted)
        if crop is not None:
            st.caption("Cropped to the receptive field of the middle unit.")


def kernel_visualization(
    stamp: str, model: str, source: str, target: str, *, circuit: str | None = None, outside: bool = False
) -> None:
    """What drives the kernel's own edge map, between what drives its two ends.

    Args:
        circuit: show those rendered from this circuit's masked network.
        outside: the circuit has not this kernel: those of the whole network.
    """
    _title("Feature visualisations", circuit, outside)
    circuit = None if outside else circuit
    titles = {source: "from", f"{source} -> {target}": "this kernel alone", target: "to"}
    if source.startswith(f"{model}/input/"):
        del titles[source]
    with shown_errors("kernel_visualization"):
        _row(stamp, [_Wanted(model, title, Visualized(each, circuit=circuit)) for each, title in titles.items()])


def _title(text: str, circuit: str | None, outside: bool) -> None:
    """Says which network they are from, where there are two."""
    if circuit is None:
        st.markdown(f"**{text}**")
    elif outside:
        st.markdown(f"**{text}** · {WHOLE}: it is not in this circuit")
    else:
        st.markdown(f"**{text}** · {MASKED}")


def _row(stamp: str, wanted: list[_Wanted]) -> None:
    """Some visualisations side by side; the one whose button is pressed is rendered below, and then shown above."""
    pressed: tuple[_Wanted, DeltaGenerator] | None = None
    for column, each in zip(st.columns(len(wanted)), wanted, strict=True):
        with column:
            place = st.empty()
        found = data_visualize.found(stamp, each.model, **vars(each.what))
        with place.container():
            if found is not None:
                _picture(each, found)
            elif _asked(each):
                pressed = each, place
    if pressed is not None:
        each, place = pressed
        found = rendered(each.model, each.what)
        with place.container():
            _picture(each, found)


def _asked(wanted: _Wanted) -> bool:
    st.caption(f"{wanted.title}: not rendered yet")
    what = wanted.what
    key = f"render_{what.target}_{what.objective}_{what.sign}"
    return st.button("Render", key=key, icon=":material/auto_fix_high:", width="stretch")


def _picture(wanted: _Wanted, found: "Visualization") -> None:
    with st.container(gap=None):
        st.html(_figure(wanted, found))
        if can_be_input(found):
            use_as_input(wanted.what, key="use")


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
