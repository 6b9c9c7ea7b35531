"""Write a model into the managed server's empty database by Neo4j's offline import tool: the fast way for large models.

1. refuse what is not the managed server, not empty, or in use by another program;
2. write the model as Parquet files, and have a database made of them beside the server's own, which runs on;
3. exchange the two while the server is stopped for some seconds;
4. create the constraints and indexes, store classes and projection, count; only then mark the model `complete`.

The graph is the same as that of `load.py`. Whatever stops it leaves the empty database or, from the exchange on, an
unfinished model, which the next ingest replaces: others may have written beside it by then.
"""

import time
from collections.abc import Callable
from typing import Any

from viscnn import server
from viscnn.errors import ConfigError, InputError
from viscnn.graph import Graph
from viscnn.ingest import layout, rows
from viscnn.ingest.bulk_rows import RowFiles, disk_bytes, write_rows
from viscnn.ingest.contents import MODEL_NAME, Contents
from viscnn.ingest.load import (
    Advise,
    LoadReport,
    apply_schema,
    ask,
    check_counts,
    in_use,
    is_complete,
    keys_locked,
    load_contents,
    locked,
    report,
    unheard,
)
from viscnn.progress import Progress, silent
from viscnn.queries import catalogue
from viscnn.server.bulk import other_clients, replacement

__all__ = ["load", "load_in_bulk"]

WORTH_KERNELS = 2_000_000
"""With more, the seconds that a bulk load takes for two starts of Java hardly count."""

TIMES_FASTER = 2.5
"""Of ResNet-50 (benchmarks/ingest.py)."""

_INDEX_SECONDS = 1800


def load(
    graph: Graph,
    contents: Contents,
    *,
    bulk: bool = False,
    advise: Advise = unheard,
    **settings: Any,
) -> LoadReport:
    """Store a model by bulk load or over Bolt.

    Args:
        advise: told when a bulk load would be much faster, and when another ingest has to be waited for.
        settings: of `load.load_contents`.
    """
    if bulk:
        return load_in_bulk(graph, contents, advise=advise, **settings)
    kernels = contents.kept.kernels
    if kernels > WORTH_KERNELS and _is_managed(graph) and not _content(graph):
        advise(f"hint: {kernels:,} kernels; --bulk stores them about {TIMES_FASTER:g} times faster")
    return load_contents(graph, contents, advise=advise, **settings)


def load_in_bulk(
    graph: Graph,
    contents: Contents,
    *,
    replace: bool = False,
    confirm: Callable[[int], bool] = lambda kernels: True,
    advise: Advise = unheard,
    progress: Progress = silent,
) -> LoadReport:
    """Store a model in the managed server's empty database; arguments and errors as of `load.load_contents`.

    `graph` is connected to the new database afterwards.

    Raises:
        ConfigError: `graph` is not the managed server.
        InputError: its database is not empty, or another program uses it.
        ServerError: the disk is too full, or the import failed; the database is empty.
    """
    began = time.monotonic()
    if not _is_managed(graph):
        raise ConfigError(
            f"--bulk loads into the managed server only, and not into {graph.connection.uri}; leave out --bulk, or"
            " unset NEO4J_URI"
        )
    with locked(contents.name, advise=advise), keys_locked(advise=advise):
        if not replace and is_complete(graph, contents):
            return report(graph, contents.name, began, already=True)
        _refuse_if_used(graph, contents.name)
        ask(contents, confirm)
        _load(graph, contents, progress)
    return report(graph, contents.name, began, already=False)


def _is_managed(graph: Graph) -> bool:
    return graph.connection.uri == server.status().uri


def _load(graph: Graph, contents: Contents, progress: Progress) -> None:
    with replacement() as load:
        load.require(disk_bytes(contents))
        with RowFiles(load.rows) as files:
            write_rows(files, contents, progress=progress)
        load.run(files.nodes, files.relationships, progress=progress)
        load.exchange(lambda: _refuse_if_used(graph, contents.name))
        graph.reconnect(server.connection())
        _finish(graph, contents, progress)


def _finish(graph: Graph, contents: Contents, progress: Progress) -> None:
    name, architecture = contents.name, contents.architecture
    progress("indexing", 0, 1)
    apply_schema(graph)
    graph.read("read/await_indexes", timeout=_INDEX_SECONDS + 10, seconds=_INDEX_SECONDS)
    progress("indexing", 1, 1)
    graph.write("write/load_classes", rows=rows.class_rows(name, architecture, contents.classes))
    graph.write("write/load_projection", model=name, uid=f"{name}/projection/{layout.METHOD}", method=layout.METHOD)
    check_counts(graph, contents)
    graph.write("write/finish_ingest", model=name)


def _refuse_if_used(graph: Graph, name: str) -> None:
    """Raise InputError when the database holds more than remains of stopped ingests, or somebody else uses it.

    Programs first, for `BulkLoad.exchange`: what one that is gone has committed is seen in the database.
    """
    if others := other_clients():
        raise InputError(
            f"--bulk stops the managed server for some seconds, and {' and '.join(others)} is connected to it; close"
            " that first, or leave out --bulk"
        )
    if held := _content(graph):
        raise InputError(
            f"--bulk loads into an empty database only, and it holds {held}; leave out --bulk, or remove models with"
            " `viscnn drop`"
        )
    for unfinished in _size(graph)["unfinished"]:
        if unfinished != name and in_use(unfinished):
            raise InputError(f"model {unfinished!r} is being ingested; wait for its end, or leave out --bulk")


def _content(graph: Graph) -> str:
    """What the database holds beside our constraints and remains of stopped ingests, in words; empty when nothing."""
    found = _size(graph)
    nodes = found["nodes"] - found["unfinishedNodes"]
    if found["models"]:
        count = f"{len(found['models'])} model{'s' if len(found['models']) > 1 else ''}"
        return f"{count} ({', '.join(found['models'][:5])}) of {nodes:,} nodes"
    if nodes:
        return f"{nodes:,} nodes"
    ours = {query.name.removeprefix("schema/") for query in catalogue().values() if query.mode == "schema"}
    others = [row["name"] for row in graph.read("read/indexes") if row["name"] not in ours]
    return f"the index or constraint {', '.join(others[:5])}" if others else ""


def _size(graph: Graph) -> dict[str, Any]:
    """What there is; a model with a name that none of ours can have is somebody else's, finished or not."""
    return graph.read("read/database_size", names=MODEL_NAME.pattern)[0]
