"""The panel of a kernel: its weights as a heat map, its numbers, both ends."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing

__all__ = ["kernel_panel", "kernel_weights"]


def kernel_weights(stamp: str, model: str, target: str, weights: list[float]) -> NDArray[np.float64]:
    """Stored weights of a kernel into `target` as (rows, columns)."""
    layer = data.layers(stamp, model).loc[target.split("/", 1)[1].rpartition("/")[0]]
    return np.asarray(weights, dtype=np.float64).reshape([int(side) for side in layer["kernelSize"]])


def kernel_panel(stamp: str, model: str, drawing: Drawing, source: str, target: str) -> None:
    """One kernel under the drawing's query."""
    kernels = data.incoming(stamp, target, drawing.query)
    found = kernels.index[kernels["source"] == source]
    if not len(found):
        st.caption(f"There is no kernel from `{source}` to `{target}`.")
        return
    kernel = kernels.loc[found[0]]
    st.markdown(f"##### Kernel into `{target}`")
    _ends(source, target)
    weights = kernel_weights(stamp, model, target, kernel["weights"])
    limit = figures.largest([weights])
    left, right = st.columns(2)
    with left:
        st.html(figures.figure(figures.diverging(weights, limit), alt=f"kernel {source} to {target}"))
        st.html(figures.colour_bar(limit, label="weight"))
    right.html(
        figures.facts(
            {
                "Score": figures.number(kernel["score"]),
                "Rank among those into the filter": f"{int(found[0]) + 1} of {len(kernels)}",
                "Sign": str(kernel["sign"]),
                "Sign ratio": figures.number(kernel["signRatio"]),
                "Sum of |weights|": figures.number(kernel["l1"]),
                "Input": str(kernel["input"]),
            }
        )
    )


def _ends(source: str, target: str) -> None:
    left, right = st.columns(2)
    for column, what, uid in ((left, "from", source), (right, "to", target)):
        column.button(
            f"{what} {uid.split('/', 1)[1]}",
            key=f"end_{what}",
            width="stretch",
            help="Open this filter",
            on_click=lambda uid=uid: state.select(uid),
        )
