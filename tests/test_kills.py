"""Ingests that are really stopped: by Ctrl-C, by a kill of the client or of the server; the next one is exact.

One server with a data folder of its own, so that it can be killed; a model of which the kernels take some seconds.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.servers import own_home, servers_of, wait_until
from viscnn import server
from viscnn.cli import app
from viscnn.graph import Graph

MODEL = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 160, 1), nn.Conv2d(160, 160, 1)

    def forward(self, x):
        x = self.one(self.stem(x))
        return self.two(x) + x

def block():
    return Block()
"""
COUNTS = {
    "layers": 3,
    "filters": 3 + 64 + 3 * 160,
    "inputChannels": 3,
    "sums": 160,
    "feeds": 5,
    "logits": 0,
    "kernels": 3 * 64 + 64 * 160 + 160 * 160,
    "identities": 2 * 160,
}

RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from viscnn import graph
from viscnn.cli import main
graph._DRIVER_OPTIONS["max_transaction_retry_time"] = 1.0  # a killed server does not come back
main()
"""


@pytest.fixture(scope="module")
def killed_home(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a running server of its own, and the file of the model."""
    with own_home(tmp_path_factory.mktemp("kills")) as folder:
        (folder / "nets.py").write_text(MODEL, encoding="utf-8")
        server.start()
        yield folder


@pytest.fixture
def graph(killed_home: Path) -> Iterator[Graph]:
    server.start()
    with Graph(server.connection()) as opened:
        yield opened
        for each in opened.read("read/models"):
            invoke("drop", each["name"])
        left = "MATCH (n) RETURN labels(n) AS label, count(*) AS count"
        assert opened.fetch(left, {}, limit=10, timeout=30).rows == ()


def invoke(*arguments: str) -> dict[str, Any]:
    """What a command that does its work prints."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def ingesting(home: Path) -> list[str]:
    return ["ingest", f"{home / 'nets.py'}:block", "--input", "3x6x6", "--name", "killed"]


def begin(home: Path) -> subprocess.Popen[str]:
    """An ingest in a process of its own, as from a terminal."""
    command = [sys.executable, "-c", RUN, *ingesting(home)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def counts(graph: Graph) -> dict[str, Any]:
    return next(iter(graph.read("read/model_counts", model="killed")), {})


def wait_for_kernels(graph: Graph, running: subprocess.Popen[str]) -> None:
    wait_until(lambda: running.poll() is not None or counts(graph).get("kernels", 0) > 0)
    assert running.poll() is None, running.communicate()


def assert_unfinished(graph: Graph) -> None:
    """The half model is there, is marked, and is shown by no command as a model."""
    (model,) = graph.read("read/models")
    assert model["status"] == "ingesting"
    assert 0 < counts(graph)["kernels"] < COUNTS["kernels"]
    refused = CliRunner().invoke(app, ["query", "random", "--model", "killed", "--json"])
    assert refused.exit_code == 2
    assert "is not complete" in refused.stderr


def assert_next_ingest_is_exact(home: Path) -> None:
    """Everything once, and nothing of what was there before."""
    report = invoke(*ingesting(home))
    assert (report["alreadyComplete"], report["kernels"]) == (False, COUNTS["kernels"])
    with Graph(server.connection()) as graph:
        assert counts(graph) == COUNTS
        assert [row["status"] for row in graph.read("read/models")] == ["complete"]
        text = (
            "MATCH (a:Filter)-[k:KERNEL|IDENTITY]->(b:Filter) WITH type(k) AS type, a.layer AS source, "
            "b.layer AS target, count(*) AS edges, count(DISTINCT [b.channel, k.input]) AS places, "
            "sum(CASE WHEN type(k) = 'KERNEL' AND a.channel = k.input OR a.channel = b.channel THEN 1 ELSE 0 END) "
            "AS right RETURN type, source, target, edges, places, right ORDER BY type, source, target"
        )
        assert [tuple(row) for row in graph.fetch(text, {}, limit=20, timeout=60).rows] == [
            ("IDENTITY", "one", "add", 160, 160, 160),
            ("IDENTITY", "two", "add", 160, 160, 160),
            ("KERNEL", "input", "stem", 3 * 64, 3 * 64, 3 * 64),
            ("KERNEL", "one", "two", 160 * 160, 160 * 160, 160 * 160),
            ("KERNEL", "stem", "one", 64 * 160, 64 * 160, 64 * 160),
        ]
        labels = "MATCH (n) UNWIND labels(n) AS label RETURN label, count(*) AS count ORDER BY label"
        assert [tuple(row) for row in graph.fetch(labels, {}, limit=20, timeout=30).rows] == [
            ("Filter", COUNTS["filters"]),
            ("InputChannel", 3),
            ("Layer", 5),
            ("Model", 1),
            ("Projection", 1),
            ("Sum", 160),
        ]


def test_control_c(killed_home: Path, graph: Graph) -> None:
    with begin(killed_home) as running:
        wait_for_kernels(graph, running)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert errors.splitlines() == ["viscnn: stopped"]
    assert_unfinished(graph)
    assert_next_ingest_is_exact(killed_home)


def test_a_killed_client(killed_home: Path, graph: Graph) -> None:
    """Once among the kernels, and once at a random moment after the model was begun."""
    with begin(killed_home) as running:
        wait_for_kernels(graph, running)
        running.kill()
    assert_unfinished(graph)
    with begin(killed_home) as running:
        wait_until(lambda: running.poll() is not None or counts(graph).get("kernels", 1) == 0)  # the rest is removed
        moment = random.SystemRandom().uniform(0, 3)
        print(f"killed after {moment:.3f} s")
        time.sleep(moment)
        running.kill()
    statuses = [row["status"] for row in graph.read("read/models")]
    if counts(graph) != COUNTS:
        assert statuses in ([], ["ingesting"])
        assert_next_ingest_is_exact(killed_home)
    invoke("ingest", *ingesting(killed_home)[1:], "--replace")
    assert counts(graph) == COUNTS


def test_a_killed_server(killed_home: Path, graph: Graph) -> None:
    with begin(killed_home) as running:
        wait_for_kernels(graph, running)
        (process,) = servers_of(killed_home)
        os.kill(process, signal.SIGKILL)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert errors.startswith("viscnn: no Neo4j answers at ")
    assert "viscnn server start" in errors
    assert errors.count("\n") == 1
    server.start()
    with Graph(server.connection()) as restarted:
        assert_unfinished(restarted)
    assert_next_ingest_is_exact(killed_home)
