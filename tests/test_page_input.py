"""A feature visualisation fed back as the input image: on the page Filter, without a browser, on a real Neo4j."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, fields, opened, press, texts, view_of
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.visualize import settings
from viscnn.ingest.registry import forget, register, registered
from viscnn.ui import data, figures
from viscnn.ui.state import View, Visualized

MODEL = "fed"
UID, OTHER, SOURCE = f"{MODEL}/conv2/1", f"{MODEL}/conv2/2", f"{MODEL}/conv1/0"
KERNEL = f"{SOURCE} -> {UID}"
NOT_HERE = "not rendered on this machine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(toy.split_pictures(tmp_path_factory.mktemp("fed")))


@pytest.fixture(scope="module")
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    """The toy model with exemplars, and three visualisations; what a test renders besides takes 6 steps too.

    No other test renders the toy model with 6 steps: they share a cache.
    """
    with pytest.MonkeyPatch.context() as patch, toy.ingested(server, MODEL, folder) as session:
        patch.setattr(settings, "STEPS", 6)
        session.find_exemplars(MODEL)
        for target, sign in ((UID, 1), (UID, -1), (KERNEL, 1)):
            session.visualize(target, sign=sign)
        yield session
    data.reconnect()


def shown(selected: str = UID, **changes: Any) -> AppTest:
    page = opened("filter", View(model=MODEL, selected=selected, **changes))
    assert errors(page) == []
    return page


def use(page: AppTest, target: str = UID, *, sign: int = 1) -> AppTest:
    return page.button(key=f"use_{target}_channel_{sign}").click().run()


@pytest.mark.parametrize("sign", [1, -1])
def test_one_click_shows_its_own_map(sign: int, v: VISCNN) -> None:
    page = use(shown(), sign=sign)
    assert errors(page) == []
    rendered = v.visualization(UID, sign=sign)
    assert rendered is not None
    drawn, values = fields(page)
    assert values.mean() == pytest.approx(rendered.activation, rel=1e-5)
    np.testing.assert_array_equal(values, v.activation(UID, rendered).ravel())
    assert drawn["image"] == figures.data_uri(rendered.image[..., 0])
    words = {1: "largest", -1: "smallest"}[sign]
    assert drawn["imageAlt"] == f"image visualisation of conv2/1 ({words}, whole map)"
    assert "On the feature visualisation of conv2/1" in texts(page)
    used = page.button(key=f"use_{UID}_channel_{sign}")
    assert (used.label, used.disabled) == ("Is the input", True)
    assert page.button(key=f"use_{UID}_channel_{-sign}").label == "Use as input"


def test_a_link_reproduces_it_and_another_filter_sees_it_too(v: VISCNN) -> None:
    view = view_of(use(shown()))
    assert view["visualization"] == {"target": UID}
    page = shown(OTHER, visualization=Visualized(UID))
    np.testing.assert_array_equal(fields(page)[1], v.activation(OTHER, v.visualize(UID)).ravel())
    page.selectbox(key="find").set_value(SOURCE).run()
    np.testing.assert_array_equal(fields(page)[1], v.activation(SOURCE, v.visualize(UID)).ravel())
    assert view_of(page)["visualization"] == {"target": UID}


def test_the_way_back_leads_to_the_image_before(v: VISCNN) -> None:
    path = v.image_paths(MODEL, "bee")[1]
    page = use(shown(image_set="bee", image=path))
    press(page, "Back")
    assert errors(page) == []
    assert (view_of(page)["image"], "visualization" in view_of(page)) == (path, False)
    assert page.selectbox(key="image").value == path
    np.testing.assert_array_equal(fields(page)[1], v.activation(UID, path).ravel())


def test_what_is_chosen_last_is_shown(v: VISCNN, folder: Path) -> None:
    path = min(folder.rglob("bee/*.png"))
    page = use(shown())
    page.file_uploader(key="upload_1").set_value((path.name, path.read_bytes(), "image/png")).run()
    assert fields(page)[0]["imageAlt"] == f"image {path.name}"
    assert "visualization" not in view_of(page)
    use(page)
    assert fields(page)[0]["imageAlt"].startswith("image visualisation of conv2/1")
    page.button(key="exemplars_0").click().run()
    best = v.exemplars(UID)[0]
    assert fields(page)[0]["imageAlt"] == f"image {best['path']}"
    assert fields(page)[0]["cell"] == [best["row"], best["column"]]


def test_interventions_and_edge_maps_are_those_on_it(v: VISCNN) -> None:
    page = use(shown(f"{MODEL}/conv2/1", source=SOURCE), KERNEL)
    assert errors(page) == []
    assert view_of(page)["visualization"] == {"target": KERNEL}
    (maps,) = v.kernel_maps([(SOURCE, UID)], v.visualize(KERNEL))
    assert f'src="{figures.data_uri(figures.diverging(maps.edge, figures.largest([maps.edge])))}"' in texts(page)
    page.number_input(key="factor").set_value(2.0).run()
    press(page, "Set for this kernel")
    page.selectbox(key="intervention_target").set_value("class:bee").run()
    assert errors(page) == []
    found = v.intervene(MODEL, v.visualize(KERNEL), {KERNEL: 2.0}, output="class:bee")
    assert f">{found.before:.3g}<" in texts(page)
    assert f">{found.after:.3g}<" in texts(page)


def test_the_box_of_other_images_offers_what_is_rendered(v: VISCNN) -> None:
    page = shown()
    assert not [each.key for each in page.button if str(each.key).startswith("offered")]
    page.session_state["image_other"] = True
    page.run()
    keys = [each.key for each in page.button if str(each.key).startswith("offered")]
    assert keys == [f"offered_{UID}_channel_1", f"offered_{UID}_channel_-1"]
    page.button(key=str(keys[1])).click().run()
    assert view_of(page)["visualization"] == {"target": UID, "sign": -1}
    page.selectbox(key="find").set_value(OTHER).run()
    assert "None is rendered yet" in texts(page)
    page = shown(UID, source=SOURCE)
    page.session_state["image_other"] = True
    keys = [each.key for each in page.run().button if str(each.key).startswith("offered")]
    assert keys == [f"offered_{KERNEL}_channel_1", f"offered_{UID}_channel_1"]


def test_a_link_to_one_that_is_not_rendered_says_so_and_can_render_it(v: VISCNN) -> None:
    page = shown(visualization=Visualized(OTHER, "neuron"))
    assert NOT_HERE in texts(page)
    assert not page.get("bidi_component")
    assert v.visualization(OTHER, objective="neuron") is None
    page.button(key="image_render").click().run()
    assert errors(page) == []
    rendered = v.visualization(OTHER, objective="neuron")
    assert rendered is not None
    np.testing.assert_array_equal(fields(page)[1], v.activation(UID, rendered).ravel())
    assert NOT_HERE not in texts(page.run())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Visualized(f"{MODEL}/conv9/0"), "conv9"),
        (Visualized(f"{MODEL}/input/gray"), "has no map"),
        (Visualized("loss"), "class:NAME"),
        (Visualized("/etc/passwd"), "/etc/passwd"),
        (Visualized(UID, circuit=f"{MODEL}/circuit/gone"), f"{MODEL}/circuit/gone"),
    ],
)
def test_a_link_to_one_that_cannot_be_is_one_line_with_a_way_back(wanted: Visualized, message: str, v: VISCNN) -> None:
    page = opened("filter", View(model=MODEL, selected=UID, visualization=wanted))
    assert [message in each for each in errors(page)] == [True]
    press(page, "Back")
    assert errors(page) == []
    assert fields(page)[0]["imageAlt"] == f"image {v.image_paths(MODEL)[0]}"


def test_a_model_that_is_not_on_this_machine_names_the_way_out(v: VISCNN) -> None:
    entry = registered(MODEL, v.model(MODEL)["weightsHash"])
    forget(MODEL)
    data.reconnect()
    try:
        page = opened("filter", View(model=MODEL, selected=UID, visualization=Visualized(OTHER)))
        assert errors(page)
        assert all(f"model {MODEL!r}" in each and "viscnn ingest" in each for each in errors(page))
    finally:
        register(MODEL, entry)
        data.reconnect()
