"""What an open session keeps of a model that is ingested again, registered again, or looked at by several."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import toy
from viscnn import VISCNN
from viscnn.api_filters import MOST_FIELDS
from viscnn.config import Connection
from viscnn.errors import NotInGraph
from viscnn.graph_scores import save_importance
from viscnn.ingest.registry import register, registered
from viscnn.ui import data
from viscnn.ui.data import Kept

MODEL = "again"
UID = f"{MODEL}/conv2/1"
OWN: dict[str, Any] = {"name": MODEL, "weights": "random", "input_shape": toy.SHAPE, "classes": toy.CLASSES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy.split_pictures(tmp_path / "first")


@pytest.fixture
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    """A session that is open for long, and has looked at a map."""
    with toy.ingested(server, MODEL, folder, importance=False) as session:
        session.activation(UID, session.image_paths(MODEL)[0])
        yield session
    data.reconnect()


def ingest_elsewhere(server: Connection, folder: Path, *, mean: float = 0.4, replace: bool = True) -> None:
    """What `viscnn ingest` does in another shell."""
    with VISCNN(server) as other:
        settings: dict[str, Any] = {"mean": (mean,), "std": (0.3,), "images": str(folder), "importance": False}
        other.ingest(toy.SOURCE, replace=replace, **OWN, **settings)


def test_a_model_with_another_preprocessing_runs_with_it(v: VISCNN, server: Connection, folder: Path) -> None:
    path = v.image_paths(MODEL)[0]
    before, stamp, kept = v.activation(UID, path), v.stamp(MODEL), weakref.ref(v.bundle(MODEL))
    assert v.stamp(MODEL) == stamp
    ingest_elsewhere(server, folder, mean=0.1)
    assert v.stamp(MODEL) != stamp
    with VISCNN(server) as new:
        wanted = new.activation(UID, path)
        assert np.abs(wanted - before).max() > 0.01
        np.testing.assert_array_equal(v.activation(UID, path), wanted)
        stored = v.query("ant", model=MODEL)
        assert new.query("ant", model=MODEL).uid == stored.uid  # names the preprocessing too
    gc.collect()
    assert kept() is None


def test_a_model_with_other_images_runs_on_them(v: VISCNN, server: Connection, tmp_path: Path) -> None:
    stamp, path = v.stamp(MODEL), v.image_paths(MODEL)[0]
    before = v.image(MODEL, path)
    ingest_elsewhere(server, toy.split_pictures(tmp_path / "second", score=2, check=1, seed=3), replace=False)
    assert v.stamp(MODEL) != stamp
    assert len(v.image_paths(MODEL)) == 9
    assert np.abs(v.image(MODEL, path).astype(int) - before).max() > 0
    assert len(v.collection(MODEL).items) == 9


def test_other_files_of_the_same_source_are_seen_when_they_are_ingested(
    v: VISCNN, server: Connection, folder: Path
) -> None:
    assert len(v.image_paths(MODEL)) == 21
    stamp = v.stamp(MODEL)
    toy.write_pictures(folder, counts={"score/dog": 2}, seed=9)
    ingest_elsewhere(server, folder, replace=False)
    assert v.stamp(MODEL) != stamp
    assert len(v.image_paths(MODEL)) == 23
    assert len(v.image_paths(MODEL, "dog")) == 2


def test_files_are_looked_through_once_an_ingest(v: VISCNN) -> None:
    first = v.collection(MODEL)
    v.save_image_set(MODEL, "mine", v.image_paths(MODEL)[:2])
    assert v.bundle(MODEL).collection.items is first.items
    assert v.collection(MODEL).items is first.items


def test_a_registry_of_another_preprocessing_than_the_stored_is_refused(v: VISCNN, server: Connection) -> None:
    """As when another machine has ingested the model anew."""
    entry = registered(MODEL)
    register(MODEL, replace(entry, recipe=replace(entry.recipe, mean=(0.2,))))
    with VISCNN(server) as new:
        for session in (v, new):
            with pytest.raises(NotInGraph, match=r"another preprocessing .* or with --replace"):
                session.bundle(MODEL)
    register(MODEL, entry)
    assert v.bundle(MODEL).preprocess.mean == (0.4,)


def test_importance_is_shown_as_it_is(v: VISCNN) -> None:
    query = v.query("ant", model=MODEL).uid

    def importance() -> list[float]:
        found = data.subgraph(data.stamp(MODEL), query, Kept(0.1)).filters
        return [float(each) for each in found.loc[~found["inputChannel"].astype(bool), "importance"].fillna(np.nan)]

    assert all(np.isnan(importance()))
    whole = v.query("overall", model=MODEL)
    scores = [float(each) for layer in whole.filters for each in layer]
    assert importance() == scores
    save_importance(v._graph, query)
    assert importance() != scores


def test_while_importance_is_written_the_stamp_is_another(v: VISCNN) -> None:
    query = v.query("overall", model=MODEL).uid
    stamps = [v.stamp(MODEL)]
    for settings in ("m.importanceRun = 'one', m.importanceQuery = null", "m.importanceQuery = $query"):
        text = f"MATCH (m:Model {{name: $model}}) SET {settings}"
        v._graph._driver.execute_query(text, {"model": MODEL, "query": query})
        stamps.append(v.stamp(MODEL))
    assert len(set(stamps)) == 3


def test_a_set_that_was_made_anew_elsewhere_has_its_new_images(v: VISCNN, server: Connection) -> None:
    paths = v.image_paths(MODEL)
    v.save_image_set(MODEL, "mine", paths[:2])
    assert data.image_paths(data.stamp(MODEL), MODEL, "mine") == sorted(paths[:2])
    with VISCNN(server) as other:
        other.drop_image_set(MODEL, "mine")
        other.save_image_set(MODEL, "mine", paths[2:5])
    assert data.image_paths(data.stamp(MODEL), MODEL, "mine") == sorted(paths[2:5])


def test_receptive_fields_of_several_models_are_kept(server: Connection, folder: Path) -> None:
    asked: list[str] = []
    names = [f"fields-{number}" for number in range(MOST_FIELDS + 1)]
    with VISCNN(server, tracer=lambda name, parameters, milliseconds: asked.append(name)) as v:
        own = {key: value for key, value in OWN.items() if key != "name"}
        for name in names:
            v.ingest(toy.SOURCE, name=name, importance=False, **own)
        try:
            asked.clear()
            for _ in range(3):  # two visitors, each on a model
                for name in names[:2]:
                    v.receptive_field(f"{name}/conv2/0", (1, 1))
            assert asked.count("read/feeds") == 2
            for name in names:
                v.receptive_field(f"{name}/conv2/0", (1, 1))
            assert asked.count("read/feeds") == len(names)
            v.receptive_field(f"{names[0]}/conv2/0", (1, 1))  # the one that was looked at longest ago
            assert asked.count("read/feeds") == len(names) + 1
        finally:
            for name in names:
                v.drop(name)
