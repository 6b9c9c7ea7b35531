"""Two queries side by side: against literal sets of kernels, on the command line, and on the page."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests import toy
from tests.pages import errors, opened, tables, texts, view_of
from tests.test_cli import Cli
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.errors import InputError
from viscnn.subgraph import Subgraph
from viscnn.ui import data
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
