"""The story of section 3 of Hamblin & Alvarez (2021), clicked in a real Chromium on a real Neo4j.

A contrast is asked, its subgraph drawn, a filter clicked, a cell of its activation map outlines its receptive field,
its top kernels are followed, and a circuit that reaches it is extracted. What is drawn equals what Cypher counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.clicks import (
    active_query,
    ask,
    click_filter,
    counted,
    network,
    seen,
    shoot,
    visit,
    what_is_drawn_is_what_cypher_counts,
)
from viscnn.api import VISCNN
from viscnn.config import Connection, data_folder
from viscnn.graph import Graph
from viscnn.ui.panels.query_bar import target_filter
from viscnn.ui.state import View

TOUCHING = """
MATCH (:Filter)-[k:KERNEL]->(f:Filter {model: $model})
MATCH (l:Layer {uid: f.model + '/' + f.layer})
WITH k, k.score * l.positions AS scaled, f, startNode(k) AS source
WHERE scaled > 0
ORDER BY scaled DESC
LIMIT $count
WITH f, source WHERE $uid IN [f.uid, source.uid]
RETURN count(*) AS kernels
"""


@dataclass(frozen=True)
class Story:
    """What is asked of a model: a contrast, on so many images per set, its filter in a layer, and the circuit's size.

    `data` is a file of the data folder that it needs.
    """

    model: str
    data: str
    input: str
    layer: str
    images: int
    keep: float
    circuit_keep: str


STORIES = [
    pytest.param(Story("cifar10", "cifar10", "cat - overall", "conv3", 60, 0.03, "10 %"), id="cifar10"),
    pytest.param(
        Story("googlenet-bvlc", "imagenet_sample", '"Border collie" - overall', "inception_4a_3x3", 24, 0.001, "0.5 %"),
        id="googlenet-bvlc",
        marks=pytest.mark.slow,
    ),
]


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(served: str) -> str:
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def story(request: pytest.FixtureRequest, viscnn: VISCNN) -> Iterator[Story]:
    """A story whose model is stored; it is dropped again."""
    told: Story = request.param
    folder = data_folder()
    if folder is None or not (folder / told.data).exists():
        pytest.skip(f"no folder {told.data} in {folder} (set VISCNN_DATA)")
    viscnn.ingest(told.model, importance=False, replace=True)
    yield told
    viscnn.drop(told.model)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", STORIES, indirect=True)
def test_the_story_of_the_paper(
    browser: Browser, address: str, viscnn: VISCNN, server: Connection, story: Story
) -> None:
    with new_page(browser, width=1400, height=900) as (page, problems), Graph(server) as graph:
        link = View(model=story.model, keep=story.keep).to_json()
        page.goto(f"{address}/?view={quote(link)}")
        ask_contrast(page, story)
        query = active_query(page, viscnn, story.model)
        assert (query["input"], query["status"]) == (story.input, "complete")
        drawn = what_is_drawn_is_what_cypher_counts(page, graph, story.model, story.keep)
        shoot(page, f"story-{story.model}-query")

        uid = clickable_filter(page, viscnn, query["uid"], story)
        click_filter(page, uid)
        seen(page.get_by_role("heading", name=uid))
        lit = {"model": story.model, "count": drawn, "uid": uid}
        assert ask(network(page), "n.lit.length") == counted(graph, TOUCHING, lit)[0][0]
        a_cell_outlines_its_receptive_field(page, viscnn, uid)
        shoot(page, f"story-{story.model}-filter")

        the_strongest_kernels_come_first(page, viscnn, uid, query["uid"])
        shoot(page, f"story-{story.model}-kernel")
        a_circuit_reaches_it(page, viscnn, uid, story)
        shoot(page, f"story-{story.model}-circuit")
        assert problems == []


def ask_contrast(page: Page, story: Story) -> None:
    network(page)
    page.get_by_label("Input", exact=True).fill(story.input)
    page.get_by_role("spinbutton", name="Images per set, at most").fill(str(story.images))
    page.get_by_role("button", name="Run query").click()
    seen(page.get_by_text("decide the result"))
    seen(page.get_by_text("kernels drawn"))


def clickable_filter(page: Page, viscnn: VISCNN, query: str, story: Story) -> str:
    """The filter of the story's layer with the highest score among those that no other filter hides."""
    filters = viscnn.subgraph(query, keep=story.keep).filters
    best = filters[filters["layer"] == story.layer].sort_values("score", ascending=False)["uid"]
    canvas = network(page)
    for uid in best:
        i = f"n.network.filters.uid.indexOf('{uid}')"
        if ask(canvas, f"(({{x, y}}) => n.pick(x, y)?.index)(n.filterPixel({i})) === {i}"):
            return str(uid)
    raise AssertionError(f"all filters of {story.layer} are hidden")


def a_cell_outlines_its_receptive_field(page: Page, viscnn: VISCNN, uid: str) -> None:
    seen(page.get_by_alt_text(f"activation map of {uid}"))
    cells = page.locator(".map .frame")
    cells.scroll_into_view_if_needed()
    layer = next(each for each in viscnn.layers(uid.split("/")[0]) if each["name"] == uid.split("/")[1])
    high, wide = layer["outputSize"]
    row, column = high // 3, wide // 2
    size = cells.bounding_box()
    assert size is not None
    cells.click(position={"x": size["width"] * (column + 0.5) / wide, "y": size["height"] * (row + 0.5) / high})
    field = viscnn.receptive_field(uid, (row, column))
    assert field.rows is not None
    assert field.columns is not None
    outline = page.locator(".image .box")
    expect(outline).to_be_visible()
    sides = (("top", field.rows[0], 0), ("left", field.columns[0], 1))
    for side, first, axis in sides:
        share = float(outline.evaluate(f"box => parseFloat(box.style.{side})"))
        assert share == pytest.approx(100 * first / field.size[axis], abs=0.01)
    high_share = float(outline.evaluate("box => parseFloat(box.style.height)"))
    assert high_share == pytest.approx(100 * (field.rows[1] - field.rows[0] + 1) / field.size[0], abs=0.01)
    page.wait_for_function(f'() => decodeURIComponent(location.search).includes(\'"row":{row},"column":{column}\')')


def the_strongest_kernels_come_first(page: Page, viscnn: VISCNN, uid: str, query: str) -> None:
    """The panel lists the kernels by the query's scores, each with its edge map; the first one is opened."""
    top = [each["source"] for each in viscnn.incoming_kernels(uid, query=query, limit=8)]
    kernels = page.locator(f"[alt^='kernel '][alt$='to {uid}']")
    expect(kernels).to_have_count(8, timeout=PATIENCE_MS)
    assert [each.get_attribute("alt") for each in kernels.all()] == [f"kernel {source} to {uid}" for source in top]
    expect(page.locator(f"[alt^='edge map'][alt$='to {uid}']")).to_have_count(8, timeout=PATIENCE_MS)
    page.get_by_role("button", name=top[0].split("/", 1)[1], exact=True).first.click()
    seen(page.get_by_text("Kernel into"))
    expect(page.locator(f"[alt='kernel {top[0]} to {uid}']")).to_have_count(1, timeout=PATIENCE_MS)


def a_circuit_reaches_it(page: Page, viscnn: VISCNN, uid: str, story: Story) -> None:
    visit(page, "Circuit")
    seen(page.get_by_text("No circuit is stored yet"))
    slide_to(page.get_by_test_id("stSidebar").locator("[data-testid=stSlider] input"), story.circuit_keep)
    page.get_by_text("More", exact=True).click()
    page.get_by_role("spinbutton", name="Images per set, at most").fill(str(story.images))
    page.get_by_role("spinbutton", name="Check images, at most").fill(str(story.images))
    page.get_by_role("button", name="Extract circuit").click()
    seen(page.get_by_text("Pearson r, circuit"))
    circuit = viscnn.circuits(story.model)[0]
    assert target_filter(circuit["target"]) == uid
    found = viscnn.circuit_diagram(circuit["uid"])
    drawn = page.locator(".viscnn-diagram .filter[data-uid]")
    expect(drawn).to_have_count(len(found.filters), timeout=PATIENCE_MS)


def slide_to(slider: Locator, text: str) -> None:
    """Press arrow keys until the slider says `text`."""
    slider.focus()
    for _ in range(20):
        if slider.get_attribute("aria-valuetext") == text:
            return
        slider.press("ArrowLeft")
    raise AssertionError(f"the slider has no {text}")
