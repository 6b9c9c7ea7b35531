"""Safe colours of a diagram in a real Chromium: on the page, in the files that it saves, and in exported HTML."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.test_diagram_page import alone, filter_of, kept, moved, shown_diagram
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui.state import View

SCREENSHOTS = Path(__file__).parent / "screenshots"
TARGET = "mnist/conv3/5"
RED, ORANGE, AMBER = "rgb(208, 52, 44)", "rgb(213, 94, 0)", "rgb(230, 159, 0)"
"""#d0342c; and for paper that is light #d55e00, that is dark #e69f00."""


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        opened.ingest("mnist", importance=False)
        yield opened


@pytest.fixture(scope="module")
def circuit(viscnn: VISCNN) -> str:
    return viscnn.circuit(TARGET, model="mnist", keep=0.1, max_images=20, check_images=30).uid


@pytest.fixture(scope="module")
def address(viscnn: VISCNN, served: str) -> str:
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened_browser:
        yield opened_browser


def strokes(diagram: Locator) -> tuple[str, str, str]:
    """Colours of an excitatory line, of a kernel's frame, and in the legend."""
    found = []
    for name in (".edges .edge.excitatory", ".kernel .frame.excitatory", ".key .edge.excitatory"):
        found.append(str(diagram.locator(name).first.evaluate("edge => getComputedStyle(edge).stroke")))
    return found[0], found[1], found[2]


def test_the_switch_changes_the_colours_alone(browser: Browser, address: str, circuit: str, tmp_path: Path) -> None:
    with new_page(browser, width=1280, height=720) as (page, problems):
        diagram = shown_diagram(page, address, View(model="mnist", circuit=circuit))
        assert strokes(diagram) == (RED, RED, RED)
        filter_of(diagram, TARGET).click()
        expect(page.get_by_role("heading", name=TARGET)).to_be_visible(timeout=PATIENCE_MS)
        diagram.get_by_role("button", name="Larger").click()
        before = kept(diagram), moved(diagram)
        page.get_by_text("Safe colours").click()
        edge = diagram.locator(".edges .edge.excitatory").first
        expect(edge).to_have_css("stroke", ORANGE, timeout=PATIENCE_MS)
        assert strokes(diagram) == (ORANGE, ORANGE, ORANGE)
        assert (kept(diagram), moved(diagram)) == before
        expect(page.locator('[data-test-script-state="notRunning"]')).to_be_attached(timeout=PATIENCE_MS)
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "diagram-safe.png")
        page.get_by_role("button", name="Save").click()
        with page.expect_download() as saved:
            page.get_by_role("button", name="SVG", exact=True).click()
        saved.value.save_as(tmp_path / "saved.svg")
        sheet = re.search(r"<style[^>]*>(.*?)</style>", (tmp_path / "saved.svg").read_text())
        assert sheet is not None
        assert ".edge.excitatory{stroke:#d55e00}" in sheet[1]
        assert problems == []


def test_an_exported_page_keeps_safe_colours_in_light_and_dark(
    browser: Browser, viscnn: VISCNN, circuit: str, tmp_path: Path
) -> None:
    file = tmp_path / "circuit.html"
    viscnn.save_diagram(circuit, file, safe=True)
    with new_page(browser) as (page, problems):
        alone(page)
        page.goto(file.as_uri())
        diagram = page.get_by_test_id("diagram")
        assert strokes(diagram) == (ORANGE, ORANGE, ORANGE)
        page.emulate_media(color_scheme="dark")
        expect(page.locator("body")).to_have_css("background-color", "rgb(14, 17, 23)")
        assert strokes(diagram) == (AMBER, AMBER, AMBER)
        assert problems == []
