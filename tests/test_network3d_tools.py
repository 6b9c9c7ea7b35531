"""The 3-D network's buttons and keys in a real browser: views, layers, full screen, file, colours, walking."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import PATIENCE_MS, chromium, new_page, serve
from tests.drawn import ask, drawn, until
from tests.network3d_page import SIZES, made_up

PAGE = Path(__file__).parent / "network3d_page.py"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(PAGE) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with new_page(browser) as (opened, problems):
        yield opened
    assert problems == []


def test_arrows_walk_along_the_strongest_kernels(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    ask(canvas, "n => n.select({kind: 'filter', index: 2})")
    ends = ask(canvas, "n => [Array.from(n.network.kernels.source), Array.from(n.network.kernels.target)]")
    onward = [target for source, target in zip(*ends, strict=True) if source == 2]
    canvas.focus()
    page.keyboard.press("ArrowRight")
    assert ask(canvas, "n => n.selection") == {"kind": "filter", "index": onward[0]}
    page.keyboard.press("ArrowDown")
    assert ask(canvas, "n => n.selection") == {"kind": "filter", "index": onward[1]}
    nodes, _ = made_up(SIZES["small"], 600)
    expect(page.get_by_text(f"'uid': '{nodes['uid'][onward[1]]}'")).to_be_visible(timeout=PATIENCE_MS)
    page.keyboard.press("Escape")
    assert ask(canvas, "n => n.selection") is None


def test_a_hidden_layer_is_neither_drawn_nor_picked(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    layer = ask(canvas, "n => Array.from(n.network.filters.layer)")
    source, target = (ask(canvas, f"n => Array.from(n.network.kernels.{end})") for end in ("source", "target"))
    left = sum(2 not in (layer[a], layer[b]) for a, b in zip(source, target, strict=True))
    row = layer.index(2)
    place = ask(canvas, f"n => n.filterPixel({row})")
    page.get_by_text("Layers", exact=True).click()
    page.get_by_role("checkbox", name="layer2").uncheck()
    expect(page.get_by_text("Layers (1 hidden)")).to_be_visible()
    until(page, canvas, f"n => n.drawn === {left}")
    under = ask(canvas, f"n => n.pick({place['x']}, {place['y']})")
    assert under is None or under["index"] != row or under["kind"] == "kernel"
    page.get_by_role("checkbox", name="layer2").check()
    until(page, canvas, "n => n.drawn === 600")


def test_views_from_before_and_from_the_side(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    first = ask(canvas, "n => ({...n.camera})")
    x, y = ("n => [0, 20, 60, 100].map(i => n.filterPixel(i)." + axis + ")" for axis in "xy")
    page.get_by_role("button", name="Side").click()
    until(page, canvas, "n => n.camera.azimuth === 0 && n.camera.elevation === 0")
    across = ask(canvas, x)
    assert across == sorted(across), "the input on the left"
    page.get_by_role("button", name="Front").click()
    until(page, canvas, "n => n.camera.azimuth < -1.5")
    size = canvas.bounding_box()
    assert size is not None
    for places, extent in ((ask(canvas, x), size["width"]), (ask(canvas, y), size["height"])):
        assert all(0 < place < extent for place in places)
    page.get_by_role("button", name="Fit").click()
    until(page, canvas, f"n => Math.abs(n.camera.azimuth - {first['azimuth']}) < 1e-6")


def test_the_picture_is_saved_with_captions_and_legend(page: Page, address: str, tmp_path: Path) -> None:
    canvas = drawn(page, address)
    with page.expect_download() as started:
        page.get_by_role("button", name="PNG").click()
    file = tmp_path / "network.png"
    started.value.save_as(file)
    with Image.open(file) as saved:
        pixels = np.asarray(saved.convert("RGB")).astype(int)
    assert pixels.shape[:2] == tuple(ask(canvas, "n => [n.canvas.height, n.canvas.width]"))
    red = (pixels[..., 0] > pixels[..., 2] + 60).sum()
    assert red > 500
    legend = pixels[8:30, 8:200].min(axis=2)
    assert (legend < 120).sum() > 50, "the legend is written"
    assert (pixels[0, 0] > 240).all(), "on the page's background"


def test_full_screen_and_back(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    page.get_by_role("button", name="Full screen").click()
    until(page, canvas, "n => document.fullscreenElement !== null || n.frame.matches(':fullscreen')")
    until(page, canvas, "n => n.height > 650")
    page.get_by_role("button", name="Full screen").click()
    until(page, canvas, "n => n.height < 650")


def test_colours_for_colour_blindness_and_for_two_queries(page: Page, address: str) -> None:
    drawn(page, f"{address}?palette=safe")
    legend = page.get_by_test_id("network3d-legend")
    expect(legend).to_contain_text("excitatory")
    assert legend.locator("i").first.evaluate("i => i.style.background") == "rgb(213, 94, 0)"
    drawn(page, f"{address}?palette=comparison")
    for name in ("only left", "shared", "only right"):
        expect(page.get_by_test_id("network3d-legend")).to_contain_text(name)


def test_hidden_layers_are_said_and_not_walked_into(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    legend = page.get_by_test_id("network3d-legend")
    ask(canvas, "n => n.choose({kind: 'filter', index: 0})")
    ask(canvas, "n => n.hide(new Set([1]))")
    expect(legend).to_contain_text("1 layer is hidden")
    drawn_now = ask(canvas, "n => n.scene.rows.length")
    expect(legend).to_contain_text(f"{drawn_now} shown")
    canvas.focus()
    page.keyboard.press("ArrowRight")  # all kernels from the input lead into the hidden layer
    assert ask(canvas, "n => n.selection.index") == 0
    ask(canvas, "n => n.hide(new Set([0, 1]))")
    assert ask(canvas, "n => n.selection") is None
    ask(canvas, "n => n.hide(new Set())")
    assert ask(canvas, "n => n.selection.index") == 0
