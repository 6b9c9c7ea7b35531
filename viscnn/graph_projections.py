"""Projections and class profiles in the graph: written whole, read back, activated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.progress import Progress, silent

__all__ = [
    "Places",
    "activate_projection",
    "class_selectivity",
    "projections",
    "read_profiles",
    "save_profiles",
    "save_projection",
]

PROFILES_AT_ONCE = 100_000
"""Numbers of class profiles that are sent at a time (one filter's at least)."""


@dataclass(frozen=True)
class Places:
    """Where a projection puts the filters of one layer (its uid), in channel order: u and v, (n,) each."""

    layer: str
    u: NDArray[np.float64]
    v: NDArray[np.float64]


def save_projection(graph: Graph, model: str, method: str, layers: Sequence[Places], properties: dict[str, Any]) -> str:
    """Write a projection, in place of an earlier one by this method; where that is active the filters move at once.

    Returns its uid.

    Raises:
        NotInGraph: the model is not stored, or not complete.
        StoredDataError: some filters have no place, or a writing that began later has ended; an earlier projection by
            the method stays as it is.
    """
    uid = f"{model}/projection/{method}"
    started = graph.write("write/start_projection", model=model, uid=uid, properties=properties | {"method": method})
    if not started:
        raise NotInGraph(f"no complete model {model!r} is stored (viscnn models lists them)")
    run = started[0]["run"]
    for layer in layers:
        row = {"uid": layer.layer, "u": layer.u.tolist(), "v": layer.v.tolist()}
        graph.write("write/save_places", run=run, rows=[row])
    found = graph.write("write/finish_projection", run=run, uid=uid)
    if not found:
        raise StoredDataError(f"projection {uid} was made by another program meanwhile, which began later; that holds")
    if found[0]["written"] != found[0]["filters"]:
        raise StoredDataError(
            f"projection {uid}: {found[0]['written']} of {found[0]['filters']} filters have a place; make it again"
        )
    return uid


def activate_projection(graph: Graph, uid: str) -> dict[str, Any]:
    """Copy a projection's places to the filters; returns model, method and number of filters.

    Raises:
        NotInGraph: there is no such complete projection.
    """
    found = graph.write("write/activate_projection", uid=uid)
    if not found:
        raise NotInGraph(f"no complete projection {uid!r} is stored (list them with: viscnn projections MODEL)")
    return found[0]


def projections(graph: Graph, model: str) -> list[dict[str, Any]]:
    """The complete projections of a model, by method."""
    return graph.read("read/projections", model=model)


def class_selectivity(profiles: NDArray[np.float64], seen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """(best - mean of the others) / (best + mean of the others) per row of (n, classes); 0 for a row of zeros.

    Morcos et al. 2018, On the importance of single directions for generalization, eq. 1.

    Args:
        seen: (classes,) those that had images; the others' zeros say nothing. None is all of them.
    """
    profiles = profiles if seen is None else profiles[:, seen]
    best = profiles.max(axis=1, initial=0.0)
    others = (profiles.sum(axis=1) - best) / max(1, profiles.shape[1] - 1)
    total = best + others
    selectivity: NDArray[np.float64] = np.divide(best - others, total, out=np.zeros_like(total), where=total > 0)
    return selectivity


def save_profiles(
    graph: Graph,
    model: str,
    layers: Sequence[tuple[str, NDArray[np.float64]]],
    classes: Sequence[str],
    *,
    profiles: str,
    images: int,
    seen: NDArray[np.bool_] | None = None,
    progress: Progress = silent,
) -> None:
    """Write the class profiles (n, classes) of each layer's filters, of unit length or zero.

    A filter whose profile is zero has no best class.

    Args:
        layers: uid of each layer, and its filters' profiles.
        profiles: hash of the images that they were computed from.
        images: their number.
        seen: (classes,) those that had images; None is all.

    Raises:
        NotInGraph: the model is not stored, or not complete.
        StoredDataError: another program has begun to write profiles since.
    """
    started = graph.write("write/start_profiles", model=model)
    if not started:
        raise NotInGraph(f"no complete model {model!r} is stored (viscnn models lists them)")
    run = started[0]["run"]
    done, total = 0, sum(len(values) for _, values in layers)
    for rows in _profile_rows(layers, classes, seen):
        graph.write("write/save_profiles", model=model, run=run, rows=rows)
        done += len(rows)
        progress("storing class profiles", done, total)
    if not graph.write("write/finish_profiles", model=model, run=run, profiles=profiles, images=images):
        raise StoredDataError(f"another program writes class profiles of model {model!r}; run this again when it ended")


def read_profiles(
    graph: Graph, model: str, layers: Sequence[str], *, profiles: str
) -> list[NDArray[np.float64]] | None:
    """The class profiles (n, classes) of layers by uid, if those of this hash are stored; else None."""
    found = graph.read("read/model", model=model)
    if not found or found[0]["profiles"] != profiles:
        return None
    tables = [[row["profile"] for row in graph.read("read/class_profiles", layer=uid)] for uid in layers]
    return None if any(row is None for table in tables for row in table) else [np.array(table) for table in tables]


def _profile_rows(
    layers: Sequence[tuple[str, NDArray[np.float64]]], classes: Sequence[str], seen: NDArray[np.bool_] | None
) -> Iterator[list[dict[str, Any]]]:
    step = max(1, PROFILES_AT_ONCE // max(1, len(classes)))
    for uid, values in layers:
        best, selectivity = values.argmax(axis=1), class_selectivity(values, seen)
        for start in range(0, len(values), step):
            yield [
                {
                    "uid": f"{uid}/{channel}",
                    "profile": values[channel].tolist(),
                    "best": classes[best[channel]] if values[channel].any() else None,
                    "selectivity": float(selectivity[channel]) if values[channel].any() else None,
                }
                for channel in range(start, min(start + step, len(values)))
            ]
