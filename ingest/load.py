"""Write a model into the graph over Bolt, once and completely.

1. refuse a name that is taken by other weights or other options (unless `replace`); a complete model is left alone;
2. remove what a stopped ingest or the replaced model left; mark the model `ingesting`;
3. send layers, filters, feeds, kernels, identities and the projection, in transactions of about 5,000 kernels;
4. count what is stored against what was sent; only then mark the model `complete`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from viscnn.config import made_home
from viscnn.errors import ModelError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest import layout, rows
from viscnn.ingest.contents import SCHEMA_VERSION, Contents, check_name
from viscnn.ingest.kernels import Extent
from viscnn.ingest.structure import Architecture
from viscnn.ingest.zoo import ZooModel
from viscnn.progress import Progress, silent
from viscnn.server.home import writable

__all__ = [
    "MANY_KERNELS",
    "SCHEMA_VERSION",
    "Advise",
    "LoadReport",
    "apply_schema",
    "ask",
    "check_counts",
    "drop_model",
    "few_kernels",
    "in_use",
    "is_complete",
    "is_stored",
    "keys_locked",
    "load_contents",
    "load_model",
    "locked",
    "middle",
    "report",
    "unheard",
]

MANY_KERNELS = 5_000_000
"""A model that is read with its head is stored without being asked for twice up to this many kernels."""

WORKERS = 2
"""Transactions of kernels at a time: one is sent and unpacked while the other is written."""

Advise = Callable[[str], None]
"""Told in one line what is worth to know while it goes on."""

_WORD_SECONDS = 1.0
"""Who waits longer for another process is told so."""

_OPTIONS = {
    "heads": "--heads",
    "weights": "--no-weights",
    "kernelsAbove": "--kernels-above",
    "topKernels": "--top-kernels",
}


@dataclass(frozen=True)
class LoadReport:
    """What one ingest stored; `already_complete` when nothing had to be done.

    Attributes:
        layers: convolutions and linear layers; `filters` are theirs, `sums` the filters of additions.
        kernels_left_out: kernels that were not stored, by `Extent`.
    """

    model: str
    layers: int
    filters: int
    kernels: int
    seconds: float
    already_complete: bool = False
    notes: tuple[str, ...] = ()
    sums: int = 0
    identities: int = 0
    kernels_left_out: int = 0


def few_kernels(kernels: int) -> bool:
    """Whether so many kernels of a model with its head are stored without being asked for twice."""
    return kernels <= MANY_KERNELS


def unheard(line: str) -> None:
    """An `Advise` that tells nobody."""


def apply_schema(graph: Graph, *, advise: Advise = unheard) -> None:
    """Create the constraints and indexes that do not exist yet."""
    from viscnn.queries import catalogue

    with _locked("schema.lock", "another ingest", advise):  # two first ingests would be in each other's way
        for query in catalogue().values():
            if query.mode == "schema":
                graph.write(query.name)


def load_model(
    graph: Graph,
    name: str,
    zoo: ZooModel,
    architecture: Architecture,
    *,
    extent: Extent | None = None,
    heads: bool = False,
    **settings: Any,
) -> LoadReport:
    """Store `architecture` under `name`: `load_contents` of it, with the same settings and errors."""
    return load_contents(graph, Contents(name, zoo, architecture, extent or Extent(), heads), **settings)


def load_contents(
    graph: Graph,
    contents: Contents,
    *,
    replace: bool = False,
    confirm: Callable[[int], bool] = lambda kernels: True,
    advise: Advise = unheard,
    progress: Progress = silent,
) -> LoadReport:
    """Store a model.

    Args:
        replace: store it anew even if it is there, or if the name is taken.
        confirm: called with the number of kernels before anything is changed; nothing is when it returns False.
        advise: told when another ingest has to be waited for.

    Raises:
        ModelError: the name is taken by another model and `replace` is not set, or `confirm` has refused.
        StoredDataError: fewer rows were stored than sent; the model stays marked `ingesting`.
    """
    began = time.monotonic()
    with locked(contents.name, advise=advise):
        apply_schema(graph, advise=advise)
        if not replace and is_complete(graph, contents):
            return report(graph, contents.name, began, already=True)
        ask(contents, confirm)
        _drop(graph, contents.name)
        _store(graph, contents, advise, progress)
        check_counts(graph, contents)
        graph.write("write/finish_ingest", model=contents.name)
    return report(graph, contents.name, began, already=False)


def ask(contents: Contents, confirm: Callable[[int], bool]) -> None:
    """Raise ModelError unless `confirm` agrees to the number of kernels; nothing has been changed so far."""
    if not confirm(contents.kept.kernels):
        raise ModelError(
            f"model {contents.name!r} would have {contents.kept.kernels:,} kernels, more than {MANY_KERNELS:,}; "
            "store them with --yes, or fewer with --top-kernels"
        )


@contextmanager
def locked(name: str, *, advise: Advise = unheard) -> Iterator[None]:
    """Lets one ingest or removal of a model at a time run on this machine.

    Raises:
        ModelError: no model can have this name, which becomes part of a path.
        ConfigError: the data folder cannot be written.
    """
    with _locked(_lock_file(name), f"another ingest or removal of {name!r}", advise):
        yield


def keys_locked(*, advise: Advise = unheard) -> AbstractContextManager[None]:
    """Held while keys of layers and places in the picture are given out."""
    return _locked("keys.lock", "another ingest", advise)


def in_use(name: str) -> bool:
    """Whether an ingest or removal of this model goes on; errors as of `locked`."""
    with writable(made_home()):
        try:
            with FileLock(made_home() / _lock_file(name), timeout=0):
                return False
        except Timeout:
            return True


def _lock_file(name: str) -> str:
    check_name(name)
    return f"ingest-{name}.lock"


@contextmanager
def _locked(file: str, what: str, advise: Advise) -> Iterator[None]:
    lock = FileLock(made_home() / file)
    with writable(made_home()):
        try:
            lock.acquire(timeout=_WORD_SECONDS)
        except Timeout:
            advise(f"waiting for the end of {what} on this machine")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_complete(graph: Graph, contents: Contents) -> bool:
    """Whether the model is there already; raises ModelError when the name is taken by another."""
    name, asked = contents.name, contents.identity
    found = graph.read("read/model", model=name)
    if not found or found[0]["status"] != "complete":
        return False
    changed = {key for key, value in asked.items() if found[0][key] != value}
    if changed & {"weightsHash", "inputShape"}:
        what = "weights or another input"
    elif "schemaVersion" in changed:
        what = "properties, by another version of viscnn"
    elif changed:
        what = " and ".join(_OPTIONS.get(key, key) for key in asked if key in changed)
    else:
        what = "" if is_stored(graph, name, contents.architecture) else "layers or steps"
    if what:
        raise ModelError(f"model {name!r} is stored with other {what}; --replace it, or choose a --name")
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
    return same_layers and feeds == rows.feed_rows(name, architecture)


def middle(graph: Graph, architecture: Architecture) -> float:
    """Height of a new model's middle in the unrolled picture: below all that is there; call it in `keys_locked`."""
    return float(graph.read("read/lowest_row")[0]["y"]) - layout.SPACING - layout.height(architecture) / 2


def _store(graph: Graph, contents: Contents, advise: Advise, progress: Progress) -> None:
    name, architecture = contents.name, contents.architecture
    with keys_locked(advise=advise):
        row = middle(graph, architecture)
        graph.write("write/start_ingest", model=name, properties=contents.properties)
        layers = graph.write("write/load_layers", model=name, rows=rows.layer_rows(name, architecture, row=row))
    keys = {each["name"]: each["key"] for each in layers}
    for part in rows.filter_rows(name, architecture, row=row):
        graph.write("write/load_filters", layer=part.layer, labels=part.labels, rows=part.rows)
    graph.write("write/load_feeds", rows=rows.feed_rows(name, architecture))
    graph.write("write/load_classes", rows=rows.class_rows(name, architecture, contents.classes))
    graph.write_batches("write/load_identities", rows.identity_batches(name, architecture, keys))
    _store_kernels(graph, contents, keys, progress)
    graph.write("write/load_projection", model=name, uid=f"{name}/projection/{layout.METHOD}", method=layout.METHOD)


def _store_kernels(graph: Graph, contents: Contents, keys: dict[str, int], progress: Progress) -> None:
    done, total = 0, contents.kept.kernels
    progress("kernels", 0, total)

    def count(written: int) -> None:
        nonlocal done
        done += written
        progress("kernels", done, total)

    batches = rows.kernel_batches(contents.name, contents.architecture, keys, contents.extent, contents.kept)
    graph.write_batches("write/load_kernels", batches, workers=WORKERS, on_batch=count)


def check_counts(graph: Graph, contents: Contents) -> None:
    """Raise StoredDataError unless as much is stored as was sent."""
    stored = graph.read("read/model_counts", model=contents.name)[0]
    for what, count in contents.counts.items():
        if stored[what] != count:
            raise StoredDataError(
                f"model {contents.name!r}: {count} {what} were sent but {stored[what]} are stored; run the ingest again"
            )


def report(graph: Graph, name: str, began: float, *, already: bool) -> LoadReport:
    """What is stored under a name, by an ingest that began at `began` of `time.monotonic()`."""
    counts = graph.read("read/model_counts", model=name)[0]
    return LoadReport(
        model=name,
        layers=counts["layers"],
        filters=counts["filters"] - counts["inputChannels"] - counts["sums"],
        kernels=counts["kernels"],
        seconds=time.monotonic() - began,
        already_complete=already,
        sums=counts["sums"],
        identities=counts["identities"],
        kernels_left_out=graph.read("read/model", model=name)[0]["kernelsLeftOut"],
    )


def drop_model(graph: Graph, name: str, *, missing_ok: bool = False, advise: Advise = unheard) -> None:
    """Remove a model and everything that belongs to it.

    Raises:
        ModelError: no model of ours can have this name.
        NotInGraph: there is no such model (unless `missing_ok`).
    """
    if not graph.read("read/model", model=name):
        if missing_ok:
            return
        known = [each["name"] for each in graph.read("read/models")]
        raise NotInGraph(f"no model {name!r} is stored (stored: {', '.join(known) or 'none'})")
    with locked(name, advise=advise):
        _drop(graph, name)


def _drop(graph: Graph, name: str) -> None:
    graph.write("write/mark_dropping", model=name)
    graph.stream("write/drop_kernels", model=name)
    graph.stream("write/drop_exemplars", model=name)
    graph.stream("write/drop_nodes", model=name)
