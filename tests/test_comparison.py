"""Two queries side by side: against literal sets of kernels, on the command line, and on the page."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, opened, tables, texts, view_of
from tests.test_cli import Cli
from viscnn import VISCNN
from viscnn.comparison import Comparison, _renumbered
from viscnn.config import Connection
from viscnn.errors import InputError
from viscnn.graph_scores import QueryScores
from viscnn.subgraph import Subgraph
from viscnn.ui import data
from viscnn.ui.panels import network
from viscnn.ui.state import View

MODEL = "compared"
KEEP = 0.5


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("compared"))) as session:
        yield session
    data.reconnect()


@pytest.fixture(scope="module")
def pair(v: VISCNN) -> tuple[str, str]:
    uids = [v.query(text, model=MODEL, activate=False).uid for text in ("ant", "bee - ant")]
    return uids[0], uids[1]


def kept(found: Subgraph) -> dict[tuple[str, str], float]:
    """What is drawn of each kernel, by its ends."""
    uid = found.filters["uid"]
    ends = zip(uid.iloc[found.kernels["source"]], uid.iloc[found.kernels["target"]], strict=True)
    return dict(zip(ends, found.kernels["shown"], strict=True))


def test_kernels_are_of_one_or_of_both(v: VISCNN, pair: tuple[str, str]) -> None:
    found = v.compare(*pair, keep=KEEP)
    left, right = (kept(v.subgraph(uid, keep=KEEP)) for uid in pair)
    wanted = {end: (end in right) - (end in left) for end in left | right}
    uid = found.filters["uid"]
    ends = list(zip(uid.iloc[found.kernels["source"]], uid.iloc[found.kernels["target"]], strict=True))
    assert dict(zip(ends, found.kernels["member"], strict=True)) == wanted
    assert set(wanted.values()) == {-1, 0, 1}
    assert len(ends) == len(wanted)
    shown = [max(left.get(end, 0), right.get(end, 0)) for end in ends]
    np.testing.assert_allclose(found.kernels["shown"], shown)
    assert shown == sorted(shown, reverse=True)
    assert found.iou == len(left.keys() & right.keys()) / len(wanted)


def test_layers_are_counted(v: VISCNN, pair: tuple[str, str]) -> None:
    found = v.compare(*pair, keep=KEEP)
    subgraphs = [v.subgraph(uid, keep=KEEP) for uid in pair]
    left, right = (set(kept(each)) for each in subgraphs)
    assert found.layers["layer"].tolist() == ["conv1", "conv2"]
    for row in found.layers.to_dict("records"):
        mine = [{end for end in ends if f"/{row['layer']}/" in end[1]} for ends in (left, right)]
        assert (row["left"], row["right"], row["shared"]) == (len(mine[0]), len(mine[1]), len(mine[0] & mine[1]))
        assert row["iou"] == pytest.approx(len(mine[0] & mine[1]) / len(mine[0] | mine[1]))
        scores = [each.filters.loc[each.filters["layer"] == row["layer"], "score"] for each in subgraphs]
        assert row["correlation"] == pytest.approx(spearmanr(*scores).statistic)


def test_a_query_is_like_itself(v: VISCNN, pair: tuple[str, str]) -> None:
    found = v.compare(pair[0], pair[0], keep=KEEP)
    assert found.iou == 1
    assert found.layers["correlation"].tolist() == pytest.approx([1, 1])


def test_two_models_cannot_be_compared(
    v: VISCNN, pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with toy.ingested(v._graph.connection, "other", toy.split_pictures(tmp_path_factory.mktemp("other"))) as session:
        uid = session.query("ant", model="other", activate=False).uid
        with pytest.raises(InputError, match="compared and other"):
            v.compare(pair[0], uid)
        assert "queries of two models" in Cli().mistake("compare", pair[0], uid)


def test_the_command_tells_the_same(v: VISCNN, pair: tuple[str, str]) -> None:
    found, wanted = Cli().json("compare", *pair, "--keep", str(KEEP)), v.compare(*pair, keep=KEEP)
    assert found["iou"] == wanted.iou
    assert found["layers"] == wanted.layers.to_dict("records")
    assert "conv2" in Cli().text("compare", *pair)
    assert "nope" in Cli().mistake("compare", pair[0], "nope")


def ends_of(found: Comparison) -> dict[tuple[str, str], int]:
    """What is drawn, by its ends: whose it is."""
    uid = found.filters["uid"]
    ends = zip(uid.iloc[found.kernels["source"]], uid.iloc[found.kernels["target"]], strict=True)
    return dict(zip(ends, found.kernels["member"].tolist(), strict=True))


@pytest.mark.parametrize("limit", [0, 2, 5])
def test_a_limit_cuts_what_is_drawn_and_nothing_else(v: VISCNN, pair: tuple[str, str], limit: int) -> None:
    whole, found = v.compare(*pair, keep=KEEP), v.compare(*pair, keep=KEEP, limit=limit)
    assert (found.iou, found.counts) == (whole.iou, whole.counts)
    pd.testing.assert_frame_equal(found.layers, whole.layers)
    best = {end for uid in pair for end in kept(v.subgraph(uid, keep=KEEP, limit=limit))} if limit else set()
    members = ends_of(whole)
    assert ends_of(found) == {end: members[end] for end in best}
    assert found.left_out == len(members) - len(best) > 0
    assert (whole.left_out, whole.not_stored, found.not_stored) == (0, 0, 0)


def test_kernels_that_are_not_stored_are_counted_but_not_drawn(
    server: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = toy.split_pictures(tmp_path_factory.mktemp("few"))
    with toy.ingested(server, "few", folder, top_kernels=8) as session:
        uids = [session.query(text, model="few", activate=False).uid for text in ("ant", "bee")]
        found = session.compare(*uids, keep=1.0)
        each = [session.subgraph(uid, keep=1.0) for uid in uids]
        assert len(found.kernels) == 8
        assert found.not_stored == sum(found.counts.values()) - 8 > 0
        assert [part.not_stored for part in each] == [int(found.layers[side].sum()) - 8 for side in ("left", "right")]
        page = opened("compare", View(model="few", query=uids[0], other=uids[1], keep=1.0))
        assert errors(page) == []
        assert f"{found.not_stored} not stored" in texts(page)
    data.reconnect()


def test_filters_that_another_query_has_in_another_order_are_found_again() -> None:
    mine = QueryScores(("a", "b", "c"), np.zeros(3), np.zeros(6), np.array([0, 1, 3, 6]))
    theirs = QueryScores(("c", "a", "b"), np.zeros(3), np.zeros(6), np.array([0, 3, 4, 6]))
    kernels = np.array([True, False, True, False, True, False])  # c0, c2, b0
    found = _renumbered(kernels, theirs, mine)
    assert found.tolist() == [False, True, False, True, False, True]
    assert _renumbered(found, mine, theirs).tolist() == kernels.tolist()
    assert _renumbered(kernels, theirs, theirs) is kernels


def _forget() -> None:
    """What the page keeps of a comparison: the limit is no part of its name."""
    data.comparison.clear()
    network._tables.clear()


def test_the_page_cuts_like_the_api_and_counts_like_the_command(
    v: VISCNN, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LIMIT", 3)
    _forget()
    page = opened("compare", View(model=MODEL, query=pair[0], other=pair[1], keep=KEEP))
    _forget()
    assert errors(page) == []
    found, told = v.compare(*pair, keep=KEEP, limit=3), Cli().json("compare", *pair, "--keep", str(KEEP))
    assert sum(sign != 2 for sign in tables(page)[2]["sign"].to_pylist()) == len(found.kernels) < 7
    counts = told["counts"]
    assert f"{counts['left']} only left, {counts['shared']} shared, {counts['right']} only right" in texts(page)
    assert f"intersection over union {told['iou']:.2f}" in texts(page)
    assert f"{found.left_out} of them left out of the picture by the cap" in texts(page)
    assert page.dataframe[0].value["shared"].tolist() == [row["shared"] for row in told["layers"]]


@pytest.mark.parametrize("turned", [False, True])
def test_the_panel_has_the_score_and_rank_of_the_left_query(v: VISCNN, pair: tuple[str, str], turned: bool) -> None:
    left, right = pair[::-1] if turned else pair
    uid = f"{MODEL}/conv2/1"
    page = opened("compare", View(model=MODEL, query=left, other=right, keep=KEEP, selected=uid))
    assert errors(page) == []
    filters = v.subgraph(left, keep=KEEP).filters
    (score,) = filters.loc[filters["uid"] == uid, "score"]
    peers = filters.loc[filters["layer"] == "conv2", "score"]
    assert facts(page)["Score"] == f"{score:.3g}"
    assert facts(page)["Rank in layer"] == f"{sorted(peers, reverse=True).index(score) + 1} of {len(peers)}"


def facts(page: AppTest) -> dict[str, str]:
    """The labelled numbers of a filter."""
    found = re.findall(r'opacity:.65">([^<]*)</div><div [^>]*>([^<]*)</div>', texts(page))
    return dict(found)


def test_the_page_draws_both(v: VISCNN, pair: tuple[str, str]) -> None:
    page = opened("compare", View(model=MODEL, query=pair[0], other=pair[1], keep=KEEP))
    assert errors(page) == []
    found = v.compare(*pair, keep=KEEP)
    settings, _, kernels = tables(page)
    assert settings["palette"] == "comparison"
    assert kernels["sign"].to_pylist()[: len(found.kernels)] == found.kernels["member"].tolist()
    shared = int((found.kernels["member"] == 0).sum())
    assert f"{shared} shared" in texts(page)
    page.selectbox(key="compare_other").set_value(pair[0]).run()
    assert errors(page) == []
    assert view_of(page)["other"] == pair[0]
    assert "intersection over union 1.00" in texts(page)
    page.selectbox(key="find").set_value(f"{MODEL}/conv2/1").run()
    assert errors(page) == []
    assert f"##### Filter `{MODEL}/conv2/1`" in texts(page)


def test_one_query_is_too_few(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> None:
    with toy.ingested(server, "single", toy.split_pictures(tmp_path_factory.mktemp("single"))):
        page = opened("compare", View(model="single"))
        assert errors(page) == []
        assert "Two saved queries are needed" in texts(page)
    data.reconnect()
