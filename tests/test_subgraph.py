"""What the page draws: exactly the highest-scored kernels, the same whether the query is active or not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import toy
from viscnn import VISCNN, subgraph
from viscnn.config import Connection
from viscnn.errors import ExpressionError, NotInGraph
from viscnn.graph import Graph
from viscnn.graph_scores import activate_scores
from viscnn.subgraph import Subgraph, of_circuit, pull

MODEL = "subgraph-mnist"


@pytest.fixture(scope="module")
def v(server: Connection) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        opened.ingest("mnist", name=MODEL, importance=False)
        yield opened
        opened.drop(MODEL)


@pytest.fixture(scope="module")
def uid(v: VISCNN) -> str:
    """A contrast, so that many scores are negative; not active."""
    found = v.query("three - overall", model=MODEL, max_images=40, activate=False).uid
    v.query("seven", model=MODEL, max_images=10)
    return found


@pytest.fixture
def stored(graph: Graph) -> Iterator[toy.Toy]:
    with toy.toy_graph(graph) as found:
        yield found


def scaled_scores(v: VISCNN, graph: Graph, uid: str, scale: str) -> dict[tuple[str, int], tuple[float, float]]:
    """Scaled and raw score of every kernel by target and input, literally."""
    positions = {row["name"]: row["positions"] for row in v.layers(MODEL)}
    rows = graph.read("read/query_scores", uid=uid)
    squares: dict[str, float] = {}
    for row in rows:
        layer = row["uid"].split("/")[1]
        squares[layer] = squares.get(layer, 0.0) + sum(score**2 for score in row["kernelScores"])
    factor = {
        "raw": dict.fromkeys(positions, 1.0),
        "sum": positions,
        "layer-l2": {layer: 1 / total**0.5 for layer, total in squares.items()},
    }[scale]
    return {
        (row["uid"], i): (score * factor[row["uid"].split("/")[1]], score)
        for row in rows
        for i, score in enumerate(row["kernelScores"])
    }


def drawn(found: Subgraph) -> list[tuple[str, int]]:
    uids = found.filters["uid"]
    return [(uids[int(row["target"])], int(row["input"])) for row in found.kernels.to_dict("records")]


@pytest.mark.parametrize("scale", ["sum", "layer-l2", "raw"])
@pytest.mark.parametrize("keep", [0.001, 0.05, 0.3, 1.0])
def test_the_kept_kernels_are_the_highest_of_all(v: VISCNN, graph: Graph, uid: str, scale: str, keep: float) -> None:
    scores = scaled_scores(v, graph, uid, scale)
    positive = sorted((key for key in scores if scores[key][0] > 0), key=lambda key: -scores[key][0])
    expected = positive[: max(1, round(keep * len(scores)))]
    found = v.subgraph(uid, keep=keep, scale=scale)
    assert drawn(found) == expected
    np.testing.assert_allclose(found.kernels["score"], [scores[key][1] for key in expected])
    assert (found.total, found.left_out) == (2192, 0)
    share = sum(scores[key][0] for key in expected) / sum(scores[key][0] for key in positive)
    assert found.score_share == pytest.approx(share)
    assert (found.model, found.query) == (MODEL, uid)


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 0.9, 1.0])
def test_the_fewest_kernels_that_hold_a_share_of_the_score(v: VISCNN, graph: Graph, uid: str, share: float) -> None:
    positive = sorted((each[0] for each in scaled_scores(v, graph, uid, "sum").values() if each[0] > 0), reverse=True)
    found = v.subgraph(uid, share=share)
    count = len(found.kernels)
    assert sum(positive[:count]) >= share * sum(positive) * (1 - 1e-12)
    assert sum(positive[: count - 1]) < share * sum(positive)
    assert found.score_share == pytest.approx(sum(positive[:count]) / sum(positive))


def test_the_active_query_is_drawn_like_any_other(v: VISCNN, uid: str) -> None:
    before = v.subgraph(uid, keep=0.2)
    active = v.model(MODEL)["activeQuery"]
    v.activate(uid)
    after = v.subgraph(uid, keep=0.2)
    v.activate(active)
    pd.testing.assert_frame_equal(before.kernels, after.kernels)
    columns = [column for column in before.filters if column != "importance"]
    pd.testing.assert_frame_equal(before.filters[columns], after.filters[columns])


def test_a_limit_leaves_out_the_lowest(v: VISCNN, uid: str) -> None:
    whole, limited = v.subgraph(uid, keep=0.2), v.subgraph(uid, keep=0.2, limit=30)
    assert drawn(limited) == drawn(whole)[:30]
    assert limited.left_out == len(whole.kernels) - 30
    assert limited.score_share < whole.score_share


@pytest.mark.parametrize("size", [1, 40, 500])
def test_kernels_are_the_same_in_parts_of_any_size(
    v: VISCNN, uid: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = v.subgraph(uid, keep=0.2)
    monkeypatch.setattr(subgraph, "PART_KERNELS", size)
    pd.testing.assert_frame_equal(v.subgraph(uid, keep=0.2).kernels, whole.kernels)


def test_filters_and_kernels_say_what_they_are(v: VISCNN, graph: Graph, uid: str) -> None:
    found = v.subgraph(uid, keep=0.1)
    scores = {row["uid"]: row["score"] for row in graph.read("read/query_scores", uid=uid)}
    assert len(found.filters) == 1 + 16 + 24 + 32 + 32
    for row in found.filters.to_dict("records"):
        assert row["score"] == scores.get(row["uid"], 0.0)
        mine = [scores[key] for key in scores if key.split("/")[1] == row["layer"]]
        assert row["shown"] == pytest.approx(max(row["score"], 0.0) / max([*mine, 1e-30]))
    architecture = v.bundle(MODEL).architecture
    for row in found.kernels.to_dict("records"):
        source, target = (found.filters["uid"][int(row[end])] for end in ("source", "target"))
        _, layer, channel = target.split("/")
        weight = architecture.convolution(architecture.layer(layer)).weight[int(channel), int(row["input"])]
        assert source.split("/")[-1] in {str(int(row["input"])), "gray"}
        ratio = (weight.sum() / weight.abs().sum()).item()
        assert row["signRatio"] == pytest.approx(ratio, abs=1e-5)
        assert row["sign"] == (1 if ratio > 1 / 3 else -1 if ratio < -1 / 3 else 0)
    assert 0 < found.kernels["shown"].min() <= found.kernels["shown"].max() == 1.0


def test_equal_scores_are_cut_at_the_number_asked_for(graph: Graph, stored: toy.Toy) -> None:
    """The gradient criterion gives all kernels into a filter one score."""
    rows = [row | {"kernelScores": [0.5] * len(row["kernelScores"])} for row in stored.one]
    for active in (False, True):
        toy.write_scores(graph, "toy/query/one", rows)
        activate_scores(graph, "toy/query/one" if active else "toy/query/two")
        found = [pull(graph, "toy/query/one", keep=0.3, scale="raw", limit=100) for _ in range(3)]
        assert [len(each.kernels) for each in found] == [5, 5, 5]
        assert drawn(found[0]) == drawn(found[1]) == drawn(found[2])


def test_no_kernel_is_left_out_of_a_tie_without_need(graph: Graph, stored: toy.Toy) -> None:
    """Of equal kernels the first in the order of the network are drawn, whichever limit cuts them."""
    rows = [row | {"kernelScores": [0.5] * len(row["kernelScores"])} for row in stored.one]
    toy.write_scores(graph, "toy/query/one", rows)
    every = [(row["uid"], number) for row in rows for number in range(len(row["kernelScores"]))]
    for limit in (0, 1, 7, 16, 100):
        found = pull(graph, "toy/query/one", keep=1.0, scale="raw", limit=limit)
        assert drawn(found) == every[:limit]
        assert found.left_out == max(0, 16 - limit)
        assert found.score_share == pytest.approx(min(limit, 16) / 16)


def test_the_strongest_paths_are_those_of_all(graph: Graph, stored: toy.Toy) -> None:
    """Along the chain of the toy network, one path goes through every filter of its first layer."""
    activate_scores(graph, "toy/query/one")
    scores = toy.kernel_scores(stored.one)
    for channel in range(3):
        target = f"toy/conv2/{channel}"
        weakest = {
            f"toy/conv1/{i}": min(scores["toy/input/gray", f"toy/conv1/{i}", 0], scores[f"toy/conv1/{i}", target, i])
            for i in range(4)
        }
        for limit in (1, 2, 10):
            rows = graph.read("read/path_from_input", target=target, minimum=-9.0, limit=limit)
            through = [row["path"]["nodes"][1]["properties"]["uid"] for row in rows]
            assert through == sorted(weakest, key=lambda uid: -weakest[uid])[:limit]
            assert [row["weakest"] for row in rows] == [weakest[uid] for uid in through]


def test_the_strongest_paths_of_a_deeper_network(v: VISCNN, graph: Graph, uid: str) -> None:
    """Against all 12,288 paths of the bundled network to one filter."""
    active = v.model(MODEL)["activeQuery"]
    v.activate(uid)
    rows = graph.read(
        "read/path_from_input", source=f"{MODEL}/input/gray", target=f"{MODEL}/conv4/3", minimum=-9.0, limit=6
    )
    v.activate(active)
    layers: dict[str, list[list[float]]] = {}
    for row in graph.read("read/query_scores", uid=uid):
        layers.setdefault(row["uid"].split("/")[1], []).append(row["kernelScores"])
    one, two, three, four = (np.array(layers[name]) for name in ("conv1", "conv2", "conv3", "conv4"))
    two = np.minimum(one[:, 0], two)  # weakest so far, (conv2, conv1)
    every = np.minimum(np.minimum(two[None], three[:, :, None]), four[3][:, None, None])
    np.testing.assert_allclose([row["weakest"] for row in rows], np.sort(every.ravel())[::-1][:6])
    assert {row["path"]["nodes"][-1]["properties"]["uid"] for row in rows} == {f"{MODEL}/conv4/3"}
    assert all(len(row["path"]["relationships"]) == 4 for row in rows)
    for row in rows:
        assert min(kernel["properties"]["score"] for kernel in row["path"]["relationships"]) == row["weakest"]


def test_a_query_without_positive_scores_draws_nothing(graph: Graph, stored: toy.Toy) -> None:
    rows = [row | {"score": -1.0, "kernelScores": [-1.0] * len(row["kernelScores"])} for row in stored.one]
    toy.write_scores(graph, "toy/query/one", rows)
    for scale in ("sum", "layer-l2", "raw"):
        found = pull(graph, "toy/query/one", keep=1.0, scale=scale, limit=100)
        assert (len(found.kernels), found.left_out, found.score_share) == (0, 0, 0.0)
        assert found.filters["shown"].max() == 0.0


def test_layers_of_zeros_are_no_trouble(graph: Graph, stored: toy.Toy) -> None:
    rows = [
        row | {"score": 0.0, "kernelScores": [0.0] * len(row["kernelScores"])} if "/conv1/" in row["uid"] else row
        for row in stored.one
    ]
    toy.write_scores(graph, "toy/query/one", rows)
    for scale in ("sum", "layer-l2", "raw"):
        found = pull(graph, "toy/query/one", keep=1.0, scale=scale, limit=100)
        assert len(found.kernels) == sum(score > 0 for row in rows for score in row["kernelScores"])


def test_a_circuit_has_the_scores_of_the_query_that_chose_it(v: VISCNN, graph: Graph, uid: str) -> None:
    report = v.circuit("class:three", model=MODEL, input="three", keep=0.1, max_images=20, check_images=30)
    scores = scaled_scores(v, graph, report.query, "raw")
    assert v.model(MODEL)["activeQuery"] != report.query
    found = of_circuit(graph, report.uid)
    assert len(found.kernels) == report.selection.kernels
    assert dict(zip(drawn(found), found.kernels["score"], strict=True)) == {key: scores[key][1] for key in drawn(found)}
    assert found.query == report.query


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"keep": 0.0}, ExpressionError, "kept fraction 0.0"),
        ({"keep": 1.5}, ExpressionError, "kept fraction 1.5"),
        ({"share": 0.0}, ExpressionError, "share 0.0 of the total score"),
        ({"share": float("nan")}, ExpressionError, "share nan"),
        ({"scale": "l2"}, ExpressionError, "unknown scale 'l2'"),
        ({"uid": "subgraph-mnist/query/none"}, NotInGraph, "no complete query"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    v: VISCNN, uid: str, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        v.subgraph(**({"uid": uid} | settings))


def test_a_signed_query_is_ranked_by_size(v: VISCNN, graph: Graph) -> None:
    uid = v.query("three", model=MODEL, criterion="taylor-signed", max_images=20).uid
    scores = scaled_scores(v, graph, uid, "sum")
    highest = sorted(scores, key=lambda each: -abs(scores[each][0]))[:110]
    for active in (True, False):
        found = v.subgraph(uid, keep=110 / 2192)
        assert set(drawn(found)) == set(highest)
        assert (found.kernels["score"] < 0).any()
        assert found.kernels["shown"].between(0, 1).all()
        if active:
            v.query("seven", model=MODEL, max_images=10)
