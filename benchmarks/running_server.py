"""The Neo4j that benchmarks run on."""

import contextlib
from collections.abc import Iterator

from viscnn import server
from viscnn.config import environment_connection
from viscnn.graph import Graph

__all__ = ["connected"]


@contextlib.contextmanager
def connected() -> Iterator[Graph]:
    """A graph on the named or managed server; a server that was started here is stopped again."""
    connection = environment_connection()
    started = connection is None and not server.status().running
    if started:
        server.start()
    try:
        with Graph(connection or server.connection()) as graph:
            yield graph
    finally:
        if started:
            server.stop()
