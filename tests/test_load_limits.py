"""Ingests at the limits: very wide layers, names that no model has, homes that cannot be written, other ingests."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import neo4j
import pytest
from typer.testing import CliRunner

from tests import built, nets, toy
from tests.servers import wait_until
from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.errors import ConfigError, ModelError
from viscnn.graph import Graph
from viscnn.ingest import kernels, registry
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.contents import Contents
from viscnn.ingest.kernels import Extent, kept_kernels
from viscnn.ingest.load import drop_model, keys_locked, load_contents, locked
from viscnn.ingest.structure import Architecture
from viscnn.ingest.zoo import Recipe


def small(name: str) -> Contents:
    network = nets.make("grouped")
    return Contents(name, toy.zoo_of(network, nets.INPUT), read_architecture(network, nets.INPUT))


def run(graph: Graph, text: str, **parameters: Any) -> None:
    """A statement that writes."""
    connection = graph.connection
    auth = (connection.username, connection.password)
    with neo4j.GraphDatabase.driver(connection.uri, auth=auth) as driver, driver.session() as session:
        session.run(text, **parameters).consume()


# --- very wide layers --------------------------------------------------------------------------------------------


def test_more_relationships_than_fit_into_the_memory_of_a_transaction(graph: Graph) -> None:
    """Filters of 8,192 inputs, and one of very many: together they take more than this server's transactions may."""
    run(graph, "UNWIND range(0, 13) AS i CREATE (:Filter {uid: 'heavy/' + i, model: 'heavy'})")
    text = (
        "UNWIND range(1, 13) AS f UNWIND range(1, CASE f WHEN 13 THEN 100000 ELSE 8192 END) AS i CALL (f, i) { "
        "MATCH (a:Filter {uid: 'heavy/0'}), (b:Filter {uid: 'heavy/' + f}) CREATE (a)-[:KERNEL {input: i}]->(b) "
        "} IN TRANSACTIONS OF 20000 ROWS"
    )
    run(graph, text)
    assert graph.stream("write/drop_kernels", model="heavy") == [{"relationships": 12 * 8192 + 100_000}]
    assert graph.stream("write/drop_kernels", model="heavy") == [{"relationships": 0}]
    run(graph, "MATCH (f:Filter {model: 'heavy'}) DELETE f")


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7, 1000])
def test_every_relationship_is_removed_whatever_fits_into_a_transaction(graph: Graph, most: int) -> None:
    with toy.toy_graph(graph):
        assert graph.stream("write/drop_kernels", model="toy", most=most) == [
            {"relationships": 4 * 1 + 3 * 4 + 2 * 7 + 3}  # kernels, scores of two queries, a circuit of three filters
        ]
        (counts,) = graph.read("read/model_counts", model="toy")
        assert (counts["kernels"], counts["filters"]) == (0, 8)
        assert graph.read("read/query_scores", uid="toy/query/one") == []


# --- how many kernels are kept -----------------------------------------------------------------------------------


def test_no_pass_over_the_kernels_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, real = [], kernels._raw_blocks

    def counted(made: Architecture) -> Any:
        passes.append(made)
        return real(made)

    monkeypatch.setattr(kernels, "_raw_blocks", counted)
    for extent, needed in ((Extent(), 0), (Extent(top=10**6), 0), (Extent(above=0.1), 1), (Extent(top=20), 4)):
        passes.clear()
        kept_kernels(built.branching(), extent)
        assert len(passes) == needed  # sixteen bits of the cut at a time


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".keys", ".schema", "keys", "schema", "x" * 100])
def test_any_name_is_a_name(graph: Graph, name: str) -> None:
    assert load_contents(graph, small(name)).model == name
    drop_model(graph, name)


@pytest.mark.parametrize("name", ["x" * 101, "x" * 300])
def test_a_name_that_is_too_long_is_one_line(server: Connection, name: str) -> None:
    result = CliRunner().invoke(app, ["ingest", "mnist", "--name", name])
    assert result.exit_code == 2
    assert result.stderr.startswith("viscnn: model name 'xxxxx")
    assert "at most 100 of them" in result.stderr
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 300


def test_a_name_out_of_the_database_is_no_path(graph: Graph, home: Path) -> None:
    run(graph, "CREATE (:Model {name: 'x/../../evil', status: 'ingesting'})")
    try:
        with pytest.raises(ModelError, match=r"'x/\.\./\.\./evil' must be of letters"):
            drop_model(graph, "x/../../evil")
        assert not list(home.parent.rglob("*evil*lock*"))
    finally:
        run(graph, "MATCH (m:Model {name: 'x/../../evil'}) DELETE m")


def test_a_model_that_is_not_complete_has_no_number_of_kernels(graph: Graph) -> None:
    load_contents(graph, small("unfinished"))
    try:
        assert [each["kernels"] for each in graph.read("read/models") if each["name"] == "unfinished"] == [16]
        graph.write("write/mark_dropping", model="unfinished")
        assert [each["kernels"] for each in graph.read("read/models") if each["name"] == "unfinished"] == [None]
    finally:
        drop_model(graph, "unfinished")


# --- homes that cannot be written --------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["ingest-nowhere.lock", "keys.lock", "schema.lock"])
def test_a_lock_that_cannot_be_taken_is_one_line(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    (tmp_path / file).mkdir()
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))
    try:
        with pytest.raises(ConfigError, match=r"cannot write to .*; set VISCNN_HOME to a writable folder"):
            load_contents(graph, small("nowhere"))
    finally:
        (tmp_path / file).rmdir()
        drop_model(graph, "nowhere", missing_ok=True)


def test_a_registry_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry.part").mkdir()
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"cannot write to .*; set VISCNN_HOME to a writable folder"):
        registry.register("any", registry.Entry(Recipe("mnist"), "hash", None))
    with pytest.raises(ConfigError, match="cannot write to"):
        registry.forget("any")


# --- other ingests -----------------------------------------------------------------------------------------------


def test_who_waits_for_another_is_told_so_once(graph: Graph, server: Connection) -> None:
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        with keys_locked():
            load = pool.submit(load_contents, graph, small("late"), advise=said.append)
            wait_until(lambda: said != [] or load.done())
            assert graph.read("read/model", model="late") == []
        assert load.result(60).kernels == 16
        assert said == ["waiting for the end of another ingest on this machine"]
        said.clear()
        with VISCNN(server) as session:
            with locked("late"):
                removal = pool.submit(session.drop, "late", advise=said.append)
                wait_until(lambda: said != [] or removal.done())
                assert graph.read("read/model", model="late")[0]["status"] == "complete"
            removal.result(60)
        assert graph.read("read/model", model="late") == []
        assert said == ["waiting for the end of another ingest or removal of 'late' on this machine"]
