"""The result of a Cypher query: a graph where it has nodes, the table, and a download."""

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from viscnn.ui import figures

if TYPE_CHECKING:
    from viscnn.graph import Table

__all__ = ["show_result"]

MOST_DRAWN = 500


def show_result(table: "Table", name: str) -> None:
    """Draw a result.

    Args:
        name: of the downloaded file, and unique on the page.
    """
    if not table.rows:
        st.info("The query has no result rows.", icon=":material/info:")
        return
    nodes, relationships = figures.graph_parts(table.rows)
    if nodes:
        _graph(nodes, relationships, name)
    frame = pd.DataFrame([[_cell(value) for value in row] for row in table.rows], columns=list(table.columns))
    st.dataframe(frame, hide_index=True)
    left, right = st.columns([3, 1], vertical_alignment="center")
    more = "; **more rows exist**: raise the row limit or narrow the query" if table.truncated else ""
    left.caption(f"{len(frame):,} rows{more}")
    right.download_button(
        "Download CSV",
        frame.to_csv(index=False),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        width="stretch",
        key=f"csv_{name}",
        on_click="ignore",
    )


def _graph(nodes: dict[str, dict[str, Any]], relationships: dict[str, dict[str, Any]], name: str) -> None:
    shown = dict(list(nodes.items())[:MOST_DRAWN])
    links = {key: each for key, each in relationships.items() if each["start"] in shown and each["end"] in shown}
    st.echarts_chart(figures.graph_spec(shown, links), height=460, key=f"graph_{name}", alt="the result as a graph")
    line = f"{len(shown):,} of {len(nodes):,} nodes and {len(links):,} of {len(relationships):,} relationships drawn"
    st.caption(line if len(shown) < len(nodes) else f"{len(nodes):,} nodes, {len(links):,} relationships")


def _cell(value: Any) -> Any:
    """Nodes, relationships, maps and lists as JSON text; plain values as they are."""
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else value
