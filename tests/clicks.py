"""The whole page in a browser: wait for parts of it, click in its pictures, keep screenshots."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser import PATIENCE_MS
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui.launch import launch

__all__ = ["SCREENSHOTS", "active_query", "ask", "click_filter", "network", "page_of", "seen", "shoot", "visit"]

SCREENSHOTS = Path(__file__).parent / "screenshots"


@contextmanager
def page_of(server: Connection) -> Iterator[str]:
    """The page, started as `viscnn ui` does, with the server named by the environment; yields its address."""
    named = {"NEO4J_URI": server.uri, "NEO4J_USERNAME": server.username, "NEO4J_PASSWORD": server.password}
    idle = {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's threads leave the cores to the browser while they wait
    with launch(browser=False, environment=os.environ | named | idle) as page:
        yield page.url
    assert not page.running


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot in tests/screenshots/."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(700)  # fonts, and the picture's last frame
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def seen(locator: Locator) -> None:
    """Wait until it is on the page, however long what is behind it takes."""
    # queries and circuits are computed meanwhile, on whatever the machine has left; while a page is drawn anew,
    # Streamlit shows the old part beside the new one for a moment
    expect(locator.first).to_be_visible(timeout=3 * PATIENCE_MS)


def network(page: Page) -> Locator:
    """The canvas, once it holds a network."""
    canvas = page.get_by_test_id("network3d")
    canvas.wait_for()
    for _ in range(PATIENCE_MS // 100):
        if canvas.evaluate("canvas => Boolean(canvas.__network?.network)"):
            return canvas
        page.wait_for_timeout(100)
    raise AssertionError("the network was never drawn")


def ask(canvas: Locator, expression: str) -> Any:
    """The value of an expression about `n`, the component's instance."""
    return canvas.evaluate(f"canvas => {{ const n = canvas.__network; return {expression}; }}")


def click_filter(page: Page, uid: str) -> None:
    """Click where the 3-D view says that the filter is drawn."""
    canvas = network(page)
    at = ask(canvas, f"n.filterPixel(n.network.filters.uid.indexOf('{uid}'))")
    canvas.click(position={"x": at["x"], "y": at["y"]})


def visit(page: Page, name: str) -> None:
    """Go to another page by the navigation."""
    page.get_by_role("link", name=name, exact=True).click()


def active_query(page: Page, viscnn: VISCNN, model: str) -> dict[str, Any]:
    """The newest query, once it is active: it is drawn first and activated behind the picture."""
    for _ in range(3 * PATIENCE_MS // 100):
        newest = viscnn.queries(model)[0]
        if newest["active"]:
            return newest
        page.wait_for_timeout(100)
    raise AssertionError("the query was never activated")
