"""The page without a browser: every view empty, in use, and failing, on a real Neo4j."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.engine.criteria import CRITERIA as ENGINE_CRITERIA
from viscnn.engine.selection import SCALES as ENGINE_SCALES
from viscnn.engine.verify import ABLATIONS as ENGINE_ABLATIONS
from viscnn.errors import ModelError
from viscnn.ui import data
from viscnn.ui.panels.circuit_bar import ABLATIONS, SCALES
from viscnn.ui.panels.query_bar import CRITERIA, class_output, outputs
from viscnn.ui.state import KEPT_FRACTIONS, View
from viscnn.ui.views.models import zoo_name

APP = Path(__file__).parent.parent / "ui" / "app.py"


def circuit_page() -> None:
    from viscnn.ui.views import circuit

    circuit.page()


def cypher_page() -> None:
    from viscnn.ui.views import cypher

    cypher.page()


def models_page() -> None:
    from viscnn.ui.views import models

    models.page()


PAGES: dict[str, Callable[[], None]] = {"circuit": circuit_page, "cypher": cypher_page, "models": models_page}


def opened(name: str, view: View | None = None) -> AppTest:
    """A page as it is when first opened, by a link to `view`."""
    page = AppTest.from_file(str(APP)) if name == "explore" else AppTest.from_function(PAGES[name])
    page.default_timeout = 60
    if view is not None:
        page.query_params["view"] = view.to_json()
    return page.run()


def press(page: AppTest, label: str) -> AppTest:
    return next(each for each in page.button if each.label == label).click().run()


def type_in(page: AppTest, key: str, text: str) -> None:
    """Type a value that is not among the options of a select box (AppTest knows only options)."""
    box = page.selectbox(key=key)
    box.options.append(text)
    box.set_value(text)


def errors(page: AppTest) -> list[str]:
    assert not page.exception, [each.message for each in page.exception]
    return [str(each.value) for each in page.error]


def texts(page: AppTest) -> str:
    assert not page.exception, [each.message for each in page.exception]
    elements = (*page.markdown, *page.caption, *page.subheader, *page.info, *page.warning)
    return "\n".join(str(each.value) for each in elements) + "\n".join(html.proto.body for html in page.get("html"))


def view_of(page: AppTest) -> dict[str, Any]:
    found = page.query_params.get("view", ["{}"])
    return dict(json.loads(found[0] if isinstance(found, list) else found))


def click_in_network(page: AppTest, value: dict[str, Any]) -> AppTest:
    """Send what the browser sends after a click (through AppTest's own, private, way)."""
    component = page.get("bidi_component")[0].proto
    states = page._tree.get_widget_states()
    sent = states.widgets.add()
    sent.id = component.id
    cfg = json.loads(component.mixed.json)["cfg"]
    common = {"revision": cfg["revision"], "selectedRevision": cfg["selectedRevision"]}
    sent.json_value = json.dumps({"selected": value | common})
    return page._run(widget_state=states)


# -- without a database ------------------------------------------------------------------------------------------------


def test_view_survives_the_address() -> None:
    view = View(model="m", query="m/query/1", keep=0.3, selected="m/conv/1", source="m/conv0/2", image="a b", kernels=4)
    assert View.from_json(view.to_json()) == view
    assert View().to_json() == '{"v":1}'


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"v":2}',
        '{"v":1,"keep":0}',
        '{"v":1,"keep":true}',
        '{"v":1,"keep":NaN}',
        '{"v":1,"model":3}',
        '{"v":1,"image_set":null}',
        '{"v":1,"kernels":1000000}',
        '{"v":1,"password":"x"}',
        "[" * 100_000,
    ],
)
def test_bad_views_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        View.from_json(text)


def test_choices_are_those_of_the_engine() -> None:
    assert list(CRITERIA) == list(ENGINE_CRITERIA)
    assert tuple(SCALES) == tuple(ENGINE_SCALES)
    assert tuple(ABLATIONS) == tuple(ENGINE_ABLATIONS)


def test_outputs_are_quoted_where_they_must_be() -> None:
    classes = ["cat", "Border Collie", "crane", "crane", 'a "b"', "#1"]
    found = [class_output(name, at, classes) for at, name in enumerate(classes)]
    assert found == ["class:cat", 'class:"Border Collie"', "class:#2", "class:#3", "class:#4", 'class:"#1"']
    assert outputs({"logits": 2, "classes": ["a"]}, "vgg16-bn/features.3/1") == [
        "loss",
        'filter:"vgg16-bn/features.3/1"',
        "class:a",
    ]
    assert outputs({"logits": 0, "classes": []}, "m/input/r") == ["layer:LAST"]


@pytest.mark.parametrize("text", ["../evil.py:f", "/tmp/net.py", "file.py:function", "", "Alex Net", "a/b"])
def test_the_page_ingests_names_only(text: str) -> None:
    with pytest.raises(ModelError, match="command line"):
        zoo_name(text)


def test_kept_fractions_reach_from_a_thousandth_to_all() -> None:
    assert (KEPT_FRACTIONS[0], KEPT_FRACTIONS[-1]) == (0.001, 1.0)
    assert list(KEPT_FRACTIONS) == sorted(KEPT_FRACTIONS)


@pytest.mark.parametrize("name", ["explore", *PAGES])
def test_neo4j_down_is_one_line_with_a_way_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    page = opened(name)
    assert errors(page) == [
        "no Neo4j answers at bolt://127.0.0.1:1; "
        "start the managed server with `viscnn server start`, or check NEO4J_URI"
    ]
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


@pytest.mark.parametrize("name", ["explore", "circuit", "models"])
def test_empty_database_offers_the_bundled_model(name: str, first_runs: dict[str, AppTest]) -> None:
    page = first_runs[name]
    assert not page.error
    assert "No model in this database yet" in [each.value for each in page.subheader]
    assert "Ingest the bundled MNIST model" in [each.label for each in page.button]


def test_cypher_on_an_empty_database(first_runs: dict[str, AppTest], empty: VISCNN) -> None:
    assert errors(first_runs["cypher"]) == []


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


def test_kept_fraction_redraws_without_computing(viscnn: VISCNN, three: str) -> None:
    page = opened("explore", View(model="mnist", query=three))
    before = len(viscnn.queries("mnist"))
    page.select_slider(key="keep").set_value("1 %").run()
    share = 100 * viscnn.subgraph(three, keep=0.01).score_share
    assert f"22 of 2,192 kernels drawn (1 %), {share:.0f} % of the total score" in texts(page)
    assert len(viscnn.queries("mnist")) == before


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
    assert 'alt="activation map of mnist/conv4/7"' in shown


def test_image_is_chosen_by_set(three: str) -> None:
    page = opened("explore", View(model="mnist", query=three, selected="mnist/conv1/3"))
    page.selectbox(key="image_set").set_value("three").run()
    path = page.selectbox(key="image").options[1]
    page.selectbox(key="image").set_value(path).run()
    assert f'alt="image {path}"' in texts(page)
    assert "map of 28 x 28" in texts(page)
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
        ("three *", "three *"),
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
    page.number_input(key="check_images").set_value(40)
    press(page, "Extract circuit")
    assert errors(page) == []
    stored = viscnn.circuits("mnist")[0]
    assert stored["target"] == "filter:mnist/conv3/5"
    shown = {each.label: each.value for each in page.metric}
    assert shown["Pearson r, circuit"] == f"{stored['pearson']:.3f}"
    assert shown["r, random"] == f"{stored['pearsonRandom']:.3f}"
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
    page.number_input(key="parameter_read/top_kernels_limit").set_value(3)
    press(page, "Run")
    assert errors(page) == []
    assert page.dataframe[0].value.shape == (12, 6)
    assert "12 rows" in texts(page)
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
    assert viscnn.cypher("read/model_counts", {"model": "mnist"}).rows == ((4, 105, 1, 2192),)


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
