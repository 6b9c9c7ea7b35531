"""A py2neo `Graph` on the same database, for people with py2neo code: `pip install viscnn[py2neo]`.

py2neo has been end-of-life since 2023. Nothing in this package goes through it; new code should use
`VISCNN.cypher_text`, or the official driver with `viscnn server shell-env`.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from viscnn.config import Connection, environment_connection
from viscnn.errors import ConfigError

if TYPE_CHECKING:
    from py2neo import Graph

__all__ = ["connect"]


def connect(connection: Connection | None = None, **settings: Any) -> "Graph":
    """A `py2neo.Graph`; by default on the Neo4j that the API uses. Further settings are py2neo's own.

    Raises:
        ConfigError: py2neo is not installed.
        ConnectionFailed: no Neo4j is named by NEO4J_URI and the managed server does not run.
    """
    try:
        from py2neo import Graph
    except ImportError as error:
        raise ConfigError("py2neo is not installed; pip install 'viscnn[py2neo]'") from error
    from viscnn import server

    chosen = connection or environment_connection() or server.connection()
    address = urlsplit(chosen.uri)
    return Graph(
        f"{address.scheme}://{address.hostname}:{address.port or 7687}",
        name=chosen.database,
        auth=(chosen.username, chosen.password),
        **settings,
    )
