"""Pictures as plain data: heat maps, colour bars, network tables, graph drawings. Pure functions, no Streamlit.

Colours of signs are the same everywhere: red excitatory or positive, blue inhibitory or negative, grey mixed.
Diverging scales are centred at zero and white there.
"""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from viscnn.colours import BLUE, GREY, RED, SIGNS, data_uri, diverging

__all__ = [
    "BLUE",
    "GREY",
    "RED",
    "SIGNS",
    "code",
    "colour_bar",
    "data_uri",
    "diverging",
    "facts",
    "figure",
    "graph_parts",
    "graph_spec",
    "icon",
    "largest",
    "legend",
    "network_kernels",
    "network_nodes",
    "number",
    "percent",
    "plain",
    "row",
    "strip",
]

IDENTITY = 2
"""What the 3-D view takes for the sign of an identity."""
_IDENTITY_WIDTH = 24
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
    """A share as per cent: whole from 10 % on, two significant digits below."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def plain(text: str) -> str:
    """A name so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<$~#:])", r"\\\1", text)


def code(text: str) -> str:
    """A name as code in Markdown, which it cannot leave, whatever it holds."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if fence == "`" else f"{fence} {line} {fence}"


def legend(
    drawn: int,
    kernels: int,
    share: float,
    *,
    left_out: int = 0,
    not_stored: int = 0,
    identities: int = 0,
    identities_left_out: int = 0,
) -> str:
    """What a picture shows: how many kernels of how many, their share of the score, what is missing, and identities.

    Args:
        drawn, kernels: kernels alone; identities are none.
        left_out, identities_left_out: by the cap on what is drawn.
        not_stored: kernels that were not stored when the model was ingested, but would be drawn.
    """
    line = f"{drawn:,} of {kernels:,} kernels drawn ({percent(drawn / kernels if kernels else 0.0)})"
    parts = [f"{line}, {percent(share)} of the total score"]
    parts += [f"{left_out:,} left out by the cap"] * bool(left_out)
    parts += [f"{not_stored:,} not stored (left out when the model was ingested)"] * bool(not_stored)
    if identities or identities_left_out:
        cut = f" ({identities_left_out:,} left out by the cap)" if identities_left_out else ""
        parts.append(f"{identities:,} identities (addends of sums){cut}")
    return "; ".join(parts)


# -- images ------------------------------------------------------------------------------------------------------------


def largest(arrays: Iterable[NDArray[np.floating[Any]]]) -> float:
    """The largest absolute value of all arrays: the limit of a shared scale; 1 where there is nothing but zeros."""
    return max((float(np.abs(each).max()) for each in arrays if each.size), default=0.0) or 1.0


def figure(pixels: Pixels, *, alt: str, caption: str = "", colour: tuple[int, int, int] | None = None) -> str:
    """HTML of an image with sharp cells as wide as its place, a caption below, and a strip of `colour` between."""
    strip = f"border-bottom:4px solid rgb{colour};" if colour else ""
    return (
        f'<figure style="margin:0"><img src="{data_uri(pixels)}" alt="{html.escape(alt)}" '
        f'style="width:100%;image-rendering:pixelated;display:block;border-radius:3px;{strip}'
        'outline:1px solid rgba(128,128,128,.35);outline-offset:-1px">'
        f'<figcaption style="font-size:.75rem;opacity:.75;padding-top:2px">{html.escape(caption)}</figcaption></figure>'
    )


def row(parts: Iterable[str]) -> str:
    """HTML of figures side by side."""
    return f'<div style="display:flex;gap:3px">{"".join(f"<div style=flex:1>{part}</div>" for part in parts)}</div>'


def strip(colour: tuple[int, int, int], *, caption: str) -> str:
    """HTML of a strip of `colour` as wide as its place, with a caption below."""
    return (
        f'<div style="border-bottom:4px solid rgb{colour};border-radius:2px"></div>'
        f'<div style="font-size:.75rem;opacity:.75;padding-top:2px">{html.escape(caption)}</div>'
    )


def icon() -> Image.Image:
    """The page's icon: a red and a blue kernel."""
    weights = np.array([[1.0, 0.6, -0.2], [0.7, -0.3, -0.8], [-0.1, -0.7, -1.0]])
    return Image.fromarray(diverging(weights, 1.0)).resize((48, 48), Image.Resampling.NEAREST)


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


# -- the network in 3-D ------------------------------------------------------------------------------------------------


def network_nodes(filters: pd.DataFrame, centres: pd.DataFrame) -> pd.DataFrame:
    """Nodes for `network3d` from a subgraph's filters: discs across, depth along z, input channels coloured.

    Args:
        centres: `u`, `v` of each layer's disc by the layer's index (see `discs.offsets`).
    """
    middle = centres.loc[filters["layerIndex"]]
    return pd.DataFrame(
        {
            "x": (filters["u"] + middle["u"].to_numpy()).astype(np.float32),
            "y": (filters["v"] + middle["v"].to_numpy()).astype(np.float32),
            "z": filters["z"].astype(np.float32),
            "layer": filters["layerIndex"].astype(np.uint16),
            "score": filters["shown"].astype(np.float32),
            "value": filters["score"].where(~filters["inputChannel"].astype(bool)).astype(np.float32),
            "uid": filters["uid"].astype(str),
            "colour": [
                _CHANNEL_COLOURS.get(uid.rpartition("/")[2], _CHANNEL_COLOURS["gray"]) if is_input else ""
                for uid, is_input in zip(filters["uid"], filters["inputChannel"], strict=True)
            ],
        }
    )


def network_kernels(kernels: pd.DataFrame, identities: pd.DataFrame) -> pd.DataFrame:
    """Kernels for `network3d` from a subgraph's kernels, in their order (most important first), then its identities."""
    count, thin = len(kernels), len(identities)
    return pd.DataFrame(
        {
            "source": np.concatenate([kernels["source"], identities["source"]]).astype(np.uint32),
            "target": np.concatenate([kernels["target"], identities["target"]]).astype(np.uint32),
            "sign": np.concatenate([kernels["sign"], np.full(thin, IDENTITY)]).astype(np.int8),
            "width": np.concatenate(
                [np.clip(np.rint(kernels["shown"] * 255), 1, 255), np.full(thin, _IDENTITY_WIDTH)]
            ).astype(np.uint8),
        },
        index=range(count + thin),
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
        "labelLayout": {"hideOverlap": True},
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
    sign = relationship.get("properties", {}).get("sign")
    return {
        "source": relationship["start"],
        "target": relationship["end"],
        "name": relationship["type"],
        "lineStyle": {"color": "rgb({},{},{})".format(*SIGNS.get(str(sign), GREY)), "width": 1.5},
    }


def _label(node: dict[str, Any]) -> str:
    """The most special label: InputChannel rather than Filter."""
    labels = node["labels"] or ["node"]
    return str(next((label for label in ("InputChannel", "Sum", "Logit") if label in labels), labels[0]))


def _title(node: dict[str, Any]) -> str:
    return str(next((node["properties"][key] for key in ("uid", "name") if key in node["properties"]), node["id"]))


def _place(node: dict[str, Any]) -> tuple[float, float] | None:
    x, y = node["properties"].get("x"), node["properties"].get("y")
    return (float(x), float(y)) if isinstance(x, int | float) and isinstance(y, int | float) else None
