"""The lists of the page under a signed criterion: by the size of the scores, as the picture is drawn."""

from collections.abc import Iterator

import pandas as pd
import pytest

from tests import toy
from tests.pages import errors, opened, texts
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.ranking import sizes
from viscnn.ui.state import SELECTED, View

MODEL = "signed"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("signed"))) as session:
        yield session
    data.reconnect()


@pytest.fixture(scope="module")
def query(v: VISCNN) -> str:
    return v.query("ant", model=MODEL, criterion="taylor-signed").uid


def scores(v: VISCNN, query: str) -> dict[str, float]:
    """The scores of all filters, as they are stored."""
    return {str(row[0]): float(row[1]) for row in v.cypher("read/query_scores", {"uid": query}).rows}


def test_sizes_are_scores_but_for_signed_criteria() -> None:
    unsigned = pd.DataFrame({"score": [2.0, -3.0, 0.0], "shown": [1.0, 0.0, 0.0]})
    assert sizes(unsigned).tolist() == [2.0, -3.0, 0.0]
    signed = pd.DataFrame({"score": [2.0, -3.0, 0.0], "shown": [0.66, 1.0, 0.0]})
    assert sizes(signed).tolist() == [2.0, 3.0, 0.0]


def test_top_filters_are_those_that_are_drawn_largest(v: VISCNN, query: str) -> None:
    page = opened("explore", View(model=MODEL, query=query))
    assert errors(page) == []
    found = scores(v, query)
    by_size = {
        layer: sorted((uid for uid in found if f"/{layer}/" in uid), key=lambda uid: -abs(found[uid]))
        for layer in ("conv1", "conv2")
    }
    by_value = sorted(by_size["conv1"], key=lambda uid: -found[uid])
    assert by_value != by_size["conv1"], "the query does not tell the two orders apart"
    table = next(each.value for each in page.dataframe if "shown" in each.value)
    assert [f"{MODEL}/{uid}" for uid in table["uid"]] == by_size["conv1"] + by_size["conv2"]


def test_the_rank_and_the_kernels_of_a_filter_go_by_size(v: VISCNN, query: str) -> None:
    found = scores(v, query)
    of_layer = sorted((uid for uid in found if "/conv1/" in uid), key=lambda uid: -abs(found[uid]))
    negative = next(uid for uid in of_layer if found[uid] < 0)
    page = opened("explore", View(model=MODEL, query=query, selected=negative))
    page.segmented_control(key="panel").set_value(SELECTED).run()
    assert errors(page) == []
    assert f">{of_layer.index(negative) + 1} of 4<" in texts(page)
    uid = f"{MODEL}/conv2/0"
    rows = v.incoming_kernels(uid, query=query, limit=4)
    sizes_of = [abs(row["score"]) for row in rows]
    assert sizes_of == sorted(sizes_of, reverse=True)
    page = opened("explore", View(model=MODEL, query=query, selected=uid))
    html = texts(page)
    places = [html.index(f'alt="kernel {row["source"]} to {uid}"') for row in rows]
    assert places == sorted(places)


def test_the_kernels_of_a_circuit_go_by_size(v: VISCNN) -> None:
    circuit = v.circuit(f"{MODEL}/conv2/1", model=MODEL, keep=1.0, criterion="taylor-signed").uid
    drawing = v.circuit_subgraph(circuit)
    assert (drawing.kernels["score"] < 0).any()
    page = opened("circuit", View(model=MODEL, circuit=circuit))
    assert errors(page) == []
    table = next(each.value for each in page.dataframe if "signRatio" in each.value)
    by_size = sorted(drawing.kernels["score"], key=lambda score: -abs(score))
    assert table["score"].tolist() == by_size != sorted(by_size, reverse=True)


def test_the_command_lists_by_size_too(v: VISCNN, query: str) -> None:
    from viscnn.reports import query_json, query_text

    report = v.query("ant", model=MODEL, criterion="taylor-signed")
    told = query_json(report, top=3)
    for kind, arrays in (("filters", report.filters), ("kernels", report.kernels)):
        for layer, values in zip(("conv1", "conv2"), arrays, strict=True):
            found = [each["score"] for each in told[kind] if each["layer"] == layer]
            assert found == sorted(values.ravel().tolist(), key=lambda score: -abs(score))[:3]
    lowest = min(each["score"] for each in told["filters"])
    assert lowest < 0
    assert f"{lowest:.4g}" in query_text(report, top=3)
