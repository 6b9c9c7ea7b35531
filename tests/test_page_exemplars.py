"""The panel of exemplars on the page, without a browser, on a real Neo4j."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, press, texts, view_of
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.ingest.registry import forget, register, registered
from viscnn.ui import data, data_exemplars
from viscnn.ui.panels import exemplars as panel
from viscnn.ui.state import View

MODEL = "pictured"
UID = f"{MODEL}/conv2/1"


def panel_page() -> None:
    from viscnn.ui import data, state
    from viscnn.ui.panels.exemplars import exemplar_panel

    view = state.restore()
    exemplar_panel(data.stamp(str(view.model)), str(view.model), str(view.selected))


def opened(uid: str = UID) -> AppTest:
    page = AppTest.from_function(panel_page, default_timeout=60)
    page.query_params["view"] = View(model=uid.partition("/")[0], selected=uid).to_json()
    return page.run()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("pictured"))


@pytest.fixture(scope="module")
def v(server: Connection, pictures: Path) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, pictures) as session:
        yield session
    data.reconnect()


@pytest.fixture(scope="module")
def found(v: VISCNN) -> AppTest:
    """The page on which the exemplars were found by its button."""
    page = opened()
    assert errors(page) == []
    assert f"`viscnn exemplars {MODEL}`" in texts(page)
    page.number_input(key="exemplars_images").set_value(0)
    press(page, "Find exemplars")
    assert errors(page) == []
    return page


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    data_exemplars._patches.clear()


def patch_of(button: Any) -> NDArray[np.uint8]:
    """The picture that a button shows."""
    coded = re.search(r"base64,([^)]*)", button.label)
    assert coded is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(coded[1]))))


def buttons(page: AppTest) -> list[Any]:
    return [each for each in page.button if each.key and re.fullmatch(r"exemplars_-?\d+", each.key)]


def test_the_button_finds_them_among_all_images(v: VISCNN, found: AppTest) -> None:
    assert v.model(MODEL)["exemplarImages"] == 21
    ranks = [*range(9), *range(-1, -10, -1)]
    assert [each.key for each in buttons(found)] == [f"exemplars_{rank}" for rank in ranks]
    assert "Responds most, of 21 images" in texts(found)
    assert "Find exemplars" not in [each.label for each in found.button]


def test_each_patch_is_what_the_api_gives_with_its_value_and_image(v: VISCNN, found: AppTest) -> None:
    listed = v.exemplars(UID)
    for button, each in zip(buttons(found), listed, strict=True):
        assert (patch_of(button) == v.exemplar_patch(UID, each["rank"])).all()
        assert button.label.endswith(f" {each['activation']:.3g}")
        shown = button.help.replace("\\", "")
        assert shown == f"{each['path']} · {each['label']} · row {each['row']}, column {each['column']} of the map"


def test_a_click_opens_the_image_at_the_place(v: VISCNN, found: AppTest) -> None:
    page = opened()
    for each in (v.exemplars(UID)[2], v.exemplars(UID)[-1]):
        page.button(key=f"exemplars_{each['rank']}").click().run()
        assert errors(page) == []
        view = view_of(page)
        assert (view["image_set"], view["image"]) == (each["label"], each["path"])
        assert (view.get("row"), view.get("column")) == (each["row"], each["column"])


def test_a_model_that_is_not_registered_here_has_a_list(v: VISCNN, found: AppTest) -> None:
    entry = registered(MODEL, v.model(MODEL)["weightsHash"])
    forget(MODEL)
    data.reconnect()
    try:
        page = opened()
        assert errors(page) == []
        assert buttons(page) == []
        assert "viscnn ingest" in texts(page)
        table = page.dataframe[0].value
        assert table["path"].tolist() == [each["path"] for each in v.exemplars(UID)]
        assert table["activation"].tolist() == [each["activation"] for each in v.exemplars(UID)]
    finally:
        register(MODEL, entry)
        data.reconnect()


def test_an_image_that_has_gone_is_said_and_the_others_are_shown(v: VISCNN, found: AppTest, pictures: Path) -> None:
    gone = v.exemplars(UID)[1]["path"]
    content = (pictures / gone).read_bytes()
    (pictures / gone).unlink()
    data.reconnect()
    try:
        page = opened()
        assert errors(page) == []
        missing = [each["rank"] for each in v.exemplars(UID) if each["path"] == gone]
        assert len(buttons(page)) == 18 - len(missing)
        assert f"exemplars_{missing[0]}" not in [each.key for each in buttons(page)]
        assert f"{len(missing)} of 18 cannot be shown" in texts(page)
        assert "is not there" in texts(page)
    finally:
        (pictures / gone).write_bytes(content)
        data.reconnect()
    assert len(buttons(page.run())) == 18


def test_only_some_of_many_are_shown(v: VISCNN, found: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "MOST", 3)
    assert [each.key for each in buttons(opened())] == [f"exemplars_{rank}" for rank in (0, 1, 2, -1, -2, -3)]


def test_a_later_run_is_shown_at_once(v: VISCNN, found: AppTest) -> None:
    page = opened()
    v.find_exemplars(MODEL, count=2, input="bee")
    try:
        page.run()
        assert len(buttons(page)) == 4
        assert "of 7 images" in texts(page)
    finally:
        v.find_exemplars(MODEL)


def test_a_model_without_images_is_one_line(server: Connection) -> None:
    settings: dict[str, Any] = {"input_shape": toy.SHAPE, "classes": toy.CLASSES, "mean": (0.4,), "std": (0.3,)}
    with VISCNN(server) as session:
        session.ingest(toy.SOURCE, name="blank", weights="random", **settings)
        try:
            page = opened("blank/conv1/0")
            press(page, "Find exemplars")
            (line,) = errors(page)
            assert "has no images; give them with --images" in line
        finally:
            session.drop("blank")
            data.reconnect()


def test_large_patches_are_sent_small() -> None:
    large = np.random.default_rng(1).integers(0, 256, (224, 112, 3), dtype=np.uint8)
    assert data_exemplars.small(large).shape == (136, 68, 3)
    small = large[:7, :7]
    assert (data_exemplars.small(small) == small).all()
