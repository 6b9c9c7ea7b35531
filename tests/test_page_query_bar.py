"""The query bar: completions while one types, and image sets of one's own, by AppTest and in a real Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.pages import errors, opened, press, texts, view_of
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.state import View

SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def v(server: Connection) -> Iterator[VISCNN]:
    """The session's server with the bundled model."""
    with VISCNN(server) as opened_:
        opened_.ingest("mnist", importance=False)
        yield opened_
    data.reconnect()


@pytest.fixture(autouse=True)
def without_sets(v: VISCNN) -> Iterator[None]:
    yield
    for each in v.image_sets("mnist"):
        if each["own"]:
            v.drop_image_set("mnist", each["name"])


def own(v: VISCNN) -> dict[str, int]:
    return {each["name"]: each["images"] for each in v.image_sets("mnist") if each["own"]}


def completions(page: AppTest) -> dict[str, Any]:
    """What the browser is told for the field `Input`."""
    (found,) = [each.proto for each in page.get("bidi_component") if each.key == "completion_input"]
    return dict(json.loads(found.json))


def with_sets(view: View | None = None) -> AppTest:
    """The page with the image sets opened, as a click on their button does it."""
    page = opened("explore", view or View(model="mnist"))
    page.session_state["image_sets_box"] = True
    return page.run()


def test_the_browser_is_told_what_can_be_named(v: VISCNN) -> None:
    v.save_image_set("mnist", "my threes", v.image_paths("mnist", "three", limit=2))
    asked = v.query("two - 3*three", model="mnist", max_images=10)
    found = completions(opened("explore", View(model="mnist")))
    names = [(each["text"], each["kind"]) for each in found["names"]]
    assert names[:2] == [("overall", "set"), ("eight", "set")]
    assert ('"my threes"', "own") in names
    assert found["earlier"][0] == asked.input == "two - 3*three"


def test_a_new_set_is_told_at_the_next_run(v: VISCNN) -> None:
    page = opened("explore", View(model="mnist"))
    assert not any(each["kind"] == "own" for each in completions(page)["names"])
    v.save_image_set("mnist", "late", v.image_paths("mnist", "three", limit=2))
    assert {"text": "late", "kind": "own"} in completions(page.run())["names"]


def test_a_query_of_the_history_stays_active_though_another_was_to_be_activated(v: VISCNN) -> None:
    one, two = (v.query(text, model="mnist", max_images=10, activate=False).uid for text in ("four", "five"))
    page = opened("explore", View(model="mnist", query=two))
    page.session_state["viscnn_to_activate"] = two  # run, and its picture is not drawn yet
    page.button(key=f"again {one}").click().run()
    assert errors(page) == []
    assert (view_of(page)["query"], "viscnn_to_activate" in page.session_state) == (one, False)
    assert v.model("mnist")["activeQuery"] == one


def test_what_is_activated_by_its_button_stays_active_too(v: VISCNN) -> None:
    one, two = (v.query(text, model="mnist", max_images=10).uid for text in ("six", "seven"))
    page = opened("explore", View(model="mnist", query=one))
    page.session_state["viscnn_to_activate"] = two
    press(page, "Activate for Cypher")
    assert errors(page) == []
    assert v.model("mnist")["activeQuery"] == one


def test_the_selected_filter_becomes_the_output(v: VISCNN) -> None:
    page = opened("explore", View(model="mnist"))
    page.selectbox(key="find").set_value("mnist/conv3/2").run()
    assert page.selectbox(key="output").value == "loss"
    page.button(key="explain").click().run()
    assert errors(page) == []
    output = page.selectbox(key="output")
    assert (output.value, "filter:mnist/conv3/2" in output.options) == ("filter:mnist/conv3/2", True)
    page.selectbox(key="find").set_value("mnist/input/gray").run()
    assert "explain" not in [each.key for each in page.button]


def test_nothing_is_opened_before_the_image_sets_are(v: VISCNN) -> None:
    page = opened("explore", View(model="mnist"))
    assert [each.label for each in page.button if each.key == "save_image_set"] == []
    assert [each.key for each in with_sets().button if each.key == "save_image_set"] == ["save_image_set"]


def test_a_set_is_made_of_ticked_images_and_used(v: VISCNN) -> None:
    paths = v.image_paths("mnist", "three", limit=1000)
    page = with_sets()
    page.selectbox(key="pick_from").set_value("three").run()
    assert len([each for each in page.checkbox if str(each.key).startswith("pick ")]) == 48
    for path in (paths[0], paths[5]):
        page.checkbox(key=f"pick {path}").check().run()
    page.number_input(key="pick_page mnist three").set_value(2).run()
    page.checkbox(key=f"pick {paths[48]}").check().run()
    page.number_input(key="pick_page mnist three").set_value(1).run()
    page.checkbox(key=f"pick {paths[5]}").uncheck().run()
    assert page.checkbox(key=f"pick {paths[0]}").value
    page.text_input(key="image_set_name").set_value("odd threes")
    press(page, "Save 2 images")
    assert errors(page) == []
    assert own(v) == {"odd threes": 2}
    assert v.image_paths("mnist", "odd threes") == [paths[0], paths[48]]
    assert "odd threes · 2 images" in texts(page)
    assert not page.checkbox(key=f"pick {paths[0]}").value
    assert {"text": '"odd threes"', "kind": "own"} in completions(page)["names"]


def test_a_page_of_images_and_the_shown_one(v: VISCNN) -> None:
    other = v.image_paths("mnist", "two", limit=1)[0]
    page = with_sets(View(model="mnist", image_set="two", image=other))
    page.selectbox(key="pick_from").set_value("three").run()
    press(page, "Pick this page")
    press(page, "Pick the shown image")
    page.text_input(key="image_set_name").set_value("many")
    press(page, "Save 49 images")
    assert own(v) == {"many": 49}
    press(page, "Delete")
    assert (errors(page), own(v)) == ([], {})


@pytest.mark.parametrize(("name", "message"), [("three", "cannot be called 'three'"), ("", "'' is no name")])
def test_a_name_that_cannot_be_is_one_line_and_nothing_is_lost(name: str, message: str, v: VISCNN) -> None:
    page = with_sets()
    press(page, "Pick this page")
    page.text_input(key="image_set_name").set_value(name)
    press(page, "Save 48 images")
    assert [message in each for each in errors(page)] == [True]
    assert own(v) == {}
    assert "Save 48 images" in [each.label for each in page.button]


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(v: VISCNN, served: str) -> str:
    return served


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with chromium() as browser, new_page(browser, width=1400, height=900) as (page, problems):
        page.goto(f"{address}/?view={quote(View(model='mnist').to_json())}")
        page.get_by_test_id("network3d").wait_for()
        page.get_by_test_id("suggestions").wait_for(state="attached")
        yield page
        assert problems == []


def test_typing_taking_and_running(page: Page, v: VISCNN) -> None:
    v.save_image_set("mnist", "my threes", v.image_paths("mnist", "three", limit=3))
    page.reload()
    page.get_by_test_id("suggestions").wait_for(state="attached")
    field = page.get_by_label("Input", exact=True)
    field.press_sequentially("thr")
    expect(page.get_by_role("option")).to_contain_text(["three", '"my threes"'], timeout=PATIENCE_MS)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "suggestions.png")
    field.press("ArrowDown")
    field.press("Enter")
    expect(field).to_have_value('"my threes"')
    field.press("ControlOrMeta+a")
    field.press_sequentially("thr")
    field.press("Tab")
    expect(field).to_have_value("three")
    expect(field).to_be_focused()
    field.press_sequentially(" - ov")
    page.get_by_role("option", name="overall image set").click()
    expect(field).to_have_value("three - overall")
    field.press("Enter")
    expect(page.get_by_text("decide the result")).to_be_visible(timeout=3 * PATIENCE_MS)
    assert v.queries("mnist")[0]["input"] == "three - overall"
    expect(field).to_have_value("three - overall")
    field.fill("")
    field.press("ArrowDown")
    expect(page.get_by_role("option").first).to_contain_text("overall")
    field.press("Escape")
    expect(page.get_by_test_id("suggestions")).to_be_hidden()


def test_pictures_are_ticked_and_saved(page: Page, v: VISCNN) -> None:
    page.get_by_role("button", name="Image sets").click()
    pictures = page.locator(".st-key-image_grid img")
    expect(pictures).to_have_count(48, timeout=2 * PATIENCE_MS)
    assert pictures.first.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 28
    assert pictures.first.evaluate("image => image.getBoundingClientRect().height") == 40
    assert pictures.first.get_attribute("title") == v.image_paths("mnist", "overall", limit=5000)[0]
    pictures.nth(3).click()
    expect(page.get_by_role("button", name="Save 1 image")).to_be_visible(timeout=PATIENCE_MS)
    pictures.nth(9).click()
    expect(page.get_by_role("button", name="Save 2 images")).to_be_visible(timeout=PATIENCE_MS)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "image_sets.png")
    page.get_by_label("Name", exact=True).fill("two of them")
    page.get_by_label("Name", exact=True).press("Enter")
    page.get_by_role("button", name="Save 2 images").click()
    expect(page.get_by_text("two of them · 2 images")).to_be_visible(timeout=PATIENCE_MS)
    assert own(v) == {"two of them": 2}
