"""Exemplars in a real Neo4j: stored whole or not at all, replaced, dropped; patches of them; the command."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from tests import toy
from viscnn import VISCNN, graph_exemplars
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.engine.extremes import extremes
from viscnn.engine.patches import GREY, patch
from viscnn.engine.receptive import ReceptiveField
from viscnn.errors import ImagesError, InputError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.graph_exemplars import save_exemplars
from viscnn.ingest.load import drop_model

MODEL = "excited"
FILTERS = 7


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("excited"))


@pytest.fixture(scope="module")
def v(server: Connection, pictures: Path) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, pictures) as session:
        yield session


def stored(graph: Graph, model: str = MODEL) -> tuple[int, int]:
    """Images and exemplars of a model in the graph."""
    text = (
        "MATCH (x:Image {model: $m}) OPTIONAL MATCH (x)<-[e:EXCITED_BY]-() RETURN count(DISTINCT x), count(e), "
        "count(DISTINCT CASE WHEN e IS NULL THEN x END)"
    )
    images, edges, unused = graph.fetch(text, {"m": model}, limit=1, timeout=9).rows[0]
    assert unused == 0
    return images, edges


# --- finding and storing -----------------------------------------------------------------------------------------


def test_the_exemplars_of_every_filter_are_stored(v: VISCNN, graph: Graph) -> None:
    report = v.find_exemplars(MODEL, count=3)
    assert (report.model, report.input, report.count, report.images, report.filters) == (MODEL, "overall", 3, 21, 7)
    assert (report.undecoded, report.not_finite) == ((), ())
    properties = v.model(MODEL)
    assert (properties["exemplars"], properties["exemplarImages"]) == (report.hash, 21)
    bundle = v.bundle(MODEL)
    expected = extremes(bundle, tuple(range(21)), 3, key="test").layers
    used = set()
    for layer, of in zip(bundle.architecture.layers, expected, strict=True):
        for channel in range(layer.filters):
            found = v.exemplars(f"{MODEL}/{layer.name}/{channel}")
            assert [each["rank"] for each in found] == [0, 1, 2, -1, -2, -3]
            items = [bundle.collection.items[index] for index in of.image[:, channel].ravel()]
            used |= {item.path for item in items}
            assert [each["path"] for each in found] == [item.path for item in items]
            assert [each["label"] for each in found] == [item.label for item in items]
            assert [each["hash"] for each in found] == [item.image_hash for item in items]
            assert [each["activation"] for each in found] == of.activation[:, channel].ravel().tolist()
            assert [each["row"] for each in found] == of.row[:, channel].ravel().tolist()
            assert [each["column"] for each in found] == of.column[:, channel].ravel().tolist()
    assert stored(graph) == (len(used), 6 * FILTERS)


def test_an_activation_is_that_of_the_map(v: VISCNN) -> None:
    v.find_exemplars(MODEL, count=3)
    for each in v.exemplars(f"{MODEL}/conv2/1"):
        values = v.activation(f"{MODEL}/conv2/1", each["path"])
        assert each["activation"] == pytest.approx(float(values[each["row"], each["column"]]), abs=1e-5)
        assert each["activation"] == pytest.approx(float(values.max() if each["rank"] >= 0 else values.min()), abs=1e-5)


def test_the_filters_of_an_image_are_those_that_have_it(v: VISCNN) -> None:
    v.find_exemplars(MODEL, count=3)
    expected = {}
    for layer in ("conv1", "conv2"):
        for channel in range(4 if layer == "conv1" else 3):
            for each in v.exemplars(f"{MODEL}/{layer}/{channel}"):
                expected[each["path"], f"{MODEL}/{layer}/{channel}", each["rank"]] = each["activation"]
    found = {
        (path, row["uid"], row["rank"]): row["activation"]
        for path in {path for path, _, _ in expected}
        for row in v.excited_filters(MODEL, path)
    }
    assert found == expected
    assert v.excited_filters(MODEL, "nobody.png") == []
    ranks = [row["rank"] for row in v.excited_filters(MODEL, max(expected)[0])]
    assert ranks == sorted(ranks, key=lambda rank: (rank < 0, abs(rank)))


def test_only_the_images_that_are_named_are_looked_at(v: VISCNN) -> None:
    report = v.find_exemplars(MODEL, count=2, input="ant - 2*bee", max_images=5)
    assert (report.input, report.images) == ("ant - 2*bee", 10)
    select = v.bundle(MODEL).collection.select
    chosen = {v.bundle(MODEL).collection.items[n].path for name in ("ant", "bee") for n in select(name, None, 5)}
    assert {each["path"] for each in v.exemplars(f"{MODEL}/conv1/0")} <= chosen
    few = v.find_exemplars(MODEL, count=9, input="ant", max_images=4)
    assert (few.count, few.images) == (4, 4)
    assert few.notes == ("there are only 4 images, so each filter has that many of each kind",)
    assert len(v.exemplars(f"{MODEL}/conv2/2")) == 8


def test_a_later_run_replaces_all_of_the_earlier_one(v: VISCNN, graph: Graph) -> None:
    first = v.find_exemplars(MODEL, count=5)
    before = v.exemplars(f"{MODEL}/conv1/0")
    second = v.find_exemplars(MODEL, count=1, input="cat")
    assert stored(graph)[1] == 2 * FILTERS
    assert first.hash != second.hash
    assert v.model(MODEL)["exemplars"] == second.hash
    third = v.find_exemplars(MODEL, count=5)
    assert third.hash == first.hash
    assert v.exemplars(f"{MODEL}/conv1/0") == before


def test_batches_make_no_difference(v: VISCNN, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    v.find_exemplars(MODEL, count=4)
    uids = [row["uid"] for row in v.filters(MODEL) if not row["inputChannel"]]
    expected, size = [v.exemplars(uid) for uid in uids], stored(graph)
    monkeypatch.setattr(graph_exemplars, "IMAGES_AT_ONCE", 2)
    monkeypatch.setattr(graph_exemplars, "EXEMPLARS_AT_ONCE", 3)
    v.find_exemplars(MODEL, count=4)
    assert [v.exemplars(uid) for uid in uids] == expected
    assert stored(graph) == size


@pytest.mark.parametrize("after", ["write/start_exemplars", "write/save_images", "write/save_exemplars"])
def test_exemplars_that_are_cut_off_are_not_shown(v: VISCNN, graph: Graph, after: str) -> None:
    whole = v.find_exemplars(MODEL, count=2)

    def cut(name: str, parameters: dict[str, Any], milliseconds: float) -> None:
        if name == after:
            raise KeyboardInterrupt

    with Graph(graph.connection, tracer=cut) as cutting, pytest.raises(KeyboardInterrupt):
        save_exemplars(cutting, MODEL, toy.exemplars(MODEL, v.bundle(MODEL).architecture))
    properties = v.model(MODEL)
    assert (properties["exemplars"], properties["exemplarImages"]) == (None, None)
    with pytest.raises(NotInGraph, match=f"no exemplars of model '{MODEL}' .* find them with: viscnn exemplars"):
        v.exemplars(f"{MODEL}/conv1/0")
    with pytest.raises(NotInGraph, match="viscnn exemplars"):
        v.excited_filters(MODEL, "1.png")
    assert v.find_exemplars(MODEL, count=2).hash == whole.hash
    assert stored(graph)[1] == 4 * FILTERS


@pytest.mark.parametrize("at", ["write/start_exemplars", "write/save_images", "write/save_exemplars"])
def test_of_two_writings_the_later_holds(v: VISCNN, graph: Graph, at: str) -> None:
    architecture = v.bundle(MODEL).architecture
    begun: list[str] = []

    def overtake(name: str, parameters: dict[str, Any], milliseconds: float) -> None:
        if name == at and not begun:
            begun.append(name)
            save_exemplars(graph, MODEL, toy.exemplars(MODEL, architecture, key="later", images=3))

    with (
        Graph(graph.connection, tracer=overtake) as earlier,
        pytest.raises(StoredDataError, match="another run stores the exemplars"),
    ):
        save_exemplars(earlier, MODEL, toy.exemplars(MODEL, architecture, key="earlier"))
    assert v.model(MODEL)["exemplars"] == "later"
    assert stored(graph) == (3, 6 * FILTERS)
    assert [each["path"] for each in v.exemplars(f"{MODEL}/conv2/0")] == [f"{n}.png" for n in (1, 2, 3, 3, 2, 1)]


def test_exemplars_of_filters_that_are_not_there_are_not_complete(v: VISCNN, graph: Graph) -> None:
    made = toy.exemplars(MODEL, v.bundle(MODEL).architecture)
    wrong = replace(made, rows=[{**row, "uid": row["uid"].replace("conv2", "conv9")} for row in made.rows])
    with pytest.raises(StoredDataError, match=r"28 exemplars were sent but 16 are stored; find them again"):
        save_exemplars(graph, MODEL, wrong)
    assert v.model(MODEL)["exemplars"] is None


def test_dropping_a_model_leaves_no_images(graph: Graph) -> None:
    before = toy.snapshot(graph)
    with toy.toy_graph(graph):
        assert stored(graph, "toy") == (2, 4 * FILTERS)
        with toy.stored(graph, "toy-2", toy.toy_network(), toy.SHAPE) as architecture:
            save_exemplars(graph, "toy-2", toy.exemplars("toy-2", architecture))
        assert stored(graph, "toy") == (2, 4 * FILTERS), "those of a model with a longer name are gone alone"
        drop_model(graph, "toy")
    assert toy.snapshot(graph) == before


def test_nothing_is_stored_for_a_model_that_is_gone_or_goes(graph: Graph) -> None:
    with toy.toy_graph(graph) as found:
        made = toy.exemplars("toy", found.architecture)
        graph.write("write/mark_dropping", model="toy")
        for model in ("toy", "gone"):
            with pytest.raises(NotInGraph, match=f"no complete model '{model}' is stored"):
                save_exemplars(graph, model, made)


# --- patches -----------------------------------------------------------------------------------------------------


def field(rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int]) -> ReceptiveField:
    """A unit that sees a box, but for what lies outside the image."""
    boxes = {
        name: (max(box[0], 0), min(box[1], length - 1))
        for name, box, length in zip(("rows", "columns"), (rows, columns), size, strict=True)
    }
    return ReceptiveField(
        layer="conv",
        channel=0,
        position=(0, 0),
        towards="input",
        size=size,
        unclipped_rows=rows,
        unclipped_columns=columns,
        pixels=1,
        **boxes,
    )


def literal(pixels: NDArray[np.uint8], rows: range, columns: range, seen: set[tuple[int, int]]) -> NDArray[np.uint8]:
    """Pixel by pixel."""
    out = np.zeros((len(rows), len(columns), *pixels.shape[2:]), dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[i, j] = pixels[row, column] if (row, column) in seen else GREY
    return out


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize(("rows", "columns"), [((1, 3), (1, 4)), ((-2, 1), (3, 6)), ((4, 7), (-1, 1))])
def test_a_patch_is_the_box_with_grey_outside_the_image(
    shape: tuple[int, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    box = field(rows, columns, (6, 5))
    lengths = {"rows": rows[1] - rows[0] + 1, "columns": columns[1] - columns[0] + 1}
    inside = {(r, c) for r in range(6) for c in range(5)}
    expected = literal(pixels, range(rows[0], rows[1] + 1), range(columns[0], columns[1] + 1), inside)
    assert (patch(pixels, box, **lengths) == expected).all()


def test_a_box_longer_than_the_image_shows_the_image_and_what_of_it_is_seen() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5), dtype=np.uint8)
    found = patch(pixels, field((-8, 3), (1, 3), (6, 5)), rows=12, columns=3)
    assert (found == literal(pixels, range(6), range(1, 4), {(r, c) for r in range(4) for c in range(5)})).all()


def test_what_a_unit_cannot_see_is_grey_and_a_smaller_box_is_filled_up() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5), dtype=np.uint8)
    seen = {(r, c) for r in (1, 2) for c in (1, 2, 3)}
    found = patch(pixels, replace(field((1, 3), (1, 3), (6, 5)), rows=(1, 2)), rows=4, columns=3)
    assert (found == literal(pixels, range(1, 5), range(1, 4), seen)).all()
    blind = patch(pixels, replace(field((-3, -1), (1, 3), (6, 5)), rows=None, columns=None), rows=3, columns=3)
    assert (blind == GREY).all()


def test_the_patches_of_a_filter_are_what_its_units_see(v: VISCNN, pictures: Path) -> None:
    v.find_exemplars(MODEL, count=4)
    for uid, side in ((f"{MODEL}/conv1/1", 3), (f"{MODEL}/conv2/2", 8)):
        for each in v.exemplars(uid):
            found = v.exemplar_patch(uid, each["rank"])
            assert found.shape == (side, side)
            unit = v.receptive_field(uid, (each["row"], each["column"]))
            (top, bottom), (left, right) = unit.unclipped_rows, unit.unclipped_columns
            assert (bottom - top + 1, right - left + 1) == (side, side)
            whole = np.asarray(Image.open(pictures / each["path"]))
            padded = np.pad(whole, 8, constant_values=GREY)
            expected = padded[top + 8 : bottom + 9, left + 8 : right + 9]
            assert (found == expected).all()


def test_a_patch_is_what_excites_the_filter(v: VISCNN) -> None:
    """The value comes out of the patch alone: weights times pixels, without the rest of the image."""
    v.find_exemplars(MODEL, count=4)
    convolution = v.bundle(MODEL).architecture.convolution(v.bundle(MODEL).architecture.layer("conv1"))
    assert convolution.bias is not None
    for each in v.exemplars(f"{MODEL}/conv1/2"):
        found = v.exemplar_patch(f"{MODEL}/conv1/2", each["rank"]).astype(float)
        row, column = each["row"], each["column"]
        inside = np.array(
            [[0 <= r < 8 and 0 <= c < 8 for c in range(column - 1, column + 2)] for r in range(row - 1, row + 2)]
        )
        values = np.where(inside, (found / 255 - 0.4) / 0.3, 0.0)
        total = float((convolution.weight[2, 0].detach().numpy() * values).sum() + convolution.bias[2].item())
        assert each["activation"] == pytest.approx(total, abs=1e-4)


def test_an_image_that_has_changed_or_gone_has_no_patch(server: Connection, tmp_path: Path) -> None:
    folder = toy.split_pictures(tmp_path / "pictures")
    other = toy.split_pictures(tmp_path / "other", seed=9)
    with toy.ingested(server, "changing", folder) as session:
        session.find_exemplars("changing", count=2, images=str(other))
        uid = "changing/conv1/0"
        assert session.exemplar_patch(uid, 0, images=str(other)).shape == (3, 3)
        with pytest.raises(ImagesError, match=r"is another one now: .* viscnn exemplars changing"):
            session.exemplar_patch(uid, 0)
        for file in other.rglob("*.png"):
            file.rename(file.with_stem(f"moved-{file.stem}"))
    with toy.ingested(server, "changing", folder) as session:
        session.find_exemplars("changing", count=2, images=str(other))
        with pytest.raises(ImagesError, match="is not there"):
            session.exemplar_patch(uid, 0)


# --- mistakes, and the command -----------------------------------------------------------------------------------


def test_mistakes_change_nothing(v: VISCNN, graph: Graph) -> None:
    report = v.find_exemplars(MODEL, count=2)
    before = stored(graph)
    for count in (0, -1, 101):
        with pytest.raises(InputError, match=f"count is {count}; a filter can have 1 to 100"):
            v.find_exemplars(MODEL, count=count)
    with pytest.raises(InputError, match="no image set or image is called 'dog'"):
        v.find_exemplars(MODEL, input="dog")
    with pytest.raises(InputError, match="has no exemplar of rank 2; its ranks are 0 to 1 and -1 to -2"):
        v.exemplar_patch(f"{MODEL}/conv1/0", 2)
    with pytest.raises(NotInGraph, match="there is no filter 'excited/conv1/9'"):
        v.exemplars(f"{MODEL}/conv1/9")
    with pytest.raises(NotInGraph, match="is an input channel, which has no exemplars"):
        v.exemplars(f"{MODEL}/input/gray")
    with pytest.raises(NotInGraph, match="did you mean excited"):
        v.find_exemplars("excite")
    assert v.model(MODEL)["exemplars"] == report.hash
    assert stored(graph) == before


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["exemplars", *arguments])


def test_the_command_finds_and_lists(v: VISCNN) -> None:
    result = run(MODEL, "--count", "2", "--max-images", "5", "--input", "cat", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["count"], found["images"], found["filters"], found["input"]) == (2, 5, FILTERS, "cat")
    assert found["exemplars"] == v.model(MODEL)["exemplars"]
    result = run(MODEL, "--filter", f"{MODEL}/conv2/1", "--json")
    assert json.loads(result.stdout) == {"filter": f"{MODEL}/conv2/1", "exemplars": v.exemplars(f"{MODEL}/conv2/1")}
    path = v.exemplars(f"{MODEL}/conv2/1")[0]["path"]
    result = run(MODEL, "--image", path, "--json")
    assert json.loads(result.stdout) == {"image": path, "filters": v.excited_filters(MODEL, path)}
    assert path in run(MODEL, "--filter", f"{MODEL}/conv2/1").stdout
    assert "no filter has nobody.png among its exemplars" in run(MODEL, "--image", "nobody.png").stdout
    assert f"{MODEL}: the 9 images of largest and of smallest pre-activation of 7 filters" in run(MODEL).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("excite",), "did you mean excited"),
        ((MODEL, "--count", "0"), "count is 0; a filter can have 1 to 100"),
        ((MODEL, "--input", "antt"), "did you mean ant"),
        ((MODEL, "--images", "nowhere"), "nowhere"),
        ((MODEL, "--filter", "other/conv1/0"), "is no filter of model 'excited'"),
        ((MODEL, "--filter", "excited/conv1/99"), "there is no filter 'excited/conv1/99'"),
        ((MODEL, "--filter", "excited/conv1/0", "--count", "3"), "--count is for finding exemplars"),
        ((MODEL, "--filter", "excited/conv1/0", "--image", "a.png"), "give one of them"),
        (("excite", "--image", "a.png"), "did you mean excited"),
    ],
)
def test_bad_input_is_one_line(v: VISCNN, arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("viscnn: ")]
    assert len(lines) == 1, result.stderr
    assert said in lines[0]
    assert json.loads(result.stdout) == {"error": lines[0].removeprefix("viscnn: "), "exitCode": 2}
