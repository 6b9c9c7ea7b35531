"""What speaks for a circuit: Pearson r beside its controls, sizes, and its kernels."""

import html
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from viscnn.ui import figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.ranking import sizes

__all__ = ["correlations", "details", "kernel_table"]

_R = {
    "pearson": ("Pearson r, circuit", "Pearson r of the target's response, masked network against whole network"),
    "pearsonMagnitude": ("r, largest weights", "as many kernels per layer, those with the largest weights"),
    "pearsonRandom": ("r, random", "mean over random circuits of the same size per layer"),
    "pearsonWorst": ("r, worst", "as many kernels per layer, those with the lowest scores"),
}

_TABLE = "display:grid;grid-template-columns:max-content 1fr max-content;gap:.15rem .7rem;align-items:center"


def correlations(circuit: dict[str, Any]) -> None:
    """How well a stored circuit, given by its properties, keeps its target's response, and how well its controls do."""
    st.html(
        f'<div role="table" aria-label="Preservation" style="{_TABLE}">'
        + "".join(_bar(label, meaning, circuit.get(key), key == "pearson") for key, (label, meaning) in _R.items())
        + "</div>"
    )
    if circuit.get("collapsed"):
        st.warning("No set of top kernels of the asked size reaches the target; this is the strongest single path.")


def _bar(label: str, meaning: str, value: float | None, own: bool) -> str:
    """HTML of one correlation: a bar from zero to one; a negative one has none, but its number."""
    share = 100 * min(max(value or 0.0, 0.0), 1.0)
    colour = "rgb({},{},{})".format(*figures.BLUE) if own else "rgba(128,128,128,.6)"
    text = "undefined" if value is None else f"{value:.3f}"
    weight = "font-weight:600" if own else ""
    return (
        f'<div title="{html.escape(meaning)}" style="font-size:.85rem;{weight}">{html.escape(label)}</div>'
        f'<div style="height:.55rem;border-radius:2px;background:rgba(128,128,128,.16)">'
        f'<div style="height:100%;width:{share:.1f}%;border-radius:2px;background:{colour}"></div></div>'
        f'<div style="font-variant-numeric:tabular-nums;text-align:right;{weight}">{text}</div>'
    )


def details(circuit: dict[str, Any]) -> None:
    """Sizes of a stored circuit, given by its properties, and how it was chosen and checked."""
    st.html(
        figures.facts(
            {
                "Kernels": f"{circuit['kernels']:,} of {circuit.get('upstreamKernels', 0):,} upstream",
                "Kept fraction, asked": figures.percent(circuit.get("keep", 0.0)),
                "Kept fraction, effective": figures.percent(circuit["keptFraction"]),
                "Filters": f"{circuit['filters']:,}",
                "Check images": f"{circuit.get('checkImages', 0):,} ({circuit.get('checkSets', '-')})",
                "NaN correlations": str(circuit.get("nanCount", 0)),
                "Spearman": figures.number(circuit.get("spearman")),
                "Scale": str(circuit.get("scale", "-")),
                "Ablation": str(circuit.get("ablation", "-")),
            }
        )
    )


def kernel_table(drawing: Drawing) -> None:
    """The circuit's kernels, highest score (signed criteria: largest) first; choosing a row selects the kernel."""
    uids = drawing.filters["uid"].to_numpy()
    kernels = drawing.kernels.loc[sizes(drawing.kernels).sort_values(ascending=False, kind="stable").index]
    table = pd.DataFrame(
        {
            "source": uids[kernels["source"]],
            "target": uids[kernels["target"]],
            "score": kernels["score"].to_numpy(),
            "sign": kernels["sign"].map({-1: "inhibitory", 0: "mixed", 1: "excitatory"}).to_numpy(),
            "signRatio": kernels["signRatio"].to_numpy(dtype=np.float64),
        }
    )
    key = f"circuit_kernels_{state.clicks()}"

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            state.select(str(table["target"].iloc[rows[0]]), str(table["source"].iloc[rows[0]]))

    st.dataframe(
        table.assign(**{end: table[end].str.split("/", n=1).str[1] for end in ("source", "target")}),
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=440,
        column_config={
            "source": "Source",
            "target": "Target",
            "score": st.column_config.NumberColumn("Score", format="%.3g"),
            "sign": "Sign",
            "signRatio": st.column_config.NumberColumn("Sign ratio", format="%.2f"),
        },
    )
