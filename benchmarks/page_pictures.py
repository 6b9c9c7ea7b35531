"""The pictures of the page in README.md: the story of the paper's section 3 on the CIFAR-10 net and on GoogLeNet.

    VISCNN_HEAP=2g python benchmarks/page_pictures.py [cifar10] [googlenet-bvlc] [--folder docs/images]

Ingests a model of $VISCNN_DATA, finds exemplars, asks a contrast, renders the visualisations of what is shown, extracts
a circuit, and takes screenshots in Chromium: `NET-query.png`, `NET-filter.png`, `NET-circuit.png`. What is there
already is not made again; models stay.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, Page
from running_server import connected

from tests.browser import chromium, new_page
from tests.clicks import network
from viscnn import VISCNN
from viscnn.ui.launch import launch
from viscnn.ui.state import View

SIZE = {"width": 1400, "height": 900}
KERNELS = 8
SETTLE_MS = 4000


@dataclass(frozen=True)
class Shown:
    """What is asked of a net: a contrast on some images, a filter of a layer, a circuit of its strongest kernels."""

    contrast: str
    layer: str
    images: int
    exemplar_images: int
    keep: float
    circuit_keep: float


NETS = {
    "cifar10": Shown("cat - overall", "conv4", 300, 3000, 0.03, 0.01),
    "googlenet-bvlc": Shown('"Border collie" - overall', "inception_4a_3x3", 100, 1000, 0.001, 0.0002),
}


def main() -> None:
    """Parse the command line, prepare the nets, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS), help=f"of {', '.join(NETS)}")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    options = parser.parse_args()
    with connected(), VISCNN() as v, launch(browser=False, port=0) as page, chromium() as browser:
        for net in options.nets:
            views = prepared(v, net, NETS[net])
            for name, (path, view) in views.items():
                take(browser, f"{page.url}{path}?view={quote(view.to_json())}", options.folder / f"{net}-{name}.png")


def prepared(v: VISCNN, net: str, shown: Shown) -> dict[str, tuple[str, View]]:
    """All that the pictures show; returns the page and the view of each."""
    v.ingest(net, importance=False)
    v.find_exemplars(net, max_images=shown.exemplar_images)
    query = v.query(shown.contrast, model=net, max_images=shown.images).uid
    filters = v.subgraph(query, keep=shown.keep).filters
    best = filters[filters["layer"] == shown.layer].sort_values("score", ascending=False)["uid"]
    uid = str(best.iloc[0])
    sources = [str(each["source"]) for each in v.incoming_kernels(uid, query=query, limit=KERNELS)]
    for sign in (1, -1):
        list(v.visualize_each([uid], model=net, sign=sign))
    list(v.visualize_each(sources, model=net))
    circuit = v.circuit(uid, model=net, keep=shown.circuit_keep, max_images=shown.images, check_images=shown.images).uid
    drawn = [each.uid for each in v.circuit_diagram(circuit).filters if "/input/" not in each.uid]
    list(v.visualize_each(drawn, model=net, circuit=circuit))
    seen = v.exemplars(uid)[0]
    at = {"image": seen["path"], "row": seen["row"], "column": seen["column"]}
    view = View(model=net, query=query, keep=shown.keep, selected=uid, **at)
    return {
        "query": ("/", view),
        "filter": ("/filter", view),
        "circuit": ("/circuit", View(model=net, circuit=circuit)),
    }


def take(browser: Browser, address: str, file: Path) -> None:
    """A screenshot of a page, once all of it is there."""
    with new_page(browser, **SIZE) as (page, problems):
        page.goto(address)
        if "/filter" not in address and "/circuit" not in address:
            network(page)
        page.locator("[alt^='activation map'], .viscnn-diagram").first.wait_for(state="attached")
        quiet(page)
        page.screenshot(path=file)
        print(file, *problems)


def quiet(page: Page) -> None:
    """Wait until nothing is being replaced any more."""
    page.wait_for_timeout(SETTLE_MS)
    page.wait_for_function("() => !document.querySelector('[data-stale=true]')")


if __name__ == "__main__":
    main()
