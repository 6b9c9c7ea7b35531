"""Queries about one filter, on the toy graph, against its literal scores and profiles."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests import toy
from viscnn.graph import Graph


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


def test_a_class_profile_comes_with_the_names_of_the_classes(graph: Graph, stored: toy.Toy) -> None:
    (found,) = graph.read("read/filter_profile", uid="toy/conv2/1")
    assert found["profile"] == np.eye(3)[1].tolist()
    assert (tuple(found["classes"]), found["bestClass"], found["images"]) == (toy.CLASSES, toy.CLASSES[1], 12)
    (zero,) = graph.read("read/filter_profile", uid="toy/conv1/3")  # of four filters only three have a class
    assert (zero["profile"], zero["bestClass"]) == ([0.0, 0.0, 0.0], None)


def test_a_model_without_profiles_has_none(graph: Graph) -> None:
    with toy.stored(graph, "bald", toy.toy_network(), toy.SHAPE):
        assert graph.read("read/filter_profile", uid="bald/conv2/1") == []
