"""The 3-D network: what is sent, what comes back, and a real browser that draws, hovers, clicks and turns it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from streamlit.testing.v1 import AppTest

from tests.browser import chromium, new_page, serve
from tests.drawn import ask, click_on, drawn, until
from tests.pages import tables
from viscnn.errors import StoredDataError
from viscnn.ui.network3d import network3d

PAGE = Path(__file__).parent / "network3d_page.py"
COMPONENT = Path(__file__).parent.parent / "ui" / "component"
NODES = pd.DataFrame(
    {"x": [0.0, 1.0], "y": [0.0, 1.0], "z": [0.0, 1.0], "layer": [0, 1], "score": [0.5, 1.0], "uid": ["a", "b"]}
)
KERNELS = pd.DataFrame({"source": [0], "target": [1], "sign": [-1], "width": [200]})


# What Python sends and returns


def app(**query: str) -> AppTest:
    test = AppTest.from_file(str(PAGE.resolve()), default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def component(test: AppTest) -> Any:
    return test.get("bidi_component")[0].proto


def click(test: AppTest, value: dict[str, Any] | None) -> AppTest:
    """Send what the browser sends after a click (through AppTest's own, private, way)."""
    states = test._tree.get_widget_states()
    state = states.widgets.add()
    state.id = component(test).id
    state.json_value = json.dumps({"selected": value})
    return test._run(widget_state=states)


def on_filter(index: int, uid: str, *, revision: str = "105-600", selected_revision: int = 0) -> dict[str, Any]:
    return {
        "kind": "filter", "index": index, "uid": uid, "revision": revision, "selectedRevision": selected_revision,
    }  # fmt: skip


def shown(test: AppTest) -> str:
    return str(test.code[0].value)


def test_tables_travel_in_small_types() -> None:
    cfg, nodes, kernels = tables(app())
    assert {name: str(kernels.schema.field(name).type) for name in kernels.column_names} == {
        "source": "uint32", "target": "uint32", "sign": "int8", "width": "uint8",
    }  # fmt: skip
    assert [str(nodes.schema.field(name).type) for name in ("x", "y", "z", "score", "layer")] == ["float"] * 4 + [
        "uint16"
    ]
    assert (nodes.num_rows, kernels.num_rows) == (105, 600)
    assert cfg == {
        "revision": "105-600", "selected": None, "selectedRevision": 0, "height": 620,
        "layers": ["input", "conv1 · 16", "conv2 · 24", "conv3 · 32", "conv4 · 32"],
        "legend": "600 of 4,200 kernels drawn", "palette": "signs",
    }  # fmt: skip


def test_payload_of_20_000_kernels_stays_below_a_quarter_megabyte() -> None:
    mixed = component(app(size="large", kernels="20000")).mixed
    assert sum(len(blob.data) for blob in mixed.arrow_blobs.values()) < 300_000


def test_click_comes_back_and_leaves_the_data_as_it_was() -> None:
    test = app()
    before = component(test).mixed.SerializeToString(deterministic=True)
    click(test, on_filter(20, "made-up/layer2/3"))
    assert "CHOSEN {'kind': 'filter', 'index': 20}" in shown(test)
    assert "CLICKED {'uid': 'made-up/layer2/3'}" in shown(test)
    test.run()
    assert component(test).mixed.SerializeToString(deterministic=True) == before


def test_empty_space_selects_nothing() -> None:
    test = click(app(), on_filter(20, "made-up/layer2/3"))
    click(test, {"kind": None, "index": -1, "revision": "105-600", "selectedRevision": 0})
    assert shown(test) == "CHOSEN None CLICKED None"


def test_python_jump_is_sent_once_and_wins_over_an_older_click() -> None:
    test = click(app(), on_filter(7, "made-up/layer1/6"))
    test.button[0].click().run()
    assert tables(test)[0]["selected"] == {"kind": "filter", "uid": "made-up/layer2/3"}
    assert "CHOSEN {'kind': 'filter', 'index': 20}" in shown(test)
    click(test, on_filter(7, "made-up/layer1/6", selected_revision=1))
    assert "CHOSEN {'kind': 'filter', 'index': 7}" in shown(test)
    assert tables(test)[0]["selected"] == {"kind": "filter", "uid": "made-up/layer2/3"}


def test_a_selection_by_uids_need_not_be_drawn() -> None:
    test = app(selected="made-up/layer0/0 made-up/layer4/31")
    wanted = {"kind": "kernel", "source": "made-up/layer0/0", "target": "made-up/layer4/31"}
    assert tables(test)[0]["selected"] == wanted
    assert shown(test).startswith("CHOSEN None")


def test_kernel_is_found_again_by_its_ends_after_a_change_of_data() -> None:
    test = app()
    before, after = tables(test)[2].to_pandas(), None
    click(test, {
        "kind": "kernel", "index": 12, "revision": "105-600", "selectedRevision": 0,
        "source": tables(test)[1]["uid"][int(before.source[12])].as_py(),
        "target": tables(test)[1]["uid"][int(before.target[12])].as_py(),
    })  # fmt: skip
    test.radio[0].set_value(100).run()
    after = tables(test)[2].to_pandas()
    index = after[(after.source == before.source[12]) & (after.target == before.target[12])].index[0]
    assert f"CHOSEN {{'kind': 'kernel', 'index': {index}}}" in shown(test)


@pytest.mark.parametrize(
    ("nodes", "kernels", "message"),
    [
        (NODES.drop(columns="z"), KERNELS, "the filter table of the 3-D view lacks the column 'z'"),
        (NODES.drop(columns="uid"), KERNELS, "the filter table of the 3-D view lacks the column 'uid'"),
        (NODES, KERNELS.drop(columns="sign"), "the kernel table of the 3-D view lacks the column 'sign'"),
        (NODES, KERNELS.assign(target=2), "names filter row 2, but there are 2 filters"),
        (NODES.assign(x=[0.0, np.nan]), KERNELS, "place in the 3-D view is not finite"),
    ],
)
def test_tables_that_cannot_be_drawn_are_refused(nodes: pd.DataFrame, kernels: pd.DataFrame, message: str) -> None:
    with pytest.raises(StoredDataError, match=message.replace("(", r"\(")):
        network3d(nodes, kernels, revision="r")


# The sources of the component


def node(*arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the component's own tests did not run")
    return subprocess.run(["node", *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_component_unit_tests_pass() -> None:
    done = node("--test", f"{COMPONENT}/")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "# pass" in done.stdout
    assert "# pass 0" not in done.stdout


def test_build_is_up_to_date() -> None:
    done = node(str(COMPONENT / "build.mjs"), "--check")
    assert done.returncode == 0, done.stderr


def test_build_loads_nothing_from_outside() -> None:
    build = (COMPONENT / "dist" / "network.js").read_text(encoding="utf-8")
    assert build.startswith("// ")
    for word in ("http:", "https:", "import ", "import(", "fetch(", "url("):
        assert word not in build, word


# A real browser


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


def test_everything_is_in_view_and_painted(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    size = canvas.bounding_box()
    assert size is not None
    places = ask(canvas, "n => Array.from({length: n.network.filters.count}, (_, i) => n.filterPixel(i))")
    assert all(20 < place["x"] < size["width"] - 20 and 40 < place["y"] < size["height"] - 20 for place in places)
    colours = canvas.evaluate(
        """canvas => { canvas.__network.paint(); const copy = document.createElement('canvas');
        copy.width = canvas.width; copy.height = canvas.height; const flat = copy.getContext('2d');
        flat.drawImage(canvas, 0, 0); const {data} = flat.getImageData(0, 0, copy.width, copy.height);
        let red = 0, blue = 0;
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] > 100 && data[i] > data[i + 2] + 60) red++;
          if (data[i + 3] > 100 && data[i + 2] > data[i] + 60) blue++; }
        return [red, blue]; }"""
    )
    assert min(colours) > 1000, colours
    expect(page.get_by_test_id("network3d-legend")).to_contain_text("600 of 4,200 kernels drawn")
    expect(page.get_by_text("conv3 · 32")).to_be_visible()


def test_click_on_a_filter_reaches_python_without_sending_the_tables_again(page: Page, address: str) -> None:
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    canvas = drawn(page, address)
    page.wait_for_timeout(1000)
    received.clear()
    click_on(canvas, "n => n.filterPixel(20)")
    expect(page.get_by_text("CHOSEN {'kind': 'filter', 'index': 20}")).to_be_visible()
    page.wait_for_timeout(500)
    assert 0 < sum(received) < 12_000
    lit = ask(canvas, "n => ({lit: n.lit.length, drawn: n.drawn, total: n.network.kernels.count})")
    assert 0 < lit["lit"] == lit["drawn"] < lit["total"]


def test_click_on_a_kernel_and_then_on_nothing(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    sure = """n => { for (let e = 0; e < n.network.kernels.count; e++) for (const t of [.35, .5, .65]) {
        const p = n.kernelPixel(e, t), hit = n.pick(p.x, p.y);
        if (hit?.kind === 'kernel' && hit.index === e) return {...p, e}; } }"""
    place = ask(canvas, sure)
    canvas.click(position={"x": place["x"], "y": place["y"]})
    expect(page.get_by_text(f"CHOSEN {{'kind': 'kernel', 'index': {place['e']}}}")).to_be_visible()
    assert ask(canvas, "n => n.drawn") == 1
    canvas.click(position={"x": 30, "y": 560})
    expect(page.get_by_text("CHOSEN None")).to_be_visible()
    until(page, canvas, "n => n.drawn === n.network.kernels.count")


def test_hover_names_filter_and_kernel(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    place = ask(canvas, "n => n.filterPixel(30)")
    canvas.hover(position={"x": place["x"], "y": place["y"]})
    tooltip = page.get_by_test_id("network3d-tooltip")
    expect(tooltip).to_contain_text("made-up/layer2/13")
    share = ask(canvas, "n => n.network.filters.score[30]")
    expect(tooltip).to_contain_text("score 0.00")
    expect(tooltip).to_contain_text(f"{share:.0%}".replace("%", " % of its layer's highest"))
    canvas.hover(position={"x": 30, "y": 560})
    expect(tooltip).to_be_hidden()


def test_turning_draws_fewer_says_so_and_the_camera_survives_new_data(page: Page, address: str) -> None:
    canvas = drawn(page, f"{address}/?size=large&kernels=6000")
    box = canvas.bounding_box()
    assert box is not None
    before = ask(canvas, "n => ({...n.camera})")
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    legend = page.get_by_test_id("network3d-legend")
    for step in range(1, 9):
        page.mouse.move(middle[0] + 8 * step, middle[1] + 4 * step)
    expect(legend).to_contain_text("while turning: the ")
    page.mouse.up()
    expect(legend).not_to_contain_text("while turning")
    until(page, canvas, "n => n.drawn === 6000")
    turned = ask(canvas, "n => ({...n.camera})")
    assert turned["azimuth"] < before["azimuth"]
    assert turned["elevation"] > before["elevation"]
    page.get_by_text("100", exact=True).click()
    until(page, canvas, "n => n.network.kernels.count === 100 && n.drawn === 100")
    assert ask(canvas, "n => ({...n.camera})") == turned
    canvas.dblclick(position={"x": 30, "y": 560})
    until(page, canvas, f"n => n.camera.azimuth === {before['azimuth']}")


def test_wheel_zooms_and_shift_drag_moves(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    start = ask(canvas, "n => n.camera.distance")
    canvas.hover(position={"x": 500, "y": 300})
    page.mouse.wheel(0, -300)
    until(page, canvas, f"n => n.camera.distance < {start}")
    before, angle = ask(canvas, "n => n.filterPixel(20)"), ask(canvas, "n => n.camera.azimuth")
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(*(value + 60 for value in _mouse(canvas, 500, 300)), steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_timeout(400)
    after = ask(canvas, "n => n.filterPixel(20)")
    assert ask(canvas, "n => n.camera.azimuth") == angle
    assert after["x"] - before["x"] == pytest.approx(60, abs=15)
    assert after["y"] - before["y"] == pytest.approx(60, abs=15)


def _mouse(canvas: Locator, x: float, y: float) -> tuple[float, float]:
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


def test_python_jump_and_hiding_and_showing_again(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    page.get_by_role("button", name="jump to filter 20").click()
    until(page, canvas, "n => n.selection?.index === 20")
    click_on(canvas, "n => n.filterPixel(3)")
    expect(page.get_by_text("CHOSEN {'kind': 'filter', 'index': 3}")).to_be_visible()
    page.evaluate("window.kept = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot")
    page.get_by_text("show", exact=True).click()
    expect(canvas).to_have_count(0)
    assert page.evaluate("window.kept.querySelectorAll('canvas').length") == 0
    page.get_by_text("show", exact=True).click()
    until(page, canvas, "n => n.frames > 0 && n.selection?.index === 3")


def test_resizing_keeps_everything_in_view(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    page.set_viewport_size({"width": 700, "height": 800})
    until(page, canvas, "n => n.width < 700")
    places = ask(canvas, "n => Array.from({length: n.network.filters.count}, (_, i) => n.filterPixel(i))")
    width = ask(canvas, "n => n.width")
    assert all(0 < place["x"] < width for place in places)


def test_lost_context_is_drawn_again(page: Page, address: str) -> None:
    canvas = drawn(page, address)
    ask(canvas, "n => { n.lose = n.renderer.gl.getExtension('WEBGL_lose_context'); n.lose.loseContext(); }")
    page.wait_for_timeout(200)
    frames = ask(canvas, "n => { n.lose.restoreContext(); return n.frames; }")
    until(page, canvas, f"n => n.frames > {frames} && n.renderer.gl.getError() === 0 && n.drawn === 600")
    assert ask(canvas, "n => n.drawn") == 600


def test_dark_theme_has_its_own_colours(browser: Browser, address: str) -> None:
    with new_page(browser, theme="dark") as (page, problems):
        canvas = drawn(page, address)
        assert ask(canvas, "n => n.palette.name") == "dark"
    assert problems == []


def test_a_kernel_over_a_faded_filter_is_picked_and_one_that_comes_back_is_selected_again(
    page: Page, address: str
) -> None:
    canvas = drawn(page, f"{address}?size=large&kernels=5000")
    ask(canvas, "n => n.choose({kind: 'filter', index: n.network.kernels.target[0]})")
    hit = """n => {
        let [onKernels, all] = [0, 0];
        for (const e of n.lit) for (const t of [0.3, 0.4, 0.5, 0.6, 0.7]) {
          const p = n.kernelPixel(e, t), found = n.pick(p.x, p.y);
          all += 1;
          if (found?.kind === 'kernel' || n.states[found?.index] !== 1) onKernels += 1;
        }
        return onKernels / all;
      }"""
    assert ask(canvas, hit) == 1
    weakest = "n.network.kernels.count - 1"
    ask(canvas, f"n => n.choose({{kind: 'kernel', index: {weakest}}})")
    names = ask(canvas, "n => n.wanted")
    page.get_by_text("100", exact=True).click()
    until(page, canvas, "n => n.network.kernels.count === 100")
    assert ask(canvas, "n => [n.selection, n.lit]") == [None, None]
    page.get_by_text("5000", exact=True).click()
    until(page, canvas, "n => n.network.kernels.count === 5000")
    assert ask(canvas, "n => n.wanted") == names
    assert ask(canvas, f"n => n.selection.index === {weakest}")


def test_without_webgl_the_same_is_drawn_on_a_2d_canvas(address: str) -> None:
    with chromium("--disable-3d-apis") as plain, new_page(plain) as (page, problems):
        canvas = drawn(page, address)
        expect(page.get_by_test_id("network3d-legend")).to_contain_text("drawn without WebGL 2")
        assert ask(canvas, "n => n.drawn") == 600
        pixels = ask(canvas, "n => n.renderer.context.getImageData(0, 0, n.canvas.width, n.canvas.height).data")
        assert sum(alpha > 0 for alpha in pixels[3::4]) > 10_000
        click_on(canvas, "n => n.filterPixel(60)")
        expect(page.get_by_text("CHOSEN {'kind': 'filter', 'index': 60}")).to_be_visible()
        assert ask(canvas, "n => n.snapshot().toDataURL('image/png').length") > 10_000
    assert problems == []
