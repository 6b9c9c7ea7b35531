"""The circuit bar's input: completions while one types, by AppTest and in a real Chromium."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.pages import errors, opened, press
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.state import View

TARGET = "mnist/conv2/3"


@pytest.fixture(scope="module")
def v(server: Connection) -> Iterator[VISCNN]:
    """The session's server with the bundled model and an image set of one's own."""
    with VISCNN(server) as opened_:
        opened_.ingest("mnist", importance=False)
        opened_.save_image_set("mnist", "my threes", opened_.image_paths("mnist", "three", limit=40))
        yield opened_
        opened_.drop_image_set("mnist", "my threes")
    data.reconnect()


def completions(page: AppTest) -> dict[str, Any]:
    """What the browser is told for the field `Input`."""
    assert errors(page) == []
    (found,) = [each.proto for each in page.get("bidi_component") if each.key == "completion_circuit_input"]
    return dict(json.loads(found.json))


def test_the_browser_is_told_what_can_be_named(v: VISCNN) -> None:
    asked = v.query("two - three", model="mnist", max_images=10)
    found = completions(opened("circuit", View(model="mnist")))
    assert found["field"] == "circuit_input"
    assert found["names"] == v.input_names("mnist")
    assert {"text": '"my threes"', "kind": "own"} in found["names"]
    assert found["earlier"][0] == asked.input == "two - three"


def go(page: AppTest, name: str, **changes: Any) -> AppTest:
    """Another page of the same session, with another view, as clicks there leave it."""
    page.session_state["pages_name"] = name
    page.session_state["viscnn_view"] = replace(page.session_state["viscnn_view"], **changes)
    page.run()
    assert errors(page) == []
    return page


def either_page() -> None:
    import streamlit as st

    from viscnn.ui.views import circuit, explore

    {"circuit": circuit.page, "explore": explore.page}[st.session_state.get("pages_name", "circuit")]()


@pytest.fixture
def visited(v: VISCNN) -> AppTest:
    """The page Circuit of mnist with a filter selected."""
    page = AppTest.from_function(either_page, default_timeout=60)
    page.query_params["view"] = View(model="mnist", selected=TARGET).to_json()
    page.run()
    assert errors(page) == []
    return page


def form(page: AppTest) -> tuple[Any, Any]:
    return page.selectbox(key="target").value, page.text_input(key="circuit_input").value


def test_the_target_is_the_filter_selected_last(visited: AppTest) -> None:
    assert form(visited) == (TARGET, "overall")
    go(visited, "explore", selected="mnist/conv3/1")
    assert form(go(visited, "circuit")) == ("mnist/conv3/1", "overall")
    go(visited, "explore", selected="mnist/conv4/2", source="mnist/conv3/1")
    assert form(go(visited, "circuit"))[0] == "mnist/conv4/2"
    go(visited, "explore", selected=None, source=None)
    assert form(go(visited, "circuit"))[0] == "mnist/conv4/2"
    go(visited, "explore", selected="mnist/input/gray")
    assert form(go(visited, "circuit"))[0] == "mnist/conv4/2"


def test_what_is_sent_is_what_the_form_says_whatever_was_clicked_in_the_picture(visited: AppTest, v: VISCNN) -> None:
    visited.session_state["viscnn_view"] = View(model="mnist", selected="mnist/conv3/1")  # in a fragment: no full run
    visited.selectbox(key="target").set_value("class:three")
    visited.text_input(key="circuit_input").set_value("three - overall")
    visited.number_input(key="circuit_images").set_value(10)
    visited.number_input(key="check_images").set_value(10)
    before = {each["uid"] for each in v.circuits("mnist")}
    press(visited, "Extract circuit")
    assert errors(visited) == []
    (made,) = [each for each in v.circuits("mnist") if each["uid"] not in before]
    assert made["target"] == "class:three"
    assert form(visited) == ("class:three", "three - overall")
    go(visited, "explore")
    assert form(go(visited, "circuit")) == ("class:three", "three - overall")
    go(visited, "explore", selected="mnist/conv4/3")
    assert form(go(visited, "circuit")) == ("mnist/conv4/3", "three - overall")


def test_another_model_has_its_own_target_input_and_output(v: VISCNN, visited: AppTest) -> None:
    v.ingest("mnist", name="mnist-2", importance=False)
    try:
        visited.session_state["circuit_input"] = "three - overall"
        go(visited, "explore")
        visited.selectbox(key="output").set_value("class:three")
        visited.text_input(key="input").set_value("three")
        visited.number_input(key="max_images").set_value(10)
        press(visited, "Run query")
        go(visited, "explore", selected="mnist/conv3/1")
        assert visited.selectbox(key="output").value == "class:three"  # what a person has chosen
        assert form(go(visited, "circuit")) == ("mnist/conv3/1", "three - overall")
        go(visited, "explore", model="mnist-2", query=None, selected=None)
        assert visited.selectbox(key="output").value == "loss"
        target, text = form(go(visited, "circuit"))
        assert (target.split(":")[0], text) == ("class", "overall")
    finally:
        v.drop("mnist-2")


@pytest.fixture(scope="module")
def address(v: VISCNN, served: str) -> str:
    return served


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with chromium() as browser, new_page(browser, width=1400, height=900) as (page, problems):
        page.goto(f"{address}/?view={quote(View(model='mnist', selected=TARGET).to_json())}")
        page.get_by_test_id("suggestions").wait_for(state="attached", timeout=2 * PATIENCE_MS)
        page.get_by_role("link", name="Circuit", exact=True).click()
        page.get_by_role("button", name="Extract circuit").wait_for(timeout=PATIENCE_MS)
        page.locator(".st-key-completion_circuit_input").wait_for(state="attached", timeout=PATIENCE_MS)
        yield page
        assert problems == []


def test_a_name_is_completed_and_a_circuit_extracted_with_it(page: Page, v: VISCNN) -> None:
    field = page.get_by_label("Input", exact=True)
    expect(field).to_have_value("overall")
    field.press("ControlOrMeta+a")
    field.press_sequentially("thr")
    expect(page.get_by_role("option")).to_contain_text(["three", '"my threes"'], timeout=PATIENCE_MS)
    field.press("ArrowDown")
    field.press("Enter")  # takes the second; the form is not sent
    expect(field).to_have_value('"my threes"')
    expect(field).to_be_focused()
    field.press_sequentially(" - ov")
    field.press("Tab")
    expect(field).to_have_value('"my threes" - overall')
    expect(page.get_by_test_id("suggestions")).to_be_hidden()
    before = {each["uid"] for each in v.circuits("mnist")}
    field.press("Enter")  # with nothing to choose from it sends the form
    expect(page.get_by_text("Extracted and verified")).to_be_visible(timeout=4 * PATIENCE_MS)
    (made,) = [each for each in v.circuits("mnist") if each["uid"] not in before]
    assert made["target"] == f"filter:{TARGET}"
    (query,) = [each for each in v.queries("mnist") if each["input"] == '"my threes" - overall']
    assert query["output"] == f"filter:{TARGET}"
    expect(field).to_have_value('"my threes" - overall')
