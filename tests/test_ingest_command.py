"""`viscnn ingest` with its options for heads and parts of models: what it prints, asks, stores and refuses."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import toy
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.graph import Graph
from viscnn.ingest import load

TOY = ["ingest", toy.SOURCE, "--name", "command", "--weights", "random", "--input", "1x8x8"]
ASKED = """
import sys
from viscnn.cli import main
from viscnn.ingest import load
load.MANY_KERNELS = 20
main()
"""


@pytest.fixture(autouse=True)
def unchanged(graph: Graph) -> Iterator[None]:
    """Whatever a test stores is removed, and then there is nothing else."""
    before = toy.snapshot(graph)
    yield
    load.drop_model(graph, "command", missing_ok=True)
    assert toy.snapshot(graph) == before


def ingest(*options: str) -> Result:
    return CliRunner().invoke(app, [*TOY, *options])


def test_the_number_of_kernels_of_a_head_is_printed_first() -> None:
    result = ingest("--heads")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == ["25 kernels with the head"]
    assert "3 layers, 10 filters, 25 kernels, stored in" in result.stdout
    again = ingest("--heads")
    assert "is complete already" in again.stdout
    assert again.stderr == ""


def test_many_kernels_of_a_head_need_a_yes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MANY_KERNELS", 20)
    before = toy.snapshot(graph)
    result = ingest("--heads")
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first == "25 kernels with the head"
    assert second.startswith("viscnn: model 'command' would have 25 kernels, more than 20; store them with --yes")
    assert toy.snapshot(graph) == before
    assert ingest().exit_code == 0  # without its head it is not asked for
    assert ingest("--heads", "--yes", "--replace").exit_code == 0
    assert graph.read("read/model_counts", model="command")[0]["kernels"] == 25


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_on_a_terminal_it_asks(server: Connection, graph: Graph, answer: str, code: int) -> None:
    environment = os.environ | {
        "NEO4J_URI": server.uri,
        "NEO4J_USERNAME": server.username,
        "NEO4J_PASSWORD": server.password,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    terminal, stdin = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        result = subprocess.run(
            [sys.executable, "-c", ASKED, *TOY, "--heads"],
            stdin=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(stdin)
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("25 kernels with the head\nStore them all? [y/N]:")
    found = graph.read("read/model_counts", model="command")
    assert [row["kernels"] for row in found] == ([25] if code == 0 else [])


def test_what_is_left_out_is_said(graph: Graph) -> None:
    result = ingest("--top-kernels", "6", "--no-weights")
    assert result.exit_code == 0, result.output
    assert "2 layers, 7 filters, 6 kernels, 10 left out, stored in" in result.stdout
    (model,) = graph.read("read/model", model="command")
    assert (model["weights"], model["topKernels"], model["kernelsLeftOut"]) == (False, 6, 10)
    other = ingest("--kernels-above", "0.5")
    assert other.exit_code == 2
    assert "is stored with other --no-weights and --kernels-above and --top-kernels; --replace it" in other.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--top-kernels", "5", "--kernels-above", "1"], "--kernels-above and --top-kernels exclude each other"),
        (["--top-kernels", "0"], "--top-kernels 0 must be 1 or more"),
        (["--kernels-above", "-1"], "--kernels-above -1.0 must be 0 or a positive number"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], named: str) -> None:
    result = ingest(*options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"viscnn: {named}")
    assert result.stderr.count("\n") == 1
