"""The panel of a kernel: its weights as a heat map, its numbers, both ends; and of what a sum adds up."""

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing

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


def kernel_panel(stamp: str, model: str, drawing: Drawing, source: str, target: str) -> None:
    """One kernel, or one addend of a sum, under the drawing's query."""
    kernels = data.incoming(stamp, target, drawing.query)
    found = kernels.index[kernels["source"] == source]
    if not len(found):
        st.caption(f"There is no kernel from `{source}` to `{target}`.")
        return
    kernel = kernels.loc[found[0]]
    identity = kernel["sign"] is None
    st.markdown(f"##### {'Identity' if identity else 'Kernel'} into `{target}`")
    _ends(source, target)
    rank = f"{int(found[0]) + 1} of {len(kernels):,}"
    if identity:
        st.markdown("An **addend** of a sum: the map is added as it is, so there are no weights.")
        facts = {"Score": figures.number(kernel["score"]), "Rank among the addends": rank}
        st.html(figures.facts(facts | {"Addend": str(kernel["input"])}))
        return
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
