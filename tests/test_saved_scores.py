"""Scores of a query in the graph: written and read in parts, by several at once, and cut off at any point."""

import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import neo4j
import numpy as np
import pytest

from tests import toy
from tests.servers import wait_until
from viscnn import graph_scores
from viscnn.config import Connection
from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.graph_scores import (
    QueryScores,
    ScoredLayer,
    activate_scores,
    query_scores,
    save_importance,
    save_scores,
    stored_scores,
)
from viscnn.queries import catalogue

UID = "toy/query/one"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three filters of conv1, or none but one of conv2, at a time; nothing remembered; short waits."""
    monkeypatch.setattr(graph_scores, "PART_SCORES", 3)
    monkeypatch.setattr(graph_scores, "_remembered", type(graph_scores._remembered)())
    monkeypatch.setattr(graph_scores, "STALLED_SECONDS", 0.5)


@pytest.fixture
def found(graph: Graph) -> Iterator[toy.Toy]:
    with toy.toy_graph(graph) as made:
        yield made


def scores(seed: int) -> list[ScoredLayer]:
    generator = np.random.default_rng(seed)
    sizes = {"conv1": (4, 1), "conv2": (3, 4)}
    return [
        ScoredLayer(f"toy/{name}", generator.normal(size=size[0]), generator.normal(size=size))
        for name, size in sizes.items()
    ]


def rows(layers: list[ScoredLayer]) -> list[dict[str, Any]]:
    return [
        {"uid": f"{layer.uid}/{o}", "score": layer.filters[o], "kernelScores": layer.kernels[o].tolist()}
        for layer in layers
        for o in range(len(layer.filters))
    ]


def as_rows(of: QueryScores) -> list[dict[str, Any]]:
    return [
        {"uid": uid, "score": of.filters[n], "kernelScores": of.kernels[of.starts[n] : of.starts[n + 1]].tolist()}
        for n, uid in enumerate(of.uids)
    ]


@contextmanager
def watched(server: Connection, *, at: str, number: int, then: Callable[[], None]) -> Iterator[tuple[Graph, list[str]]]:
    """A graph that calls `then` behind the so many-th statement `at`, and the names of its statements."""
    names: list[str] = []

    def tracer(name: str, parameters: dict[str, Any], milliseconds: float) -> None:
        names.append(name)
        if name == at and names.count(at) == number:
            then()

    with Graph(server, tracer=tracer) as opened:
        yield opened, names


def status(graph: Graph) -> str:
    return str(graph.read("read/query", uid=UID)[0]["status"])


def test_scores_are_written_and_read_part_by_part(graph: Graph, found: toy.Toy, server: Connection) -> None:
    with watched(server, at="", number=0, then=lambda: None) as (own, names):
        save_scores(own, UID, scores(5))
        assert names.count("write/save_scores") == 1 + 1 + 3  # three filters of one kernel, another, and each of four
        assert graph.read("read/query_scores", uid=UID) == rows(scores(5))
        graph_scores._remembered.clear()
        assert as_rows(query_scores(own, UID)) == rows(scores(5))
        assert names.count("read/query_page") == 1 + 1 + 3
    assert as_rows(stored_scores(graph, UID)) == rows(scores(5))


def test_a_writing_that_was_cut_off_is_no_query_until_the_next_one(
    graph: Graph, found: toy.Toy, server: Connection
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    for at, number in (("write/start_scores", 1), ("write/save_scores", 1), ("write/save_scores", 4)):
        with watched(server, at=at, number=number, then=stop) as (own, _), pytest.raises(KeyboardInterrupt):
            save_scores(own, UID, scores(6))
        assert status(graph) == "scoring"
        assert graph.read("read/query_scores", uid=UID) == []
        with pytest.raises(NotInGraph, match="no complete query"):
            stored_scores(graph, UID)
        with pytest.raises(NotInGraph, match="no complete query"):
            activate_scores(graph, UID)
        save_scores(graph, UID, scores(7), replace=False)
        assert status(graph) == "complete"
        assert graph.read("read/query_scores", uid=UID) == rows(scores(7))


@pytest.mark.parametrize("number", [1, 3, 5])
def test_of_two_writers_the_later_holds_and_the_earlier_waits_for_it(
    graph: Graph, found: toy.Toy, server: Connection, number: int
) -> None:
    def other() -> None:
        save_scores(graph, UID, scores(9))

    with watched(server, at="write/save_scores", number=number, then=other) as (own, names):
        save_scores(own, UID, scores(8))
        assert names.count("write/start_scores") == 1
        assert names[-1] == "read/query_progress"
    assert status(graph) == "complete"
    assert graph.read("read/query_scores", uid=UID) == rows(scores(9))


@pytest.mark.parametrize(
    ("name", "given"),
    [("write/save_scores", {"rows": [{"uid": "toy/conv1/0"}]}), ("write/finish_scores", {"filters": 7})],
)
def test_a_writer_that_waits_for_the_query_does_not_take_back_its_name(
    graph: Graph, found: toy.Toy, server: Connection, name: str, given: dict[str, Any]
) -> None:
    run = graph.stream("write/start_scores", uid=UID)[0]["run"]
    waiting = "SHOW TRANSACTIONS YIELD status, currentQuery AS text WHERE text STARTS WITH $start RETURN status"
    start = catalogue()[name].text[:40]
    with (
        neo4j.GraphDatabase.driver(server.uri, auth=(server.username, server.password)) as driver,
        driver.session() as holder,
        driver.session() as other,
        ThreadPoolExecutor() as pool,
        holder.begin_transaction() as transaction,
    ):
        transaction.run("MATCH (q:Query {uid: $uid}) SET q.scoresRun = 'later'", uid=UID).consume()
        late = pool.submit(graph.write, name, uid=UID, run=run, **given)
        wait_until(lambda: any(row["status"].startswith("Blocked") for row in other.run(waiting, start=start)))
        transaction.commit()
        assert [row for row in late.result() if row.get("mine", True)] == []
    named = graph.fetch("MATCH (q:Query {uid: $uid}) RETURN q.scoresRun", {"uid": UID}, limit=1, timeout=10)
    assert named.rows[0][0] == "later"
    assert graph.read("read/query_progress", uid=UID)[0]["scored"] == 0


def test_a_writer_that_is_gone_is_waited_for_a_while_only(graph: Graph, found: toy.Toy, server: Connection) -> None:
    def begin() -> None:
        graph.stream("write/start_scores", uid=UID)

    with watched(server, at="write/save_scores", number=2, then=begin) as (own, names):
        save_scores(own, UID, scores(10))
        assert names.count("write/start_scores") == 2
    assert graph.read("read/query_scores", uid=UID) == rows(scores(10))


def test_a_query_that_is_removed_meanwhile_stays_so(graph: Graph, found: toy.Toy, server: Connection) -> None:
    def remove() -> None:
        graph.write("write/drop_query", uid=UID)

    with (
        watched(server, at="write/save_scores", number=2, then=remove) as (own, _),
        pytest.raises(StoredDataError, match="toy/query/one was removed while it was stored"),
    ):
        save_scores(own, UID, scores(11))
    assert graph.read("read/query", uid=UID) == []


def test_complete_scores_are_written_anew_only_when_that_is_asked_for(graph: Graph, found: toy.Toy) -> None:
    save_scores(graph, UID, scores(12), replace=False)
    assert graph.read("read/query_scores", uid=UID) == found.one
    save_scores(graph, UID, scores(12))
    assert graph.read("read/query_scores", uid=UID) == rows(scores(12))


def test_scores_that_change_while_they_are_read_are_read_again(
    graph: Graph, found: toy.Toy, server: Connection
) -> None:
    def change() -> None:
        save_scores(graph, UID, scores(13))

    with watched(server, at="read/query_page", number=2, then=change) as (own, names):
        assert as_rows(query_scores(own, UID)) == rows(scores(13))
        assert names.count("read/query_layers") == 2


@pytest.mark.parametrize("updates", [1, 9, 1000])
def test_activation_and_importance_are_the_same_in_transactions_of_any_size(
    graph: Graph, found: toy.Toy, monkeypatch: pytest.MonkeyPatch, updates: int
) -> None:
    monkeypatch.setattr(graph_scores, "MOST_UPDATES", updates)
    assert activate_scores(graph, "toy/query/two") == {"filters": 7, "kernels": 16}
    save_importance(graph, UID)
    table = graph.fetch(
        "MATCH (b:Filter {model: 'toy'})<-[k:KERNEL]-()"
        " RETURN b.uid, b.score, b.importance, k.input, k.score, k.importance",
        {},
        limit=100,
        timeout=30,
    )
    one, two = ({row["uid"]: row for row in rows} for rows in (found.one, found.two))
    assert len(table.rows) == 16
    for uid, score, importance, number, kernel_score, kernel_importance in table.rows:
        assert (score, kernel_score) == (two[uid]["score"], two[uid]["kernelScores"][number])
        assert (importance, kernel_importance) == (one[uid]["score"], one[uid]["kernelScores"][number])


def test_a_part_is_all_that_there_is_of_python_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_scores, "PART_SCORES", 100_000)
    layers = [ScoredLayer(f"m/{n}", np.zeros(500), np.random.default_rng(n).random((500, 1000))) for n in range(4)]
    tracemalloc.start()
    sizes = [sum(len(row["kernelScores"]) for row in part) for part in graph_scores._parts_to_send(layers)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [100_000] * 20
    assert peak < 12e6  # of 2,000,000 scores; all at once they would be 64 MB
