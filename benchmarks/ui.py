"""The page in a real Chromium with software GL: first picture, click to panel, slider to picture, memory.

    python benchmarks/ui.py [--repeats 5] [--interactions 200] [--large] [--json]

AlexNet with random weights and a query on photographs of $VISCNN_DATA (noise without them); with `--large` also the
VGG-16 trunk of $VISCNN_DATA, 1.6 M kernels. Medians of the repeats.

    firstPicture   from the load event of the page to the first drawn frame of 20,000 kernels, in a session of its own
    empty          the same for a Streamlit page that holds one line of text: what Streamlit takes
    clickToPanel   from a click on a filter to its panel: numbers, visualisations, activation map, kernels
    slider         from a press of an arrow key on the kept fraction to the drawn frame of the other subgraph
    memory         of the browser's JavaScript heap (collected) and of the server's process, after 20 interactions
                   and after all of them

Visualisations of the clicked filters are rendered before, with few steps, into the cache.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from playwright.sync_api import Browser, Page
from query import write_photographs
from running_server import connected

from tests.browser import chromium, new_page, serve
from viscnn import VISCNN
from viscnn.ui.launch import launch
from viscnn.ui.state import KEPT_FRACTIONS, View, nearest

TARGETS = {"firstPicture": 2.0, "clickToPanel": 0.5, "slider": 0.5, "sliderLarge": 1.5}
NAME, LARGE = "bench-ui", "vgg16-trunk"
KERNELS = 20_000
COLOURS = 3
CLICKED = 4
PHOTOGRAPHS = 4
SLIDER = "[data-testid=stSlider] input"
INSTANCE = (
    "(() => { const find = (root) => { const own = root.querySelector('[data-testid=network3d]'); if (own) return own;"
    " for (const each of root.querySelectorAll('*')) if (each.shadowRoot) { const found = find(each.shadowRoot);"
    " if (found) return found; } return null; }; return find(document)?.__network; })()"
)
"""The component's instance, which lies in a shadow root."""
PANEL = """([uid, kernels]) => {
    if (document.querySelectorAll(`[alt^="edge map"][alt$="to ${uid}"]`).length < kernels) return false;
    if (document.querySelectorAll(`[alt^="visualisation of ${uid}"]`).length < 2) return false;
    const map = (root) => root.querySelector(`[alt="activation map of ${uid}"]`) ??
        [...root.querySelectorAll('*')].some((each) => each.shadowRoot && map(each.shadowRoot));
    const heads = [...document.querySelectorAll('h5')];
    return heads.some((each) => each.textContent.includes(uid)) && Boolean(map(document));
}"""
"""Whether all of a filter's panel is there. Playwright's own locators by role take much of the page's time."""


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--interactions", type=int, default=200)
    parser.add_argument("--large", action="store_true", help="also the VGG-16 trunk")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with connected(), VISCNN() as v, tempfile.TemporaryDirectory() as folder:
        found = measured(v, Path(folder), options)
    found |= {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "targets": TARGETS}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        target = f"  (target {TARGETS[name]} s)" if name in TARGETS else ""
        print(f"{name:22} {value}{target}")


def measured(v: VISCNN, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures; the models are removed again."""
    try:
        query = prepared(v, folder)
        large = large_query(v) if options.large else None
        with launched() as address, chromium() as browser:
            found = of_alexnet(v, browser, address, query, options)
            if large is not None:
                found["sliderLarge"] = slider(browser, link(address, LARGE, large, 0.01), options.repeats)
            return found
    finally:
        v.drop(NAME)
        if options.large:
            v.drop(LARGE)


def of_alexnet(v: VISCNN, browser: Browser, address: str, query: str, options: argparse.Namespace) -> dict[str, Any]:
    total = v.subgraph(query, keep=0.001).total
    at = link(address, NAME, query, KERNELS / total)
    with serve(Path(__file__).with_name("ui_empty.py")) as empty:
        nothing = statistics.median(
            load_to(browser, empty, "document.body.innerText.includes('nothing here')") for _ in range(options.repeats)
        )
    drawn = f"{INSTANCE}?.frames > 0"
    load_to(browser, at, drawn)  # caches of the server, as for any but its first visitor
    first = statistics.median(load_to(browser, at, drawn) for _ in range(options.repeats))
    clicks = click_to_panel(browser, at, options.repeats)
    moves = slider(browser, link(address, NAME, query, 0.07), options.repeats)
    return {
        "kernels": total,
        "firstPicture": round(first, 2),
        "empty": round(nothing, 2),
        "clickToPanel": clicks,
        "slider": moves,
        **memory(browser, at, options.interactions),
    }


# --- preparation ---------------------------------------------------------------------------------------------------


def prepared(v: VISCNN, folder: Path) -> str:
    """AlexNet with a query and visualisations of the filters that will be clicked; returns the query's uid."""
    write_photographs(folder, PHOTOGRAPHS)
    v.ingest("alexnet", name=NAME, weights="random", images=str(folder), importance=False, replace=True)
    for channel in range(CLICKED):
        for sign in (1, -1):
            v.visualize(clicked(channel), sign=sign)
    return v.query("overall", model=NAME).uid


def clicked(number: int) -> str:
    """A filter of the first layer: its visualisation takes least."""
    return f"{NAME}/features.0/{number}"


def large_query(v: VISCNN) -> str:
    """The VGG-16 trunk; returns the uid of a query that needs no images."""
    v.ingest("vgg16-trunk", name=LARGE, importance=False, replace=True)
    return v.query("overall", model=LARGE, criterion="weight", output="layer:LAST", max_images=1).uid


@contextmanager
def launched() -> Iterator[str]:
    """The page as `viscnn ui` serves it."""
    with launch(browser=False) as page:
        yield page.url


def link(address: str, model: str, query: str, keep: float) -> str:
    kept = nearest(KEPT_FRACTIONS, keep)
    return f"{address}/?view={quote(View(model=model, query=query, keep=kept).to_json())}"


# --- measures ------------------------------------------------------------------------------------------------------


def load_to(browser: Browser, address: str, condition: str) -> float:
    """Seconds from the load event to a condition, in a context of its own."""
    with new_page(browser) as (page, _):
        page.goto(address, wait_until="load")
        began = time.perf_counter()
        page.wait_for_function(condition, polling=20)
        return time.perf_counter() - began


def opened(page: Page, address: str) -> None:
    """The page with its first picture, and quiet."""
    page.goto(address)
    page.wait_for_function(f"{INSTANCE}?.frames > 0", polling=50)
    page.wait_for_timeout(3000)


def click_to_panel(browser: Browser, address: str, repeats: int) -> float:
    """Median seconds from a click to the panel of another filter, all of it."""
    times = []
    with new_page(browser) as (page, _):
        opened(page, address)
        for number in range(repeats + 1):
            uid = clicked(number % CLICKED)
            page.evaluate(f"{INSTANCE}.select(null)")
            began = time.perf_counter()
            page.evaluate(
                f"uid => {INSTANCE}.choose({{kind: 'filter', index: {INSTANCE}.network.filters.uid.indexOf(uid)}})", uid
            )
            page.wait_for_function(PANEL, arg=[uid, COLOURS], polling=20)
            times.append(time.perf_counter() - began)
            page.wait_for_timeout(1000)
    return round(statistics.median(times[1:]), 2)  # the first also loads what panels need


def slider(browser: Browser, address: str, repeats: int) -> float:
    """Median seconds from a key on the slider to the picture of the other kept fraction, each for the first time."""
    times = []
    with new_page(browser) as (page, _):
        opened(page, address)
        page.locator(SLIDER).first.focus()
        for number in range(repeats + 1):
            before = page.evaluate(f"{INSTANCE}.revision")
            frames = page.evaluate(f"{INSTANCE}.frames")
            began = time.perf_counter()
            page.keyboard.press("ArrowLeft" if number % 2 == 0 else "ArrowRight")
            page.wait_for_function(
                f"([revision, frames]) => {INSTANCE}.revision !== revision && {INSTANCE}.frames > frames",
                arg=[before, frames],
                polling=20,
            )
            times.append(time.perf_counter() - began)
            page.wait_for_timeout(1500)
    return round(statistics.median(times[1:]), 2)


def memory(browser: Browser, address: str, interactions: int) -> dict[str, Any]:
    """Megabytes of the browser's heap and of the server after 20 interactions, and after all."""
    found: dict[str, Any] = {}
    with new_page(browser) as (page, _):
        opened(page, address)
        session = page.context.new_cdp_session(page)
        page.locator(SLIDER).first.focus()
        for number in range(1, interactions + 1):
            if number % 2:
                page.evaluate(f"n => {INSTANCE}.choose({{kind: 'filter', index: n}})", 3 + number % 60)
            else:
                page.keyboard.press("ArrowLeft" if number % 4 else "ArrowRight")
            page.wait_for_timeout(250)
            if number in {20, interactions}:
                page.wait_for_timeout(3000)
                session.send("HeapProfiler.collectGarbage")
                heap = session.send("Runtime.getHeapUsage")["usedSize"]
                label = "First" if number == 20 else "Last"
                found |= {f"heapMB{label}": round(heap / 1e6, 1), f"serverMB{label}": server_megabytes()}
    return found


def server_megabytes() -> float:
    """Resident memory of the Streamlit process that this one started."""
    for process in psutil.Process().children(recursive=True):
        if any("app.py" in part for part in process.cmdline()):
            return round(process.memory_info().rss / 1e6, 1)
    return float("nan")


if __name__ == "__main__":
    main()
