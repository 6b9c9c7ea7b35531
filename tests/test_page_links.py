"""Links that hold what they should not, and a choice inside a fragment, in a real Chromium on a real Neo4j."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import PATIENCE_MS, chromium, new_page
from tests.clicks import network, seen
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.ui.state import View

PICTURE = "![x](https://example.org/x.png)"
UID = "mnist/conv3/2"


@pytest.fixture(scope="module")
def v(server: Connection) -> Iterator[VISCNN]:
    """The session's server with the bundled model and an image set whose name is a picture elsewhere."""
    with VISCNN(server) as opened:
        opened.ingest("mnist", importance=False)
        opened.save_image_set("mnist", f"a` {PICTURE} `b", opened.image_paths("mnist", "three", limit=2))
        yield opened
        opened.drop("mnist")


@pytest.fixture(scope="module")
def address(v: VISCNN, served: str) -> str:
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def link(address: str, page: str, **view: Any) -> str:
    return f"{address}/{page}?view={quote(json.dumps({'v': 1, **view}))}"


def outside(problems: list[str]) -> list[str]:
    """Addresses elsewhere; a page that is not the first one also asks its own server in vain, Streamlit's way."""
    return [each for each in problems if each.startswith("outside")]


@pytest.mark.parametrize(
    ("page_name", "view", "text"),
    [
        ("", {PICTURE: 1}, "it has no field"),
        ("", {"kernels": f"` {PICTURE} `"}, "is no kernels"),
        ("", {"visualization": {"target": 1, PICTURE: 2}}, "is no visualization"),
        ("", {"model": f"` {PICTURE} `"}, "is not in this database"),
        ("", {"model": "mnist", "selected": PICTURE}, "This model has no filter"),
        ("filter", {"model": "mnist", "selected": UID, "source": f"a` {PICTURE} `b"}, "There is no kernel from"),
        ("filter", {"model": "mnist", "selected": UID, "image": f"c` {PICTURE} `d"}, "no image set or image is called"),
        (
            "filter",
            {"model": "mnist", "selected": UID, "visualization": {"target": f"mnist/{PICTURE}"}},
            "On the feature visualisation of",
        ),
    ],
)
def test_no_link_makes_the_page_ask_elsewhere(
    browser: Browser, address: str, page_name: str, view: dict[str, Any], text: str
) -> None:
    with new_page(browser) as (page, problems):
        page.goto(link(address, page_name, **view))
        seen(page.get_by_text(text))
        page.wait_for_timeout(500)
        for tip in page.get_by_test_id("stTooltipHoverTarget").all()[:6]:
            if tip.is_visible():
                tip.hover(force=True)  # the last one's text may lie over it
                page.wait_for_timeout(100)
                page.mouse.move(0, 0)
        assert page.locator("img[src*='example.org']").count() == 0
        assert outside(problems) == []


def test_half_a_character_in_a_link_gives_the_default_view(browser: Browser, address: str) -> None:
    with new_page(browser) as (page, problems):
        page.goto(link(address, "", model="mnist", selected="\ud800"))
        seen(page.get_by_text("is no selected"))
        network(page)
        assert page.get_by_test_id("stException").count() == 0
        assert outside(problems) == []


def test_a_query_that_is_chosen_among_a_filter_s_scores_is_shown(browser: Browser, address: str, v: VISCNN) -> None:
    one, two = (v.query(text, model="mnist", max_images=10).uid for text in ("one", "two"))
    rows = [each["query"] for each in v.filter_scores(UID)]
    scores = {uid: v.subgraph(uid).filters.set_index("uid")["score"][UID] for uid in (one, two)}
    with new_page(browser, width=1400, height=1000) as (page, problems):
        page.goto(f"{address}/filter?view={quote(View(model='mnist', query=one, selected=UID).to_json())}")
        seen(page.get_by_role("heading", name=UID))
        fact = page.get_by_text(f"{scores[two]:.3g}", exact=True)
        seen(page.get_by_text(f"{scores[one]:.3g}", exact=True))
        expect(fact).to_have_count(0)
        table = page.get_by_test_id("stDataFrame").last
        table.scroll_into_view_if_needed()
        box = table.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 17, box["y"] + 35 * (rows.index(two) + 1) + 17)  # it is a canvas
        page.wait_for_function(f"() => decodeURIComponent(location.search).includes('{two}')")
        seen(fact)
        shown = page.get_by_role("combobox", name="Shown query")
        expect(shown).to_have_value(re.compile("two"), timeout=PATIENCE_MS)
        assert outside(problems) == []
