"""The 3-D network: filters in the discs of their layers, kernels between them; a click selects one.

The drawing is a Streamlit component (plain WebGL2, sources in `ui/component/`, ready build in
`ui/component/dist/network.js`). Data travels as two Arrow tables, about 9 bytes a kernel.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal, TypedDict, cast

import numpy as np
import pandas as pd
import streamlit as st

from viscnn.errors import StoredDataError

__all__ = ["Selection", "clicked", "network3d"]

_NODE_TYPES = {"x": "float32", "y": "float32", "z": "float32", "layer": "uint16", "score": "float32"}
_KERNEL_TYPES = {"source": "uint32", "target": "uint32", "sign": "int8", "width": "uint8"}


class Selection(TypedDict):
    """What is selected: `index` is a row of `nodes` (kind `filter`) or of `kernels` (kind `kernel`)."""

    kind: Literal["filter", "kernel"]
    index: int


def network3d(
    nodes: pd.DataFrame,
    kernels: pd.DataFrame,
    *,
    revision: str,
    selected: Mapping[str, Any] | None = None,
    selected_revision: int = 0,
    key: str = "network",
    height: int = 620,
    layers: Sequence[str] = (),
    legend: str = "",
    palette: Literal["signs", "safe", "comparison"] = "signs",
    on_select: Callable[[], None] = lambda: None,
) -> Selection | None:
    """Draw the network and return what is selected in it.

    Args:
        nodes: one filter a row: `x`, `y` (place in the disc) and `z` (depth) in any unit, `layer` (0 and up), `uid`,
            `score` in [0, 1]; optionally `value` (the score as it is, NaN for none), `target` (bool: ringed) and
            `colour` ("#rrggbb" for input channels, else "").
        kernels: one kernel a row, the most important first: `source` and `target` (rows of `nodes`), `sign`
            (-1 inhibitory, 0 mixed, 1 excitatory; 2 for an identity, an addend of a sum), `width` (0 to 255).
        revision: names the content of both tables; the browser takes them anew when it changes.
        selected: a `Selection`, or by uids, drawn or not: {"kind": "filter", "uid"}, {"kind": "kernel", "source",
            "target"}; sent at first and when `selected_revision` changes, so that a click can be passed back.
        selected_revision: count it up when Python, not a click, changes the selection.
        key: Streamlit's key of the component; the camera lives as long as it stays the same.
        height: CSS pixels.
        layers: the caption of each layer; an empty one is none. Of too many every n-th is shown.
        legend: its text, such as "1,234 of 250,048 kernels drawn".
        palette: colours of the signs: red and blue; blue and orange, for any kind of colour blindness; or of two
            queries, where -1 stands for kernels of the left one only, 0 for shared ones, 1 for the right one's only.
        on_select: called before the rerun that a click starts; `clicked(key)` is the click.

    Returns:
        What was selected last, by a click or by Python, as rows of the tables given now.

    Raises:
        StoredDataError: a column is missing, a kernel names a row that does not exist, or a place is not finite.
    """
    node_table, kernel_table = _node_table(nodes), _kernel_table(kernels, len(nodes))
    jump = _jump(key, _named(selected, node_table, kernel_table), selected_revision)
    drawn = {"revision": revision, "height": height, "layers": list(layers), "legend": legend, "palette": palette}
    sent = {"selected": jump, "selectedRevision": selected_revision}
    data = {"nodes": node_table, "kernels": kernel_table, "cfg": drawn | sent}
    result = _component()(key=key, data=data, default={"selected": None}, on_selected_change=on_select)
    value = cast(dict[str, Any] | None, result.get("selected"))
    if value is None or value["selectedRevision"] != selected_revision:
        return _found(jump, node_table, kernel_table)
    return _current(value, node_table, kernel_table, revision)


def clicked(key: str = "network") -> dict[str, str] | None:
    """The last click by uid: {"uid"} of a filter, {"source", "target"} of a kernel, None for empty space.

    For use in `on_select`, when the tables of the click may already be gone.
    """
    state = st.session_state.get(key)
    value = cast(dict[str, Any] | None, state.get("selected") if isinstance(state, Mapping) else None)
    if value is None or value["kind"] is None:
        return None
    names = ("uid",) if value["kind"] == "filter" else ("source", "target")
    return {name: str(value[name]) for name in names}


@cache
def _component() -> Callable[..., Any]:
    """The mounting function; registered once a process."""
    build = resources.files("viscnn.ui").joinpath("component", "dist", "network.js")
    return st.components.v2.component("viscnn_network3d", js=build.read_text(encoding="utf-8"))


def _jump(key: str, selected: dict[str, str] | None, selected_revision: int) -> dict[str, str] | None:
    """The selection to send: as it was when `selected_revision` changed or the component was first drawn.

    Anything else would change the component's data at every click, and so send both tables again.
    """
    memory = f"{key}:selected"
    known = st.session_state.get(memory)
    if known is None or known["revision"] != selected_revision or key not in st.session_state:
        known = st.session_state[memory] = {"revision": selected_revision, "selected": selected}
    return cast(dict[str, str] | None, known["selected"])


def _named(selected: Mapping[str, Any] | None, nodes: pd.DataFrame, kernels: pd.DataFrame) -> dict[str, str] | None:
    """A selection by the uids that outlive the tables."""
    if selected is None or "index" not in selected:
        return {name: str(value) for name, value in selected.items()} if selected else None
    index = int(selected["index"])
    if not 0 <= index < len(nodes if selected["kind"] == "filter" else kernels):
        return None  # a row of earlier tables
    if selected["kind"] == "filter":
        return {"kind": "filter", "uid": str(nodes["uid"].iloc[index])}
    source, target = (str(nodes["uid"].iloc[int(kernels[end].iloc[index])]) for end in ("source", "target"))
    return {"kind": "kernel", "source": source, "target": target}


def _current(value: dict[str, Any], nodes: pd.DataFrame, kernels: pd.DataFrame, revision: str) -> Selection | None:
    """A click as rows of the present tables; a click on earlier ones is found again by its uids."""
    kind = value["kind"]
    if kind is None:
        return None
    if value["revision"] == revision:
        return Selection(kind=kind, index=int(value["index"]))
    return _found(value, nodes, kernels)


def _found(names: Mapping[str, Any] | None, nodes: pd.DataFrame, kernels: pd.DataFrame) -> Selection | None:
    """The rows of a selection by uids; None where it is not drawn."""
    if names is None:
        return None
    if names["kind"] == "filter":
        found = np.flatnonzero(nodes["uid"] == names["uid"])
    else:
        ends = [np.flatnonzero(nodes["uid"] == names[end]) for end in ("source", "target")]
        found = np.flatnonzero(kernels["source"].isin(ends[0]) & kernels["target"].isin(ends[1]))
    return Selection(kind=names["kind"], index=int(found[0])) if len(found) else None


def _node_table(nodes: pd.DataFrame) -> pd.DataFrame:
    """The columns that are sent, in their types: 18 bytes a filter and its texts."""
    table = _typed(nodes, _NODE_TYPES, "filter")
    if not np.isfinite(table[["x", "y", "z"]].to_numpy()).all():
        raise StoredDataError("a filter's place in the 3-D view is not finite; ingest the model again with --replace")
    table["score"] = table["score"].fillna(0.0).clip(0.0, 1.0)
    table["uid"] = nodes["uid"].astype(str).to_numpy()
    if "value" in nodes:
        table["value"] = nodes["value"].to_numpy(dtype="float32")
    if "target" in nodes:
        table["target"] = nodes["target"].to_numpy(dtype="uint8")
    if "colour" in nodes:
        table["colour"] = nodes["colour"].fillna("").astype(str).to_numpy()
    return table


def _kernel_table(kernels: pd.DataFrame, filters: int) -> pd.DataFrame:
    table = _typed(kernels, _KERNEL_TYPES, "kernel")
    last = int(max(table["source"].max(), table["target"].max())) if len(table) else -1
    if last >= filters:
        raise StoredDataError(f"a kernel of the 3-D view names filter row {last}, but there are {filters} filters")
    return table


def _typed(frame: pd.DataFrame, types: dict[str, str], what: str) -> pd.DataFrame:
    missing = [name for name in (*types, *(["uid"] if what == "filter" else [])) if name not in frame]
    if missing:
        raise StoredDataError(f"the {what} table of the 3-D view lacks the column {missing[0]!r}")
    return pd.DataFrame({name: frame[name].to_numpy(dtype=kind) for name, kind in types.items()})
