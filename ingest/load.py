"""Write a model into the graph, once and completely.

1. refuse a name that is taken by other weights (unless `replace`); a complete model of the same weights is left alone;
2. remove what a stopped ingest or the replaced model left; mark the model `ingesting`;
3. send layers, filters, feeds, kernels and the projection, in transactions of about 20,000 kernels;
4. count what is stored against what was sent; only then mark the model `complete`.
"""

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock

from viscnn.config import made_home
from viscnn.errors import ModelError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest import layout, rows
from viscnn.ingest.architecture import Architecture
from viscnn.ingest.zoo import ZooModel, class_names
from viscnn.progress import Progress, silent

__all__ = ["SCHEMA_VERSION", "LoadReport", "apply_schema", "drop_model", "is_stored", "load_model"]

SCHEMA_VERSION = 1
MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]+")
ROW_HEIGHT = 2.6


@dataclass(frozen=True)
class LoadReport:
    """What one ingest stored; `already_complete` when nothing had to be done."""

    model: str
    layers: int
    filters: int
    kernels: int
    seconds: float
    already_complete: bool = False
    notes: tuple[str, ...] = ()


def apply_schema(graph: Graph) -> None:
    """Create the constraints and indexes that do not exist yet."""
    from viscnn.queries import catalogue

    for query in catalogue().values():
        if query.mode == "schema":
            graph.stream(query.name)


def load_model(
    graph: Graph,
    name: str,
    zoo: ZooModel,
    architecture: Architecture,
    *,
    replace: bool = False,
    progress: Progress = silent,
) -> LoadReport:
    """Store `architecture` under `name`.

    Raises:
        ModelError: a malformed name, or one that is taken by other weights and `replace` is not set.
        StoredDataError: fewer rows were stored than sent; the model stays marked `ingesting`.
    """
    if not MODEL_NAME.fullmatch(name):
        raise ModelError(f"model name {name!r} must be of letters, digits and _ . - (choose one with --name)")
    class_names(zoo.classes, architecture.logits)
    began = time.monotonic()
    with _lock(name):
        apply_schema(graph)
        if _is_complete(graph, name, zoo, architecture, replace):
            return _report(graph, name, began, already=True)
        _drop(graph, name)
        _store(graph, name, zoo, architecture, progress)
        _check(graph, name, architecture)
        graph.write("write/finish_ingest", model=name)
    return _report(graph, name, began, already=False)


def _lock(name: str) -> FileLock:
    """Lets one ingest or removal of a model at a time run on this machine; `.keys` is held while keys are given out."""
    return FileLock(made_home() / f"ingest-{name}.lock")


def _is_complete(graph: Graph, name: str, zoo: ZooModel, architecture: Architecture, replace: bool) -> bool:
    """Whether the model is there already; raises ModelError when the name is taken by another."""
    found = graph.read("read/model", model=name)
    if not found or found[0]["status"] != "complete" or replace:
        return False
    if found[0]["weightsHash"] != zoo.weights_hash or found[0]["inputShape"] != list(zoo.input_shape):
        raise ModelError(
            f"model {name!r} is stored with other weights or another input; --replace it, or choose a --name"
        )
    properties = _model_properties(zoo, architecture)
    changed = [key for key in ("preprocess", "classes") if found[0][key] != properties[key]]
    if changed:
        raise ModelError(
            f"model {name!r} is stored with other {' and '.join(changed)}; --replace it, or choose a --name"
        )
    if not is_stored(graph, name, architecture):
        raise ModelError(f"model {name!r} is stored with other layers or steps; --replace it, or choose a --name")
    return True


def is_stored(graph: Graph, name: str, architecture: Architecture) -> bool:
    """Whether the stored layers and feeds of a model are those of `architecture`."""
    layers = {row["uid"]: row for row in graph.read("read/layers", model=name)}
    wanted = [
        {key: value for key, value in row.items() if key not in ("model", "x", "y")}
        for row in rows.layer_rows(name, architecture, row=0.0)
    ]
    feeds = [
        {"source": f"{name}/{row.pop('source')}", "target": f"{name}/{row.pop('target')}", "properties": row}
        for row in graph.read("read/feeds", model=name)
    ]
    same_layers = len(layers) == len(wanted) and all(
        row.items() <= layers.get(row["uid"], {}).items() for row in wanted
    )
    return same_layers and feeds == _feed_rows(name, architecture)


def _store(graph: Graph, name: str, zoo: ZooModel, architecture: Architecture, progress: Progress) -> None:
    with _lock(".keys"):
        row = float(graph.read("read/lowest_row")[0]["y"] - ROW_HEIGHT)
        graph.write("write/start_ingest", model=name, properties=_model_properties(zoo, architecture))
        layers = graph.write("write/load_layers", model=name, rows=rows.layer_rows(name, architecture, row=row))
    keys = {each["name"]: each["key"] for each in layers}
    for uid, filters in rows.filter_rows(name, architecture, row=row):
        graph.write(
            "write/load_filters", layer=uid, labels=["InputChannel"] if uid.endswith("/input") else [], rows=filters
        )
    graph.write("write/load_feeds", rows=_feed_rows(name, architecture))
    done, total = 0, architecture.kernels
    progress("kernels", 0, total)

    def count(written: int) -> None:
        nonlocal done
        done += written
        progress("kernels", done, total)

    graph.write_batches("write/load_kernels", rows.kernel_batches(name, architecture, keys), on_batch=count)
    graph.write("write/load_projection", model=name, uid=f"{name}/projection/{layout.METHOD}", method=layout.METHOD)


def _model_properties(zoo: ZooModel, architecture: Architecture) -> dict[str, Any]:
    return {
        "architecture": zoo.architecture,
        "weightsHash": zoo.weights_hash,
        "inputShape": list(zoo.input_shape),
        "preprocess": json.dumps(zoo.preprocess),
        "classes": list(class_names(zoo.classes, architecture.logits)),
        "logits": architecture.logits or 0,
        "importanceOutput": "loss" if architecture.logits else f"layer:{architecture.layers[-1].name}",
        "mixesChannels": any(("mixesChannels", True) in op.settings for f in architecture.feeds for op in f.operations),
        "signCutoffs": [-rows.SIGN_CUTOFF, rows.SIGN_CUTOFF],
        "schemaVersion": SCHEMA_VERSION,
        "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _feed_rows(name: str, architecture: Architecture) -> list[dict[str, Any]]:
    return [
        {
            "source": f"{name}/{feed.source}",
            "target": f"{name}/{feed.target}",
            "properties": {
                "position": feed.position,
                "sourceStart": feed.source_start,
                "targetStart": feed.target_start,
                "channels": feed.channels,
                "operations": [operation.to_json() for operation in feed.operations],
            },
        }
        for feed in architecture.feeds
    ]


def _check(graph: Graph, name: str, architecture: Architecture) -> None:
    stored = graph.read("read/model_counts", model=name)[0]
    sent = {
        "filters": architecture.input_shape[0] + sum(layer.filters for layer in architecture.layers),
        "kernels": architecture.kernels,
    }
    for what, count in sent.items():
        if stored[what] != count:
            raise StoredDataError(
                f"model {name!r}: {count} {what} were sent but {stored[what]} are stored; run the ingest again"
            )


def _report(graph: Graph, name: str, began: float, *, already: bool) -> LoadReport:
    counts = graph.read("read/model_counts", model=name)[0]
    return LoadReport(
        model=name,
        layers=counts["layers"],
        filters=counts["filters"] - counts["inputChannels"],
        kernels=counts["kernels"],
        seconds=time.monotonic() - began,
        already_complete=already,
    )


def drop_model(graph: Graph, name: str, *, missing_ok: bool = False) -> None:
    """Remove a model and everything that belongs to it.

    Raises:
        NotInGraph: there is no such model (unless `missing_ok`).
    """
    if not graph.read("read/model", model=name):
        if missing_ok:
            return
        known = [each["name"] for each in graph.read("read/models")]
        raise NotInGraph(f"no model {name!r} is stored (stored: {', '.join(known) or 'none'})")
    with _lock(name):
        _drop(graph, name)


def _drop(graph: Graph, name: str) -> None:
    graph.write("write/mark_dropping", model=name)
    graph.stream("write/drop_kernels", model=name)
    graph.stream("write/drop_nodes", model=name)
