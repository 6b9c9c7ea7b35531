"""Queries about one filter, on the toy graph, against its literal scores and profiles."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import toy
from viscnn.graph import Graph
from viscnn.graph_scores import activate_scores


@pytest.fixture(scope="module")
def stored(graph: Graph) -> Iterator[toy.Toy]:
    with toy.toy_graph(graph) as made:
        yield made


@pytest.mark.parametrize("query", ["one", "two"])
def test_outgoing_kernels_have_a_saved_querys_scores(graph: Graph, stored: toy.Toy, query: str) -> None:
    found = graph.read("read/outgoing_kernels", uid="toy/conv1/2", query=f"toy/query/{query}")
    scores = {row["uid"]: row["kernelScores"][2] for row in getattr(stored, query) if "/conv2/" in row["uid"]}
    assert [row["target"] for row in found] == sorted(scores, key=lambda uid: -scores[uid])
    assert [row["score"] for row in found] == sorted(scores.values(), reverse=True)
    assert {row["input"] for row in found} == {2}
    weight = stored.architecture.convolution(stored.architecture.layer("conv2")).weight
    for row in found:
        assert row["weights"] == weight[int(row["target"].rpartition("/")[2]), 2].flatten().tolist()


def test_outgoing_kernels_without_a_query_come_by_weight(graph: Graph, stored: toy.Toy) -> None:
    found = graph.read("read/outgoing_kernels", uid="toy/input/gray", query="", limit=3)
    assert [row["score"] for row in found] == [None] * 3
    assert [row["l1"] for row in found] == sorted((row["l1"] for row in found), reverse=True)
    assert graph.read("read/outgoing_kernels", uid="toy/conv2/0", query="") == []


def test_scores_and_ranks_under_every_query(graph: Graph, stored: toy.Toy) -> None:
    found = {row["query"]: row for row in graph.read("read/filter_scores", uid="toy/conv1/3")}
    for name, rows in (("toy/query/one", stored.one), ("toy/query/two", stored.two)):
        scores = {row["uid"]: row["score"] for row in rows if "/conv1/" in row["uid"]}
        better = sum(score > scores["toy/conv1/3"] for score in scores.values())
        assert (found[name]["score"], found[name]["rank"]) == (scores["toy/conv1/3"], better + 1)
        assert found[name]["filters"] == 4
    assert graph.read("read/filter_scores", uid="toy/conv9/0") == []


@pytest.fixture
def signed(graph: Graph, stored: toy.Toy) -> Iterator[list[dict[str, Any]]]:
    """The rows of a query of a signed criterion, whose strongest scores are partly negative."""
    rows = toy.save_query(graph, "toy", stored.architecture, "toy/query/signed", seed=5, signed=True)
    for row in rows:
        row["score"] -= 1.0
        row["kernelScores"] = [score - 1.0 for score in row["kernelScores"]]
    toy.write_scores(graph, "toy/query/signed", rows)
    yield rows
    graph.write("write/drop_query", uid="toy/query/signed")


def test_of_a_signed_criterion_the_size_counts(graph: Graph, stored: toy.Toy, signed: list[dict[str, Any]]) -> None:
    query = "toy/query/signed"
    row = next(each for each in signed if each["uid"] == "toy/conv2/1")
    largest = sorted(row["kernelScores"], key=lambda score: -abs(score))
    assert largest != sorted(row["kernelScores"], reverse=True)
    found = graph.read("read/incoming_kernels", uid="toy/conv2/1", query=query, limit=3)
    assert [each["score"] for each in found] == largest[:3]
    into = [each["kernelScores"][2] for each in signed if "/conv2/" in each["uid"]]
    found = graph.read("read/outgoing_kernels", uid="toy/conv1/2", query=query, limit=9)
    assert [each["score"] for each in found] == sorted(into, key=lambda score: -abs(score))
    of_layer = [each["score"] for each in signed if "/conv1/" in each["uid"]]
    for channel, score in enumerate(of_layer):
        ranks = {each["query"]: each["rank"] for each in graph.read("read/filter_scores", uid=f"toy/conv1/{channel}")}
        assert ranks[query] == 1 + sum(abs(other) > abs(score) for other in of_layer)


def test_of_an_active_signed_query_the_size_counts(graph: Graph, stored: toy.Toy, signed: list[dict[str, Any]]) -> None:
    activate_scores(graph, "toy/query/signed")
    try:
        filters = graph.read("read/top_filters", layer="toy/conv1", limit=3)
        of_layer = [row["score"] for row in signed if "/conv1/" in row["uid"]]
        assert [each["score"] for each in filters] == sorted(of_layer, key=lambda score: -abs(score))[:3]
        kernels = graph.read("read/top_kernels", model="toy", above=0.3, limit=4)
        for layer in ("conv1", "conv2"):
            scores = [score for row in signed if f"/{layer}/" in row["uid"] for score in row["kernelScores"]]
            best = sorted((each for each in scores if abs(each) > 0.3), key=lambda score: -abs(score))[:4]
            assert [each["score"] for each in kernels if each["layer"] == layer] == best
            assert min(best) < 0 < max(best) or layer == "conv1"
    finally:
        activate_scores(graph, "toy/query/one")


def test_a_class_profile_comes_with_the_names_of_the_classes(graph: Graph, stored: toy.Toy) -> None:
    (found,) = graph.read("read/filter_profile", uid="toy/conv2/1")
    assert found["profile"] == np.eye(3)[1].tolist()
    assert (tuple(found["classes"]), found["bestClass"], found["images"]) == (toy.CLASSES, toy.CLASSES[1], 12)
    (zero,) = graph.read("read/filter_profile", uid="toy/conv1/3")  # of four filters only three have a class
    assert (zero["profile"], zero["bestClass"]) == ([0.0, 0.0, 0.0], None)


def test_a_model_without_profiles_has_none(graph: Graph) -> None:
    with toy.stored(graph, "bald", toy.toy_network(), toy.SHAPE):
        assert graph.read("read/filter_profile", uid="bald/conv2/1") == []
