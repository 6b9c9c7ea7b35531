"""Interventions: scale or ablate filters and kernels, and see what changes on an image. Nothing is ever stored."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from viscnn.ui import data, figures, state
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.picture import Shown
from viscnn.ui.panels.query_bar import outputs

if TYPE_CHECKING:
    from viscnn.engine.one_image import Response

__all__ = ["interventions"]

_FACTORS = "viscnn_factors"
LOGITS_SHOWN = 8


def interventions(stamp: str, model: str, shown: Shown | None) -> None:
    """Add the selected filter or kernel with a factor, see all factors, and their effect on the image, if any."""
    factors: dict[str, float] = st.session_state.setdefault(_FACTORS, {}).setdefault(model, {})
    st.markdown("**Interventions** · in this session only; the stored model stays as it is")
    _add(factors)
    for name in list(factors):
        _line(factors, name)
    if not factors:
        st.caption("Choose a factor for the selected filter or kernel: 0 ablates it, 2 doubles its map.")
        return
    with shown_errors("interventions"):
        if shown is None:
            st.caption("Choose an image to see their effect.")
            return
        asked = st.selectbox(
            "Target",
            outputs(data.properties(stamp, model), state.current().selected),
            key="intervention_target",
            accept_new_options=True,
        )
        view = state.current()
        watch = (view.selected,) if view.selected is not None and "/input/" not in view.selected else ()
        found = data.intervene(stamp, model, shown.picture, factors, output=asked, watch=watch)
        _effect(found)


def _selected() -> str | None:
    """The name of what is selected: a filter with a map of its own, or a kernel."""
    view = state.current()
    if view.selected is None or "/input/" in view.selected:
        return None
    return view.selected if view.source is None else f"{view.source} -> {view.selected}"


def _add(factors: dict[str, float]) -> None:
    name = _selected()
    left, right = st.columns(2, vertical_alignment="bottom")
    factor = left.number_input("Factor", -10.0, 10.0, 0.0, 0.25, key="factor", disabled=name is None)
    what = "filter" if name is None or "->" not in name else "kernel"
    right.button(
        f"Set for this {what}",
        key="add_factor",
        disabled=name is None,
        width="stretch",
        on_click=lambda: factors.__setitem__(str(name), factor),
        help=None if name is None else figures.plain(name),
    )


def _line(factors: dict[str, float], name: str) -> None:
    left, right = st.columns([9, 1], vertical_alignment="center")
    left.markdown(f"{figures.plain(name)} · **× {figures.number(factors[name])}**")
    right.button(
        "", key=f"undo_{name}", icon=":material/close:", type="tertiary", on_click=_remove, args=(factors, name)
    )


def _remove(factors: dict[str, float], name: str) -> None:
    factors.pop(name, None)  # of two quick clicks the second finds nothing


def _effect(found: "Response") -> None:
    """The target, the logits that change most, and the selected filter's map."""
    change = found.after - found.before
    st.html(
        figures.facts(
            {
                f"{found.target}, as it is": figures.number(found.before),
                "with the interventions": figures.number(found.after),
                "change": f"{'+' if change > 0 else ''}{figures.number(change)}",
            }
        )
    )
    if found.logits is not None:
        st.dataframe(changed(found), hide_index=True, height=min(36 * (LOGITS_SHOWN + 1), 330))
    for uid, maps in found.maps.items():
        limit = figures.largest(maps)
        for column, values, caption in zip(st.columns(2), maps, ("as it is", "with the interventions"), strict=True):
            picture = figures.diverging(values, limit)
            column.html(figures.figure(picture, alt=f"activation map of {uid}, {caption}", caption=caption))
        st.html(figures.colour_bar(limit, label="pre-activation Z of the selected filter, one scale for both"))


def changed(found: "Response") -> pd.DataFrame:
    """The classes whose logits change most."""
    assert found.logits is not None
    before, after = found.logits
    names = [found.classes[at] if at < len(found.classes) else str(at) for at in range(len(before))]
    order = np.argsort(-np.abs(after - before), kind="stable")[:LOGITS_SHOWN]
    return pd.DataFrame(
        {
            "class": [names[at] for at in order],
            "logit": before[order].round(3),
            "with": after[order].round(3),
            "change": (after - before)[order].round(3),
        }
    )
