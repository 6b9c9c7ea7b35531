"""The page on networks that are no chains: branches, sums, gates, heads; and on graphs that lack weights or kernels."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests import page_nets
from tests.pages import click_in_network, errors, fields, opened, press, tables, texts, view_of
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.graph import Graph
from viscnn.ui import data
from viscnn.ui.state import View

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADD = "branching/block.add/3"


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    """The server with the models of `page_nets` only."""
    with VISCNN(server) as session:
        for stored in session.models():
            session.drop(stored["name"])
        session.ingest(
            f"{page_nets.SOURCE}:branching",
            input_shape=(1, 28, 28),
            classes=DIGITS,
            images="bundled:mnist",
            heads=True,
            importance=False,
        )
        session.ingest(f"{page_nets.SOURCE}:bare", input_shape=(5, 8, 8), kernel_weights=False, top_kernels=9000)
        yield session
        for model in ("branching", "bare"):
            session.drop(model)
    data.reconnect()


@pytest.fixture(scope="module")
def query(viscnn: VISCNN) -> str:
    """Uid of a query of the branching model, active."""
    return viscnn.query("three - overall", model="branching", output="class:three", max_images=20, activate=True).uid


def explore(query: str, selected: str | None = None, **changes: Any) -> AppTest:
    page = opened("explore", View(model="branching", query=query, selected=selected, **changes))
    assert errors(page) == []
    return page


# -- the picture -------------------------------------------------------------------------------------------------------


def test_layers_of_one_depth_stand_side_by_side(viscnn: VISCNN, query: str) -> None:
    _, nodes, _ = tables(explore(query))
    frame = nodes.to_pandas()
    discs = {
        uid: (group["z"].iloc[0], group[["x", "y"]].to_numpy())
        for uid, group in frame.groupby(frame["uid"].str.rpartition("/")[0])
    }
    depths = {layer["uid"]: layer["depth"] for layer in viscnn.layers("branching")}
    assert {uid: depth for uid, (depth, _) in discs.items()} == depths
    beside = [(a, b) for a, b in itertools.combinations(depths, 2) if depths[a] == depths[b]]
    assert len(beside) == 2
    for pair in beside:
        (one, two) = (discs[uid][1] for uid in pair)
        centres = [(each.max(axis=0) + each.min(axis=0)) / 2 for each in (one, two)]
        radii = [np.hypot(*(each - centre).T).max() for each, centre in zip((one, two), centres, strict=True)]
        assert np.hypot(*(centres[0] - centres[1])) > sum(radii)


def test_identities_are_drawn_but_not_counted(viscnn: VISCNN, query: str) -> None:
    page = explore(query, keep=1.0)
    cfg, nodes, kernels = tables(page)
    frame, uids = kernels.to_pandas(), np.array(nodes["uid"].to_pylist())
    found = viscnn.subgraph(query, keep=1.0)
    drawn = int((frame["sign"] != 2).sum())
    assert drawn == len(found.kernels) <= found.total == 462
    assert cfg["legend"] == f"{drawn} kernels drawn"
    assert f"{drawn} of 462 kernels drawn" in texts(page)
    assert f"; {len(found.identities)} identities (addends of sums)" in texts(page)
    ends = {
        (a.rpartition("/")[0], b.rpartition("/")[0])
        for a, b in uids[frame.loc[frame["sign"] == 2, ["source", "target"]]]
    }
    assert ends == {("branching/stem", "branching/block.add"), ("branching/block.back", "branching/block.add")}


def test_captions_are_one_a_depth(query: str) -> None:
    cfg, _, _ = tables(explore(query))
    assert [text for text in cfg["layers"] if text] == [
        "input · 1",
        "stem · 8",
        "block · 2 layers",
        "block.squeeze · 3",
        "block.expand · 10",
        "block.back · 8",
        "block.add · 8",
        "wide + narrow",
        "head · 10",
    ]


# -- panels ------------------------------------------------------------------------------------------------------------


def test_a_sum_shows_its_addends_instead_of_kernels(viscnn: VISCNN, query: str) -> None:
    page = explore(query, ADD)
    shown = texts(page)
    assert "A channel of an **addition**" in shown
    assert "**Addends** · 2" in shown
    assert "Top incoming kernels" not in shown
    assert ">Bias<" not in shown
    assert fields(page)[0]["mapAlt"] == f"activation map of {ADD}"
    stored = viscnn.incoming_kernels(ADD, query=query, limit=9)
    assert {each["source"] for each in stored} == {"branching/stem/3", "branching/block.back/3"}
    labels = [each.label for each in page.button]
    assert labels.index(stored[0]["source"].removeprefix("branching/")) < labels.index(
        stored[1]["source"].removeprefix("branching/")
    )
    for each in stored:
        assert f">Score, addend {each['input']}<" in shown
        assert f">{each['score']:.3g}<" in shown
    press(page, "block.back/3")
    assert view_of(page)["selected"] == "branching/block.back/3"
    assert "**Top incoming kernels** · 8 of 10" in texts(page)


def test_an_identity_can_be_selected(viscnn: VISCNN, query: str) -> None:
    page = explore(query, keep=1.0)
    value = {"kind": "kernel", "index": 0, "uid": "", "source": "branching/stem/3", "target": ADD}
    click_in_network(page, value)
    shown = texts(page)
    assert f"##### Identity into `{ADD}`" in shown
    assert "the map is added as it is" in shown
    assert "Sum of |weights|" not in shown
    page = explore(query, ADD, source="branching/stem/3", keep=1.0)
    cfg, nodes, kernels = tables(page)
    assert cfg["selected"] == {"kind": "kernel", "source": "branching/stem/3", "target": ADD}
    uids = nodes["uid"].to_pylist()
    drawn = [(uids[row.source], uids[row.target], row.sign) for row in kernels.to_pandas().itertuples()]
    assert ("branching/stem/3", ADD, 2) in drawn


def test_a_gate_is_said_to_be_one(query: str) -> None:
    assert "A filter of a **gate**" in texts(explore(query, "branching/block.expand/2"))
    assert "**gate**" not in texts(explore(query, "branching/block.back/2"))


def test_a_logit_has_the_name_of_its_class(query: str) -> None:
    shown = texts(explore(query, "branching/head/7"))
    assert "The **logit** of class seven." in shown
    assert "**Top incoming kernels** · 8 of 17" in shown


def test_kernels_behind_a_concatenation_name_both_branches(query: str) -> None:
    page = explore(query, "branching/block.back/0", kernels=12)
    sources = {each.label.rpartition("/")[0] for each in page.button if "/" in each.label}
    assert sources == {"block.left", "block.right"}


# -- circuits ----------------------------------------------------------------------------------------------------------


def test_targets_are_classes_and_what_the_model_ends_in(viscnn: VISCNN, query: str) -> None:
    page = opened("circuit", View(model="branching", query=query))
    options = page.selectbox(key="target").options
    assert options == [f"class:{name}" for name in DIGITS] + [f"branching/head/{channel}" for channel in range(10)]


def test_a_model_that_ends_in_two_layers_offers_both(server: Connection) -> None:
    stamp = "of this test only"
    with VISCNN(server) as session:
        session.ingest(f"{page_nets.SOURCE}:branching", name="headless", input_shape=(1, 28, 28), classes=DIGITS)
        try:
            assert data.ends(stamp, "headless")["name"].tolist() == ["wide", "narrow"]
        finally:
            session.drop("headless")


def test_a_circuit_through_a_sum(viscnn: VISCNN, query: str) -> None:
    page = opened("circuit", View(model="branching", query=query, drawing="network"))
    page.selectbox(key="target").set_value("class:three")
    page.text_input(key="circuit_input").set_value("three")
    page.select_slider(key="circuit_keep").set_value(0.3)
    page.number_input(key="circuit_images").set_value(20)
    page.number_input(key="check_images").set_value(20)
    press(page, "Extract circuit")
    assert errors(page) == []
    stored = viscnn.circuits("branching")[0]
    assert f"{stored['kernels']:,} kernels of the circuit" in texts(page)
    found = viscnn.circuit_subgraph(stored["uid"])
    _, _, kernels = tables(page)
    assert (kernels.to_pandas()["sign"] == 2).sum() == len(found.identities) > 0
    assert kernels.num_rows == stored["kernels"] + len(found.identities)


# -- graphs that lack something ----------------------------------------------------------------------------------------


def test_a_model_without_queries_is_drawn(viscnn: VISCNN) -> None:
    page = opened("explore", View(model="bare"))
    assert errors(page) == []
    assert "3,015 filters; kernels are drawn by their scores, once a query is run" in texts(page)
    _, nodes, kernels = tables(page)
    assert (nodes.num_rows, kernels.num_rows) == (3015, 0)
    colours = dict(zip(nodes["uid"].to_pylist(), nodes["colour"].to_pylist(), strict=True))
    assert {uid for uid, colour in colours.items() if colour} == {f"bare/input/c{at}" for at in range(5)}


def test_weights_and_kernels_that_are_not_stored_are_said(viscnn: VISCNN) -> None:
    found = viscnn.incoming_kernels("bare/wide/7", limit=99)
    stored = len(found)
    page = opened("explore", View(model="bare", selected="bare/wide/7"))
    shown = texts(page)
    assert errors(page) == []
    assert "The weights were not stored" in shown
    assert "<img" not in shown
    assert f"**Top incoming kernels** · {stored} of {stored}" in shown
    assert (f"{4 - stored} of 4 kernels into it are not stored" in shown) == (stored < 4)
    press(page, found[0]["source"].removeprefix("bare/").replace("#", "\\#").replace("_", "\\_"))  # as Markdown
    shown = texts(page)
    assert "##### Kernel into `bare/wide/7`" in shown
    assert "The weights were not stored" in shown
    assert "Sum of |weights|" in shown


def test_a_filter_of_a_large_model_is_found_by_its_uid(viscnn: VISCNN) -> None:
    page = opened("explore", View(model="bare", selected="bare/wide/2999"))
    box = page.selectbox(key="find")
    assert box.value == "bare/wide/2999"
    assert 1000 < len(box.options) < 3015
    assert box.options[0] == "bare/wide/2999"
    page = opened("explore", View(model="bare", selected="bare/wide/3000"))
    assert "This model has no filter bare/wide/3000." in texts(page)
    assert "Nothing is selected" in texts(page)


def test_a_query_that_five_channels_rule_out_is_one_line(viscnn: VISCNN) -> None:
    page = opened("explore", View(model="bare"))
    page.text_input(key="input").set_value("overall")
    press(page, "Run query")
    assert ["5 input channels" in each for each in errors(page)] == [True]


# -- models and Cypher -------------------------------------------------------------------------------------------------


def test_models_page_counts_what_is_stored(viscnn: VISCNN, graph: Graph) -> None:
    graph.write("write/start_ingest", model="begun", properties={})
    try:
        page = opened("models")
        assert errors(page) == []
        table = page.dataframe[0].value.set_index("name")
        page_of_begun = opened("explore", View(model="begun"))
    finally:
        viscnn.drop("begun")
    numbers, texts_of = (
        ["layers", "filters", "sums", "kernels", "kernelsLeftOut"],
        ["weights", "heads", "mixesChannels"],
    )
    assert list(table.loc["branching", numbers]) == [9, 66, 8, 462, 0]
    assert list(table.loc["bare", numbers]) == [3, 3010, 0, 9000, 3054]
    assert list(table.loc["branching", texts_of]) == ["stored", "yes", "yes"]
    assert list(table.loc["bare", texts_of]) == ["not stored", "no", "no"]
    assert table.loc["begun", "status"] == "ingesting"
    assert table.loc["begun", numbers].isna().all()
    assert "begun is not complete" in texts(page)
    assert "*Mixes channels*" in texts(page)
    assert "Model 'begun' is not complete" in texts(page_of_begun)


@pytest.mark.parametrize(
    "name",
    [
        "circuit_above_score",
        "filter",
        "incoming_kernels",
        "layer_kernels",
        "path_from_input",
        "query_page",
        "subgraph_active",
        "subgraph_kernels",
        "subgraph_scored",
        "top_filters",
    ],
)
def test_defaults_of_a_query_name_what_is_there(name: str, viscnn: VISCNN, query: str) -> None:
    page = opened("cypher", View(model="branching"))
    page.selectbox(key="named_query").set_value(f"read/{name}").run()
    press(page, "Run")
    assert errors(page) == []
    assert page.dataframe, texts(page)
    assert len(page.dataframe[0].value) > 0
