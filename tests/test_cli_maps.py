"""Commands about maps and subgraphs against the API: `viscnn activation`, `viscnn kernel-maps`, `viscnn subgraph`."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import toy
from tests.test_cli import Cli
from viscnn import VISCNN
from viscnn.colours import diverging
from viscnn.config import Connection

MODEL = "mapped"
UID = f"{MODEL}/conv2/1"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("mapped"))) as session:
        session.query("ant", model=MODEL)
        yield session


def test_an_activation_map_is_told_and_written(v: VISCNN, tmp_path: Path) -> None:
    path, values, picture = v.image_paths(MODEL)[0], tmp_path / "map.npy", tmp_path / "map.PNG"
    wanted = v.activation(UID, path)
    found = Cli().json("activation", UID, path, "--out", str(values))
    assert (found["uid"], found["image"], found["size"], found["file"]) == (UID, path, [4, 4], str(values))
    assert [found[key] for key in ("min", "max", "mean")] == pytest.approx([wanted.min(), wanted.max(), wanted.mean()])
    row, column = found["largest"]["row"], found["largest"]["column"]
    assert wanted[row, column] == wanted.max()
    assert found["receptiveField"] == v.receptive_field(UID, (row, column)).facts()
    np.testing.assert_array_equal(np.load(values), wanted)
    shown = Cli().text("activation", UID, path, "--out", str(picture))
    for part in (
        f"{UID} on {path}: 4 x 4, {wanted.min():.4g} to",
        f"largest at {row},{column}",
        f"written to {picture}",
    ):
        assert part in shown
    cells = np.asarray(Image.open(picture))
    assert cells.shape == (256, 256, 3)
    np.testing.assert_array_equal(cells[32::64, 32::64], diverging(wanted, float(np.abs(wanted).max())))


def test_a_map_of_a_file_is_that_of_its_picture(v: VISCNN, tmp_path: Path) -> None:
    path, copy = v.image_paths(MODEL)[1], tmp_path / "my own.png"
    Image.fromarray(np.asarray(v.image(MODEL, path))).save(copy)
    assert Cli().json("activation", UID, str(copy))["max"] == Cli().json("activation", UID, path)["max"]


def test_the_maps_of_a_kernel_are_told_and_written(v: VISCNN, tmp_path: Path) -> None:
    path, source, file = v.image_paths(MODEL)[0], f"{MODEL}/conv1/2", tmp_path / "maps.npz"
    (wanted,) = v.kernel_maps([(source, UID)], path)
    found = Cli().json("kernel-maps", source, UID, path, "--out", str(file))
    for name, values in (("input", wanted.input), ("edge", wanted.edge)):
        assert found[name]["size"] == [4, 4]
        assert found[name]["mean"] == pytest.approx(float(values.mean(dtype=np.float64)))
        np.testing.assert_array_equal(np.load(file)[name], values)
    alone = tmp_path / "edge.npy"
    assert f"edge map 4 x 4, {wanted.edge.min():.4g} to" in Cli().text(
        "kernel-maps", source, UID, path, "--out", str(alone)
    )
    np.testing.assert_array_equal(np.load(alone), wanted.edge)


def test_a_subgraph_is_told_and_written(v: VISCNN, tmp_path: Path) -> None:
    query, file = v.queries(MODEL)[0]["uid"], tmp_path / "kernels.csv"
    wanted = v.subgraph(query, keep=0.5)
    uids = wanted.filters["uid"].tolist()
    found = Cli().json("subgraph", query, "--keep", "0.5", "--top", "3", "--out", str(file))
    assert (found["kernels"], found["total"], found["model"]) == (len(wanted.kernels), 16, MODEL)
    assert found["scoreShare"] == pytest.approx(wanted.score_share)
    assert [each["score"] for each in found["top"]] == wanted.kernels["score"].tolist()[:3]
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    ends = [(uids[row["source"]], uids[row["target"]]) for row in wanted.kernels.to_dict("records")]
    assert [(row["source"], row["target"]) for row in rows] == ends
    assert [float(row["score"]) for row in rows] == pytest.approx(wanted.kernels["score"].tolist())
    names = {-1: "inhibitory", 0: "mixed", 1: "excitatory"}
    assert [row["sign"] for row in rows] == [names[sign] for sign in wanted.kernels["sign"]]
    shown = Cli().text("subgraph", query, "--share", "0.9", "--limit", "2")
    few = v.subgraph(query, share=0.9, limit=2)
    assert f"2 of 16 kernels, {few.score_share:.1%} of the total score; {few.left_out} left out by --limit" in shown
    assert ends[0][0] in shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("activation", f"{MODEL}/conv2/9", "{path}"), "has filters 0 to 2, and no '9'"),
        (("activation", UID, "no/such.png"), "no/such.png"),
        (("activation", UID, "{path}", "--out", "map.jpg"), "ends in .npy or .png"),
        (("activation", UID, "{path}", "--out", "/no/such/folder/map.npy"), "cannot write"),
        (("activation", "nothing/conv/1", "{path}"), "no model 'nothing'"),
        (("kernel-maps", f"{MODEL}/conv2/0", UID, "{path}"), "no kernel leads from"),
        (("kernel-maps", f"{MODEL}/conv1/0", UID, "{path}", "--out", "maps"), "ends in .npy or .npz or .png"),
        (("subgraph", f"{MODEL}/query/none"), "no complete query"),
        (("subgraph", "{query}", "--keep", "0"), "kept fraction 0.0"),
        (("subgraph", "{query}", "--out", "kernels.txt"), "ends in .csv"),
    ],
)
def test_mistakes_are_one_line(v: VISCNN, arguments: tuple[str, ...], named: str) -> None:
    known = {"path": v.image_paths(MODEL)[0], "query": v.queries(MODEL)[0]["uid"]}
    assert named in Cli().mistake(*(each.format(**known) for each in arguments))
