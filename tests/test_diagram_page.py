"""The diagram on the page Circuit: counts, selection, files; and in a real Chromium clicks, zoom and exported files."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from streamlit.testing.v1 import AppTest

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.pages import errors, opened, tables, texts, view_of
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.state import View

SCREENSHOTS = Path(__file__).parent / "screenshots"
TARGET = "mnist/conv3/5"


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    """The session's server with the bundled model; the page finds it by the environment."""
    with pytest.MonkeyPatch.context() as patch, VISCNN(server) as opened_session:
        for name in ("uri", "username", "password"):
            patch.setenv(f"NEO4J_{name.upper()}", str(getattr(server, name)))
        opened_session.ingest("mnist", importance=False)
        yield opened_session
        data.reconnect()


@pytest.fixture(scope="module")
def circuit(viscnn: VISCNN) -> str:
    return viscnn.circuit(TARGET, model="mnist", keep=0.1, max_images=20, check_images=30).uid


def sent(page: AppTest) -> tuple[ElementTree.Element, dict[str, Any]]:
    """The drawing and the settings that the browser is sent."""
    found = json.loads(page.get("bidi_component")[0].proto.json)
    return ElementTree.fromstring(found["svg"]), found["cfg"]


def classed(drawing: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in drawing.iter() if name in each.get("class", "").split()]


def click(page: AppTest, value: dict[str, Any]) -> AppTest:
    """Send what the browser sends after a click (through AppTest's own, private, way)."""
    component, (_, settings) = page.get("bidi_component")[0].proto, sent(page)
    states = page._tree.get_widget_states()
    state = states.widgets.add()
    state.id = component.id
    common = {"revision": settings["revision"], "selectedRevision": settings["selectedRevision"]}
    state.json_value = json.dumps({"selected": value | common})
    return page._run(widget_state=states)


# -- without a browser -------------------------------------------------------------------------------------------------


def test_the_page_draws_the_circuit(viscnn: VISCNN, circuit: str) -> None:
    page = opened("circuit", View(model="mnist", circuit=circuit))
    assert errors(page) == []
    drawing, settings = sent(page)
    stored = viscnn.circuits("mnist")[0]
    assert len([each for each in classed(drawing, "edge") if each.get("data-edge")]) == stored["kernels"]
    found = viscnn.circuit_diagram(circuit)
    assert [each.get("data-uid") for each in classed(drawing, "filter")] == [each.uid for each in found.filters]
    assert found.caption in texts(page)
    assert settings["selected"] is None
    assert "Pearson r, circuit" in texts(page)
    assert [each.proto.label for each in page.get("download_button")] == ["SVG", "PNG", "HTML"]


def test_a_link_isolates_its_selection(viscnn: VISCNN, circuit: str) -> None:
    edge = viscnn.circuit_diagram(circuit).edges[0]
    filters = viscnn.circuit_diagram(circuit).filters
    ends = {"source": filters[edge.source].uid, "target": filters[edge.target].uid}
    page = opened("circuit", View(model="mnist", circuit=circuit, selected=TARGET))
    assert sent(page)[1]["selected"] == {"kind": "filter", "uid": TARGET}
    view = View(model="mnist", circuit=circuit, selected=ends["target"], source=ends["source"])
    assert sent(opened("circuit", view))[1]["selected"] == {"kind": "kernel", **ends}
    outside = next(each["uid"] for each in viscnn.filters("mnist") if each["layer"] == "conv4")
    assert sent(opened("circuit", View(model="mnist", circuit=circuit, selected=outside)))[1]["selected"] is None


def test_a_click_selects_and_the_drawing_is_not_sent_again(viscnn: VISCNN, circuit: str) -> None:
    page = opened("circuit", View(model="mnist", circuit=circuit))
    before = page.get("bidi_component")[0].proto.json
    page = click(page, {"kind": "filter", "uid": TARGET})
    assert errors(page) == []
    assert view_of(page)["selected"] == TARGET
    assert f"##### Filter `{TARGET}`" in texts(page)
    assert page.get("bidi_component")[0].proto.json == before


def test_safe_colours_are_one_setting_of_both_drawings_and_in_the_link(viscnn: VISCNN, circuit: str) -> None:
    page = opened("circuit", View(model="mnist", circuit=circuit))
    drawing, settings = sent(page)
    assert settings["safe"] is False
    page.toggle(key="circuit_diagram_safe").set_value(True).run()
    assert errors(page) == []
    assert view_of(page)["safe"] is True
    assert (sent(page)[1]["safe"], sent(page)[1]["revision"]) == (True, settings["revision"])  # the same drawing
    assert ElementTree.tostring(sent(page)[0]) == ElementTree.tostring(drawing)
    next(each for each in page.button_group if each.key == "drawing").set_value("network").run()
    assert tables(page)[0]["palette"] == "safe"
    page.toggle(key="circuit_network_safe").set_value(False).run()
    next(each for each in page.button_group if each.key == "drawing").set_value("diagram").run()
    assert sent(page)[1]["safe"] is False
    assert sent(opened("circuit", View(model="mnist", circuit=circuit, safe=True)))[1]["safe"] is True


def test_the_3d_network_is_one_click_away_and_in_the_link(viscnn: VISCNN, circuit: str) -> None:
    page = opened("circuit", View(model="mnist", circuit=circuit))
    next(each for each in page.button_group if each.key == "drawing").set_value("network").run()
    assert view_of(page)["drawing"] == "network"
    assert "kernels of the circuit" in texts(page)
    again = opened("circuit", View(model="mnist", circuit=circuit, drawing="network"))
    assert "nodes" in again.get("bidi_component")[0].proto.mixed.json


def test_a_circuit_that_is_gone_is_one_line(viscnn: VISCNN, circuit: str) -> None:
    page = opened("circuit", View(model="mnist", circuit="mnist/circuit/gone"))
    assert errors(page) == []
    assert view_of(page)["circuit"] == circuit  # the newest one is shown instead


# -- in Chromium -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(viscnn: VISCNN, served: str) -> str:
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened_browser:
        yield opened_browser


def shown_diagram(page: Page, address: str, view: View) -> Locator:
    page.goto(f"{address}/?view={quote(view.to_json())}")
    page.get_by_role("link", name="Circuit", exact=True).click()
    diagram = page.get_by_test_id("diagram")
    diagram.locator(".filter").first.wait_for(timeout=3 * PATIENCE_MS)
    page.locator('[data-test-script-state="notRunning"]').wait_for(timeout=3 * PATIENCE_MS)
    return diagram


def filter_of(diagram: Locator, uid: str) -> Locator:
    return diagram.locator(f'.filter[data-uid="{uid}"]')


def kept(diagram: Locator) -> tuple[int, int]:
    """Filters and edges that are not faded."""
    found = [diagram.locator(f"{name}.kept").count() for name in (".filter", ".edge")]
    return found[0], found[1]


def moved(diagram: Locator) -> str:
    return str(diagram.locator(".stage").evaluate("stage => stage.style.transform"))


def test_a_click_in_the_diagram_isolates_and_the_panel_follows(
    browser: Browser, address: str, viscnn: VISCNN, circuit: str
) -> None:
    found = viscnn.circuit_diagram(circuit)
    row = next(row for row, each in enumerate(found.filters) if each.layer == "conv2")
    uid = found.filters[row].uid
    edges = [each for each in found.edges if row in (each.source, each.target)]
    neighbours = {end for each in edges for end in (each.source, each.target)}
    with new_page(browser, width=1280, height=720) as (page, problems):
        diagram = shown_diagram(page, address, View(model="mnist", circuit=circuit))
        filter_of(diagram, uid).click()
        expect(page.get_by_role("heading", name=uid)).to_be_visible(timeout=PATIENCE_MS)
        assert kept(diagram) == (len(neighbours), len(edges))
        diagram.get_by_role("button", name="Larger").click()
        place = moved(diagram)
        middle = (found.width / 2, found.height / 2)
        picture = min(found.pictures, key=lambda each: math.dist(each.at, middle))
        edge = found.edges[picture.edge]
        ends = found.filters[edge.source].uid, found.filters[edge.target].uid
        diagram.locator(f'.kernel[data-edge="{picture.edge}"]').click()
        expect(page.get_by_role("heading", name=f"Kernel into {ends[1]}")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name=f"from {ends[0].removeprefix('mnist/')}")).to_be_visible()
        assert kept(diagram) == (2, 1)
        assert moved(diagram) == place  # what is seen stays while the page runs anew
        page.get_by_role("button", name=f"from {ends[0].removeprefix('mnist/')}").click()
        expect(filter_of(diagram, ends[0])).to_have_class("filter kept chosen", timeout=PATIENCE_MS)
        assert moved(diagram) == place
        page.get_by_role("radio", name="3-D network").click()
        page.get_by_test_id("network3d").wait_for()
        page.get_by_role("radio", name="Diagram").click()
        expect(filter_of(diagram, ends[0])).to_have_class("filter kept chosen", timeout=PATIENCE_MS)
        assert moved(diagram) == place  # and while the page shows something else
        diagram.press("Escape")
        expect(page.get_by_text("Nothing is selected")).to_be_visible(timeout=PATIENCE_MS)
        assert kept(diagram) == (0, 0)
        assert problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_in_light_and_dark(browser: Browser, address: str, circuit: str, theme: str) -> None:
    with new_page(browser, width=1280, height=720, theme=theme) as (page, problems):
        diagram = shown_diagram(page, address, View(model="mnist", circuit=circuit))
        strokes = diagram.locator(".edges .edge.excitatory").first.evaluate("edge => getComputedStyle(edge).stroke")
        assert strokes == {"light": "rgb(208, 52, 44)", "dark": "rgb(255, 111, 97)"}[theme]
        box, stage = diagram.bounding_box(), diagram.locator(".filters").bounding_box()
        assert box is not None
        assert stage is not None
        assert box["x"] <= stage["x"]
        assert stage["x"] + stage["width"] <= box["x"] + box["width"]
        assert box["y"] <= stage["y"]
        assert stage["y"] + stage["height"] <= box["y"] + box["height"] <= 720
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        SCREENSHOTS.mkdir(exist_ok=True)
        page.wait_for_timeout(700)
        page.screenshot(path=SCREENSHOTS / f"diagram-{theme}.png")
        assert problems == []


def test_arrows_walk_along_the_strongest_kernels(browser: Browser, address: str, viscnn: VISCNN, circuit: str) -> None:
    found = viscnn.circuit_diagram(circuit)
    target = next(row for row, each in enumerate(found.filters) if each.uid == TARGET)
    strongest = max((each for each in found.edges if each.target == target), key=lambda each: each.width)
    with new_page(browser) as (page, problems):
        diagram = shown_diagram(page, address, View(model="mnist", circuit=circuit, selected=TARGET))
        expect(filter_of(diagram, TARGET)).to_have_class("filter kept chosen")
        diagram.press("ArrowLeft")
        before = found.filters[strongest.source].uid
        expect(page.get_by_role("heading", name=before)).to_be_visible(timeout=PATIENCE_MS)
        expect(filter_of(diagram, before)).to_have_class("filter kept chosen")
        assert problems == []


def alone(page: Page) -> list[str]:
    """Let a page open files; the list fills with all addresses that it asks for."""
    asked: list[str] = []
    page.context.unroute_all()
    page.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
    return asked


def test_an_exported_page_isolates_what_is_clicked(
    browser: Browser, viscnn: VISCNN, circuit: str, tmp_path: Path
) -> None:
    file = tmp_path / "circuit.html"
    viscnn.save_diagram(circuit, file)
    with new_page(browser) as (page, problems):
        asked = alone(page)
        page.goto(file.as_uri())
        diagram = page.get_by_test_id("diagram")
        filter_of(diagram, TARGET).click()
        expect(page.locator("#chosen")).to_contain_text("conv3/5: target, score")
        found = viscnn.circuit_diagram(circuit)
        into = [each for each in found.edges if found.filters[each.target].uid == TARGET]
        assert kept(diagram) == (len(into) + 1, len(into))
        page.emulate_media(color_scheme="dark")
        expect(page.locator("body")).to_have_css("background-color", "rgb(14, 17, 23)")
        assert asked == [file.as_uri()]
        assert problems == []


def test_an_exported_drawing_opens_in_the_browser(
    browser: Browser, viscnn: VISCNN, circuit: str, tmp_path: Path
) -> None:
    file = tmp_path / "circuit.svg"
    facts = viscnn.save_diagram(circuit, file)
    with new_page(browser, width=1500, height=1100) as (page, problems):
        alone(page)
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.nodeName") == "svg"
        assert page.locator(".filter").count() == facts["filters"]
        assert page.locator(".kernel").count() == facts["kernelPictures"]
        loaded = page.evaluate(
            """() => Promise.all([...document.querySelectorAll('image')].map((each) => {
              const picture = new Image();
              picture.src = each.href.baseVal;
              return picture.decode().then(() => picture.naturalWidth);
            }))"""
        )
        assert len(loaded) == facts["kernelPictures"] + facts["pictures"]
        assert min(loaded) > 0
        box = page.locator(".filters").bounding_box()
        assert box is not None
        assert box["width"] > 200
        assert problems == []
