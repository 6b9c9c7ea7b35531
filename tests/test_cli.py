"""Commands in-process on the real managed server: one JSON object on stdout, one line per error, exit codes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from viscnn.cli import app, main
from viscnn.config import Connection
from viscnn.graph import Graph

TOY_MODEL = """
from torch import nn
import torch

def noisy():
    print("hello from the user's file")
    return tiny()

def tiny():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))

def summing():
    class Summing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
        def forward(self, x):
            return torch.cumsum(self.conv(x), 2)
    return Summing()

def transposed():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 3))
"""


class Cli:
    """Runs `viscnn` with arguments and checks the contract that every command keeps."""

    def json(self, *arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)  # type: ignore[no-any-return]

    def text(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    def mistake(self, *arguments: str) -> str:
        """The one error line of a command that fails with exit code 2."""
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 2, result.output
        lines = [line for line in result.stderr.splitlines() if line.startswith("viscnn: ")]
        assert len(lines) == 1, result.stderr
        assert "Traceback" not in result.output
        assert json.loads(result.stdout) == {"error": lines[0].removeprefix("viscnn: "), "exitCode": 2}
        return lines[0]


@pytest.fixture(scope="module")
def cli(server: Connection) -> Iterator[Cli]:
    runner = Cli()
    runner.json("ingest", "mnist")
    yield runner
    runner.json("drop", "mnist")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "tiny_model.py"
    file.write_text(TOY_MODEL)
    return file


@pytest.fixture
def unchanged(graph: Graph) -> Iterator[None]:
    """The graph holds the same before and after the test."""
    before = snapshot(graph)
    yield
    assert snapshot(graph) == before


def snapshot(graph: Graph) -> list[tuple[Any, ...]]:
    nodes = "MATCH (n) RETURN labels(n)[0] AS kind, count(*) AS n, sum(size(keys(n))) AS properties ORDER BY kind"
    edges = (
        "MATCH ()-[r]->() RETURN type(r) AS kind, count(*) AS n, sum(coalesce(r.score, 0)) AS scores, "
        "sum(coalesce(r.importance, 0)) AS importance ORDER BY kind"
    )
    return [row for text in (nodes, edges) for row in graph.fetch(text, {}, limit=100, timeout=30).rows]


def test_models_lists_the_ingested_model(cli: Cli) -> None:
    (found,) = [each for each in cli.json("models")["models"] if each["name"] == "mnist"]
    assert (found["status"], found["layers"], found["filters"]) == ("complete", 4, 104)
    assert "mnist" in cli.text("models")


def test_ingest_again_is_a_no_op(cli: Cli) -> None:
    again = cli.json("ingest", "mnist")
    assert again["alreadyComplete"]
    assert (again["model"], again["filters"], again["kernels"]) == ("mnist", 104, 2192)


def test_the_graph_holds_every_kernel(cli: Cli) -> None:
    table = cli.json("cypher", "--text", "MATCH (:Filter {model: 'mnist'})-[k:KERNEL]->() RETURN count(k) AS kernels")
    assert table == {"columns": ["kernels"], "rows": [[2192]], "truncated": False}


def test_replay_is_exact(cli: Cli) -> None:
    report = cli.json("replay", "mnist")
    assert report["layers"] == 4
    assert report["maxRelativeError"] <= 1e-5


def test_query_prints_top_filters_and_kernels_of_each_layer(cli: Cli) -> None:
    report = cli.json("query", "three - overall", "--model", "mnist", "--max-images", "40", "--top", "3")
    assert len(report["filters"]) == 12
    assert len(report["kernels"]) == 12
    assert {"uid", "score"} <= report["filters"][0].keys()
    assert {"source", "target", "input", "score"} <= report["kernels"][0].keys()
    assert {"images", "scores", "write", "activate"} == report["seconds"].keys()
    assert report["activated"]
    (active,) = [each for each in cli.json("models")["models"] if each["name"] == "mnist"]
    assert active["activeQuery"] == report["query"]


def test_printed_scores_are_the_stored_ones(cli: Cli) -> None:
    report = cli.json("query", "seven", "--model", "mnist", "--max-images", "20", "--top", "1")
    for kernel in report["kernels"]:
        text = "MATCH (a:Filter {uid: $a})-[k:KERNEL]->(:Filter {uid: $b}) RETURN k.score, k.input"
        table = cli.json("cypher", "--text", text, f"a={kernel['source']}", f"b={kernel['target']}")
        assert table["rows"] == [[kernel["score"], kernel["input"]]]


def test_no_activate_leaves_the_active_query(cli: Cli) -> None:
    first = cli.json("query", "one", "--model", "mnist", "--max-images", "20")["query"]
    second = cli.json("query", "two", "--model", "mnist", "--max-images", "20", "--no-activate")
    (found,) = [each for each in cli.json("models")["models"] if each["name"] == "mnist"]
    assert found["activeQuery"] == first
    assert not second["activated"]
    assert cli.json("activate", second["query"])["kernels"] == 2192
    assert [each["uid"] for each in cli.json("queries", "--model", "mnist")["queries"] if each["active"]] == [
        second["query"]
    ]


def test_circuit_carries_its_evidence_and_comes_back_as_paths(cli: Cli) -> None:
    found = cli.json(
        *("circuit", "mnist/conv3/5", "--model", "mnist", "--input", "five"),
        *("--keep", "0.2", "--max-images", "50", "--check-images", "40"),
    )
    keys = {"circuit", "kernels", "filters", "keptFraction", "pearson", "pearsonRandom", "pearsonWorst", "nanCount"}
    assert keys <= found.keys()
    assert found["checkImages"] == 40
    assert 0 < found["kernels"] <= found["askedKernels"] == round(0.2 * found["upstreamKernels"])
    assert found["pearson"] > found["pearsonWorst"]
    paths = cli.json("cypher", "circuit_paths", f"uid={found['circuit']}", "limit=5")
    assert paths["columns"] == ["path"]
    nodes = [node["properties"]["uid"] for node in paths["rows"][0][0]["nodes"]]
    assert nodes[0] == "mnist/input/gray"
    assert nodes[-1] == "mnist/conv3/5"
    assert [each["uid"] for each in cli.json("circuits", "--model", "mnist")["circuits"]] == [found["circuit"]]


def test_filter_shows_its_kernels(cli: Cli) -> None:
    found = cli.json("filter", "mnist/conv2/3", "--top", "4")
    assert found["filter"]["layer"] == "conv2"
    assert len(found["kernels"]) == 4
    assert len(found["kernels"][0]["weights"]) == 9


def test_cypher_catalogue_and_parameters(cli: Cli) -> None:
    names = [each["name"] for each in cli.json("cypher", "--list")["queries"]]
    assert "read/top_kernels" in names
    assert not [name for name in names if not name.startswith("read/")]
    table = cli.json("cypher", "layers", "model=mnist", "--limit", "2")
    assert table["truncated"]
    assert len(table["rows"]) == 2


def test_a_file_with_weights_classes_and_images(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    for label in ("bright", "dark"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(8):
            level = number * 10 + (150 if label == "bright" else 0)
            pixels = np.full((8, 8), level, dtype=np.uint8)
            pixels[number] = 255 - level
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    (tmp_path / "images" / "bright" / "broken.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    torch.manual_seed(1)
    weights = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "2.weight": (3, 4, 3, 3), "2.bias": (3,)}
    weights |= {"5.weight": (2, 48), "5.bias": (2,)}
    arrays: dict[str, Any] = {key: torch.randn(shape).numpy() for key, shape in weights.items()}
    np.savez(tmp_path / "w.npz", **arrays)
    report = cli.json(
        *("ingest", f"{model_file}:tiny", "--name", "tiny", "--input", "1x8x8", "--weights", str(tmp_path / "w.npz")),
        *("--images", str(tmp_path / "images"), "--classes", str(tmp_path / "classes.txt"), "--mean", "0.5"),
    )
    try:
        assert (report["filters"], report["kernels"]) == (7, 16)
        found = cli.json("query", "bright - dark", "--model", "tiny", "--output", "class:bright")
        assert found["output"] == "class:bright"
        sets = cli.json("cypher", "image_sets", "model=tiny")["rows"]
        assert [row[:2] for row in sets] == [["overall", 16], ["bright", 8], ["dark", 8]]
    finally:
        cli.json("drop", "tiny")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "alexnett"), "did you mean alexnet"),
        (("ingest", "{file}:tinny", "--input", "1x8x8"), "did you mean tiny"),
        (("ingest", "missing.py:tiny"), "missing.py"),
        (("ingest", "{file}:tiny", "--input", "8x8"), "3x224x224"),
        (("ingest", "{file}:tiny", "--input", "1x9x9"), "--input"),
        (("ingest", "{file}:summing", "--input", "1x8x8"), "cumsum"),
        (("ingest", "{file}:transposed", "--input", "1x8x8"), "ConvTranspose2d"),
        (("ingest", "mnist", "--weights", "{wrong}", "--name", "other"), "conv1.weight"),
        (("ingest", "mnist", "--weights", "{evil}", "--name", "other"), "refused"),
        (("ingest", "mnist", "--weights", "nowhere.pt", "--name", "other"), "nowhere.pt"),
        (("ingest", "mnist", "--name", "a/b"), "a/b"),
        (("query", "three -", "--model", "mnist"), "expected"),
        (("query", "threee", "--model", "mnist"), "three"),
        (("query", "three * two", "--model", "mnist"), "*"),
        (("query", "three", "--model", "mnistt"), "did you mean mnist"),
        (("query", "three", "--model", "mnist", "--output", "class:eleven"), "eleven"),
        (("query", "three", "--model", "mnist", "--output", "filter:mnist/conv4/99"), "0 to 31"),
        (("query", "three", "--model", "mnist", "--output", "filter:mnist/conv9/1"), "conv4"),
        (("query", "three", "--model", "mnist", "--criterion", "tailor"), "did you mean taylor"),
        (("query", "three", "--model", "mnist", "--images", "{empty}"), "{empty}"),
        (("query", "overall", "--model", "mnist", "--images", "{corrupt}"), "{corrupt}"),
        (("circuit", "mnist/conv4/99", "--model", "mnist"), "0 to 31"),
        (("circuit", "mnist/conv4/1", "--model", "mnist", "--keep", "1.5"), "1.5"),
        (("circuit", "mnist/conv4/1", "--model", "mnist", "--ablation", "none"), "zero, mean, resample"),
        (("circuit", "mnist/conv4/1", "--model", "mnist", "--scale", "summ"), "did you mean sum"),
        (("drop", "mnistt"), "mnist"),
        (("activate", "mnist/query/000000000000"), "000000000000"),
        (("filter", "mnist/conv2/999"), "mnist/conv2/999"),
        (("cypher", "top_kernel"), "did you mean top_kernels"),
        (("cypher", "top_kernels", "models=mnist"), "models"),
        (("cypher", "top_kernels", "mnist"), "KEY=VALUE"),
        (("cypher", "drop_nodes", "model=mnist"), "writes"),
        (("cypher", "--text", "MATCH (n) DETACH DELETE n"), "read"),
        (("cypher", "--text", "MATCH (n RETURN n"), "Invalid input"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    cli: Cli, model_file: Path, bad_files: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    files = {"file": str(model_file), **bad_files}
    line = cli.mistake(*(argument.format(**files) for argument in arguments))
    assert said.format(**files) in line
    assert not Path(bad_files["proof"]).exists()


class Evil:
    """A pickle that would write a file when loaded."""

    def __init__(self, proof: str) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (shutil.copyfile, (__file__, self.proof))


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("bad")
    files = {"proof": str(root / "proof.txt")}
    torch.save({"conv1.weight": Evil(files["proof"])}, root / "evil.pt")
    from viscnn.ingest.bundled.nets import mnist

    wrong = mnist().state_dict()
    wrong["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    torch.save(wrong, root / "wrong.pt")
    (root / "empty").mkdir()
    (root / "corrupt" / "three").mkdir(parents=True)
    (root / "corrupt" / "three" / "a.png").write_bytes(b"not an image")
    files |= {"evil": str(root / "evil.pt"), "wrong": str(root / "wrong.pt")}
    return files | {"empty": str(root / "empty"), "corrupt": str(root / "corrupt")}


def test_neo4j_down_and_wrong_password(cli: Cli, server: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    assert "no Neo4j answers at bolt://127.0.0.1:1" in cli.mistake("models")
    monkeypatch.setenv("NEO4J_URI", server.uri)
    monkeypatch.setenv("NEO4J_PASSWORD", "wrong-password")
    assert "NEO4J_PASSWORD" in cli.mistake("models")
    monkeypatch.setenv("NEO4J_URI", "http://127.0.0.1")
    assert "http://127.0.0.1" in cli.mistake("models")


def test_server_status_names_the_password_file_and_not_the_password(cli: Cli, server: Connection) -> None:
    status = cli.json("server", "status")
    assert status["uri"] == server.uri
    assert Path(status["passwordFile"]).read_text().strip() == server.password
    assert server.password not in cli.text("server", "status")
    assert cli.json("server", "shell-env")["NEO4J_PASSWORD"] == server.password


def test_class_names_must_fit_the_logits(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("one\ntwo\nthree\n")
    line = cli.mistake("ingest", f"{model_file}:tiny", "--input", "1x8x8", "--classes", str(tmp_path / "classes.txt"))
    assert "3 class names" in line
    assert "2 logits" in line


def test_bad_images_store_no_model(cli: Cli, model_file: Path, bad_files: dict[str, str]) -> None:
    line = cli.mistake("ingest", f"{model_file}:tiny", "--input", "1x8x8", "--images", bad_files["corrupt"])
    assert bad_files["corrupt"] in line
    assert "tiny" not in [each["name"] for each in cli.json("models")["models"]]


def test_what_a_model_file_prints_does_not_reach_standard_output(cli: Cli, model_file: Path) -> None:
    assert cli.json("ingest", f"{model_file}:noisy", "--input", "1x8x8")["model"] == "noisy"
    cli.json("drop", "noisy")


def test_the_same_ingest_again_keeps_images_and_other_settings_are_refused(
    cli: Cli, model_file: Path, tmp_path: Path
) -> None:
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for number in range(6):
            level = np.full((8, 8), number * 30, dtype=np.uint8)
            level[number] = 255
            Image.fromarray(level).save(tmp_path / label / f"{label}{number}.png")
    (tmp_path / "two" / "broken.png").write_bytes(b"broken")
    same = ("ingest", f"{model_file}:tiny", "--name", "again", "--input", "1x8x8")
    first = cli.json(*same, "--images", str(tmp_path))
    assert any("1 files" in note and "broken.png" in note for note in first["notes"])
    try:
        assert cli.json(*same)["alreadyComplete"]
        scored = cli.json("query", "one", "--model", "again", "--output", "layer:0")
        assert any("broken.png" in warning for warning in scored["warnings"])
        assert "preprocess" in cli.mistake(*same, "--mean", "0.5")
        (tmp_path / "two").rename(tmp_path / "three")
        cli.json(*same, "--images", str(tmp_path))
        sets = [row[0] for row in cli.json("cypher", "image_sets", "model=again")["rows"]]
        assert sets == ["overall", "one", "three"]
        text = "MATCH (m:Model {name: 'again'}) MATCH (:Query {uid: m.importanceQuery})-[s:SCORED]->(f) "
        rows = cli.json("cypher", "--text", text + "RETURN s.score, f.importance")["rows"]
        assert len(rows) == 7
        assert all(score == importance for score, importance in rows)
    finally:
        cli.json("drop", "again")


def test_a_filter_has_the_active_query_s_scores(cli: Cli) -> None:
    report = cli.json("query", "nine", "--model", "mnist", "--max-images", "20", "--top", "1")
    best = next(each for each in report["filters"] if each["layer"] == "conv2")
    found = cli.json("filter", best["uid"])
    assert found["filter"]["score"] == best["score"]
    assert found["kernels"][0]["score"] == max(each["score"] for each in found["kernels"])
    assert "nope" in cli.mistake("filter", best["uid"], "--query", "nope")


@pytest.mark.parametrize(
    "arguments", [("query", "one"), ("query", "one", "-m", "x", "--max-images", "-1"), ("nothing",)]
)
def test_a_wrong_call_is_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["viscnn", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert json.loads(printed.out) == {"error": printed.err.strip().removeprefix("viscnn: "), "exitCode": 2}
