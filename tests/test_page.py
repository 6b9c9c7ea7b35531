"""The page without a browser: every view empty, in use, and failing, on a real Neo4j."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.pages import APP, PAGES, click_in_network, errors, fields, opened, press, texts, type_in, view_of
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.state import View


@pytest.mark.parametrize("name", ["explore", *PAGES])
def test_neo4j_down_is_one_line_with_a_way_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    page = opened(name)
    start = "start the managed server with `viscnn server start`, or check NEO4J_URI"
    assert errors(page) == [f"no Neo4j answers at bolt://127.0.0.1:1; {start}"]
    assert [each.label for each in page.button] == ["Try again"]


# -- on a database -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty(server: Connection) -> Iterator[VISCNN]:
    """The session's server without any model."""
    with VISCNN(server) as viscnn:
        for model in viscnn.models():
            viscnn.drop(model["name"])
        yield viscnn
    data.reconnect()


@pytest.fixture(scope="module")
def first_runs(empty: VISCNN) -> dict[str, AppTest]:
    """Every page as it is on an empty database."""
    return {name: opened(name) for name in ("explore", *PAGES)}


@pytest.fixture(scope="module")
def viscnn(empty: VISCNN, first_runs: dict[str, AppTest]) -> VISCNN:
    """The server with the bundled model, as the button of the first page ingests it."""
    press(first_runs["explore"], "Ingest the bundled MNIST model")
    assert [model["name"] for model in empty.models()] == ["mnist"]
    return empty


@pytest.fixture(scope="module")
def three(viscnn: VISCNN) -> str:
    """Uid of the query `three - overall`, run in the page."""
    page = opened("explore")
    page.text_input(key="input").set_value("three - overall")
    page.number_input(key="max_images").set_value(40)
    press(page, "Run query")
    assert errors(page) == []
    assert "decide the result" in texts(page)
    stored = viscnn.queries("mnist")
    assert (stored[0]["input"], stored[0]["output"], stored[0]["active"]) == ("three - overall", "loss", True)
    assert view_of(page)["query"] == stored[0]["uid"]
    return str(stored[0]["uid"])


@pytest.mark.parametrize("name", ["explore", "filter", "circuit", "compare", "models"])
def test_empty_database_offers_the_bundled_model(name: str, first_runs: dict[str, AppTest]) -> None:
    page = first_runs[name]
    assert not page.error
    assert "No model in this database yet" in [each.value for each in page.subheader]
    assert "convolutional network as a graph" in texts(page)
    assert "`viscnn ingest mnist`" in texts(page)
    assert "Ingest the bundled MNIST model" in [each.label for each in page.button]


def test_cypher_on_an_empty_database(first_runs: dict[str, AppTest], empty: VISCNN) -> None:
    assert errors(first_runs["cypher"]) == []
    assert "No complete model in this database yet" in texts(first_runs["cypher"])
    press(first_runs["cypher"], "Run")
    assert errors(first_runs["cypher"]) == []
    assert "The query has no result rows." in texts(first_runs["cypher"])


def test_first_model_is_shown_at_once(viscnn: VISCNN, first_runs: dict[str, AppTest]) -> None:
    page = first_runs["explore"]
    assert errors(page) == []
    assert "219 of 2,192 kernels drawn (10 %)" in texts(page)


def test_bad_link_gives_the_default_view_and_says_so(viscnn: VISCNN) -> None:
    page = AppTest.from_file(str(APP), default_timeout=60)
    page.query_params["view"] = '{"v":1,"keep":7}'
    page.run()
    assert "7 is no keep" in texts(page)
    assert page.select_slider(key="keep").value == "10 %"


def test_link_reproduces_the_view(three: str) -> None:
    view = View(model="mnist", query=three, keep=0.02, selected="mnist/conv4/7")
    page = opened("explore", view)
    assert page.select_slider(key="keep").value == "2 %"
    assert page.selectbox(key="find").value == "mnist/conv4/7"
    assert page.selectbox(key="saved_query").value == three
    assert view_of(page) == json.loads(view.to_json())


def test_trying_again_finds_the_database_that_is_back(three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    page = opened("explore", View(model="mnist", query=three))
    assert len(errors(page)) == 1
    monkeypatch.delenv("NEO4J_URI")
    press(page, "Try again")
    assert errors(page) == []
    assert "219 of 2,192 kernels drawn (10 %)" in texts(page)


def test_kept_fraction_redraws_without_computing(viscnn: VISCNN, three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    before = len(viscnn.queries("mnist"))
    page.select_slider(key="keep").set_value("1 %").run()
    share = 100 * viscnn.subgraph(three, keep=0.01).score_share
    assert f"22 of 2,192 kernels drawn (1 %), {share:.0f} % of the total score" in texts(page)
    assert len(viscnn.queries("mnist")) == before


def test_what_is_kept_can_be_a_share_of_the_score(viscnn: VISCNN, three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    page.segmented_control(key="measure").set_value("score").run()
    assert view_of(page)["share"] == 0.5
    page.select_slider(key="share").set_value("80 %").run()
    found = viscnn.subgraph(three, share=0.8)
    assert f"{len(found.kernels):,} of 2,192 kernels drawn" in texts(page)
    assert f"{100 * found.score_share:.0f} % of the total score" in texts(page)
    page.segmented_control(key="measure").set_value("kernels").run()
    assert "219 of 2,192 kernels drawn (10 %)" in texts(page)


def test_filter_panel_shows_the_query_s_numbers(viscnn: VISCNN, three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    page.selectbox(key="find").set_value("mnist/conv4/7").run()
    shown = texts(page)
    scored = viscnn.filter("mnist/conv4/7", query=three)
    assert "##### Filter `mnist/conv4/7`" in shown
    assert f">{scored['score']:.3g}<" in shown
    assert f">{scored['bias']:.3g}<" in shown
    top = viscnn.incoming_kernels("mnist/conv4/7", query=three, limit=8)
    for kernel in top:
        assert f'alt="kernel {kernel["source"]} to mnist/conv4/7"' in shown
        assert f">{kernel['score']:.3g}<" in shown
    assert "**Top incoming kernels** · 8 of 32" in shown
    assert fields(page)[0]["mapAlt"] == "activation map of mnist/conv4/7"


def test_image_is_chosen_by_set(three: str) -> None:
    page = opened("explore", View(model="mnist", query=three, selected="mnist/conv1/3"))
    page.selectbox(key="image_set").set_value("three").run()
    path = page.selectbox(key="image").options[1]
    page.selectbox(key="image").set_value(path).run()
    assert fields(page)[0]["imageAlt"] == f"image {path}"
    assert "map of 28 x 28" in fields(page)[0]["mapCaption"]
    assert (view_of(page)["image_set"], view_of(page)["image"]) == ("three", path)


def test_kernel_panel_leads_to_both_ends(viscnn: VISCNN, three: str) -> None:
    page = opened("explore", View(model="mnist", query=three, selected="mnist/conv4/7"))
    best = viscnn.incoming_kernels("mnist/conv4/7", query=three, limit=1)[0]
    press(page, best["source"].removeprefix("mnist/"))
    assert "##### Kernel into `mnist/conv4/7`" in texts(page)
    assert f">{best['signRatio']:.3g}<" in texts(page)
    press(page, f"from {best['source'].removeprefix('mnist/')}")
    assert f"##### Filter `{best['source']}`" in texts(page)


def test_click_in_the_network_selects(three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    click_in_network(page, {"kind": "filter", "index": 80, "uid": "mnist/conv4/7"})
    assert "##### Filter `mnist/conv4/7`" in texts(page)
    click_in_network(
        page, {"kind": "kernel", "index": 0, "uid": "", "source": "mnist/conv3/17", "target": "mnist/conv4/7"}
    )
    assert "##### Kernel into `mnist/conv4/7`" in texts(page)
    click_in_network(page, {"kind": None})
    assert "selected" not in view_of(page)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thre - overall", "did you mean three"),
        ("three *", "three \\*"),
        ("", ""),
    ],
)
def test_bad_expression_is_one_line(text: str, message: str, viscnn: VISCNN, three: str) -> None:
    before = viscnn.queries("mnist")
    page = opened("explore", View(model="mnist", query=three))
    page.text_input(key="input").set_value(text)
    press(page, "Run query")
    found = errors(page)
    assert len(found) == 1
    assert message in found[0]
    assert "\n" not in found[0]
    assert viscnn.queries("mnist") == before


def test_unknown_filter_as_output_is_one_line(three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    page.text_input(key="input").set_value("three")
    type_in(page, "output", "filter:mnist/conv4/99")
    press(page, "Run query")
    assert ["mnist/conv4/99" in each for each in errors(page)] == [True]


def test_a_saved_query_is_shown_and_activated(viscnn: VISCNN, three: str) -> None:
    other = next(each for each in viscnn.queries("mnist") if each["input"] == "overall")
    page = opened("explore", View(model="mnist", query=three))
    page.selectbox(key="saved_query").set_value(other["uid"]).run()
    assert viscnn.model("mnist")["activeQuery"] == three  # looking at it activates nothing
    press(page, "Activate for Cypher")
    assert viscnn.model("mnist")["activeQuery"] == other["uid"]
    viscnn.activate(three)


@pytest.mark.parametrize("active", [True, False])
def test_the_cap_leaves_out_the_lowest_scores(active: bool, viscnn: VISCNN, three: str) -> None:
    positions = {layer["uid"]: layer["positions"] for layer in viscnn.layers("mnist")}
    rows = viscnn.cypher("read/query_scores", {"uid": three}).rows
    scaled = sorted(
        (score * positions[uid.rpartition("/")[0]] for uid, _, scores in rows for score in scores), reverse=True
    )
    uid = three if active else next(each["uid"] for each in viscnn.queries("mnist") if each["uid"] != three)
    if not active:
        viscnn.activate(uid)
    found = viscnn.subgraph(three, keep=0.5, limit=50)
    viscnn.activate(three)
    positive = [value for value in scaled if value > 0]
    assert found.kernels["scaled"].tolist() == pytest.approx(scaled[:50])
    assert found.left_out == min(1096, len(positive)) - 50
    assert found.score_share == pytest.approx(sum(scaled[:50]) / sum(positive))
    assert found.total == 2192


# -- circuits ----------------------------------------------------------------------------------------------------------


def test_circuit_page(viscnn: VISCNN, three: str) -> None:
    page = opened("circuit", View(model="mnist", query=three))
    assert "No circuit is stored yet" in texts(page)
    type_in(page, "target", "mnist/conv3/5")
    page.text_input(key="circuit_input").set_value("three")
    page.number_input(key="circuit_images").set_value(40)
    page.number_input(key="check_images").set_value(40)
    press(page, "Extract circuit")
    assert errors(page) == []
    stored = viscnn.circuits("mnist")[0]
    assert stored["target"] == "filter:mnist/conv3/5"
    shown = re.sub("<[^>]*>", " ", texts(page))
    assert re.search(rf"Pearson r, circuit\s+{stored['pearson']:.3f}\s", shown)
    assert re.search(rf"r, random\s+{stored['pearsonRandom']:.3f}\s", shown)
    assert f"{stored['kernels']:,} of " in texts(page)
    assert "NaN correlations" in texts(page)
    kernels = next(each.value for each in page.dataframe if "signRatio" in each.value)
    assert len(kernels) == stored["kernels"]
    assert np.all(np.diff(kernels["score"]) <= 0)


def test_circuit_of_an_unknown_target_is_one_line(viscnn: VISCNN, three: str) -> None:
    before = viscnn.circuits("mnist")
    page = opened("circuit", View(model="mnist", query=three))
    type_in(page, "target", "mnist/conv9/0")
    press(page, "Extract circuit")
    assert ["conv9" in each for each in errors(page)] == [True]
    assert viscnn.circuits("mnist") == before


# -- Cypher ------------------------------------------------------------------------------------------------------------


def test_query_of_the_catalogue(viscnn: VISCNN, three: str) -> None:
    page = opened("cypher", View(model="mnist", query=three))
    page.number_input(key="parameter_read/top_kernels_limit").set_value(2)
    press(page, "Run")
    assert errors(page) == []
    rows = viscnn.cypher("read/top_kernels", {"model": "mnist", "limit": 2}).rows
    assert page.dataframe[0].value.to_numpy().tolist() == [list(row) for row in rows]
    assert f"{len(rows)} rows" in texts(page)
    assert page.get("download_button")


@pytest.mark.parametrize("name", ["read/filter", "read/incoming_kernels", "read/subgraph_scored", "read/layers"])
def test_parameters_fit_what_is_shown(name: str, three: str) -> None:
    page = opened("cypher", View(model="mnist", query=three, selected="mnist/conv2/0"))
    page.selectbox(key="named_query").set_value(name).run()
    press(page, "Run")
    assert errors(page) == []
    if name != "read/subgraph_scored":
        assert len(page.dataframe[0].value)


def test_parameter_that_is_not_json(three: str) -> None:
    page = opened("cypher", View(model="mnist", query=three))
    page.selectbox(key="named_query").set_value("read/subgraph_scored").run()
    page.text_input(key="parameter_read/subgraph_scored_layers").set_value("[{")
    press(page, "Run")
    assert ["layers is not JSON" in each for each in errors(page)] == [True]


def test_free_text_gives_graph_and_table(three: str) -> None:
    page = opened("cypher", View(model="mnist"))
    page.button(key="free_run").click().run()
    assert errors(page) == []
    assert "25 relationships" in texts(page)
    assert len(page.dataframe[0].value) == 25


def test_more_rows_are_announced(three: str) -> None:
    page = opened("cypher", View(model="mnist"))
    page.text_area(key="free_text").set_value("MATCH ()-[k:KERNEL]->() RETURN k.l1 AS l1")
    page.selectbox(key="free_limit").set_value(100)
    page.button(key="free_run").click().run()
    assert "100 rows; **more rows exist**" in texts(page)


@pytest.mark.parametrize(
    "text", ["MATCH (f:Filter) DETACH DELETE f", "SHOW USERS", "LOAD CSV FROM 'file:///x' AS r RETURN r", "MATCH ("]
)
def test_refused_cypher_changes_nothing(text: str, viscnn: VISCNN, three: str) -> None:
    page = opened("cypher", View(model="mnist"))
    page.text_area(key="free_text").set_value(text)
    page.button(key="free_run").click().run()
    assert len(errors(page)) == 1
    assert not page.dataframe
    counts = viscnn.cypher("read/model_counts", {"model": "mnist"})
    stored = dict(zip(counts.columns, counts.rows[0], strict=True))
    assert [stored[each] for each in ("layers", "filters", "inputChannels", "kernels")] == [4, 105, 1, 2192]


# -- models ------------------------------------------------------------------------------------------------------------


def test_models_page(viscnn: VISCNN, three: str) -> None:
    page = opened("models")
    assert errors(page) == []
    table = page.dataframe[0].value
    assert (table["name"].tolist(), table["inputShape"].tolist()) == (["mnist"], ["1x28x28"])


def test_a_path_is_not_ingested(viscnn: VISCNN, three: str, tmp_path: Path) -> None:
    page = opened("models")
    type_in(page, "zoo", f"{tmp_path}/net.py:build")
    press(page, "Ingest")
    assert ["is no zoo name" in each for each in errors(page)] == [True]
    type_in(page, "zoo", "alexnett")
    press(page, "Ingest")
    assert ["alexnet" in each for each in errors(page)] == [True]


def test_drop_needs_confirmation(viscnn: VISCNN, three: str) -> None:
    page = opened("models", View(model="mnist"))
    page.selectbox(key="drop").set_value("mnist")
    press(page, "Drop")
    assert "tick the box" in texts(page)
    assert [model["name"] for model in viscnn.models()] == ["mnist"]


def test_drop_and_what_is_left(viscnn: VISCNN, three: str) -> None:
    page = opened("models", View(model="mnist"))
    page.selectbox(key="drop").set_value("mnist")
    page.checkbox(key="drop_sure").check()
    press(page, "Drop")
    assert errors(page) == []
    assert viscnn.models() == []
    page = opened("explore", View(model="mnist", query=three))
    assert errors(page) == []
    assert "No model in this database yet" in texts(page)
