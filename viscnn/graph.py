"""The gateway to Neo4j: the only module that imports the driver, with few verbs and one error map.

`read` and `write` run queries of the catalogue in managed transactions (retried on transient errors),
`write_batches` sends many rows in transactions of their own, `stream` runs a statement that commits by itself
(`CALL {} IN TRANSACTIONS`), and `explain` and `fetch` serve ad-hoc Cypher (module `adhoc`).
"""

import re
import reprlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import neo4j
from neo4j import exceptions, graph

from viscnn import queries
from viscnn.config import Connection
from viscnn.errors import ConnectionFailed, CypherRefused, InputError, StoredDataError, ViscnnError

__all__ = ["Graph", "Plan", "Table", "Tracer", "change_password", "probe", "remembering"]

Tracer = Callable[[str, dict[str, Any], float], None]
"""Called after each statement with its name, parameters and milliseconds; `print` works."""

READ_SECONDS = 60.0
_HALF = re.compile("[\ud800-\udfff]")
_MOST_BITS = 10_000
"""Python refuses to write larger numbers out."""
_SCHEMES = {kind + security for kind in ("bolt", "neo4j") for security in ("", "+s", "+ssc")}
_DRIVER_OPTIONS: dict[str, Any] = {
    "connection_timeout": 10.0,
    "max_transaction_retry_time": 8.0,
    "user_agent": "viscnn",
    "notifications_min_severity": "OFF",
}


_remembered: ContextVar[dict[tuple[Any, ...], list[dict[str, Any]]] | None] = ContextVar("_remembered", default=None)
"""Rows by address, query and parameters, within `remembering`."""


@contextmanager
def remembering(on: bool = True) -> Iterator[None]:
    """Within it, `read` does not ask again what was asked before with plain parameters, until this thread writes.

    For what asks many functions, each of which looks whether the model is still there. What waits for another program
    runs within `remembering(False)`.
    """
    outer = _remembered.get()
    token = _remembered.set((outer if outer is not None else {}) if on else None)
    try:
        yield
    finally:
        _remembered.reset(token)
        if not on:
            _forget()


def _forget() -> None:
    known = _remembered.get()
    if known is not None:
        known.clear()


@dataclass(frozen=True)
class Table:
    """Rows of an ad-hoc query; `truncated` says that more rows exist than were fetched."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool = False


@dataclass(frozen=True)
class Plan:
    """What EXPLAIN tells of a statement: its type (`r`, `w`, `rw`, `s`) and the planned operators."""

    query_type: str
    operators: tuple[str, ...]
    details: tuple[str, ...]


@contextmanager
def _translated(uri: str, *sent: Any) -> Iterator[None]:
    """Turn the driver's exceptions into ours, each with the way out.

    Args:
        sent: the statement and its parameters; nothing where only a connection is made.
    """
    try:
        yield
    except (exceptions.AuthError, exceptions.TokenExpired) as error:
        raise ConnectionFailed(
            f"Neo4j at {uri} refused the user name or password; check NEO4J_USERNAME and NEO4J_PASSWORD"
        ) from error
    except (exceptions.ServiceUnavailable, exceptions.SessionExpired) as error:
        raise ConnectionFailed(
            f"no Neo4j answers at {uri}; start the managed server with `viscnn server start`, or check NEO4J_URI"
        ) from error
    except exceptions.ConfigurationError as error:
        raise ConnectionFailed(f"{uri} is not a usable Neo4j address: {_line(error)}") from error
    except exceptions.Neo4jError as error:
        raise _of_server(error) from error
    except exceptions.DriverError as error:
        raise ViscnnError(f"the Neo4j driver failed: {_line(error)}") from error
    except (TypeError, ValueError, OverflowError, OSError) as error:
        wrong = next(_unsendable(sent), None)
        if wrong is not None:
            raise InputError(wrong) from error
        if isinstance(error, TypeError) or (sent and not _is_of_address(error)):
            raise
        raise ConnectionFailed(f"{uri} is not a usable Neo4j address: {_line(error)}") from error


def _is_of_address(error: Exception) -> bool:
    """Whether the driver, which makes connections when it needs them, could not look up the address."""
    return isinstance(error, OSError | UnicodeError) or isinstance(error.__cause__, OSError)


def _unsendable(sent: Iterable[Any]) -> Iterator[str]:
    """What is wrong with values that Bolt cannot carry."""
    pending = [*sent]
    while pending:
        value = pending.pop()
        if isinstance(value, str) and _HALF.search(value):
            yield f"the text {reprlib.repr(value)} holds half a character, which Neo4j cannot; take it out"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            digits = reprlib.repr(value) if value.bit_length() < _MOST_BITS else f"of {value.bit_length()} bits"
            yield f"the whole number {digits} is larger than Neo4j's 64 bits; write it as text, or like 1.5e30"
        elif isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            pending += value


def _of_server(error: exceptions.Neo4jError) -> ViscnnError:
    code = error.code or ""
    if "TransactionTimedOut" in code:
        return CypherRefused("the query ran longer than its time limit and was stopped; narrow it down or add a LIMIT")
    if "Statement" in code or "Procedure" in code:
        return CypherRefused(f"Neo4j rejects the query: {_line(error)}")
    if "DatabaseNotFound" in code:
        return ConnectionFailed(f"{error.message}; check NEO4J_DATABASE")
    return ViscnnError(f"Neo4j failed: {_line(error)}")


def _line(error: Exception) -> str:
    message = getattr(error, "message", None) or str(error)
    return " ".join(str(message).split())[:400]


class Graph:
    """An open connection to the database; use as a context manager.

    Args:
        connection: address and credentials.
        tracer: called after each statement.

    Raises:
        ConnectionFailed: by every verb, when no Neo4j answers or it refuses the password.
        InputError: by every verb, when Neo4j cannot hold a parameter: half a character, or more than 64 bits.
    """

    def __init__(self, connection: Connection, *, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._connect(connection)

    def _connect(self, connection: Connection) -> None:
        self.connection = connection
        if connection.uri.partition("://")[0] not in _SCHEMES:
            raise ConnectionFailed(
                f"{connection.uri} is not a Bolt address; NEO4J_URI looks like bolt://127.0.0.1:7687"
            )
        with _translated(connection.uri):
            self._driver = neo4j.GraphDatabase.driver(
                connection.uri, auth=(connection.username, connection.password), **_DRIVER_OPTIONS
            )

    def reconnect(self, connection: Connection) -> None:
        """Leave all connections, such as those to a server that was started anew, and use others from now on."""
        self._driver.close()
        self._connect(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

    def verify(self) -> None:
        """Check that the server answers and accepts the credentials."""
        with _translated(self.connection.uri):
            self._driver.verify_connectivity()

    def read(self, name: str, /, *, timeout: float = READ_SECONDS, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a read query of the catalogue; `timeout` in seconds."""
        query = queries.load(name)
        known = _remembered.get()
        if known is None or not all(type(value) in _SCALARS for value in parameters.values()):
            return self._managed(query, parameters, neo4j.READ_ACCESS, timeout)
        key = (self.connection.uri, name, *sorted(parameters.items()))
        if key not in known:
            known[key] = self._managed(query, parameters, neo4j.READ_ACCESS, timeout)
        return [dict(row) for row in known[key]]

    def write(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a write query, run in one transaction that is retried on transient errors."""
        query = queries.load(name)
        return self._managed(query, parameters, neo4j.WRITE_ACCESS, None)

    def write_batches(
        self,
        name: str,
        batches: Iterable[dict[str, Any]],
        *,
        workers: int = 1,
        on_batch: Callable[[int], None] = lambda rows: None,
    ) -> int:
        """Run a write query once per batch of parameters, each in its own transaction, `workers` of them at a time.

        Batches are asked for as they are needed: one is made while others are sent. The query returns one row with a
        column `written`; `on_batch` is called with it after each commit, in order.

        Returns:
            The sum of `written`.
        """
        total, running = 0, deque[Future[list[dict[str, Any]]]]()

        def settle() -> int:
            written = int(running.popleft().result()[0]["written"])
            on_batch(written)
            return written

        with ThreadPoolExecutor(workers) as pool:
            for batch in batches:
                if len(running) == workers:
                    total += settle()
                running.append(pool.submit(self.write, name, **batch))
            while running:
                total += settle()
        _forget()
        return total

    def stream(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a statement that commits by itself (`CALL {} IN TRANSACTIONS`); never retried."""
        query = queries.load(name)
        began = time.monotonic()
        with _translated(self.connection.uri, parameters), self._session(neo4j.WRITE_ACCESS) as session:
            rows = session.run(cast(Any, query.text), query.arguments(parameters)).data()
        _forget()
        self._trace(query.name, parameters, began)
        return rows

    def explain(self, text: str, parameters: dict[str, Any]) -> Plan:
        """Plan a statement without running it."""
        with _translated(self.connection.uri, text, parameters), self._session(neo4j.READ_ACCESS) as session:
            summary = session.run(neo4j.Query(cast(Any, f"EXPLAIN {text}"), timeout=READ_SECONDS), parameters).consume()
        operators: list[str] = []
        details: list[str] = []
        pending = [summary.plan] if summary.plan else []
        while pending:
            step = pending.pop()
            operators.append(str(step.get("operatorType", "")).partition("@")[0])
            details.append(str((step.get("args") or {}).get("Details", "")))
            pending.extend(step.get("children") or [])
        return Plan(summary.query_type or "", tuple(operators), tuple(details))

    def fetch(self, text: str, parameters: dict[str, Any], *, limit: int, timeout: float) -> Table:
        """Up to `limit` rows of any statement in READ access mode; one more is asked for, to know of the rest."""
        began = time.monotonic()
        with _translated(self.connection.uri, text, parameters), self._session(neo4j.READ_ACCESS) as session:
            result = session.run(neo4j.Query(cast(Any, text), timeout=timeout), parameters)
            columns = tuple(result.keys())
            records = result.fetch(limit + 1)
            rows = tuple(tuple(_plain(value) for value in record.values()) for record in records[:limit])
        self._trace("ad hoc", parameters, began)
        return Table(columns, rows, truncated=len(records) > limit)

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(database=self.connection.database, default_access_mode=access)

    def _managed(
        self, query: queries.Query, given: dict[str, Any], access: str, timeout: float | None
    ) -> list[dict[str, Any]]:
        if access == neo4j.READ_ACCESS and query.mode != "read":
            raise StoredDataError(f"query {query.name} is not a read query")
        began = time.monotonic()
        if access == neo4j.WRITE_ACCESS:
            _forget()

        @neo4j.unit_of_work(timeout=timeout)
        def work(transaction: neo4j.ManagedTransaction) -> list[dict[str, Any]]:
            result = transaction.run(cast(Any, query.text), query.arguments(given))
            return [{key: _plain(value) for key, value in cast(dict[str, Any], record).items()} for record in result]

        with _translated(self.connection.uri, given), self._session(access) as session:
            run = session.execute_read if access == neo4j.READ_ACCESS else session.execute_write
            rows = run(work)
        self._trace(query.name, given, began)
        if access == neo4j.WRITE_ACCESS:
            _forget()
        return rows

    def _trace(self, name: str, parameters: dict[str, Any], began: float) -> None:
        if self._tracer is not None:
            self._tracer(name, parameters, (time.monotonic() - began) * 1000)


_SCALARS = frozenset({type(None), bool, int, float, str})


def _plain(value: Any) -> Any:
    """Nodes, relationships and paths as dictionaries, temporal values as ISO text, anything else as it is."""
    kind = type(value)
    if kind in _SCALARS or (kind is list and all(type(each) in _SCALARS for each in value)):
        return value  # nearly always: thousands of rows of lists of scores
    if isinstance(value, graph.Node):
        return {"id": value.element_id, "labels": sorted(value.labels), "properties": _plain(dict(value))}
    if isinstance(value, graph.Relationship):
        ends = [node.element_id if node is not None else None for node in (value.start_node, value.end_node)]
        return {
            "id": value.element_id,
            "type": value.type,
            "start": ends[0],
            "end": ends[1],
            "properties": _plain(dict(value)),
        }
    if isinstance(value, graph.Path):
        return {
            "nodes": [_plain(node) for node in value.nodes],
            "relationships": [_plain(step) for step in value.relationships],
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if hasattr(value, "iso_format"):
        return value.iso_format()
    return value


def probe(connection: Connection) -> None:
    """Return once the server has answered one query; raises ConnectionFailed when it does not."""
    with _translated(connection.uri), _short(connection) as driver:
        driver.execute_query("RETURN 1 AS ready", database_=connection.database)


def change_password(connection: Connection, new: str) -> None:
    """Replace the password of `connection`, sent as a parameter over Bolt, so that it never stands in argv."""
    with _translated(connection.uri), _short(connection) as driver:
        driver.execute_query(
            "ALTER CURRENT USER SET PASSWORD FROM $old TO $new",
            {"old": connection.password, "new": new},
            database_="system",
        )


def _short(connection: Connection) -> neo4j.Driver:
    options = _DRIVER_OPTIONS | {"connection_timeout": 2.0, "max_transaction_retry_time": 0.0}
    return neo4j.GraphDatabase.driver(connection.uri, auth=(connection.username, connection.password), **options)
