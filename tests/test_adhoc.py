"""Ad-hoc Cypher on the real server: every attack is refused and leaves the graph as it was; plain reads pass."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import Cli
from viscnn import adhoc
from viscnn.config import Connection
from viscnn.errors import ConnectionFailed, CypherRefused, InputError
from viscnn.graph import Graph

COUNT = "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN count(DISTINCT n), count(r)"
LABELS = "CALL db.labels() YIELD label RETURN collect(label)"

WRITES = {
    "plain": "CREATE (:Attack)",
    "lower case": "create (:Attack)",
    "behind a line comment": "// harmless\nCREATE (:Attack)",
    "behind a carriage return": "// harmless\rCREATE (:Attack)",
    "behind a block comment": "/* RETURN 1 */ CREATE (:Attack)",
    "behind a read": "MATCH (n) SET n.attack = 1 RETURN n",
    "behind WITH": "WITH 1 AS x CREATE (a:Attack) RETURN a",
    "merge": "UNWIND [1] AS x MERGE (a:Attack) RETURN a",
    "insert": "CYPHER 25 MATCH (n) INSERT (:Attack)",
    "delete": "MATCH (n) DETACH DELETE n",
    "remove": "MATCH (n) REMOVE n.uid",
    "foreach": "MATCH (n) FOREACH (x IN [1] | CREATE (:Attack))",
    "in a subquery": "CALL { CREATE (a:Attack) RETURN a } RETURN a",
    "in a scoped subquery": "UNWIND [1] AS x CALL (x) { CREATE (a:Attack) RETURN a } RETURN a",
    "in a union": "RETURN 1 AS x UNION CREATE (a:Attack) RETURN 1 AS x",
    "in an expression": "RETURN COLLECT { CREATE (a:Attack) RETURN a } AS x",
    "in a branch": "CYPHER 25 WHEN true THEN CREATE (:Attack) RETURN 1 AS x ELSE RETURN 2 AS x",
    "in braces": "CYPHER 25 { CREATE (:Attack) RETURN 1 AS x }",
    "with options": "CYPHER 25 runtime=slotted CREATE (:Attack)",
    "as unicode escape": r"\u0043REATE (:Attack)",
    "escape that ends a string": r"MATCH (n) WHERE n.uid = '\u0027 SET n.attack = 1 //'",
    "escape that ends a comment": r"RETURN 1 AS x /* *\u002f UNION CREATE (:Attack) RETURN 1 AS x /* */",
    "back-ticked label": "MATCH (n) SET n:`Attack; RETURN 1`",
    "index": "CREATE INDEX attack FOR (n:Attack) ON (n.a)",
    "constraint": "DROP CONSTRAINT filter_uid IF EXISTS",
    "label token": "CALL db.createLabel('Attack')",
    "label token, back-ticked": "CALL `db`.`createLabel`('Attack')",
    "label token, with a comment": "CALL db /* . */ . createLabel('Attack')",
}

TWO_STATEMENTS = {
    "read and write": "RETURN 1; CREATE (:Attack)",
    "two reads": "RETURN 1; RETURN 2",
    "behind a comment": "RETURN 1; /* ; */ RETURN 2",
    "behind a string": "RETURN ';'; RETURN 2",
    "behind a name": "RETURN 1 AS `a``;`; RETURN 2",
    "escaped": r"RETURN 1\u003b RETURN 2",
    "empty ones": "RETURN 1;;",
}

PREFIXES = {
    "EXPLAIN": "EXPLAIN RETURN 1",
    "PROFILE": "PROFILE CREATE (:Attack)",
    "explain behind a comment": "/* x */ explain CREATE (:Attack)",
    "EXPLAIN behind a version": "CYPHER 25 EXPLAIN RETURN 1",
    "PROFILE behind options": "CYPHER 25 planner=cost // x\n runtime = slotted PROFILE RETURN 1",
    "PROFILE, escaped": r"\u0050ROFILE RETURN 1",
    "USE": "USE system RETURN 1",
    "USE behind a version": "CYPHER 5 USE neo4j RETURN 1",
}

ADMINISTRATION = {
    "users": "SHOW USERS",
    "users, quietly": "/**/ cypher 25 show users YIELD user RETURN user",
    "settings": "SHOW SETTINGS",
    "transactions": "SHOW TRANSACTIONS YIELD currentQuery RETURN currentQuery",
    "terminate": "TERMINATE TRANSACTIONS 'neo4j-transaction-1'",
    "password": "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'bbbbbbbb'",
    "grant": "GRANT ROLE admin TO neo4j",
    "stop": "STOP DATABASE neo4j",
}

PROCEDURES = {
    "configuration": "CALL dbms.listConfig()",
    "configuration in an expression": "RETURN COLLECT { CALL dbms.listConfig() YIELD name RETURN name } AS names",
    "without brackets": "CALL dbms.listConfig",
    "optional": "OPTIONAL CALL dbms.listConfig() YIELD name RETURN name",
    "behind an allowed one": "CALL db.labels() YIELD label CALL dbms.listConfig() YIELD name RETURN name",
    "caches": "CALL db.clearQueryCaches()",
    "transaction data": "CALL tx.setMetaData({a: 1})",
    "one that does not exist": "CALL dbms.killQueries([])",
    "case": "CALL DBMS.LISTCONFIG()",
}

READS: dict[str, tuple[str, list[list[Any]]]] = {
    "number": ("RETURN 1 AS x", [[1]]),
    "trailing semicolon": ("RETURN 1 AS x; // done", [[1]]),
    "semicolon in a string": ('RETURN ";" AS x', [[";"]]),
    "write in a string": (r"RETURN 'it\'s; CREATE (:Attack)' AS x", [["it's; CREATE (:Attack)"]]),
    "write in a comment": ("// CREATE (:Attack);\nRETURN 1 AS x /* SHOW USERS; */", [[1]]),
    "write as a name": ("RETURN 1 AS `CREATE (:Attack);`", [[1]]),
    "back-tick in a name": ("RETURN 1 AS `a``; CREATE (:Attack)`", [[1]]),
    "escaped escape": (r"RETURN '\\u0027; ' AS x", [[r"\u0027; "]]),
    "escape in a name": (r"RETURN 1 AS \u0061b", [[1]]),
    "version": ("CYPHER 25 RETURN 1 AS x", [[1]]),
    "version and options": ("cypher 25 runtime=slotted RETURN 1 AS x", [[1]]),
    "braces": ("CYPHER 25 { RETURN 1 AS x }", [[1]]),
    "subquery": ("UNWIND [1, 2] AS x CALL (x) { RETURN x * 2 AS y } RETURN y", [[2], [4]]),
    "union": ("RETURN 1 AS x UNION ALL RETURN 2 AS x", [[1], [2]]),
    "a variable named like a keyword": ("WITH 1 AS call, 2 AS use RETURN call AS x, use AS y", [[1, 2]]),
    "own function": ("RETURN vector.similarity.cosine([1.0, 0.0], [1.0, 0.0]) AS x", [[1.0]]),
    "date": ("RETURN date.truncate('year', date('2026-05-04')) AS x", [["2026-01-01"]]),
    "nothing": ("MATCH (n:NoSuchLabel) RETURN n", []),
}


@pytest.fixture(autouse=True)
def unchanged(graph: Graph) -> Iterator[None]:
    """The counts of nodes and relationships, and the labels, are the same after every test."""
    before = [adhoc.run(graph, text).rows for text in (COUNT, LABELS)]
    yield
    assert [adhoc.run(graph, text).rows for text in (COUNT, LABELS)] == before


@pytest.mark.parametrize("text", WRITES.values(), ids=WRITES.keys())
def test_a_write_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused):
        adhoc.run(graph, text)


@pytest.mark.parametrize("text", WRITES.values(), ids=WRITES.keys())
def test_a_write_that_got_past_the_guard_would_still_be_refused_by_the_server(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match="Neo4j rejects"):
        graph.fetch(text, {}, limit=1, timeout=5)


@pytest.mark.parametrize("text", TWO_STATEMENTS.values(), ids=TWO_STATEMENTS.keys())
def test_more_than_one_statement_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match="more than one statement"):
        adhoc.run(graph, text)


@pytest.mark.parametrize("text", PREFIXES.values(), ids=PREFIXES.keys())
def test_a_prefix_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match=r"the prefix (EXPLAIN|PROFILE|USE) is not run here"):
        adhoc.run(graph, text)


@pytest.mark.parametrize("text", ADMINISTRATION.values(), ids=ADMINISTRATION.keys())
def test_administration_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match="administration commands are not run here"):
        adhoc.run(graph, text)


@pytest.mark.parametrize("text", PROCEDURES.values(), ids=PROCEDURES.keys())
def test_a_procedure_that_is_not_listed_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match=r"procedure \w+\.\w+ is not run here; those that are: .*db\.labels"):
        adhoc.run(graph, text)


@pytest.mark.parametrize(
    "text",
    [
        "RETURN apoc.cypher.runFirstColumnSingle('CREATE (:Attack)', {})",
        "RETURN genai . /* x */ vector.encode('x', 'OpenAI', {})",
        "RETURN `apoc`.`cypher`.run('x')",
        "RETURN `apoc.cypher.run`('x')",
    ],
)
def test_a_function_of_a_plugin_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match=r"function (apoc|genai)\.[\w.]+ is not run here"):
        adhoc.run(graph, text)


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (n) CALL (n) { RETURN 1 AS x } IN TRANSACTIONS RETURN x",
        "UNWIND [1] AS y CALL (y) { RETURN 1 AS x } IN 2 CONCURRENT TRANSACTIONS OF 5 ROWS RETURN x",
        "UNWIND [1] AS y CALL (y) { CREATE (:Attack) } IN TRANSACTIONS",
    ],
)
def test_transactions_of_its_own_are_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match="leave out IN TRANSACTIONS"):
        adhoc.run(graph, text)


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a web server on this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Keep the test's output quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", paths
    httpd.shutdown()
    thread.join()
    httpd.server_close()


LOADS = {
    "plain": "LOAD CSV FROM {source} AS line RETURN line",
    "behind a read": "UNWIND [1] AS x LOAD CSV FROM {source} AS line RETURN line",
    "in a subquery": "CALL {{ LOAD CSV FROM {source} AS line RETURN line }} RETURN line",
    "in an expression": "RETURN COLLECT {{ LOAD CSV FROM {source} AS line RETURN line }} AS lines",
    "in a condition": "MATCH (n) WHERE COUNT {{ LOAD CSV FROM {source} AS line RETURN line }} > 0 RETURN n",
    "in a union": "RETURN ['a'] AS line UNION LOAD CSV FROM {source} AS line RETURN line",
    "escaped": r"\u004coad csv FROM {source} AS line RETURN line",
}


@pytest.mark.parametrize("template", LOADS.values(), ids=LOADS.keys())
def test_load_csv_reads_no_file_and_no_address(
    graph: Graph, template: str, asked: tuple[str, list[str]], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n")
    address, paths = asked
    for source in (f"'{secret.as_uri()}'", f"'{address}/x'", "$source"):
        with pytest.raises(CypherRefused, match="LOAD CSV reads files and addresses"):
            adhoc.run(graph, template.format(source=source), {"source": f"{address}/x"})
    assert paths == []


@pytest.mark.parametrize(("text", "rows"), READS.values(), ids=READS.keys())
def test_a_plain_read_passes(graph: Graph, text: str, rows: list[list[Any]]) -> None:
    assert [list(row) for row in adhoc.run(graph, text).rows] == rows


@pytest.mark.parametrize(
    "text",
    [
        "MATCH path = (a)-[*1..2]->(b) RETURN path LIMIT 3",
        "MATCH (f:Filter) WHERE f.layerIndex IN $layers AND f.score > 0.1 RETURN f.uid ORDER BY f.score DESC LIMIT 3",
        "MATCH (f:Filter) WHERE EXISTS { (f)-[:KERNEL]->() } RETURN count(f)",
        "CALL db.labels()",
        "CALL db.labels() YIELD label RETURN label",
        "CALL db.schema.visualization()",
        "CALL db.relationshipTypes",
        "CALL `db`.`propertyKeys`()",
        "CALL dbms.components() YIELD name RETURN name",
    ],
)
def test_a_read_of_the_graph_passes(graph: Graph, text: str) -> None:
    assert adhoc.run(graph, text, {"layers": [1, 2]}).columns


def test_parameters_are_values_and_never_text(graph: Graph) -> None:
    table = adhoc.run(graph, "RETURN $x AS x, $`a b` AS y", {"x": "1 CREATE (:Attack)", "a b": [1, 2]})
    assert table.columns == ("x", "y")
    assert table.rows == (("1 CREATE (:Attack)", [1, 2]),)


def test_more_rows_than_the_limit_are_said(graph: Graph) -> None:
    text = "UNWIND range(1, 5) AS x RETURN x"
    capped = adhoc.run(graph, text, limit=4)
    assert ([row[0] for row in capped.rows], capped.truncated) == ([1, 2, 3, 4], True)
    whole = adhoc.run(graph, text, limit=5)
    assert (len(whole.rows), whole.truncated) == (5, False)


def test_a_heavy_query_is_stopped_in_time(graph: Graph) -> None:
    began = time.monotonic()
    with pytest.raises(CypherRefused, match="time limit"):
        adhoc.run(graph, "UNWIND range(1, 100000000000) AS x WITH x WHERE x % 7 = 3 RETURN count(*)", timeout=1)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("text", ["", "  \n\t", "// only a comment", "/* and */ // another"])
def test_an_empty_query_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match="is empty"):
        adhoc.run(graph, text)


@pytest.mark.parametrize("text", ["RETURN 'a", "RETURN \"a'", "RETURN `a``", "RETURN 1 /* x", r"RETURN '\u0027'"])
def test_what_is_never_closed_is_refused(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match=r"opens at character \d+ is never closed"):
        adhoc.run(graph, text)


@pytest.mark.parametrize(
    "text", [";", "SELECT 1", "(n)", "MTACH (n) RETURN n", "\ufeffRETURN 1", "CYPHER 25", "CYPHER a="]
)
def test_what_is_no_read_is_refused_by_its_first_word(graph: Graph, text: str) -> None:
    with pytest.raises(CypherRefused, match=r"the query starts with .*; a read starts with MATCH"):
        adhoc.run(graph, text)


def test_a_mistake_is_reported_at_its_own_place(graph: Graph) -> None:
    with pytest.raises(CypherRefused, match=r"Variable `missing` not defined \(line 1, column 8 ") as caught:
        adhoc.run(graph, "RETURN missing")
    assert "EXPLAIN" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("\ud800", "half a character"),
        (["one", {"deep": "a\udfffb"}], "half a character"),
        ({"\udc00": 1}, "half a character"),
        (10**30, "64 bits"),
        ([-(2**63) - 1], "64 bits"),
        ([2**63], "64 bits"),
        pytest.param(1 << 100_000, "of 100001 bits", id="more digits than Python writes"),
    ],
)
def test_what_neo4j_cannot_hold_is_refused_and_the_connection_stays(graph: Graph, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        adhoc.run(graph, "RETURN $value AS value", {"value": value})
    assert not isinstance(caught.value, ConnectionFailed)
    str(caught.value).encode()
    assert adhoc.run(graph, "RETURN 1").rows == ((1,),)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), "\U0001f600", [True, 1e300]])
def test_what_is_as_large_as_it_may_be_is_returned(graph: Graph, value: Any) -> None:
    assert adhoc.run(graph, "RETURN $value AS value", {"value": value}).rows == ((value,),)


def test_half_a_character_in_the_text_or_in_a_name_is_refused(graph: Graph) -> None:
    with pytest.raises(InputError, match="half a character"):
        adhoc.run(graph, "RETURN '\ud800'")
    with pytest.raises(InputError, match="half a character"):
        graph.read("read/model", model="\ud800")
    with pytest.raises(InputError, match="64 bits"):
        graph.write("write/drop_own_image_set", model="m", name=10**30)


@pytest.mark.parametrize("uri", ["bolt://a..b:7687", "bolt://127.0.0.1:abc", "bolt://[::1:7687"])
def test_an_address_that_cannot_be_looked_up_is_a_connection_that_failed(uri: str) -> None:
    with pytest.raises(ConnectionFailed, match="not a usable Neo4j address"), Graph(Connection(uri, "a", "b")) as wrong:
        wrong.read("read/models")


def test_the_command_refuses_them_too(server: Connection) -> None:
    assert "half a character" in Cli().mistake("cypher", "--text", "RETURN $x AS x", 'x=["\\ud800"]')
    assert "64 bits" in Cli().mistake("cypher", "--text", "RETURN $x AS x", "x=[1" + 30 * "0" + "]")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
def test_a_row_limit_that_is_not_positive_is_refused(graph: Graph, limit: Any) -> None:
    with pytest.raises(InputError, match="row limit"):
        adhoc.run(graph, "RETURN 1", limit=limit)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), True])
def test_a_time_limit_that_is_not_positive_is_refused(graph: Graph, timeout: Any) -> None:
    with pytest.raises(InputError, match="time limit"):
        adhoc.run(graph, "RETURN 1", timeout=timeout)
