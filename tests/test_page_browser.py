"""The main path in a real Chromium on a real Neo4j: query, picture, filter, kernels, Cypher, circuit.

Screenshots are kept in tests/screenshots/.
"""

import itertools
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import page_nets
from tests.browser import PATIENCE_MS, chromium, new_page
from tests.clicks import (
    active_query,
    ask,
    click_filter,
    network,
    page_of,
    seen,
    shoot,
    visit,
    what_is_drawn_is_what_cypher_counts,
)
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.errors import ConfigError
from viscnn.graph import Graph
from viscnn.ui.launch import launch
from viscnn.ui.state import View


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    """The session's server with the bundled model."""
    with VISCNN(server) as opened:
        opened.ingest("mnist")
        yield opened


@pytest.fixture(scope="module")
def address(viscnn: VISCNN, server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, started in a folder whose files are called like modules that it uses."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("streamlit", "engine", "ui", "data", "state"):
        (folder / f"{name}.py").write_text("raise RuntimeError('taken from the current folder')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with page_of(server) as url:
            yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for the whole module."""
    with chromium() as opened:
        yield opened


def explore(page: Page, address: str) -> None:
    """Run a query and look at its subgraph."""
    page.goto(address)
    network(page)
    page.get_by_label("Input", exact=True).fill("three - overall")
    page.get_by_role("spinbutton", name="Images per set, at most").fill("60")
    page.get_by_role("button", name="Run query").click()
    seen(page.get_by_text("decide the result"))
    seen(page.get_by_text("219 of 2,192 kernels drawn (10 %)"))


def test_main_path(browser: Browser, address: str, viscnn: VISCNN, graph: Graph) -> None:
    with new_page(browser, width=1400, height=900) as (page, problems):
        explore(page, address)
        query = active_query(page, viscnn, "mnist")
        assert query["input"] == "three - overall"
        assert what_is_drawn_is_what_cypher_counts(page, graph, "mnist", 0.1) == 219
        shoot(page, "explore")

        best = best_filter(viscnn, query["uid"])
        click_filter(page, best)
        seen(page.get_by_role("heading", name=best))
        kernels = page.locator(f"[alt^='kernel '][alt$='to {best}']")
        expect(kernels).to_have_count(8, timeout=PATIENCE_MS)
        expect(page.locator(f"[alt^='edge map'][alt$='to {best}']")).to_have_count(8, timeout=PATIENCE_MS)
        seen(page.get_by_alt_text(f"activation map of {best}"))
        assert kernels.first.evaluate("image => image.naturalWidth") == 3
        shoot(page, "filter")

        source = viscnn.incoming_kernels(best, query=query["uid"], limit=1)[0]["source"]
        page.get_by_role("button", name=source.removeprefix("mnist/"), exact=True).click()
        seen(page.get_by_text("Kernel into"))
        kernel = page.locator(f"[alt='kernel {source} to {best}']")
        expect(kernel).to_have_count(1, timeout=PATIENCE_MS)  # until the filter's panel has gone, there are two
        seen(kernel)
        shoot(page, "kernel")

        cypher(page)
        circuit(page, best)
        assert viscnn.circuits("mnist")[0]["target"] == f"filter:{best}"
        visit(page, "Models")
        seen(page.get_by_text("Ingest a model of the zoo"))
        seen(page.get_by_text("1 models in").or_(page.get_by_text("1 model in")))
        shoot(page, "models")
        assert problems == []


def best_filter(viscnn: VISCNN, query: str) -> str:
    """The filter of conv3 with the highest score: the picture must show it, and others must not hide it."""
    filters = viscnn.subgraph(query, keep=0.1).filters
    layer = filters[filters["layer"] == "conv3"]
    return str(layer.sort_values("score", ascending=False)["uid"].iloc[0])


def cypher(page: Page) -> None:
    visit(page, "Cypher")
    page.get_by_role("button", name="Run", exact=True).click()
    seen(page.get_by_test_id("stDataFrame").first)
    page.get_by_role("tab", name="Free text").click()
    page.get_by_role("button", name="Run", exact=True).click()
    seen(page.get_by_text("25 relationships"))
    seen(page.get_by_test_id("stEChartsChart").locator("canvas, svg").first)
    seen(page.get_by_test_id("stDataFrame").last)
    shoot(page, "cypher")


def circuit(page: Page, target: str) -> None:
    """The target is the filter selected before; the circuit is extracted and shown with its evidence."""
    visit(page, "Circuit")
    seen(page.get_by_text("No circuit is stored yet"))
    page.get_by_text("More", exact=True).click()
    page.get_by_role("spinbutton", name="Images per set, at most").fill("60")
    page.get_by_role("spinbutton", name="Check images, at most").fill("60")
    page.get_by_role("button", name="Extract circuit").click()
    seen(page.get_by_text("Pearson r, circuit"))
    seen(page.get_by_text("r, random"))
    page.get_by_role("radio", name="3-D network").click()
    seen(page.get_by_text("kernels of the circuit"))
    assert ask(network(page), "n.network.kernels.count") > 0
    shoot(page, "circuit")


def test_link_dark_theme_and_small_screen(browser: Browser, address: str) -> None:
    link = f'{address}/?view={{"v":1,"model":"mnist","keep":0.02,"selected":"mnist/conv4/7"}}'
    with new_page(browser, width=1280, height=720, theme="dark") as (page, problems):
        page.goto(link)
        network(page)
        seen(page.get_by_role("heading", name="mnist/conv4/7"))
        seen(page.get_by_text("44 of 2,192 kernels drawn (2 %)"))
        expect(page.get_by_text("44 of 2,192 kernels drawn (2 %)")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        shoot(page, "dark")
        assert problems == []


@pytest.fixture
def branching(viscnn: VISCNN) -> Iterator[str]:
    """A model with branches and a sum, with a query whose uid is given; and one of a `#` layer, without."""
    for name, shape in (("branching", (1, 28, 28)), ("bare", (5, 8, 8))):
        images = "bundled:mnist" if name == "branching" else None
        source = f"{page_nets.SOURCE}:{name}"
        viscnn.ingest(source, input_shape=shape, images=images, importance=False)
    yield viscnn.query("overall", model="branching", output="class:#3", max_images=10).uid
    viscnn.drop("branching")
    viscnn.drop("bare")


def test_branching_network(browser: Browser, address: str, branching: str) -> None:
    link = View(model="branching", query=branching, keep=0.5).to_json()
    with new_page(browser, width=1400, height=900) as (page, problems):
        page.goto(f"{address}/?view={quote(link)}")
        canvas = network(page)
        seen(page.get_by_test_id("network3d-legend").get_by_text("identity", exact=True))
        inside(canvas)
        apart(page)
        tooltip = page.get_by_test_id("network3d-tooltip")
        hover_disc(canvas, "block.left")
        expect(tooltip).to_contain_text("block.left")
        expect(tooltip).to_contain_text("layer of 6 filters")
        click_filter(page, "branching/block.add/5")
        seen(page.get_by_role("heading", name="branching/block.add/5"))
        seen(page.get_by_text("Addends · 2"))
        shoot(page, "branching")
        page.get_by_role("button", name="stem/5", exact=True).click()
        seen(page.get_by_role("heading", name="branching/stem/5"))
        assert problems == []


def inside(canvas: Locator) -> None:
    """Every filter is drawn inside the picture."""
    places = ask(canvas, "n.network.filters.uid.map((_, i) => n.filterPixel(i))")
    size = ask(canvas, "({width: n.width, height: n.height})")
    assert all(0 < at["x"] < size["width"] and 0 < at["y"] < size["height"] for at in places)


def apart(page: Page) -> None:
    """No two of the captions that are shown cover each other."""
    boxes = [each.bounding_box() for each in page.locator(".caption:not([hidden])").all()]
    assert len(boxes) >= 4
    for one, two in itertools.combinations([box for box in boxes if box], 2):
        beside = one["x"] + one["width"] <= two["x"] or two["x"] + two["width"] <= one["x"]
        assert beside or abs(one["y"] - two["y"]) >= 14, (one, two)


def hover_disc(canvas: Locator, layer: str) -> None:
    """Move to a place in a layer's disc where nothing else is."""
    free = f"""(() => {{
        const first = n.network.filters.uid.findIndex((uid) => uid.includes('/{layer}/'));
        const at = n.filterPixel(first);
        for (let dx = -30; dx < 30; dx += 2) for (let dy = -40; dy < 40; dy += 2) {{
          const [x, y] = [at.x + dx, at.y + dy];
          if (!n.pick(x, y) && n.disc(x, y)?.layer === n.network.filters.layer[first]) return {{x, y}};
        }}
      }})()"""
    canvas.hover(position=ask(canvas, free))


def test_a_link_to_a_layer_with_odd_signs_in_its_name(
    browser: Browser, address: str, viscnn: VISCNN, branching: str
) -> None:
    functional = next(each["name"] for each in viscnn.layers("bare") if each["name"].startswith("#"))
    link = View(model="bare", selected=f"bare/{functional}/2").to_json()
    with new_page(browser) as (page, problems):
        page.goto(f"{address}/?view={quote(link)}")
        network(page)
        seen(page.get_by_role("heading", name=f"bare/{functional}/2"))
        page.reload()
        seen(page.get_by_role("heading", name=f"bare/{functional}/2"))
        assert problems == []


def test_a_model_that_is_dropped_while_someone_looks(browser: Browser, address: str, viscnn: VISCNN) -> None:
    viscnn.ingest("mnist", name="short-lived", importance=False)
    link = View(model="short-lived", selected="short-lived/conv2/3").to_json()
    with new_page(browser, width=1280, height=720) as (page, problems):
        page.goto(f"{address}/?view={quote(link)}")
        seen(page.get_by_role("heading", name="short-lived/conv2/3"))
        viscnn.drop("short-lived")
        page.get_by_text("Top filters", exact=True).click()
        seen(page.get_by_text("Model 'short-lived' is not in this database (any more). 'mnist' is shown instead."))
        network(page)
        assert page.get_by_test_id("stAlertContentError").count() == 0
        assert problems == []


def test_the_first_page_answers_to_its_name(browser: Browser, address: str) -> None:
    with new_page(browser) as (page, _):
        page.goto(f'{address}/explore?view={{"v":1,"model":"mnist","selected":"mnist/conv4/7"}}')
        seen(page.get_by_role("heading", name="mnist/conv4/7"))
        expect(page.get_by_text("Page not found")).to_have_count(0)


def test_a_taken_port_is_refused_and_another_is_found(address: str) -> None:
    taken = int(address.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"{taken}.*--port"):
        launch(port=taken, browser=False)
