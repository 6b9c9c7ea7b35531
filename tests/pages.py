"""Helpers that open the pages by AppTest, without a browser, and press what is on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from streamlit.testing.v1 import AppTest

from viscnn.ui.state import View

__all__ = [
    "APP",
    "PAGES",
    "click_in_network",
    "errors",
    "fields",
    "opened",
    "press",
    "tables",
    "texts",
    "type_in",
    "view_of",
]

APP = Path(__file__).parent.parent / "ui" / "app.py"


def circuit_page() -> None:
    from viscnn.ui.views import circuit

    circuit.page()


def compare_page() -> None:
    from viscnn.ui.views import compare

    compare.page()


def cypher_page() -> None:
    from viscnn.ui.views import cypher

    cypher.page()


def models_page() -> None:
    from viscnn.ui.views import models

    models.page()


def filter_page() -> None:
    from viscnn.ui.views import filter as one_filter

    one_filter.page()


PAGES: dict[str, Callable[[], None]] = {
    "circuit": circuit_page,
    "compare": compare_page,
    "cypher": cypher_page,
    "filter": filter_page,
    "models": models_page,
}


def opened(name: str, view: View | None = None) -> AppTest:
    """A page as it is when first opened, by a link to `view`."""
    page = AppTest.from_file(str(APP)) if name == "explore" else AppTest.from_function(PAGES[name])
    page.default_timeout = 60
    if view is not None:
        page.query_params["view"] = view.to_json()
    return page.run()


def press(page: AppTest, label: str) -> AppTest:
    return next(each for each in page.button if each.label == label).click().run()


def type_in(page: AppTest, key: str, text: str) -> None:
    """Type a value that is not among the options of a select box (AppTest knows only options)."""
    box = page.selectbox(key=key)
    box.options.append(text)
    box.set_value(text)


def errors(page: AppTest) -> list[str]:
    assert not page.exception, [each.message for each in page.exception]
    return [str(each.value) for each in page.error]


def texts(page: AppTest) -> str:
    assert not page.exception, [each.message for each in page.exception]
    elements = (*page.markdown, *page.caption, *page.subheader, *page.info, *page.warning)
    return "\n".join(str(each.value) for each in elements) + "\n".join(html.proto.body for html in page.get("html"))


def view_of(page: AppTest) -> dict[str, Any]:
    found = page.query_params.get("view", ["{}"])
    return dict(json.loads(found[0] if isinstance(found, list) else found))


def tables(page: AppTest) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    """What the 3-D view is sent: its settings, nodes and kernels."""
    mixed = page.get("bidi_component")[0].proto.mixed
    sent = json.loads(mixed.json)
    nodes, kernels = (
        pa.ipc.open_stream(mixed.arrow_blobs[sent[name]["__streamlit_arrow_ref__"]].data).read_all()
        for name in ("nodes", "kernels")
    )
    return sent["cfg"], nodes, kernels


def fields(page: AppTest) -> tuple[dict[str, Any], Any]:
    """What the image and the activation map beside it are sent: settings, and the map's values."""
    for each in page.get("bidi_component"):
        mixed = each.proto.mixed
        found = json.loads(mixed.json)
        if "values" in found:
            blob = mixed.arrow_blobs[found["values"]["__streamlit_arrow_ref__"]].data
            return found["cfg"], pa.ipc.open_stream(blob).read_all()["value"].to_numpy()
    raise AssertionError("no activation map is shown")


def click_in_network(page: AppTest, value: dict[str, Any]) -> AppTest:
    """Send what the browser sends after a click (through AppTest's own, private, way)."""
    component = page.get("bidi_component")[0].proto
    states = page._tree.get_widget_states()
    sent = states.widgets.add()
    sent.id = component.id
    cfg = json.loads(component.mixed.json)["cfg"]
    common = {"revision": cfg["revision"], "selectedRevision": cfg["selectedRevision"]}
    sent.json_value = json.dumps({"selected": value | common})
    return page._run(widget_state=states)
