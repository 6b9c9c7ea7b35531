"""The panels of feature visualisations: what is there is shown, what is not can be rendered by a button."""

from collections.abc import Iterator

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, press, texts
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.engine.visualize import settings
from viscnn.ui import data, data_visualize

MODEL = "shown"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    pictures = toy.split_pictures(tmp_path_factory.mktemp("shown"))
    with toy.ingested(server, MODEL, pictures) as session:
        yield session
    data.reconnect()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STEPS", 5)


def filter_page(model: str, uid: str, circuit: str | None = None) -> None:
    from viscnn.ui import data
    from viscnn.ui.panels.visualization import visualization_panel

    visualization_panel(data.stamp(model), model, uid, circuit=circuit)


def kernel_page(model: str, source: str, target: str) -> None:
    from viscnn.ui import data
    from viscnn.ui.panels.visualization import kernel_visualization

    kernel_visualization(data.stamp(model), model, source, target)


def opened(page: object, **arguments: str) -> AppTest:
    made = AppTest.from_function(page, kwargs={"model": MODEL, **arguments})  # type: ignore[arg-type]
    made.default_timeout = 60
    return made.run()


def pictures(page: AppTest) -> list[str]:
    """The descriptions of all pictures."""
    found = "".join(each.proto.body for each in page.get("html"))
    return [part.partition('"')[0] for part in found.split('alt="')[1:]]


def test_what_is_missing_is_rendered_by_its_button_and_then_shown(v: VISCNN) -> None:
    uid = f"{MODEL}/conv2/0"
    page = opened(filter_page, uid=uid)
    assert errors(page) == []
    assert pictures(page) == []
    assert "largest activation: not rendered yet" in texts(page)
    assert [each.label for each in page.button] == ["Render", "Render"]
    page = press(page, "Render")
    assert errors(page) == []
    assert pictures(page) == [f"visualisation of {uid}, largest activation"]
    assert v.visualization(uid) is not None
    assert v.visualization(uid, sign=-1) is None
    page.run()
    assert pictures(page) == [f"visualisation of {uid}, largest activation"]
    assert [each.key for each in page.button] == [f"use_{uid}_channel_1", f"render_{uid}_channel_-1"]


def test_what_is_in_the_cache_is_shown_by_objective(v: VISCNN) -> None:
    uid = f"{MODEL}/conv1/1"
    found = v.visualize(uid, sign=-1)
    v.visualize(uid, objective="neuron")
    page = opened(filter_page, uid=uid)
    assert pictures(page) == [f"visualisation of {uid}, smallest activation"]
    assert f"smallest activation: {found.activation:.3g}" in texts(page)
    page.segmented_control(key="visualization_objective").set_value("neuron").run()
    assert errors(page) == []
    assert pictures(page) == [f"visualisation of {uid}, largest activation"]
    assert "Cropped to the receptive field" in texts(page)


def test_a_kernel_stands_between_its_ends(v: VISCNN) -> None:
    source, target = f"{MODEL}/conv1/2", f"{MODEL}/conv2/2"
    v.visualize(source)
    page = opened(kernel_page, source=source, target=target)
    assert errors(page) == []
    assert pictures(page) == [f"visualisation of {source}, from"]
    assert [each.label for each in page.button] == ["Use as input", "Render", "Render"]
    page = press(page, "Render")
    assert f"visualisation of {source} -&gt; {target}, this kernel alone" in pictures(page)
    page = opened(kernel_page, source=f"{MODEL}/input/gray", target=source)
    assert pictures(page) == [f"visualisation of {source}, to"]
    assert "this kernel alone: not rendered yet" in texts(page)


def test_a_circuit_has_its_own(v: VISCNN) -> None:
    circuit = v.circuit(f"{MODEL}/conv2/1", model=MODEL, keep=0.5).uid
    uid = f"{MODEL}/conv2/1"
    v.visualize(uid)
    page = opened(filter_page, uid=uid, circuit=circuit)
    assert errors(page) == []
    assert pictures(page) == []
    page = press(page, "Render")
    assert len(pictures(page)) == 1
    stamp = data.stamp(MODEL)
    assert data_visualize.pictures(stamp, MODEL, [uid, f"{MODEL}/conv2/0"], circuit=circuit).keys() == {uid}
    outside = f"{MODEL}/conv2/0"
    page = press(opened(filter_page, uid=outside, circuit=circuit), "Render")
    assert [f"{outside} is not in circuit" in each for each in errors(page)] == [True]


def test_pictures_of_any_number_of_channels() -> None:
    pixels = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    assert data_visualize.picture(pixels[..., :1]).shape == (2, 3)
    assert data_visualize.picture(pixels[..., :3]).shape == (2, 3, 3)
    shown = data_visualize.picture(pixels)
    assert shown.shape == (2, 15)
    np.testing.assert_array_equal(shown[:, 3:6], pixels[..., 1])
