"""What the page knows of feature visualisations: those in the cache, and rendering of the others.

Only what was found is kept in memory: what has not been rendered yet may be, here or by `viscnn visualize`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from viscnn.errors import ConnectionFailed, InputError
from viscnn.progress import Progress
from viscnn.ui import data

if TYPE_CHECKING:
    from viscnn.engine.visualize.settings import Visualization

__all__ = ["found", "input_size", "missing", "picture", "pictures", "receptive_box", "render", "render_each"]


class _NotRendered(Exception):
    """Not kept, as results are."""


def found(
    stamp: str, model: str, target: str, *, objective: str = "channel", sign: int = 1, circuit: str | None = None
) -> "Visualization | None":
    """The visualisation of a target (see `viscnn.api_visualize`) with the default settings; None when there is none.

    Raises:
        ViscnnError: as `VISCNN.visualization`, such as where the model is not registered on this machine.
    """
    try:
        return _found(stamp, model, target, objective, sign, circuit)
    except _NotRendered:
        return None


@st.cache_data(show_spinner=False, max_entries=1024)
def _found(stamp: str, model: str, target: str, objective: str, sign: int, circuit: str | None) -> "Visualization":
    settings: dict[str, Any] = {"objective": objective, "sign": sign, "circuit": circuit}
    one = data.session().visualization(target, model=model, **settings)
    if one is None:
        raise _NotRendered
    return one


def render(
    model: str,
    target: str,
    *,
    objective: str = "channel",
    sign: int = 1,
    circuit: str | None = None,
    progress: Progress,
) -> "Visualization":
    """Render one; it is in the cache from then on. Whatever `progress` raises (a rerun of the page, say) stops it."""
    settings: dict[str, Any] = {"objective": objective, "sign": sign, "circuit": circuit}
    return data.session().visualize(target, model=model, progress=progress, **settings)


def missing(stamp: str, model: str, targets: Sequence[str], *, circuit: str) -> list[str] | None:
    """Those targets that have not been rendered from a circuit's masked network, with the default settings.

    None where nothing can be rendered: the model is not on this machine.
    """
    known = _rendered(stamp, circuit)
    new = [each for each in targets if each not in known]
    if new:
        try:
            known |= data.session().visualizations(new, model=model, circuit=circuit).keys()
        except ConnectionFailed:
            raise
        except InputError:
            return None
    return [each for each in new if each not in known]


@st.cache_resource(show_spinner=False, max_entries=32)
def _rendered(stamp: str, circuit: str) -> set[str]:
    """Targets that have been rendered from a circuit, as far as was noticed; shared by all visitors."""
    return set()


def render_each(model: str, targets: Sequence[str], *, circuit: str, progress: Progress) -> None:
    """Render many from a circuit's masked network, batch by batch; what is done stays when a later one is stopped."""
    for _ in data.session().visualize_each(targets, model=model, circuit=circuit, progress=progress):
        pass


def pictures(
    stamp: str, model: str, targets: Sequence[str], *, objective: str = "channel", circuit: str | None = None
) -> dict[str, NDArray[np.uint8]]:
    """The pictures of those targets that have been rendered, by target: for lists and diagrams."""
    every = {each: found(stamp, model, each, objective=objective, circuit=circuit) for each in targets}
    return {target: picture(one.image) for target, one in every.items() if one is not None}


def picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (H, W, C) as it can be shown: grey (H, W), RGB, or other channels side by side in grey."""
    channels = image.shape[2]
    if channels == 3:
        return image
    return image[..., 0] if channels == 1 else np.concatenate(list(np.moveaxis(image, 2, 0)), axis=1)


def input_size(stamp: str, model: str) -> tuple[int, int]:
    """Rows and columns of a model's images."""
    _, rows, columns = data.properties(stamp, model)["inputShape"]
    return int(rows), int(columns)


@st.cache_data(show_spinner=False, max_entries=1024)
def receptive_box(stamp: str, model: str, uid: str) -> tuple[int, int, int, int]:
    """First and last row, then first and last column, of the image that a filter's middle reads."""
    layer = data.layers(stamp, model).loc[uid.split("/", 1)[1].rpartition("/")[0]]
    rows, columns = (int(side) for side in layer["outputSize"])
    field = data.session().receptive_field(uid, (rows // 2, columns // 2))
    if field.rows is None or field.columns is None:  # nothing but padding
        return 0, field.size[0] - 1, 0, field.size[1] - 1
    return *field.rows, *field.columns
