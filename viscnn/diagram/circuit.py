"""A stored circuit read from the graph for its diagram: filters, kernels, identities, weights."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from viscnn.diagram.choice import MOST_KERNELS, choose
from viscnn.diagram.layout import IDENTITY, Diagram, Weights, laid
from viscnn.errors import InputError
from viscnn.graph import Graph
from viscnn.subgraph import of_circuit

__all__ = ["LIMIT", "circuit_diagram"]

LIMIT = 500
"""Filters in one diagram, input channels and sums among them."""


def circuit_diagram(graph: Graph, uid: str, *, limit: int = LIMIT) -> Diagram:
    """Read a stored circuit and lay it out.

    Args:
        limit: filters at most; of a larger circuit those with the highest scores that stay connected.

    Raises:
        NotInGraph: no circuit of that uid, or its query is not complete.
        InputError: the limit is below 2.
    """
    if limit < 2:
        raise InputError(f"a diagram of at most {limit} filters shows nothing; give 2 or more")
    found = of_circuit(graph, uid)
    circuit = dict(graph.read("read/circuit", uid=uid)[0]["circuit"])
    included = [row["target"] for row in graph.read("read/circuit_inputs", uid=uid)]
    edges = _edges(found.kernels, found.identities, found.filters)
    layers = pd.DataFrame(graph.read("read/layers", model=found.model)).set_index("name", drop=False)
    filters, edges = _included(found.filters, edges, included)
    filters["sum"] = filters["layer"].isin(layers.index[layers["kind"] == "sum"])
    filters["target"] = _targets(filters, edges, circuit.get("targetLayers") or [])
    choice = choose(filters["shown"].to_numpy(dtype=np.float64), edges, limit=limit, kernels=MOST_KERNELS)
    drawn = filters.iloc[choice.filters].reset_index(drop=True)
    lines = _renumbered(edges.iloc[choice.edges], choice.filters)
    diagram = laid(drawn, lines, layers, _weights(graph, uid, drawn, layers), circuit=circuit, every=filters)
    return _counted(diagram, edges, found.not_stored)


# -- what the circuit includes -----------------------------------------------------------------------------------------


def _edges(kernels: pd.DataFrame, identities: pd.DataFrame, filters: pd.DataFrame) -> pd.DataFrame:
    """Kernels and then identities: source, target (rows of the filters), input, score, shown, sign, strength."""
    same = identities.assign(sign=IDENTITY, shown=1.0)
    layers = filters["layer"].to_numpy()[same["target"].to_numpy(dtype=np.int64)]
    sizes = same["score"].abs()
    largest = sizes.groupby(layers).transform("max")
    strength = (sizes / largest.where(largest > 0, 1.0)).fillna(0.0)
    names = ["source", "target", "input", "score", "shown", "sign", "strength"]
    parts = [kernels.assign(strength=kernels["shown"])[names], same.assign(strength=strength)[names]]
    return pd.concat([each for each in parts if len(each)] or parts[:1], ignore_index=True)


def _included(filters: pd.DataFrame, edges: pd.DataFrame, included: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The circuit's own filters and the input channels that it reads, in the order of execution; edges between them."""
    inside = filters["uid"].isin(included).to_numpy(copy=True)
    inside[edges["source"]] = True
    rows = np.flatnonzero(inside)
    own = filters.iloc[rows].reset_index(drop=True)
    own["shown"] = own["shown"].where(~own["inputChannel"].astype(bool), 1.0)
    return own, _renumbered(edges, rows)


def _renumbered(edges: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The edges with their ends as places in `rows`."""
    ends = {end: np.searchsorted(rows, edges[end].to_numpy(dtype=np.int64)) for end in ("source", "target")}
    return edges.assign(**ends).reset_index(drop=True)


def _targets(filters: pd.DataFrame, edges: pd.DataFrame, layers: Iterable[str]) -> NDArray[np.bool_]:
    """Filters of the circuit's target: in a layer that the output names, read by nothing in the circuit."""
    ends: NDArray[np.bool_] = filters["layer"].isin(list(layers)).to_numpy(copy=True)
    ends[edges["source"].to_numpy()] = False
    return ends


def _weights(graph: Graph, uid: str, filters: pd.DataFrame, layers: pd.DataFrame) -> dict[tuple[str, int], Weights]:
    """The stored weights (rows, columns) of the circuit's kernels by target and input."""
    shapes = dict(zip(filters["uid"], layers["kernelSize"].reindex(filters["layer"]), strict=True))
    rows = graph.read("read/circuit_weights", uid=uid, filters=filters["uid"].tolist())
    return {
        (row["target"], number): np.array(values, dtype=np.float64).reshape(shapes[row["target"]])
        for row in rows
        for number, values in zip(row["inputs"], row["weights"], strict=True)
    }


def _counted(diagram: Diagram, edges: pd.DataFrame, not_stored: int) -> Diagram:
    kernels = int((edges["sign"] != IDENTITY).sum())
    return replace(diagram, kernels_total=kernels, identities_total=len(edges) - kernels, not_stored=max(not_stored, 0))
