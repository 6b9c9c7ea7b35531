"""Diagrams of stored circuits: what is drawn is what the graph holds; files; pictures; the command."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests import page_nets
from viscnn.api import VISCNN
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.diagram.kinds import FilterPicture
from viscnn.diagram.layout import IDENTITY
from viscnn.diagram.pictures import thumbnail
from viscnn.errors import ConfigError, InputError, NotInGraph

MODEL = "branching"


@pytest.fixture(scope="module")
def viscnn(server: Connection) -> Iterator[VISCNN]:
    """A session with a model of sums, a concatenation and branches, and the bundled one."""
    with VISCNN(server) as opened:
        opened.ingest(f"{page_nets.SOURCE}:branching", input_shape=(1, 28, 28), images="bundled:mnist", heads=True)
        opened.ingest("mnist", importance=False)
        yield opened
        opened.drop(MODEL)
        opened.drop("mnist")


@pytest.fixture(scope="module")
def circuit(viscnn: VISCNN) -> str:
    report = viscnn.circuit("class:#3", model=MODEL, keep=0.4, max_images=10, check_images=30)
    return report.uid


def counts(viscnn: VISCNN, uid: str) -> dict[str, int]:
    """Filters, kernels and identities of a circuit, by Cypher."""
    text = """
    MATCH (c:Circuit {uid: $uid})-[i:INCLUDES]->(b:Filter)<-[k:KERNEL|IDENTITY]-(a:Filter)
    WHERE k.input IN i.kernelInputs
    WITH collect(DISTINCT a.uid) + collect(DISTINCT b.uid) AS ends,
      sum(CASE WHEN k:KERNEL THEN 1 ELSE 0 END) AS kernels, sum(CASE WHEN k:IDENTITY THEN 1 ELSE 0 END) AS identities
    UNWIND ends AS end
    RETURN count(DISTINCT end) AS filters, kernels, identities
    """
    table = viscnn.cypher_text(text, {"uid": uid})
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_what_is_drawn_is_what_the_graph_holds(viscnn: VISCNN, circuit: str) -> None:
    found = viscnn.circuit_diagram(circuit)
    kernels = sum(edge.sign != IDENTITY for edge in found.edges)
    drawn = {"filters": len(found.filters), "kernels": kernels, "identities": len(found.edges) - kernels}
    assert drawn == counts(viscnn, circuit)
    assert drawn["identities"] > 3
    assert kernels == viscnn.circuits(MODEL)[0]["kernels"]
    kernels_of, sums_of = (viscnn.cypher(name, {"uid": circuit}) for name in ("circuit_kernels", "circuit_identities"))
    rows = [dict(zip(table.columns, row, strict=True)) for table in (kernels_of, sums_of) for row in table.rows]
    stored = {(row["source"], row["target"], row["input"]): row for row in rows}
    for edge in found.edges:
        row = stored.pop((found.filters[edge.source].uid, found.filters[edge.target].uid, edge.input))
        assert edge.score == pytest.approx(row["score"])
        assert edge.sign == {"excitatory": 1, "mixed": 0, "inhibitory": -1, None: IDENTITY}[row.get("sign")]
    assert stored == {}


def test_columns_follow_the_network(viscnn: VISCNN, circuit: str) -> None:
    found = viscnn.circuit_diagram(circuit)
    order = {layer["name"]: (layer["depth"], layer["branch"]) for layer in viscnn.layers(MODEL)}
    places = [order[column.layer] for column in found.columns]
    assert places == sorted(places)
    assert {"block.left", "block.right", "block.add", "wide", "narrow"} <= {each.layer for each in found.columns}
    kinds = {each.layer: each.kind for each in found.filters}
    assert (kinds["input"], kinds["block.add"], kinds["wide"]) == ("input", "sum", "filter")
    assert [each.uid for each in found.filters if each.target] == [f"{MODEL}/head/3"]
    assert found.crossings < found.crossings_by_channel


def test_a_kernel_picture_shows_the_stored_weights(viscnn: VISCNN, circuit: str) -> None:
    found = viscnn.circuit_diagram(circuit)
    assert len(found.pictures) + found.without_place == found.kernels
    for picture in found.pictures[:10]:
        edge = found.edges[picture.edge]
        rows = viscnn.incoming_kernels(found.filters[edge.target].uid, limit=99)
        (weights,) = [row["weights"] for row in rows if row["input"] == edge.input]
        assert picture.weights.flatten().tolist() == weights


def test_of_a_large_circuit_only_so_many_are_drawn(viscnn: VISCNN, circuit: str) -> None:
    whole, part = viscnn.circuit_diagram(circuit), viscnn.circuit_diagram(circuit, limit=15)
    assert len(part.filters) <= 15
    assert part.filters_left_out == len(whole.filters) - len(part.filters) > 0
    assert f"{part.filters_left_out} filters of the circuit left out" in part.caption
    facts = part.facts()
    assert facts["kernels"] + facts["kernelsLeftOut"] == whole.kernels
    assert facts["identities"] + facts["identitiesLeftOut"] == len(whole.edges) - whole.kernels
    targets, sources = ({getattr(edge, end) for edge in part.edges} for end in ("target", "source"))
    for row, each in enumerate(part.filters):
        assert row in targets or each.kind == "input"
        assert row in sources or each.target


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_kernels_then_visualisations_then_exemplars(viscnn: VISCNN) -> None:
    uids = gray, first, second = "mnist/input/gray", "mnist/conv1/3", "mnist/conv2/4"
    kernels = viscnn.filter_pictures("mnist", uids)
    assert {uid: each.kind for uid, each in kernels.items()} == {first: "kernels"}  # it reads the image
    viscnn.find_exemplars("mnist", max_images=20, count=1)
    patches = {uid: FilterPicture(thumbnail(viscnn.exemplar_patch(uid, 0)), "exemplar") for uid in (first, second)}
    assert viscnn.filter_pictures("mnist", uids) == kernels | {second: patches[second]}
    assert viscnn.filter_pictures("mnist", uids, kinds=["exemplar", "kernels"]) == patches
    rendered = FilterPicture(thumbnail(viscnn.visualize(second).image), "network")
    assert viscnn.filter_pictures("mnist", uids) == kernels | {second: rendered}
    small = viscnn.circuit(second, model="mnist", keep=0.5, max_images=10, check_images=10).uid
    from_circuit = FilterPicture(thumbnail(viscnn.visualize(second, circuit=small).image), "circuit")
    assert viscnn.filter_pictures("mnist", uids, circuit=small) == kernels | {second: from_circuit}
    assert len({*kernels.values(), *patches.values(), rendered, from_circuit}) == 5
    assert viscnn.filter_pictures("mnist", [gray]) == {}
    unknown: Any = ["photograph"]
    with pytest.raises(InputError, match="one of kernels, circuit, network, exemplar"):
        viscnn.filter_pictures("mnist", uids, kinds=unknown)


def test_nothing_is_rendered_for_a_diagram(viscnn: VISCNN, circuit: str, home: Path) -> None:
    before = sorted(home.rglob("*.png"))
    uids = [each.uid for each in viscnn.circuit_diagram(circuit).filters]
    found = viscnn.filter_pictures(MODEL, uids, circuit=circuit)
    assert found.keys() == {uid for uid in uids if uid.startswith(f"{MODEL}/stem/")}
    assert sorted(home.rglob("*.png")) == before


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["svg", "PNG", "html"])
def test_a_diagram_is_saved_by_the_ending_of_its_file(
    viscnn: VISCNN, circuit: str, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"a figure.{ending}"
    facts = viscnn.save_diagram(circuit, file, scale=0.5)
    assert facts["filters"] == len(viscnn.circuit_diagram(circuit).filters)
    uids = [each.uid for each in viscnn.circuit_diagram(circuit).filters]
    pictured = len(viscnn.filter_pictures(MODEL, uids, circuit=circuit))
    assert facts["pictures"] == pictured > 0
    assert facts["pictureKinds"] == {"kernels": pictured, "circuit": 0, "network": 0, "exemplar": 0}
    assert facts["caption"].endswith(f"; filters drawn: {pictured} by their kernels")
    content = file.read_bytes()
    if ending == "PNG":
        assert Image.open(io.BytesIO(content)).width > 300
    elif ending == "svg":
        assert ElementTree.fromstring(content).tag.endswith("svg")
    else:
        assert content.startswith(b"<!doctype html>")


def test_what_cannot_be_drawn_is_refused_in_one_line(viscnn: VISCNN, circuit: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg, \.png or \.html"):
        viscnn.save_diagram(circuit, tmp_path / "figure.pdf")
    with pytest.raises(ConfigError, match="cannot write"):
        viscnn.save_diagram(circuit, tmp_path / "nowhere" / "figure.svg")
    with pytest.raises(NotInGraph, match="viscnn circuits"):
        viscnn.circuit_diagram(f"{MODEL}/circuit/absent")
    with pytest.raises(InputError, match="at most 1 filters"):
        viscnn.circuit_diagram(circuit, limit=1)
    broken: Any = "pdf"
    with pytest.raises(InputError, match="no 'pdf'"):
        viscnn.draw_diagram(viscnn.circuit_diagram(circuit), broken)


def style(file: Path) -> str:
    """The style sheet that a drawing is dressed by."""
    (sheet,) = [each for each in ElementTree.parse(file).iter() if each.tag.endswith("}style")]
    return sheet.text or ""


def test_safe_colours_are_in_every_file(viscnn: VISCNN, circuit: str, tmp_path: Path) -> None:
    files = {safe: tmp_path / f"{safe}.svg" for safe in (False, True)}
    for safe, file in files.items():
        viscnn.save_diagram(circuit, file, safe=safe)
    assert [".edge.excitatory{stroke:#d55e00}" in style(files[safe]) for safe in (False, True)] == [False, True]
    diagram = viscnn.circuit_diagram(circuit)
    images = [viscnn.draw_diagram(diagram, "png", safe=safe, scale=0.5) for safe in (False, True)]
    assert images[0] != images[1]
    assert Image.open(io.BytesIO(images[0])).size == Image.open(io.BytesIO(images[1])).size


def test_the_command(viscnn: VISCNN, circuit: str, tmp_path: Path) -> None:
    file = tmp_path / "figure.svg"
    done = CliRunner().invoke(app, ["diagram", circuit, "--out", str(file), "--no-pictures", "--dark", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["file"], facts["pictures"]) == (str(file), 0)
    assert facts["kernels"] == viscnn.circuit_diagram(circuit).kernels
    assert "#0e1117" in file.read_text()
    assert "stroke:#ff6f61}" in style(file)
    done = CliRunner().invoke(app, ["diagram", circuit, "--out", str(file), "--safe", "--dark"])
    assert done.exit_code == 0, done.output
    assert "stroke:#e69f00}" in style(file)
    said = CliRunner().invoke(app, ["diagram", circuit, "--out", str(file)])
    assert f"{facts['filters']} filters, {facts['kernels']} kernels" in " ".join(said.stdout.split())
