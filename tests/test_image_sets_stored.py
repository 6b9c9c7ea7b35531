"""Image sets of one's own in the graph: saved, queried, seen by other sessions, and kept or removed with the model."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import ranks
from tests.ranks import surroundings
from tests.test_cli import Cli
from viscnn.api import VISCNN
from viscnn.config import Connection
from viscnn.errors import ExpressionError, ImagesError, NotInGraph

MODEL = "sets-mnist"
SOURCE = """
from torch import nn


def tiny():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of noise, six of each class."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for number in range(12):
        file = folder / ("one", "two")[number % 2] / f"{number:02}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    return folder


@pytest.fixture(scope="module")
def v(server: Connection, images: Path) -> Iterator[VISCNN]:
    source = images.parent / "sets_net.py"
    source.write_text(SOURCE)
    with VISCNN(server) as opened:
        opened.ingest(
            f"{source}:tiny", name=MODEL, weights="random", input_shape=(1, 8, 8), images=str(images), importance=False
        )
        yield opened
        opened.drop(MODEL)


@pytest.fixture(autouse=True)
def without_sets(v: VISCNN) -> Iterator[None]:
    yield
    for each in v.image_sets(MODEL):
        if each["own"]:
            v.drop_image_set(MODEL, each["name"])


def score_paths(v: VISCNN) -> list[str]:
    """Images that queries read."""
    return [item.path for item in v.bundle(MODEL).collection.items if item.part == "score"]


def test_a_saved_set_is_listed_and_used_at_once_without_building_the_model(v: VISCNN) -> None:
    architecture = v.bundle(MODEL).architecture
    paths = score_paths(v)[:3]
    saved = v.save_image_set(MODEL, "my set", paths[::-1])
    assert {key: saved[key] for key in ("name", "images", "scoreImages", "checkImages", "notes")} == {
        "name": "my set",
        "images": 3,
        "scoreImages": 3,
        "checkImages": 0,
        "notes": [],
    }
    listed = [(each["name"], each["images"], each["own"]) for each in v.image_sets(MODEL)]
    assert listed == [("overall", 12, False), ("one", 6, False), ("two", 6, False), ("my set", 3, True)]
    report = v.query('"my set" - overall', model=MODEL)
    assert (report.input, report.images) == ('"my set" - overall', len(score_paths(v)))
    assert v.bundle(MODEL).architecture is architecture
    assert v.image_paths(MODEL, "my set") == sorted(paths)


def test_the_same_images_have_the_same_scores_by_any_name(v: VISCNN) -> None:
    """An own set of all scoring images of a class is scored like the class: nothing is computed again."""
    ones = [path for path in score_paths(v) if path.startswith("one/")]
    v.save_image_set(MODEL, "ones", ones)
    by_class, by_set = (v.query(name, model=MODEL, output="layer:LAST") for name in ("one", "ones"))
    assert by_class.images_hash == by_set.images_hash
    assert by_class.uid != by_set.uid
    for one, other in zip(by_class.kernels, by_set.kernels, strict=True):
        assert np.array_equal(one, other)
    v.drop_image_set(MODEL, "ones")
    v.save_image_set(MODEL, "ones", ones[:1])
    again = v.query("ones", model=MODEL, output="layer:LAST")
    assert (again.images, again.uid != by_set.uid) == (1, True)


def test_another_session_sees_it_at_its_next_use(v: VISCNN, server: Connection) -> None:
    with VISCNN(server) as other:
        other.bundle(MODEL)
        with pytest.raises(ExpressionError, match="'shared'"):
            other.query("shared", model=MODEL)
        v.save_image_set(MODEL, "shared", score_paths(v)[:2])
        assert other.query("shared", model=MODEL).images == 2
        other.drop_image_set(MODEL, "shared")
    with pytest.raises(ExpressionError, match="no image set or image is called 'shared'"):
        v.query("shared", model=MODEL)


def test_names_that_are_taken_and_images_that_are_not_there(v: VISCNN) -> None:
    path = score_paths(v)[0]
    v.save_image_set(MODEL, "mine", [path])
    before = v.image_sets(MODEL)
    with pytest.raises(ImagesError, match="'MINE' means your image set \"mine\""):
        v.save_image_set(MODEL, "MINE", [path])
    with pytest.raises(ImagesError, match="cannot be called 'two'"):
        v.save_image_set(MODEL, "two", [path])
    with pytest.raises(ExpressionError, match=r"'one/99\.png'"):
        v.save_image_set(MODEL, "other", ["one/99.png"])
    with pytest.raises(NotInGraph, match="no model 'sets-mnis' is stored; did you mean sets-mnist"):
        v.save_image_set("sets-mnis", "other", [path])
    assert v.image_sets(MODEL) == before


def test_only_one_s_own_sets_can_be_dropped(v: VISCNN) -> None:
    with pytest.raises(NotInGraph, match="no image set of your own called 'one'; it has none"):
        v.drop_image_set(MODEL, "one")
    v.save_image_set(MODEL, "mine", score_paths(v)[:1])
    with pytest.raises(NotInGraph, match=r"'mime'; did you mean mine\? \(it has: mine\)"):
        v.drop_image_set(MODEL, "mime")
    assert [each["name"] for each in v.image_sets(MODEL)] == ["overall", "one", "two", "mine"]


def test_two_who_save_one_name_do_not_overwrite_each_other(v: VISCNN) -> None:
    first, second = score_paths(v)[:2]
    saved = v.save_image_set(MODEL, "race", [first])
    lost = v._graph.write("write/save_own_image_set", model=MODEL, name="race", hash="other", paths=[second])
    assert lost == [{"written": 0}]
    assert [each["hash"] for each in v.image_sets(MODEL) if each["own"]] == [saved["hash"]]
    assert v._graph.write("write/save_own_image_set", model="gone", name="race") == [{"written": 0}]


def test_a_set_without_scoring_images_is_saved_and_it_is_said(v: VISCNN) -> None:
    check = [item.path for item in v.bundle(MODEL).collection.items if item.part == "check"]
    saved = v.save_image_set(MODEL, "unseen", check)
    assert saved["notes"] == ["queries cannot read 'unseen': all its images are in the check part"]
    with pytest.raises(ImagesError, match=r"none of its .* images is in the score part"):
        v.query("unseen", model=MODEL)


def test_another_ingest_keeps_them_and_drops_what_the_source_has_no_more(v: VISCNN, images: Path) -> None:
    v.save_image_set(MODEL, "kept", score_paths(v)[:2])
    source = f"{images.parent / 'sets_net.py'}:tiny"
    v.ingest(source, name=MODEL, weights="random", input_shape=(1, 8, 8), images=str(images), importance=False)
    listed = [(each["name"], each["own"]) for each in v.image_sets(MODEL)]
    assert listed == [("overall", False), ("one", False), ("two", False), ("kept", True)]
    v._graph.write("write/save_image_sets", model=MODEL, rows=[{"name": "overall", "images": 12, "hash": "x"}])
    assert [each["name"] for each in v.image_sets(MODEL)] == ["overall", "kept"]
    v._graph.write(
        "write/save_image_sets",
        model=MODEL,
        rows=[{"name": name, "images": size, "hash": "x"} for name, size in (("overall", 12), ("one", 6), ("two", 6))],
    )


def test_what_an_expression_can_name(v: VISCNN) -> None:
    v.save_image_set(MODEL, "my set", score_paths(v)[:1])
    found = v.input_names(MODEL)
    assert found[:4] == [
        {"text": "overall", "kind": "set"},
        {"text": "one", "kind": "set"},
        {"text": "two", "kind": "set"},
        {"text": '"my set"', "kind": "own"},
    ]
    assert found[4] == {"text": "one/00.png", "kind": "image"}
    assert len(found) == 16
    assert v.input_names(MODEL, most=15) == found[:4]


def test_dropping_a_model_removes_them(v: VISCNN, images: Path) -> None:
    source = f"{images.parent / 'sets_net.py'}:tiny"
    v.ingest(source, name="sets-gone", weights="random", input_shape=(1, 8, 8), images=str(images), importance=False)
    v.save_image_set("sets-gone", "mine", ["00.png"])
    stored = "MATCH (s:ImageSet {model: 'sets-gone'}) RETURN s.name AS name ORDER BY name"
    assert v.cypher_text(stored).rows == (("mine",), ("one",), ("overall",), ("two",))
    v.drop("sets-gone")
    assert v.cypher_text(stored).rows == ()


def test_the_command_saves_lists_and_drops(v: VISCNN) -> None:
    first, second = score_paths(v)[:2]
    found = Cli().json("image-set", MODEL, "by command", first, second)
    assert (found["model"], found["name"], found["images"], found["scoreImages"]) == (MODEL, "by command", 2, 2)
    assert Cli().json("image-set", MODEL)["imageSets"] == v.image_sets(MODEL)
    assert "by command" in Cli().text("image-set", MODEL)
    assert Cli().json("query", '"by command" - overall', "--model", MODEL)["input"] == '"by command" - overall'
    assert Cli().text("image-set", MODEL, "by command", "--drop") == f"image set 'by command' of {MODEL} is removed\n"
    assert not any(each["own"] for each in v.image_sets(MODEL))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("mine",), "no images are given for image set 'mine'"),
        (("mine", "one/99.png"), "'one/99.png'"),
        (("mine", "--drop"), "no image set of your own called 'mine'"),
        (("mine", "one/00.png", "--drop"), "--drop removes a whole image set"),
        (("--drop",), "--drop removes a whole image set"),
        (("overall", "one/00.png"), "cannot be called 'overall'"),
    ],
)
def test_mistakes_of_the_command_are_one_line(v: VISCNN, arguments: tuple[str, ...], named: str) -> None:
    assert named in Cli().mistake("image-set", MODEL, *arguments)
    assert not any(each["own"] for each in v.image_sets(MODEL))


def test_processes_without_a_graph_are_told_of_them(v: VISCNN, server: Connection, home: Path, tmp_path: Path) -> None:
    v.save_image_set(MODEL, "told", score_paths(v)[:3])
    homes = [tmp_path / "with neo4j", tmp_path / "without"]
    for each in homes:
        each.mkdir()
        shutil.copy(home / "registry.json", each)
    envs = [surroundings(homes[0], server), surroundings(homes[1], None)]
    line = [MODEL, "told - overall", "--no-activate", "--json"]
    ended = ranks.machines(envs, [*ranks.COMMAND, *line])
    assert [(each.code, each.err) for each in ended] == [(0, "")] * 2
    (query,) = json.loads(ended[0].out)["queries"]
    assert query["query"] == v.query("told - overall", model=MODEL).uid
