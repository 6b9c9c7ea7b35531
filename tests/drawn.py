"""The 3-D network in a browser: wait for it, ask it, click on what it draws."""

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser import PATIENCE_MS

__all__ = ["ask", "click_on", "drawn", "until"]


def drawn(page: Page, address: str) -> Locator:
    """The canvas, once its first picture is there."""
    page.goto(address)
    canvas = page.get_by_test_id("network3d")
    expect(canvas).to_be_visible(timeout=PATIENCE_MS)
    until(page, canvas, "n => n.frames > 0")
    canvas.scroll_into_view_if_needed()
    return canvas


def until(page: Page, canvas: Locator, condition: str) -> None:
    """Wait until a function of the component's instance is true."""
    for _ in range(PATIENCE_MS // 100):
        if ask(canvas, condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {condition}")


def ask(canvas: Locator, function: str) -> Any:
    return canvas.evaluate(f"canvas => ({function})(canvas.__network)")


def click_on(canvas: Locator, pixel: str) -> None:
    place = ask(canvas, pixel)
    canvas.click(position={"x": place["x"], "y": place["y"]})
