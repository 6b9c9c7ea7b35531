"""The page Circuit renders the visualisations that its diagram lacks, and then draws them."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

from tests import page_nets
from tests.browser import PATIENCE_MS, chromium, new_page
from tests.pages import errors, opened, press
from tests.test_diagram_page import shown_diagram
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.diagram.layout import Diagram
from viscnn.diagram.pictures import thumbnail
from viscnn.engine.visualize import settings
from viscnn.ingest.registry import forget, register, registered
from viscnn.ui import data
from viscnn.ui.launch import launch
from viscnn.ui.state import View

MODEL = "visualized"
SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    """A session with a model of sums, a concatenation and branches."""
    with VISCNN(server) as opened_session:
        source = f"{page_nets.SOURCE}:branching"
        opened_session.ingest(source, input_shape=(1, 28, 28), images="bundled:mnist", heads=True, name=MODEL)
        yield opened_session
        opened_session.drop(MODEL)
    data.reconnect()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STEPS", 3)


def circuit_of(viscnn: VISCNN, keep: float) -> str:
    """A circuit of its own for each test: what is rendered of it stays."""
    return viscnn.circuit("class:#3", model=MODEL, keep=keep, max_images=10, check_images=30).uid


def shown(circuit: str) -> AppTest:
    page = opened("circuit", View(model=MODEL, circuit=circuit))
    assert errors(page) == []
    return page


def button(page: AppTest) -> list[str]:
    return [each.label for each in page.button if each.key == "render_circuit"]


def images(page: AppTest) -> dict[str, str]:
    """The pictures that filters are drawn by, by uid."""
    svg = ElementTree.fromstring(json.loads(page.get("bidi_component")[0].proto.json)["svg"])
    filters = [each for each in svg.iter() if each.get("class") == "filter"]
    found = {each.get("data-uid", ""): each.find("{http://www.w3.org/2000/svg}image") for each in filters}
    return {uid: image.get("href", "") for uid, image in found.items() if image is not None}


def rendered_uids(diagram: Diagram) -> list[str]:
    """Every drawn filter has a map but the input channels."""
    return [each.uid for each in diagram.filters if each.kind != "input"]


def test_all_that_is_missing_is_rendered_and_then_drawn(viscnn: VISCNN) -> None:
    circuit = circuit_of(viscnn, 0.4)
    diagram = viscnn.circuit_diagram(circuit)
    wanted = rendered_uids(diagram)
    assert {each.kind for each in diagram.filters} == {"input", "filter", "sum"}
    page = shown(circuit)
    stem = {each.uid for each in diagram.filters if each.layer == "stem"}
    assert images(page).keys() == stem  # by their kernels
    assert button(page) == [f"Render {len(wanted)} visualisations from this circuit"]
    press(page, button(page)[0])
    assert errors(page) == []
    assert button(page) == []
    assert [each.value for each in page.toast] == [f"Rendered {len(wanted)} visualisations"]
    found = viscnn.visualizations(wanted, model=MODEL, circuit=circuit)
    assert list(found) == wanted
    assert viscnn.visualizations(wanted, model=MODEL) == {}  # none of the whole network
    drawn = images(page)
    assert drawn.keys() == set(wanted)
    assert {uid: drawn[uid] for uid in wanted if uid not in stem} == {
        uid: thumbnail(found[uid].image) for uid in wanted if uid not in stem
    }
    assert button(shown(circuit)) == []


def test_what_is_there_is_not_rendered_again(viscnn: VISCNN) -> None:
    circuit = circuit_of(viscnn, 0.3)
    wanted = rendered_uids(viscnn.circuit_diagram(circuit))
    half, last = wanted[: len(wanted) // 2], wanted[-1]
    before = {each.target: each.file for each in viscnn.visualize_each(half, model=MODEL, circuit=circuit)}
    times = {uid: file.stat().st_mtime_ns for uid, file in before.items()}
    page = shown(circuit)
    assert button(page) == [f"Render {len(wanted) - len(half)} visualisations from this circuit"]
    list(viscnn.visualize_each(wanted[:-1], model=MODEL, circuit=circuit))  # by the command, say
    page.run()
    assert button(page) == ["Render 1 visualisation from this circuit"]
    press(page, button(page)[0])
    assert errors(page) == []
    assert button(page) == []
    assert viscnn.visualization(last, model=MODEL, circuit=circuit) is not None
    assert {uid: file.stat().st_mtime_ns for uid, file in before.items()} == times


def test_nothing_is_offered_where_the_model_is_not(viscnn: VISCNN) -> None:
    circuit = circuit_of(viscnn, 0.2)
    assert len(button(shown(circuit))) == 1
    entry = registered(MODEL, viscnn.model(MODEL)["weightsHash"])
    forget(MODEL)
    data.reconnect()
    try:
        page = shown(circuit)
        assert button(page) == []
        assert images(page).keys() == {
            each for each in rendered_uids(viscnn.circuit_diagram(circuit)) if "/stem/" in each
        }
    finally:
        register(MODEL, entry)
        data.reconnect()


# -- in Chromium -------------------------------------------------------------------------------------------------------


def test_rendering_can_be_stopped_and_goes_on(server: Connection, viscnn: VISCNN) -> None:
    viscnn.ingest("mnist", importance=False)
    circuit = viscnn.circuit("mnist/conv3/5", model="mnist", keep=0.1, max_images=20, check_images=30).uid
    wanted = rendered_uids(viscnn.circuit_diagram(circuit))
    there: dict[str, Any] = {"model": "mnist", "circuit": circuit, "steps": 512}  # what the page's process takes
    named = {"NEO4J_URI": server.uri, "NEO4J_USERNAME": server.username, "NEO4J_PASSWORD": server.password}
    with (
        launch(browser=False, environment=os.environ | named | {"OMP_WAIT_POLICY": "PASSIVE"}) as served,
        chromium() as browser,
        new_page(browser, width=1280, height=720) as (page, problems),
    ):
        diagram = shown_diagram(page, served.url, View(model="mnist", circuit=circuit))
        ask = page.get_by_role("button", name=re.compile(r"Render \d+ visualisations? from this circuit"))
        expect(ask).to_contain_text(f"Render {len(wanted)} visualisations")
        ask.click()
        expect(page.get_by_text(f"rendering {len(wanted)} images")).to_be_visible(timeout=PATIENCE_MS)
        page.screenshot(path=SCREENSHOTS / "diagram-render.png")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text(f"Rendering {len(wanted)} visualisations: stopped")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name="Stop")).to_have_count(0, timeout=PATIENCE_MS)
        left = len(wanted) - len(viscnn.visualizations(wanted, **there))
        assert left > 0
        expect(ask).to_contain_text(f"Render {left} visualisation", timeout=PATIENCE_MS)
        ask.click()
        expect(page.get_by_text(f"Rendered {left} visualisation")).to_be_visible(timeout=6 * PATIENCE_MS)
        expect(ask).to_have_count(0, timeout=PATIENCE_MS)
        expect(diagram.locator(".filter > image")).to_have_count(len(wanted), timeout=PATIENCE_MS)
        assert len(viscnn.visualizations(wanted, **there)) == len(wanted)
        page.screenshot(path=SCREENSHOTS / "diagram-rendered.png")
        assert problems == []
