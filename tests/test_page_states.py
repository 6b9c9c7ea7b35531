"""What every page says when something is missing or wrong: models, queries, filters, images, links, expressions.

Empty databases, Neo4j that is down, and how each page is used, are in the other files of the page.
"""

import json
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from tests import page_nets
from tests.pages import APP, PAGES, errors, opened, press, texts, type_in, view_of
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.graph import Graph
from viscnn.ingest.load import drop_model
from viscnn.ingest.registry import forget, register, registered
from viscnn.ui import data
from viscnn.ui.state import View

ALL = ("explore", *PAGES)
OF_A_MODEL = ("explore", "filter", "circuit", "compare")
HALF = "half-way"
UID = "mnist/conv2/3"
COMMAND = "viscnn ingest MODEL --name mnist"


@pytest.fixture(scope="module")
def empty(server: Connection) -> Iterator[VISCNN]:
    """The session's server without any model."""
    with VISCNN(server) as session:
        for model in session.models():
            session.drop(model["name"])
        yield session
    data.reconnect()


@pytest.fixture(scope="module")
def v(empty: VISCNN) -> VISCNN:
    """The server with nothing but the bundled model, its importance and one more query."""
    empty.ingest("mnist")
    return empty


@pytest.fixture
def half(empty: VISCNN, graph: Graph) -> Iterator[str]:
    """A model whose ingest has just begun."""
    graph.write("write/start_ingest", model=HALF, properties={})
    yield HALF
    drop_model(graph, HALF, missing_ok=True)


@pytest.fixture
def elsewhere(v: VISCNN) -> Iterator[None]:
    """The model is stored, but not registered on this machine."""
    entry = registered("mnist", v.model("mnist")["weightsHash"])
    forget("mnist")
    data.reconnect()
    yield
    register("mnist", entry)
    data.reconnect()


def models_of(page: AppTest) -> list[str]:
    return list(page.selectbox(key="model").options)


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_database_with_nothing_but_a_model_being_ingested(name: str, empty: VISCNN, half: str) -> None:
    assert [(each["name"], each["status"]) for each in empty.models()] == [(half, "ingesting")]
    for view in (None, View(model=half)):
        page = opened(name, view)
        assert errors(page) == []
        assert "No complete model in this database yet" in texts(page)
        assert f"{half}: it is being ingested" in texts(page)
        assert "Ingest the bundled MNIST model" in [each.label for each in page.button]


def test_nothing_but_that_on_the_pages_cypher_and_models(empty: VISCNN, half: str) -> None:
    page = opened("cypher", View(model=half))
    assert errors(page) == []
    assert "No complete model in this database yet" in texts(page)
    page = opened("models", View(model=half))
    assert errors(page) == []
    assert page.dataframe[0].value["status"].tolist() == ["ingesting"]
    assert f"{half} is not complete" in texts(page)


def test_the_first_page_leads_to_the_page_models(empty: VISCNN) -> None:
    page = opened("explore")
    (link,) = page.get("page_link")
    assert (link.proto.label, link.proto.page) == ("Other models", "models")


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_model_that_is_being_ingested_is_named_and_not_offered(name: str, v: VISCNN, half: str) -> None:
    page = opened(name, View(model="mnist"))
    assert errors(page) == []
    assert models_of(page) == ["mnist"]
    assert f"{half} is being ingested" in texts(page)
    drop = opened("models")
    assert errors(drop) == []
    assert f"{half} is not complete" in texts(drop)
    assert errors(opened("cypher")) == []


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_link_to_it_shows_a_complete_one_and_says_why(name: str, v: VISCNN, half: str) -> None:
    page = opened(name, View(model=half, selected=f"{half}/conv1/0"))
    assert errors(page) == []
    assert f"Model '{half}' is not complete" in texts(page)
    assert "'mnist' is shown instead" in texts(page)
    assert view_of(page)["model"] == "mnist"
    assert "selected" not in view_of(page)


def test_it_is_offered_when_it_is_complete(v: VISCNN, half: str, graph: Graph) -> None:
    page = opened("explore", View(model="mnist"))
    drop_model(graph, half)
    v.ingest("mnist", name=half, importance=False)
    page.run()
    assert errors(page) == []
    assert models_of(page) == [half, "mnist"]
    assert "is being ingested" not in texts(page)


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_link_to_a_model_that_is_gone_says_so(name: str, v: VISCNN) -> None:
    page = opened(name, View(model="gone", query="gone/query/1", circuit="gone/circuit/1"))
    assert errors(page) == []
    assert "Model 'gone' is not in this database (any more). 'mnist' is shown instead." in texts(page)


def fragment(model: str, stamp: str) -> None:
    """A fragment of a page that was run with a `stamp`; the second run is the page's."""
    import streamlit as st

    from viscnn.ui.panels.models import run_anew_if_changed

    if "begun" in st.session_state:
        st.caption("the page was run anew")
        return
    st.session_state["begun"] = True
    run_anew_if_changed(model, stamp)
    st.caption("the fragment goes on")


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        ("mnist", lambda stamp: stamp, "the fragment goes on"),
        ("mnist", lambda stamp: stamp + "1", "the page was run anew"),  # replaced: ingested at another time
        ("gone", lambda stamp: stamp, "the page was run anew"),
    ],
)
def test_a_fragment_of_a_model_that_was_dropped_or_replaced(
    model: str, change: Callable[[str], str], said: str, v: VISCNN
) -> None:
    stamp = change(data.stamp("mnist"))
    page = AppTest.from_function(fragment, kwargs={"model": model, "stamp": stamp}).run()
    assert not page.exception
    assert [each.value for each in page.caption] == [said]


# -- queries, filters, circuits ----------------------------------------------------------------------------------------


@pytest.fixture
def bare(v: VISCNN) -> Iterator[str]:
    """A model without images, queries and class names, of five input channels."""
    v.ingest(f"{page_nets.SOURCE}:bare", input_shape=(5, 8, 8), importance=False)
    yield "bare"
    v.drop("bare")


def test_a_model_without_queries_and_images_on_every_page(v: VISCNN, bare: str) -> None:
    said = {
        "explore": "kernels are drawn by their scores, once a query is run",
        "filter": "No query is stored yet",
        "circuit": "No circuit is stored yet",
        "compare": "Two saved queries are needed",
    }
    for name, text in said.items():
        page = opened(name, View(model=bare))
        assert errors(page) == []
        assert text in texts(page)
    for name in ("explore", "filter"):
        page = opened(name, View(model=bare, selected=f"{bare}/first/2"))
        assert errors(page) == []
        assert "This model has no images" in texts(page)
        assert "sum of |weights|" in texts(page)


@pytest.mark.parametrize("name", ["explore", "filter"])
def test_a_query_that_is_gone_gives_way_to_one_that_is_there(name: str, v: VISCNN) -> None:
    page = opened(name, View(model="mnist", query="mnist/query/gone", selected=UID))
    assert errors(page) == []
    assert "The shown query is not stored any more" in texts(page)
    assert view_of(page)["query"] == v.queries("mnist")[0]["uid"]


def test_compared_queries_that_are_gone_give_way_to_others(v: VISCNN) -> None:
    v.query("two", model="mnist", max_images=5)
    page = opened("compare", View(model="mnist", query="mnist/query/gone", other="mnist/query/too"))
    assert errors(page) == []
    assert "A query of the link is not stored (any more)" in texts(page)
    stored = [each["uid"] for each in v.queries("mnist")]
    assert page.selectbox(key="compare_query").value in stored
    assert page.selectbox(key="compare_other").value in stored
    there = opened("compare", View(model="mnist", query=stored[0], other=stored[1]))
    assert "A query of the link" not in texts(there)


@pytest.mark.parametrize("name", ["explore", "filter", "compare"])
@pytest.mark.parametrize("source", [None, "mnist/conv1/0"])
def test_a_filter_that_there_is_not_is_said(name: str, source: str | None, v: VISCNN) -> None:
    page = opened(name, View(model="mnist", selected="mnist/conv9/0", source=source))
    assert errors(page) == []
    assert "This model has no filter mnist/conv9/0." in texts(page)


@pytest.mark.parametrize("name", ["explore", "filter"])
def test_a_kernel_that_there_is_not_is_said(name: str, v: VISCNN) -> None:
    page = opened(name, View(model="mnist", selected=UID, source="mnist/conv4/0"))
    assert errors(page) == []
    assert f"There is no kernel from `mnist/conv4/0` to `{UID}`" in texts(page)


# -- links and expressions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_bad_link_gives_the_default_view_on_every_page(name: str, v: VISCNN) -> None:
    page = AppTest.from_file(str(APP)) if name == "explore" else AppTest.from_function(PAGES[name])
    page.default_timeout = 60
    page.query_params["view"] = '{"v":1,"visualization":{"target":"mnist/conv2/3","sign":2}}'
    page.run()
    assert errors(page) == []
    assert "The link's view was not used" in texts(page)
    assert "is no visualization" in texts(page)
    assert "visualization" not in json.dumps(view_of(page))


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("circuit_input", "thre - overall", "did you mean three"),
        ("circuit_input", "three *", r"three \*"),
        ("target", "filter:mnist/conv2/99", "mnist/conv2/99"),
        ("target", "class:ape", "ape"),
    ],
)
def test_a_circuit_that_cannot_be_asked_for_is_one_line(key: str, text: str, message: str, v: VISCNN) -> None:
    page = opened("circuit", View(model="mnist"))
    page.number_input(key="circuit_images").set_value(10)
    if key == "target":
        type_in(page, key, text)
    else:
        page.text_input(key=key).set_value(text)
    press(page, "Extract circuit")
    assert [message in each for each in errors(page)] == [True]
    assert v.circuits("mnist") == []


def test_an_intervention_towards_a_bad_target_is_one_line(v: VISCNN) -> None:
    page = opened("filter", View(model="mnist", selected=UID))
    press(page, "Set for this filter")
    assert errors(page) == []
    type_in(page, "intervention_target", "class:ape")
    page.run()
    assert ["ape" in each for each in errors(page)] == [True]


# -- a model that is not on this machine -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explore", "filter", "circuit", "compare"])
def test_what_is_stored_is_shown_without_the_model(name: str, v: VISCNN, elsewhere: None) -> None:
    page = opened(name, View(model="mnist", selected=UID))
    assert all(COMMAND in each for each in errors(page))
    if name in {"explore", "filter"}:
        assert errors(page)
        assert f"##### Filter `{UID}`" in texts(page)
        assert f'alt="kernel {v.incoming_kernels(UID, limit=1)[0]["source"]} to {UID}"' in texts(page)


def test_what_needs_the_model_names_the_command(v: VISCNN, elsewhere: None) -> None:
    page = opened("explore", View(model="mnist"))
    page.text_input(key="input").set_value("three")
    press(page, "Run query")
    assert [COMMAND in each for each in errors(page)] == [True]
    page = opened("circuit", View(model="mnist"))
    press(page, "Extract circuit")
    assert [COMMAND in each for each in errors(page)] == [True]
