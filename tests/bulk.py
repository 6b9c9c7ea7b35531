"""What the tests of bulk loads share: a network with everything that rows can be, and looks at the server."""

import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets, toy
from tests.servers import servers_of
from viscnn import server
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.contents import Contents
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import LoadReport
from viscnn.server import process
from viscnn.server.home import Home, server_home

SHAPE = (3, 12, 12)
CLASSES = ("ant", "bee; cow", 'cat "x"\n')


class Branching(nn.Module):
    """All that rows can be: sums, addends of several sources, groups, channel lists, a head, kernels of three sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding="same", bias=False)
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 2, (3, 1), padding=(1, 0))
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.last = nn.Conv2d(6, 4, 3, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        stem = F.relu(self.stem(x))
        both = torch.cat([self.left(stem), F.relu(self.right(stem))], 1)
        mixed = F.channel_shuffle(both, 2)
        maps = F.relu(self.grouped(mixed)) + stem
        pooled = F.local_response_norm(self.last(maps), 2).mean((2, 3))
        return self.head(pooled)  # type: ignore[no-any-return]


def branching() -> nn.Module:
    """For `viscnn ingest`."""
    return Branching()


def contents(name: str, extent: Extent | None = None, *, seed: int = 0) -> Contents:
    network = nets.seeded(Branching, seed=seed).eval()
    zoo = toy.zoo_of(network, SHAPE, classes=CLASSES)
    return Contents(name, zoo, read_architecture(network, SHAPE, heads=True), extent or Extent(), heads=True)


_PARTS = ("databases", "transactions")


def two_databases(home: Home) -> None:
    """A former and an imported database, each of one file that says which it is."""
    for folder, content in ((home.data, "former"), (home.imported / "data", "imported")):
        for part in _PARTS:
            (folder / part / "neo4j").mkdir(parents=True)
            (folder / part / "neo4j" / "store").write_text(content)


def stores(data: Path) -> list[str]:
    """What the files of the database in a data folder say."""
    return [(data / part / "neo4j" / "store").read_text() for part in _PARTS]


def write(text: str) -> None:
    """Run a write statement in a process of its own, gone when this returns."""
    code = "import sys, neo4j; from viscnn import server; c = server.connection()\n"
    code += "with neo4j.GraphDatabase.driver(c.uri, auth=(c.username, c.password)) as d: d.execute_query(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, text], check=True)


def untouched(graph: Graph, home: Path) -> None:
    """The database is empty and works, one server runs, and no file of a bulk load is left."""
    assert graph.read("read/database_size")[0]["nodes"] == 0
    assert servers_of(home) == [server.status().pid]
    assert not server_home().bulk.exists()
    assert process.importers(server_home()) == []


def assert_whole(graph: Graph, name: str, found: LoadReport) -> None:
    assert (found.model, found.layers, found.filters, found.sums) == (name, 6, 25, 6)
    assert (found.kernels, found.identities) == (18 + 24 + 12 + 12 + 24 + 12, 12)
    assert graph.read("read/model", model=name)[0]["status"] == "complete"
