"""The guard for ad-hoc Cypher: one plain read, planned before it is run.

It stands in the client, so that it also holds for servers that somebody else set up. Three gates, one behind the other:

1. the text: one statement that starts like a read, without a prefix of its own, and calls only what is listed here;
2. the plan that EXPLAIN gives: no write, no LOAD CSV, no administration, no transactions of its own, listed procedures;
3. READ access mode, a time limit and a row cap.

None is enough alone. READ access mode stops writes, but neither `LOAD CSV` nor `SHOW USERS` (seen on 2026.08.1), and
no plan tells which functions of a plugin are called.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from viscnn.errors import CypherRefused, InputError
from viscnn.graph import Graph, Plan, Table

__all__ = ["FUNCTION_NAMESPACES", "PROCEDURES", "run"]

PROCEDURES = frozenset(
    {
        "db.index.fulltext.queryNodes",
        "db.index.fulltext.queryRelationships",
        "db.index.vector.queryNodes",
        "db.index.vector.queryRelationships",
        "db.labels",
        "db.propertyKeys",
        "db.relationshipTypes",
        "db.schema.nodeTypeProperties",
        "db.schema.relTypeProperties",
        "db.schema.visualization",
        "dbms.components",
    }
)
"""Procedures that an ad-hoc query may call: they read the graph and nothing else."""

FUNCTION_NAMESPACES = frozenset(
    {"date", "datetime", "duration", "localdatetime", "localtime", "point", "time", "vector"}
)
"""Namespaces of Neo4j's own functions; others come from plugins, which can run Cypher or reach the network."""

_STARTS = ("MATCH", "OPTIONAL", "RETURN", "WITH", "UNWIND", "CALL", "FINISH", "FILTER", "FOR", "LET", "WHEN")
_ADMINISTRATION = frozenset(
    {
        "ALTER",
        "DEALLOCATE",
        "DENY",
        "DRYRUN",
        "ENABLE",
        "GRANT",
        "RENAME",
        "REVOKE",
        "SHOW",
        "START",
        "STOP",
        "TERMINATE",
    }
)
_NO_LOAD_CSV = "LOAD CSV reads files and addresses; pass the values as a parameter and UNWIND them"
_NO_ADMINISTRATION = "administration commands are not run here; use your own client, such as cypher-shell"
_NO_TRANSACTIONS = "CALL { } IN TRANSACTIONS commits by itself; leave out IN TRANSACTIONS"
_EXPLAIN_POSITION = re.compile(r"\(line 1, column (\d+) \(offset: (\d+)\)\)")

_ESCAPE = re.compile(r"\\\\|\\u+([0-9A-Fa-f]{4})")
_TOKEN = re.compile(
    r"""
      (?P<gap>\s+ | //[^\r\n]* | /\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
    | (?P<name>`(?:[^`]|``)*`)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d+)
    | (?P<unclosed>/\* | ['"`])
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    @property
    def is_name(self) -> bool:
        return self.kind in {"word", "name"}

    @property
    def keyword(self) -> str:
        return self.text.upper() if self.kind == "word" else ""


_END = _Token("end", "")


def run(
    graph: Graph,
    text: str,
    parameters: dict[str, Any] | None = None,
    *,
    limit: int = 1000,
    timeout: float = 20.0,
) -> Table:
    """Rows of one reading statement that somebody typed.

    Args:
        graph: the database.
        text: the statement; a leading `CYPHER 25` and comments are allowed.
        parameters: values of `$name`.
        limit: most rows to fetch; `Table.truncated` says that more exist.
        timeout: seconds after which the server stops the query.

    Raises:
        CypherRefused: not a single plain read, wrong Cypher, or slower than `timeout`.
        InputError: `limit` or `timeout` is not positive, or a parameter is nothing that Neo4j can hold.
    """
    _check_bounds(limit, timeout)
    _check_text(text)
    given = dict(parameters or {})
    try:
        plan = graph.explain(text, given)
    except CypherRefused as error:
        raise CypherRefused(_without_explain(str(error))) from error
    _check_plan(plan)
    return graph.fetch(text, given, limit=limit, timeout=timeout)


def _check_bounds(limit: int, timeout: float) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"row limit {limit!r} is not a positive whole number; the default is 1000")
    if isinstance(timeout, bool) or not math.isfinite(timeout) or timeout <= 0:
        raise InputError(f"time limit {timeout!r} is not a positive number of seconds; the default is 20")


def _check_text(text: str) -> None:
    tokens = list(_tokens(_unescaped(text)))
    if not tokens:
        raise CypherRefused("the query is empty; write one, or list those that are there with `viscnn cypher --list`")
    _check_single(tokens)
    _check_start(_after_options(tokens))
    for called, name in _calls(tokens):
        if called:
            _check_procedure(name)
        else:
            _check_function(name)


def _unescaped(text: str) -> str:
    r"""Replace \uXXXX as Neo4j does: everywhere, and before it looks for strings and comments."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[0], text)


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "symbol"
        if kind == "unclosed":
            raise CypherRefused(f"what {match[0]} opens at character {match.start() + 1} is never closed; close it")
        if kind != "gap":
            yield _Token(kind, match[0])


def _check_single(tokens: list[_Token]) -> None:
    semicolon = _Token("symbol", ";")
    if semicolon in tokens[:-1]:
        raise CypherRefused("the query holds more than one statement; send them one by one")


def _after_options(tokens: list[_Token]) -> _Token:
    """The first token behind a `CYPHER 25 runtime=slotted` prefix."""
    padded = [*tokens, _END, _END]
    if padded[0].keyword != "CYPHER":
        return padded[0]
    at = 2 if padded[1].kind == "number" else 1
    while padded[at].kind == "word" and padded[at + 1].text == "=":
        at = min(at + 3, len(tokens))
    return padded[at]


def _check_start(first: _Token) -> None:
    word = first.keyword
    if word in {"EXPLAIN", "PROFILE"}:
        raise CypherRefused(f"the prefix {word} is not run here; leave it out, or use Neo4j Browser to see plans")
    if word == "USE":
        raise CypherRefused("the prefix USE is not run here; choose the database with NEO4J_DATABASE")
    if word == "LOAD":
        raise CypherRefused(_NO_LOAD_CSV)
    if word in _ADMINISTRATION:
        raise CypherRefused(f"{word}: {_NO_ADMINISTRATION}")
    if word not in _STARTS and first.text != "{":
        raise CypherRefused(f"the query starts with {first.text!r}; a read starts with {', '.join(_STARTS)}")


def _calls(tokens: list[_Token]) -> Iterator[tuple[bool, str]]:
    """Qualified names that are called: (True, name) behind CALL, (False, name) for a function."""
    at = 0
    while at < len(tokens):
        begin = at
        while tokens[at].is_name and at + 2 < len(tokens) and tokens[at + 1].text == "." and tokens[at + 2].is_name:
            at += 2
        parts = [token.text.strip("`") for token in tokens[begin : at + 1 : 2]]
        called = begin > 0 and tokens[begin - 1].keyword == "CALL" and tokens[begin].is_name
        applied = tokens[at].is_name and at + 1 < len(tokens) and tokens[at + 1].text == "("
        name = ".".join(parts)
        if (called or applied) and "." in name:
            yield called, name
        at += 1


def _check_procedure(name: str) -> None:
    if name not in PROCEDURES:
        raise CypherRefused(f"procedure {name} is not run here; those that are: {', '.join(sorted(PROCEDURES))}")


def _check_function(name: str) -> None:
    if name.partition(".")[0].lower() not in FUNCTION_NAMESPACES:
        known = ", ".join(sorted(FUNCTION_NAMESPACES))
        raise CypherRefused(f"function {name} is not run here; only Neo4j's own are, such as those of {known}")


def _check_plan(plan: Plan) -> None:
    procedures = [
        details.partition("(")[0].replace("`", "")
        for operator, details in zip(plan.operators, plan.details, strict=True)
        if operator.startswith("ProcedureCall")
    ]
    for name in procedures:
        _check_procedure(name)
    for operator in plan.operators:
        if "LoadCSV" in operator:
            raise CypherRefused(_NO_LOAD_CSV)
        if operator.startswith("Transaction"):
            raise CypherRefused(_NO_TRANSACTIONS)
        if operator.startswith(("Show", "Terminate", "AdministrationCommand")):
            raise CypherRefused(_NO_ADMINISTRATION)
    # Neo4j gives dbms.components, which only tells the version, the type of a schema command
    if plan.query_type != "r" and not (plan.query_type == "s" and "dbms.components" in procedures):
        raise CypherRefused("the query would change the graph; ad-hoc queries only read (use your own client to write)")


def _without_explain(message: str) -> str:
    """The message of Neo4j about our `EXPLAIN text`, with positions that count from the start of `text`."""
    shift = len("EXPLAIN ")
    moved = _EXPLAIN_POSITION.sub(
        lambda match: f"(line 1, column {int(match[1]) - shift} (offset: {int(match[2]) - shift}))", message
    )
    return moved.replace('"EXPLAIN ', '"', 1)
