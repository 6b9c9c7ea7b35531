"""Pictures as plain data: heat maps, colour bars, network tables, graph drawings. Pure functions, no Streamlit.

Colours of signs are the same everywhere: red excitatory or positive, blue inhibitory or negative, grey mixed.
Diverging scales are centred at zero and white there.
"""

import html
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "BLUE",
    "GREY",
    "RED",
    "chips",
    "colour_bar",
    "diverging",
    "facts",
    "graph_parts",
    "graph_spec",
    "heat_map",
    "largest",
    "legend",
    "network_kernels",
    "network_nodes",
    "number",
    "percent",
    "picture",
]

RED, BLUE, GREY = (194, 0, 19), (10, 87, 168), (170, 170, 170)
LAYER_DISTANCE = 2.2
_CHANNEL_COLOURS = {"r": "#d62728", "g": "#2ca02c", "b": "#1f77b4", "gray": "#8c8c8c"}
_LABEL_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#bab0ac")
_LABELLED_NODES = 60
Pixels = NDArray[np.uint8]


# -- numbers -----------------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three significant digits; `-` where there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share as per cent, with one digit below 10 % and two below 1 %."""
    value = 100 * share
    return f"{value:.{0 if value >= 10 else 1 if value >= 1 else 2}f} %"


def legend(drawn: int, kernels: int, share: float, left_out: int) -> str:
    """What a picture shows: how many kernels of how many, their share of the score, and what the cap left out."""
    line = f"{drawn:,} of {kernels:,} kernels drawn ({percent(drawn / kernels if kernels else 0.0)})"
    line += f", {percent(share)} of the total score"
    return f"{line}; {left_out:,} left out by the cap" if left_out else line


# -- images ------------------------------------------------------------------------------------------------------------


def largest(arrays: Iterable[NDArray[np.floating[Any]]]) -> float:
    """The largest absolute value of all arrays: the limit of a shared scale; 1 where there is nothing but zeros."""
    return max((float(np.abs(each).max()) for each in arrays if each.size), default=0.0) or 1.0


def diverging(values: NDArray[np.floating[Any]], limit: float) -> Pixels:
    """RGB of `values` (...,): white at 0, red at `limit`, blue at -`limit`; beyond it the colour saturates."""
    share = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)) / limit, -1, 1)[..., None]
    end = np.where(share >= 0, np.array(RED, dtype=np.float64), np.array(BLUE, dtype=np.float64))
    colours: Pixels = np.rint(255 + np.abs(share) * (end - 255)).astype(np.uint8)
    return colours


def heat_map(values: NDArray[np.floating[Any]], limit: float, *, size: int) -> Pixels:
    """`values` (rows, columns) on a diverging scale, its longer side about `size` pixels, cells with sharp edges."""
    return picture(diverging(values, limit), size=size)


def picture(pixels: Pixels, *, size: int) -> Pixels:
    """An image (rows, columns[, 3]) enlarged by a whole number (nearest neighbour), or reduced to fit `size`."""
    image = Image.fromarray(pixels)
    longer = max(image.size)
    if longer > size:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        return np.asarray(image)
    times = max(1, size // longer)
    enlarged: Pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return enlarged


def colour_bar(limit: float, *, label: str) -> str:
    """HTML of a horizontal diverging colour bar from -limit to limit."""
    return (
        '<div style="font-size:.75rem;line-height:1.2">'
        f'<div style="opacity:.65">{html.escape(label)}</div>'
        f'<div style="height:10px;border-radius:2px;background:linear-gradient(90deg,rgb{BLUE},#fff,rgb{RED})"></div>'
        '<div style="display:flex;justify-content:space-between">'
        f"<span>{number(-limit)}</span><span>0</span><span>{number(limit)}</span></div></div>"
    )


def facts(values: Mapping[str, str]) -> str:
    """HTML of a few labelled values, side by side."""
    cells = "".join(
        f'<div><div style="font-size:.75rem;opacity:.65">{html.escape(label)}</div>'
        f'<div style="font-size:1.05rem;font-variant-numeric:tabular-nums">{html.escape(value)}</div></div>'
        for label, value in values.items()
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.35rem 1.4rem">{cells}</div>'


def chips(entries: Mapping[str, tuple[int, int, int]]) -> str:
    """HTML of a legend of colours."""
    return (
        '<div style="font-size:.8rem;display:flex;flex-wrap:wrap;gap:.2rem 1rem">'
        + "".join(
            f'<span><span style="display:inline-block;width:14px;height:4px;margin-right:5px;vertical-align:middle;'
            f'background:rgb{colour}"></span>{html.escape(name)}</span>'
            for name, colour in entries.items()
        )
        + "</div>"
    )


# -- the network in 3-D ------------------------------------------------------------------------------------------------


def network_nodes(filters: pd.DataFrame) -> pd.DataFrame:
    """Nodes for `network3d` from a subgraph's filters: discs across, depth along z, input channels coloured."""
    return pd.DataFrame(
        {
            "x": filters["u"].astype(np.float32),
            "y": filters["v"].astype(np.float32),
            "z": (filters["z"] * LAYER_DISTANCE).astype(np.float32),
            "layer": filters["layerIndex"].astype(np.uint16),
            "score": filters["shown"].astype(np.float32),
            "uid": filters["uid"].astype(str),
            "colour": [
                _CHANNEL_COLOURS.get(uid.rpartition("/")[2], _CHANNEL_COLOURS["gray"]) if is_input else ""
                for uid, is_input in zip(filters["uid"], filters["inputChannel"], strict=True)
            ],
        }
    )


def network_kernels(kernels: pd.DataFrame) -> pd.DataFrame:
    """Kernels for `network3d` from a subgraph's kernels, in their order (most important first)."""
    return pd.DataFrame(
        {
            "source": kernels["source"].astype(np.uint32),
            "target": kernels["target"].astype(np.uint32),
            "sign": kernels["sign"].astype(np.int8),
            "width": np.clip(np.rint(kernels["shown"] * 255), 1, 255).astype(np.uint8),
        }
    )


# -- graphs of ad-hoc Cypher -------------------------------------------------------------------------------------------


def graph_parts(rows: Iterable[Iterable[Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """All nodes and relationships in a result by id, also those inside paths, lists and maps.

    A relationship is kept only where the result has both its ends.
    """
    nodes: dict[str, dict[str, Any]] = {}
    relationships: dict[str, dict[str, Any]] = {}
    pending: list[Any] = [value for row in rows for value in row]
    while pending:
        value = pending.pop()
        if isinstance(value, list | tuple):
            pending.extend(value)
        elif isinstance(value, dict) and {"id", "labels", "properties"} <= value.keys():
            nodes[value["id"]] = value
        elif isinstance(value, dict) and {"id", "type", "start", "end"} <= value.keys():
            relationships[value["id"]] = value
        elif isinstance(value, dict):
            pending.extend(value.values())
    known = {key: each for key, each in relationships.items() if each["start"] in nodes and each["end"] in nodes}
    return nodes, known


def graph_spec(nodes: Mapping[str, dict[str, Any]], relationships: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """An ECharts option: nodes at their stored x, y where all have them, by force layout otherwise."""
    labels = sorted({_label(node) for node in nodes.values()})
    placed = all(_place(node) is not None for node in nodes.values())
    series: dict[str, Any] = {
        "type": "graph",
        "layout": "none" if placed else "force",
        "force": {"repulsion": 120, "edgeLength": 60},
        "roam": True,
        "draggable": not placed,
        "categories": [
            {"name": label, "itemStyle": {"color": _LABEL_COLOURS[at % len(_LABEL_COLOURS)]}}
            for at, label in enumerate(labels)
        ],
        "data": [_chart_node(key, node, labels, placed) for key, node in nodes.items()],
        "links": [_chart_link(each) for each in relationships.values()],
        "label": {"show": len(nodes) <= _LABELLED_NODES, "position": "right", "fontSize": 10},
        "lineStyle": {"curveness": 0.08, "opacity": 0.7},
        "edgeSymbol": ["none", "arrow"],
        "edgeSymbolSize": 6,
        "emphasis": {"focus": "adjacency"},
    }
    return {"legend": {"data": labels, "top": 0}, "tooltip": {"formatter": "{b}"}, "series": [series]}


def _chart_node(key: str, node: dict[str, Any], labels: list[str], placed: bool) -> dict[str, Any]:
    entry = {"id": key, "name": _title(node), "category": labels.index(_label(node)), "symbolSize": 14}
    place = _place(node) if placed else None
    # the picture's y points down
    return entry | ({"x": 100 * place[0], "y": -100 * place[1]} if place else {})


def _chart_link(relationship: dict[str, Any]) -> dict[str, Any]:
    colours = {"excitatory": RED, "inhibitory": BLUE}
    sign = relationship.get("properties", {}).get("sign")
    return {
        "source": relationship["start"],
        "target": relationship["end"],
        "name": relationship["type"],
        "lineStyle": {"color": "rgb({},{},{})".format(*colours.get(sign, GREY)), "width": 1.5},
    }


def _label(node: dict[str, Any]) -> str:
    """The most special label: InputChannel rather than Filter."""
    labels = node["labels"] or ["node"]
    return str(next((label for label in ("InputChannel", "Sum") if label in labels), labels[0]))


def _title(node: dict[str, Any]) -> str:
    return str(next((node["properties"][key] for key in ("uid", "name") if key in node["properties"]), node["id"]))


def _place(node: dict[str, Any]) -> tuple[float, float] | None:
    x, y = node["properties"].get("x"), node["properties"].get("y")
    return (float(x), float(y)) if isinstance(x, int | float) and isinstance(y, int | float) else None
