"""The panel of a kernel: its weights as a heat map, its numbers, both ends; and of what a sum adds up."""

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.picture import Shown, choose_image
from viscnn.ui.panels.visualization import kernel_visualization

__all__ = ["WITHOUT_WEIGHTS", "addends", "kernel_panel", "kernel_weights"]

WITHOUT_WEIGHTS = (
    "The weights were not stored when the model was ingested (`--no-weights`); all other numbers are there."
)


def kernel_weights(stamp: str, model: str, target: str, weights: list[float] | None) -> NDArray[np.float64] | None:
    """Stored weights of a kernel into `target` as (rows, columns); None where they are not stored."""
    if weights is None:
        return None
    layer = data.layers(stamp, model).loc[target.split("/", 1)[1].rpartition("/")[0]]
    return np.asarray(weights, dtype=np.float64).reshape([int(side) for side in layer["kernelSize"]])


def kernel_panel(
    stamp: str, model: str, drawing: Drawing, source: str, target: str, *, circuit: str | None = None
) -> Shown | None:
    """One kernel, or one addend of a sum, under the drawing's query; returns the image that its maps are shown on.

    Args:
        circuit: uid of the drawn circuit, whose kernels have visualisations of their own.
    """
    kernels = data.incoming(stamp, target, drawing.query)
    found = kernels.index[kernels["source"] == source]
    if not len(found):
        st.caption(f"There is no kernel from {figures.code(source)} to {figures.code(target)}.")
        return None
    kernel = kernels.loc[found[0]]
    identity = kernel["sign"] is None
    st.markdown(f"##### {'Identity' if identity else 'Kernel'} into {figures.code(target)}")
    _ends(source, target)
    rank = f"{int(found[0]) + 1} of {len(kernels):,}"
    if identity:
        st.markdown("An **addend** of a sum: the map is added as it is, so there are no weights.")
        facts = {"Score": figures.number(kernel["score"]), "Rank among the addends": rank}
        st.html(figures.facts(facts | {"Addend": str(kernel["input"])}))
        return _maps(stamp, model, source, target)
    weights = kernel_weights(stamp, model, target, kernel["weights"])
    left, right = st.columns(2)
    with left:
        _weights(weights, alt=f"kernel {source} to {target}")
    right.html(
        figures.facts(
            {
                "Score": figures.number(kernel["score"]),
                "Rank among those into the filter": rank,
                "Sign": str(kernel["sign"]),
                "Sign ratio": figures.number(kernel["signRatio"]),
                "Sum of |weights|": figures.number(kernel["l1"]),
                "Input": str(kernel["input"]),
            }
        )
    )
    shown = _maps(stamp, model, source, target)
    outside = circuit is not None and not _is_drawn(drawing, source, target)
    kernel_visualization(stamp, model, source, target, circuit=circuit, outside=outside)
    return shown


def _is_drawn(drawing: Drawing, source: str, target: str) -> bool:
    uids = drawing.filters["uid"]
    first, last = (uids.iloc[drawing.kernels[end]].to_numpy() for end in ("source", "target"))
    return bool(((first == source) & (last == target)).any())


def _maps(stamp: str, model: str, source: str, target: str) -> Shown | None:
    """What the kernel reads on an image, and its edge map: the same scale would hide one of them."""
    st.markdown("**On an image**")
    with shown_errors("kernel_maps"):
        shown = choose_image(stamp, model)
        if shown is None:
            return None
        (maps,) = data.kernel_maps(stamp, ((source, target),), shown.picture)
        pictures = {"image": data.image(stamp, model, shown.picture)}
        for name, values in (("input map", maps.input), ("edge map, without bias", maps.edge)):
            pictures[f"{name}, ±{figures.number(figures.largest([values]))}"] = figures.diverging(
                values, figures.largest([values])
            )
        for column, (caption, picture) in zip(st.columns(3), pictures.items(), strict=True):
            column.html(figures.figure(picture, alt=f"{caption} from {source} to {target}", caption=caption))
        return shown
    return None


def _weights(weights: NDArray[np.float64] | None, *, alt: str) -> None:
    if weights is None:
        st.caption(WITHOUT_WEIGHTS)
        return
    limit = figures.largest([weights])
    st.html(figures.figure(figures.diverging(weights, limit), alt=alt))
    st.html(figures.colour_bar(limit, label="weight"))


def addends(incoming: pd.DataFrame, target: str) -> None:
    """What a sum adds up: one line per addend, in the order of the query's scores."""
    st.markdown(f"**Addends** · {len(incoming)}")
    for each in incoming.to_dict("records"):
        left, right = st.columns([3, 1], vertical_alignment="center")
        source = str(each["source"])
        left.button(
            figures.plain(source.split("/", 1)[1]),
            key=f"addend_{each['input']}",
            width="stretch",
            help="Open this filter",
            on_click=lambda source=source: state.select(source),
        )
        right.html(figures.facts({f"Score, addend {each['input']}": figures.number(each["score"])}))


def _ends(source: str, target: str) -> None:
    left, right = st.columns(2)
    for column, what, uid in ((left, "from", source), (right, "to", target)):
        column.button(
            figures.plain(f"{what} {uid.split('/', 1)[1]}"),
            key=f"end_{what}",
            width="stretch",
            help="Open this filter",
            on_click=lambda uid=uid: state.select(uid),
        )
