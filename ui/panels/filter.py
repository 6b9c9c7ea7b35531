"""The panel of a filter: its numbers, exemplars, visualisation, activation map, and strongest incoming kernels."""

from typing import Any

import pandas as pd
import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.panels.activation import activation_panel
from viscnn.ui.panels.exemplars import exemplar_panel
from viscnn.ui.panels.kernel import addends, kernel_panel
from viscnn.ui.panels.kernels import incoming_kernels
from viscnn.ui.panels.picture import Shown
from viscnn.ui.panels.visualization import visualization_panel
from viscnn.ui.ranking import sizes

__all__ = [
    "drawn_filters",
    "filter_facts",
    "filter_panel",
    "kernels_into",
    "panel_switch",
    "selection_panel",
    "top_filters",
]

TOP_PER_LAYER = 5
HIGHEST_TABLE = 640


def panel_switch(other: str) -> bool:
    """A switch between the selection and a table called `other`; whether the selection is to be shown."""
    choices = [state.SELECTED, other]
    if st.session_state.get(state.PANEL) not in choices:
        st.session_state[state.PANEL] = state.SELECTED if state.current().selected else other
    st.segmented_control(
        "Panel", choices, key=state.PANEL, required=True, label_visibility="collapsed", width="stretch"
    )
    return bool(st.session_state[state.PANEL] == state.SELECTED)


def selection_panel(stamp: str, model: str, drawing: Drawing, *, circuit: str | None = None) -> None:
    """The panel of what is selected, or how to select; of what a circuit holds the circuit's own visualisations."""
    view = state.current()
    if view.selected is None or view.selected not in set(drawing.filters["uid"]):
        st.caption("Nothing is selected. Click a filter or a kernel in the picture, or pick a filter above.")
    elif view.source is not None:
        kernel_panel(stamp, model, drawing, view.source, view.selected, circuit=circuit)
    else:
        filter_panel(stamp, model, drawing, view.selected, circuit=circuit)


def filter_panel(stamp: str, model: str, drawing: Drawing, uid: str, *, circuit: str | None = None) -> None:
    """One filter under the drawing's query; of a filter of `circuit` the circuit's own visualisations."""
    st.markdown(f"##### Filter {figures.code(uid)}")
    layer = filter_facts(stamp, model, drawing, uid)
    if layer is None:
        return
    exemplar_panel(stamp, model, uid)
    outside = circuit is not None and uid not in drawn_filters(drawing)
    visualization_panel(stamp, model, uid, circuit=circuit, outside=outside)
    shown = activation_panel(stamp, model, uid)
    kernels_into(stamp, model, drawing, uid, layer, shown, circuit=circuit)


def drawn_filters(drawing: Drawing) -> frozenset[str]:
    """The filters that a kernel or identity that is drawn starts or ends at: all of a circuit, and its input."""
    ends = pd.concat([each[end] for each in (drawing.kernels, drawing.identities) for end in ("source", "target")])
    return frozenset(drawing.filters["uid"].iloc[ends.unique()])


def filter_facts(stamp: str, model: str, drawing: Drawing, uid: str) -> "pd.Series[Any] | None":
    """The filter's numbers; returns its layer, None for an input channel, which has neither score nor kernels."""
    row = drawing.filters.loc[drawing.filters["uid"] == uid].iloc[0]
    if row["inputChannel"]:
        st.caption("An input channel: it has no score and no kernels of its own.")
        return None
    layer_filters = drawing.filters.loc[drawing.filters["layer"] == row["layer"]]
    peers = sizes(layer_filters)
    layer: pd.Series[Any] = data.layers(stamp, model).loc[row["layer"]]
    note = _note(layer, int(row["channel"]), data.properties(stamp, model)["classes"] or [])
    if note:
        st.markdown(note)
    own = peers[layer_filters["uid"] == uid].iloc[0]
    rank = "-" if pd.isna(row["score"]) else f"{int((peers > own).sum()) + 1:,} of {len(peers):,}"
    numbers = {
        "Layer": str(row["layer"]),
        "Score": figures.number(row["score"]),
        "Rank in layer": rank,
        "Importance": figures.number(row["importance"]),
    }
    st.html(figures.facts(numbers if layer["kind"] == "sum" else numbers | {"Bias": figures.number(row["bias"])}))
    return layer


def kernels_into(
    stamp: str,
    model: str,
    drawing: Drawing,
    uid: str,
    layer: "pd.Series[Any]",
    shown: Shown | None,
    *,
    circuit: str | None = None,
) -> None:
    """Its top incoming kernels with their edge maps on an image, or the addends of a sum."""
    if layer["kind"] == "sum":
        addends(data.incoming(stamp, uid, drawing.query), uid)
    else:
        incoming_kernels(stamp, model, drawing, uid, int(layer["inputs"]), shown, circuit=circuit)


def _note(layer: "pd.Series[Any]", channel: int, classes: list[str]) -> str:
    """What is special about the filters of a layer; empty where nothing is."""
    if layer["kind"] == "sum":
        return "A channel of an **addition**: it adds up maps as they are, without weights or bias of its own."
    if layer["logits"]:
        name = classes[channel] if channel < len(classes) else str(channel)
        return f"The **logit** of class {figures.plain(name)}."
    if layer["gate"]:
        return "A filter of a **gate**: its map reaches other layers only as a factor (squeeze-and-excite)."
    return ""


def top_filters(drawing: Drawing) -> None:
    """The filters with the highest (signed criteria: largest) scores, layer by layer; choosing a row selects one."""
    table = drawing.filters.loc[~drawing.filters["inputChannel"].astype(bool)]
    table = table.assign(size=sizes(table)).sort_values(["layerIndex", "size"], ascending=[True, False])
    table = table.groupby("layer", sort=False).head(TOP_PER_LAYER)
    table = table[["uid", "score", "shown"]].reset_index(drop=True)
    key = f"top_filters_{state.clicks()}"

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            state.select(str(table["uid"].iloc[rows[0]]))

    st.dataframe(
        table.assign(uid=table["uid"].str.split("/", n=1).str[1]),
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=min(36 * (len(table) + 1), HIGHEST_TABLE),
        column_config={
            "uid": "Filter",
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=72),
            "shown": st.column_config.ProgressColumn(
                "Of the best",
                help="Share of the highest score in its layer",
                format="percent",
                min_value=0.0,
                max_value=1.0,
                width=84,
            ),
        },
    )
