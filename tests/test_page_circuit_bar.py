"""The circuit bar's input: completions while one types, by AppTest and in a real Chromium."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.pages import errors, opened
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.launch import launch
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


@pytest.fixture(scope="module")
def address(v: VISCNN, server: Connection) -> Iterator[str]:
    named = {"NEO4J_URI": server.uri, "NEO4J_USERNAME": server.username, "NEO4J_PASSWORD": server.password}
    with launch(browser=False, environment=os.environ | named | {"OMP_WAIT_POLICY": "PASSIVE"}) as page:
        yield page.url


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
