"""The page Filter: maps with receptive fields, kernels both ways, class profile, scores, interventions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, fields, opened, press, texts, type_in, view_of
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.panels.facts import most
from viscnn.ui.state import View

MODEL = "looked"
UID = f"{MODEL}/conv2/1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(toy.split_pictures(tmp_path_factory.mktemp("looked")))


@pytest.fixture(scope="module")
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, folder) as session:
        session.query("ant", model=MODEL, criterion="gradient")
        session.query("ant - overall", model=MODEL)
        session.project(MODEL)
        yield session
    data.reconnect()


def shown(v: VISCNN, selected: str = UID, **changes: Any) -> AppTest:
    page = opened("filter", View(model=MODEL, query=v.queries(MODEL)[0]["uid"], selected=selected, **changes))
    assert errors(page) == []
    return page


def choose(page: AppTest, cell: list[int] | None) -> AppTest:
    """Send what the browser sends after a click on a cell (through AppTest's own, private, way)."""
    component = page.get("bidi_component")[0].proto
    states = page._tree.get_widget_states()
    change = states.widgets.add()
    change.id = component.id
    revision = json.loads(component.mixed.json)["cfg"]["revision"]
    change.json_value = json.dumps({"cell": {"cell": cell, "revision": revision}})
    return page._run(widget_state=states)


def test_the_map_comes_with_every_cell_s_receptive_field(v: VISCNN) -> None:
    settings, values = fields(shown(v))
    path = v.image_paths(MODEL)[0]
    activation = v.activation(UID, path)
    np.testing.assert_allclose(values, activation.ravel())
    assert settings["size"] == list(activation.shape)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        field = v.receptive_field(UID, (row, column))
        assert tuple(settings["rows"][row]) == field.rows
        assert tuple(settings["columns"][column]) == field.columns
    assert settings["imageSize"] == [8, 8]
    assert path in settings["imageAlt"]


def test_a_chosen_cell_is_part_of_the_link_and_sends_nothing_again(v: VISCNN) -> None:
    page = shown(v)
    before = fields(page)[0]
    page = choose(page, [2, 1])
    assert (view_of(page)["row"], view_of(page)["column"]) == (2, 1)
    assert fields(page)[0] == before
    page = choose(page, None)
    assert "row" not in view_of(page)
    assert fields(shown(v, row=3, column=0))[0]["cell"] == [3, 0]


def test_an_exemplar_moves_the_outline_whatever_was_chosen_on_its_image_since(v: VISCNN) -> None:
    v.find_exemplars(MODEL)
    best = v.exemplars(UID)[0]
    place = [best["row"], best["column"]]
    page = shown(v)
    page.button(key="exemplars_0").click().run()
    first = fields(page)[0]
    assert first["cell"] == place
    elsewhere = [(place[0] + 1) % first["size"][0], place[1]]
    page = choose(page, elsewhere)
    assert fields(page)[0] == first
    page.button(key="exemplars_0").click().run()
    again = fields(page)[0]
    assert (again["image"], again["cell"]) == (first["image"], place)
    assert again["revision"] != first["revision"]  # what makes the browser take the cell
    assert [view_of(page)["row"], view_of(page)["column"]] == place


@pytest.fixture
def few_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each set two images are listed."""

    def two(stamp: str, model: str, image_set: str) -> list[str]:
        return data.session().image_paths(model, image_set, limit=2)

    monkeypatch.setattr(data, "image_paths", two)


@pytest.mark.usefixtures("few_listed")
def test_any_image_of_a_set_can_be_typed_and_no_other(v: VISCNN) -> None:
    page = shown(v, image_set="bee")
    every = v.image_paths(MODEL, "bee", limit=100)
    assert len(every) == 7
    (unlisted,) = [path for path in every if path not in page.selectbox(key="image").options][-1:]
    type_in(page, "image", unlisted)
    page.run()
    assert errors(page) == []
    assert (view_of(page)["image"], view_of(page)["image_set"]) == (unlisted, "bee")
    assert fields(page)[0]["imageAlt"] == f"image {unlisted}"
    for wrong in (f"{unlisted}x", v.image_paths(MODEL, "ant")[0], "/etc/passwd"):
        type_in(page, "image", wrong)
        page.run()
        (message,) = errors(page)
        assert f"image set 'bee' has no image '{wrong}'" in message.replace("\\", "")
        assert view_of(page)["image"] == unlisted
        assert page.selectbox(key="image").value == unlisted
    assert errors(page.run()) == []


def test_another_filter_has_no_chosen_cell(v: VISCNN) -> None:
    page = shown(v, row=1, column=1)
    page.selectbox(key="find").set_value(f"{MODEL}/conv1/0").run()
    assert view_of(page)["selected"] == f"{MODEL}/conv1/0"
    assert "row" not in view_of(page)
    assert fields(page)[0]["cell"] is None


def test_kernels_lead_in_and_out(v: VISCNN) -> None:
    page = shown(v, f"{MODEL}/conv1/2")
    query = v.queries(MODEL)[0]["uid"]
    into, out = (
        getattr(v, name)(f"{MODEL}/conv1/2", query=query, limit=8) for name in ("incoming_kernels", "outgoing_kernels")
    )
    labels = [each.label for each in page.button if each.key and each.key.startswith("kernel_")]
    ends = [*(row["source"] for row in into), *(row["target"] for row in out)]
    assert labels == [end.split("/", 1)[1] for end in ends]
    press(page, out[0]["target"].split("/", 1)[1])
    assert (view_of(page)["source"], view_of(page)["selected"]) == (f"{MODEL}/conv1/2", out[0]["target"])
    assert "edge map, without bias" in texts(page)
    assert errors(page) == []


def test_profile_neighbours_and_scores(v: VISCNN) -> None:
    page = shown(v)
    assert "selectivity" in texts(page)
    frames = [each.value for each in page.dataframe]
    like = next(frame for frame in frames if "similarity" in frame)
    assert list(MODEL + "/" + like["uid"]) == [row["uid"] for row in v.similar_filters(UID)]
    table = next(frame for frame in frames if "criterion" in frame)
    rows = v.filter_scores(UID)
    assert list(table["score"]) == [row["score"] for row in rows]
    assert list(table["rank"]) == [f"{row['rank']} of 3" for row in rows]
    assert {"gradient", "taylor"} <= set(table["criterion"])


def test_interventions_change_the_session_alone(v: VISCNN) -> None:
    page = shown(v)
    page.number_input(key="factor").set_value(0.0).run()
    press(page, "Set for this filter")
    assert errors(page) == []
    page.selectbox(key="intervention_target").set_value("class:bee").run()
    found = v.intervene(MODEL, v.image_paths(MODEL)[0], {UID: 0.0}, output="class:bee")
    assert f">{found.before:.3g}<" in texts(page)
    assert f">{found.after:.3g}<" in texts(page)
    assert found.logits is not None
    table = next(each.value for each in page.dataframe if "change" in each.value)
    assert table["class"].tolist()[0] == found.classes[int(np.abs(found.logits[1] - found.logits[0]).argmax())]
    next(each for each in page.button if each.key == f"undo_{UID}").click().run()
    assert "0 ablates it" in texts(page)
    assert v.intervene(MODEL, v.image_paths(MODEL)[0], {}, output="class:bee").after == pytest.approx(found.before)


def test_an_intervention_that_is_taken_back_twice_is_gone(v: VISCNN) -> None:
    page = shown(v)
    press(page, "Set for this filter")
    page.session_state["viscnn_factors"][MODEL].clear()  # as by the first of two quick clicks
    next(each for each in page.button if each.key == f"undo_{UID}").click().run()
    assert errors(page) == []
    assert "0 ablates it" in texts(page)


def test_an_input_channel_has_kernels_only(v: VISCNN) -> None:
    page = shown(v, f"{MODEL}/input/gray")
    assert "An input channel" in texts(page)
    assert "Top outgoing kernels" in texts(page)
    assert not page.get("bidi_component")


def test_nothing_is_selected_at_first(v: VISCNN) -> None:
    page = opened("filter", View(model=MODEL))
    assert errors(page) == []
    assert "Pick a filter above" in texts(page)


def test_an_image_that_is_gone_is_an_error_with_its_name(v: VISCNN) -> None:
    page = opened("filter", View(model=MODEL, selected=UID, image="no/such.png"))
    (message,) = errors(page)
    assert "no/such.png" in message


def test_an_upload_is_what_the_map_is_of(v: VISCNN, folder: Path) -> None:
    page = shown(v)
    path = sorted(folder.rglob("bee/*.png"))[2]
    page.file_uploader(key="upload_0").set_value((path.name, path.read_bytes(), "image/png")).run()
    assert errors(page) == []
    settings, values = fields(page)
    assert settings["imageAlt"] == f"image {path.name}"
    np.testing.assert_allclose(values, v.activation(UID, np.asarray(Image.open(path))).ravel())
    page.file_uploader(key="upload_0").set_value(("broken.png", b"no picture", "image/png")).run()
    (message,) = errors(page)
    assert "broken.png" in message


def test_of_many_classes_the_highest_are_shown() -> None:
    names = [f"class {number}" for number in range(20)]
    names[3] = names[7] = "crane"
    profile = [float(number % 7) for number in range(20)]
    found = most(profile, names, 5)
    assert found["share"].tolist() == [6.0, 6.0, 5.0, 5.0, 5.0]
    assert found["class"].tolist() == ["class 6", "class 13", "class 5", "class 12", "class 19"]
    assert most(profile, names, 20)["class"].tolist()[:4] == ["class 0", "class 1", "class 2", "crane #3"]
