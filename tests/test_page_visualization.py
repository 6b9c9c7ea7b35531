"""The panels of feature visualisations: what is there is shown, what is not can be rendered by a button."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, press, texts
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.engine.visualize import settings
from viscnn.ui import data, data_visualize
from viscnn.ui.data import Drawing
from viscnn.ui.panels.filter import drawn_filters

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


def circuit_page(model: str, selected: str, circuit: str, source: str | None = None) -> None:
    """The panel of what is selected beside a drawn circuit."""
    from viscnn.ui import data, state
    from viscnn.ui.panels.filter import selection_panel

    state.select(selected, source)
    stamp = data.stamp(model)
    selection_panel(stamp, model, data.circuit_drawing(stamp, circuit), circuit=circuit)


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


@pytest.fixture(scope="module")
def small(v: VISCNN) -> tuple[str, str, str]:
    """A circuit, a kernel that it has into its target (by its source), and one that it has not."""
    target = f"{MODEL}/conv2/1"
    circuit = v.circuit(target, model=MODEL, keep=0.4).uid
    found = v.circuit_subgraph(circuit)
    uids = found.filters["uid"]
    kept = [uids[row["source"]] for row in found.kernels.to_dict("records") if uids[row["target"]] == target]
    lost = [f"{MODEL}/conv1/{number}" for number in range(4) if f"{MODEL}/conv1/{number}" not in kept]
    return circuit, kept[0], lost[0]


def test_a_panel_says_which_network_its_visualisations_are_from(v: VISCNN, small: tuple[str, str, str]) -> None:
    circuit, kept, lost = small
    target, outside = f"{MODEL}/conv2/1", f"{MODEL}/conv2/0"
    page = opened(circuit_page, selected=target, circuit=circuit)
    assert errors(page) == []
    assert "**Feature visualisation** · from this circuit" in texts(page)
    page = opened(circuit_page, selected=outside, circuit=circuit)
    assert "**Feature visualisation** · from the whole network: it is not in this circuit" in texts(page)
    page = opened(circuit_page, selected=target, source=kept, circuit=circuit)
    assert errors(page) == []
    assert "**Feature visualisations** · from this circuit" in texts(page)
    page = opened(circuit_page, selected=target, source=lost, circuit=circuit)
    assert "**Feature visualisations** · from the whole network: it is not in this circuit" in texts(page)


def test_a_kernel_of_a_circuit_is_rendered_from_it(v: VISCNN, small: tuple[str, str, str]) -> None:
    circuit, kept, _ = small
    target = f"{MODEL}/conv2/1"
    kernel = f"{kept} -> {target}"
    v.visualize(kernel)  # of the whole network: not what is asked for
    page = opened(circuit_page, selected=target, source=kept, circuit=circuit)
    assert f"visualisation of {kept} -&gt; {target}, this kernel alone" not in pictures(page)
    page.button(key=f"render_{kernel}_channel_1").click().run()
    assert errors(page) == []
    assert v.visualization(kernel, circuit=circuit) is not None
    assert f"visualisation of {kept} -&gt; {target}, this kernel alone" in pictures(page)


def test_beside_the_kernels_stand_the_circuit_s_own_where_there_are_some(
    v: VISCNN, small: tuple[str, str, str]
) -> None:
    circuit, kept, lost = small
    for uid in (kept, lost):
        v.visualize(uid)
    v.visualize(kept, circuit=circuit)
    page = opened(circuit_page, selected=f"{MODEL}/conv2/1", circuit=circuit)
    html = "".join(each.proto.body for each in page.get("html"))
    for uid, network in ((kept, "from this circuit"), (lost, "from the whole network")):
        figure = html.partition(f'alt="feature visualisation of {uid}"')[2].partition("</figure>")[0]
        assert network in figure
    page = opened(explored, selected=f"{MODEL}/conv2/1")
    html = "".join(each.proto.body for each in page.get("html"))
    assert f'alt="feature visualisation of {kept}"' in html
    assert "from the whole network" not in html


def explored(model: str, selected: str) -> None:
    """The panel of a filter where nothing but the whole network is drawn."""
    from viscnn.ui import data
    from viscnn.ui.panels.filter import filter_panel

    stamp = data.stamp(model)
    filter_panel(stamp, model, data.unscored(stamp, model), selected)


def test_a_sum_that_is_kept_by_identities_alone_is_in_the_circuit() -> None:
    filters = pd.DataFrame({"uid": [f"net/{name}/0" for name in ("one", "add", "two", "other")]})
    ends = {"source": [0], "target": [1]}
    none = pd.DataFrame({"source": [], "target": []}, dtype=np.int64)
    assert drawn_filters(Drawing(None, filters, none, pd.DataFrame(ends))) == {"net/one/0", "net/add/0"}
    assert drawn_filters(Drawing(None, filters, pd.DataFrame(ends), none)) == {"net/one/0", "net/add/0"}


def test_pictures_of_any_number_of_channels() -> None:
    pixels = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    assert data_visualize.picture(pixels[..., :1]).shape == (2, 3)
    assert data_visualize.picture(pixels[..., :3]).shape == (2, 3, 3)
    shown = data_visualize.picture(pixels)
    assert shown.shape == (2, 15)
    np.testing.assert_array_equal(shown[:, 3:6], pixels[..., 1])
