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
from viscnn.graph import Graph
from viscnn.ui.launch import launch

__all__ = [
    "SCREENSHOTS",
    "active_query",
    "ask",
    "click_filter",
    "counted",
    "network",
    "page_of",
    "seen",
    "shoot",
    "visit",
    "what_is_drawn_is_what_cypher_counts",
]

SCREENSHOTS = Path(__file__).parent / "screenshots"
_HIGHEST = """
MATCH (:Filter)-[k:KERNEL]->(f:Filter {model: $model})
MATCH (l:Layer {uid: f.model + '/' + f.layer})
WITH k, k.score * l.positions AS scaled
WHERE scaled > 0
ORDER BY scaled DESC
LIMIT $count
RETURN k.sign AS sign, count(*) AS kernels
"""
_SIGNS = {-1: "inhibitory", 0: "mixed", 1: "excitatory"}
_PATIENCE_S = 120.0


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


def counted(graph: Graph, text: str, parameters: dict[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """Rows of a statement that counts something."""
    return graph.fetch(text, parameters, limit=10, timeout=_PATIENCE_S).rows


def what_is_drawn_is_what_cypher_counts(page: Page, graph: Graph, model: str, keep: float) -> int:
    """Filters, kernels and their signs, by the active query's scores; returns the number of kernels."""
    canvas = network(page)
    filters, total = (
        counted(graph, text, {"model": model})[0][0]
        for text in (
            "MATCH (f:Filter {model: $model}) RETURN count(f)",
            "MATCH (:Filter)-[k:KERNEL]->(:Filter {model: $model}) RETURN count(k)",
        )
    )
    assert ask(canvas, "n.network.filters.count") == filters
    count: int = round(keep * total)
    highest = dict(counted(graph, _HIGHEST, {"model": model, "count": count}))
    signs: list[int] = ask(canvas, "[...n.network.kernels.sign].filter((sign) => sign !== 2)")
    assert {_SIGNS[sign]: signs.count(sign) for sign in set(signs)} == highest
    assert len(signs) == count
    seen(page.get_by_text(f"{count:,} of {total:,} kernels drawn"))
    return count
