"""The strongest kernels into a filter and from it, in the order of the query's scores, as heat maps on one scale.

Beside each its edge map on the shown image, also on one scale, and what the filter at its other end looks for.
"""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.errors import ViscnnError
from viscnn.ui import data, data_visualize, figures, state
from viscnn.ui.data import Drawing
from viscnn.ui.panels.kernel import WITHOUT_WEIGHTS, kernel_weights
from viscnn.ui.panels.picture import Shown
from viscnn.ui.panels.visualization import MASKED, WHOLE

__all__ = ["incoming_kernels", "outgoing_kernels"]

KERNELS_SHOWN = (4, 8, 12, 24, 48)
COLUMNS = 4


def incoming_kernels(
    stamp: str,
    model: str,
    drawing: Drawing,
    uid: str,
    inputs: int,
    shown: Shown | None,
    *,
    circuit: str | None = None,
) -> None:
    """The top kernels into a filter, of which the network has `inputs`; edge maps are those on the image `shown`.

    Args:
        circuit: uid of the drawn circuit, whose filters are shown by the visualisations from it that there are.
    """
    kernels = data.incoming(stamp, uid, drawing.query)
    _listed(stamp, model, kernels.assign(target=uid), "incoming", other="source", shown=shown, circuit=circuit)
    if len(kernels) < inputs:
        missing = f"{inputs - len(kernels):,} of {inputs:,} kernels into it are not stored"
        st.caption(f"{missing} (left out when the model was ingested).")


def outgoing_kernels(stamp: str, model: str, drawing: Drawing, uid: str, shown: Shown | None) -> None:
    """The top kernels from a filter; identities of sums among them."""
    kernels = data.outgoing(stamp, uid, drawing.query)
    if len(kernels):
        _listed(stamp, model, kernels.assign(source=uid), "outgoing", other="target", shown=shown)
    else:
        st.markdown("**Outgoing kernels** · none: no layer with kernels reads it")


def _listed(
    stamp: str,
    model: str,
    kernels: pd.DataFrame,
    what: str,
    *,
    other: str,
    shown: Shown | None,
    circuit: str | None = None,
) -> None:
    """A grid of kernels, each with its score and the filter at its other end."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with right:
        top = kernels.head(_count(what))
    left.markdown(f"**Top {what} kernels** · {len(top)} of {len(kernels):,}")
    weights = [
        kernel_weights(stamp, model, str(target), each)
        for target, each in zip(top["target"], top["weights"], strict=True)
    ]
    limit = figures.largest(each for each in weights if each is not None)
    beside = _beside(stamp, model, top, other, shown, circuit)
    for start in range(0, len(top), COLUMNS):
        for column, at in zip(st.columns(COLUMNS), range(start, min(start + COLUMNS, len(top))), strict=False):
            with column, st.container(gap=None):
                _kernel(top.iloc[at], weights[at], limit, other)
                if beside[at]:
                    st.html(figures.row(beside[at]))
    if any(each is not None for each in weights):
        st.html(
            figures.colour_bar(limit, label="kernel weight, one scale for all; the strip below a kernel is its sign")
        )
    elif top["sign"].notna().any():
        st.caption(WITHOUT_WEIGHTS)


def _beside(
    stamp: str, model: str, top: pd.DataFrame, other: str, shown: Shown | None, circuit: str | None
) -> list[list[str]]:
    """For each kernel HTML of its edge map, and of the visualisation of its other filter if one was rendered."""
    found: list[list[str]] = [[] for _ in range(len(top))]
    ends = [(str(source), str(target)) for source, target in zip(top["source"], top["target"], strict=True)]
    try:
        maps = [] if shown is None else [each.edge for each in data.kernel_maps(stamp, tuple(ends), shown.picture)]
        limit = figures.largest(maps)
        for at, edge in enumerate(maps):
            picture = figures.diverging(edge, limit)
            found[at].append(figures.figure(picture, alt="edge map of {} to {}".format(*ends[at])))
        pictures = _visualized(stamp, model, [uid for uid in top[other] if "/input/" not in uid], circuit)
        for at, uid in enumerate(top[other]):
            found[at] += [pictures[uid]] if uid in pictures else []
    except ViscnnError:  # the model is not on this machine: the panel of the map says so
        return [[] for _ in range(len(top))]
    return found


def _visualized(stamp: str, model: str, uids: list[str], circuit: str | None) -> dict[str, str]:
    """HTML of the visualisations that were rendered, with a circuit those from it first, and which they are."""
    found: dict[str, str] = {}
    for caption, source in {"": None}.items() if circuit is None else {MASKED: circuit, WHOLE: None}.items():
        missing = [uid for uid in uids if uid not in found]
        for uid, pixels in data_visualize.pictures(stamp, model, missing, circuit=source).items():
            found[uid] = figures.figure(pixels, alt=f"feature visualisation of {uid}", caption=caption)
    return found


def _count(what: str) -> int:
    key = f"kernels_{what}"
    st.session_state[key] = min(KERNELS_SHOWN, key=lambda each: abs(each - state.current().kernels))
    return int(
        st.selectbox(
            f"Kernels shown, {what}",
            KERNELS_SHOWN,
            key=key,
            label_visibility="collapsed",
            on_change=lambda: state.update(kernels=st.session_state[key]),
        )
    )


def _kernel(kernel: "pd.Series[Any]", weights: NDArray[np.float64] | None, limit: float, other: str) -> None:
    source, target = str(kernel["source"]), str(kernel["target"])
    sign = kernel["sign"] or "identity"
    colour, score = figures.SIGNS.get(sign, figures.GREY), figures.number(kernel["score"])
    if pd.isna(kernel["score"]) and not pd.isna(kernel["l1"]):  # no query yet
        score = f"sum of |weights| {figures.number(kernel['l1'])}"
    if weights is None:
        st.html(figures.strip(colour, caption=f"{score} · {sign}"))
    else:
        alt = f"kernel {source} to {target}"
        st.html(figures.figure(figures.diverging(weights, limit), alt=alt, caption=score, colour=colour))
    st.button(
        figures.plain(str(kernel[other]).split("/", 1)[1]),
        key=f"kernel_{other}_{kernel[other]}_{kernel['input']}",
        type="tertiary",
        help=f"{figures.plain(sign)}; open this kernel",
        on_click=lambda: state.select(target, source),
    )
