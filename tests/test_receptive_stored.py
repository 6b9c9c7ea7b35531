"""Receptive fields from what a real Neo4j holds: structure, API, command line and every error."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from tests import nets, poison, toy
from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.engine.receptive import ReceptiveFields
from viscnn.engine.spatial import RULES
from viscnn.engine.stored import StoredStructure, stored_structure
from viscnn.errors import InputError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest.load import drop_model
from viscnn.ingest.operations import MIXING, PLAIN, POINTWISE, Operation
from viscnn.ingest.structure import Architecture

SHAPE = (3, 12, 10)
NAME = "receptive"


class Branching(nn.Module):
    """A strided stem, a gate, a skip, a concatenation of shuffled channels, a norm, a grouped and a dilated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.body = nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect")
        self.grouped = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=4)
        self.norm = nn.GroupNorm(2, 8)
        self.last = nn.Conv2d(8, 2, 3, dilation=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps."""
        stem = torch.relu(self.stem(x))
        gated = self.body(stem) * torch.sigmoid(self.squeeze(stem.mean((2, 3), keepdim=True)))
        both = torch.stack([gated + stem, stem], dim=2).flatten(1, 2)
        maps: Tensor = self.last(self.norm(self.grouped(both)))
        return maps


@pytest.fixture(scope="module")
def stored(graph: Graph) -> Iterator[Architecture]:
    network = nets.seeded(Branching).eval()
    with toy.stored(graph, NAME, network, SHAPE, classes=()) as architecture:
        yield architecture


@pytest.fixture
def v(server: Connection, stored: Architecture) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        yield opened


def test_the_stored_structure_is_that_of_the_architecture(graph: Graph, stored: Architecture) -> None:
    found = stored_structure(graph, NAME)
    assert found.input_shape == SHAPE
    assert found.layers == tuple(dataclasses.replace(each, node="", activation_node=None) for each in stored.layers)
    assert [feed.operations for feed in found.feeds] == [
        tuple(Operation.from_json(each.to_json()) for each in feed.operations) for feed in stored.feeds
    ]
    bare = [[dataclasses.replace(feed, operations=()) for feed in feeds] for feeds in (found.feeds, stored.feeds)]
    assert bare[0] == bare[1]
    with pytest.raises(NotInGraph, match="no model 'nothing' is stored"):
        stored_structure(graph, "nothing")


def test_every_unit_of_the_branching_model_is_exact(stored: Architecture) -> None:
    assert poison.check(stored, arrays=True) > 0
    assert poison.check(stored, towards="stem", arrays=True) > 0


def test_the_graph_alone_gives_the_fields_of_the_model(v: VISCNN, stored: Architecture) -> None:
    own = ReceptiveFields(stored)
    for layer in stored.layers:
        position = layer.output_size[0] - 1, layer.output_size[1] - 1
        found = v.receptive_field(f"{NAME}/{layer.name}/1", position)
        assert found == own.unit(layer.name, 1, position)
        boxes, wanted = v.receptive_fields(NAME, layer.name), own.layer(layer.name)
        for key in ("rows", "columns", "unclipped_rows", "unclipped_columns"):
            assert np.array_equal(getattr(boxes, key), getattr(wanted, key))


def test_the_figures_by_hand(v: VISCNN) -> None:
    """3x3, stride 2, padding 1 on 12 x 10: position (0, 2) reads rows -1 to 1 and columns 3 to 5."""
    found = v.receptive_field(f"{NAME}/stem/3", (0, 2))
    assert (found.rows, found.columns, found.unclipped_rows, found.unclipped_columns) == (
        (0, 1),
        (3, 5),
        (-1, 1),
        (3, 5),
    )
    assert (found.padding, found.pixels, found.full) == ((1, 0, 0, 0), 6, True)
    boxes = v.receptive_fields(NAME, "stem")
    assert boxes.rows.tolist() == [[0, 1], [1, 3], [3, 5], [5, 7], [7, 9], [9, 11]]
    assert boxes.columns.tolist() == [[0, 1], [1, 3], [3, 5], [5, 7], [7, 9]]
    assert boxes.unclipped_columns.tolist() == [[-1, 1], [1, 3], [3, 5], [5, 7], [7, 9]]
    reflected = v.receptive_field(f"{NAME}/body/0", (0, 2), layer="stem")
    assert (reflected.rows, reflected.columns, reflected.unclipped_rows) == ((0, 1), (1, 3), (-1, 1))
    same = v.receptive_field(f"{NAME}/body/0", (0, 2), layer=f"{NAME}/body")
    assert (same.rows, same.columns, same.pixels) == ((0, 0), (2, 2), 1)
    assert v.receptive_field(f"{NAME}/input/r", (11, 9)).rows == (11, 11)


@pytest.mark.parametrize(
    ("uid", "position", "layer", "message"),
    [
        (f"{NAME}/stem/9", (0, 0), "input", "there is no filter 'receptive/stem/9' in the graph"),
        (f"{NAME}/stem/0", (6, 0), "input", "row 6 lies outside the maps of stem; its rows are 0 to 5"),
        (f"{NAME}/stem/0", (0, -1), "input", "column -1 lies outside the maps of stem; its columns are 0 to 4"),
        (f"{NAME}/stem/0", (0, 0), "bdy", "there is no layer 'bdy'; did you mean body"),
        (f"{NAME}/stem/0", (0, 0), "body", "stem does not depend on body"),
        (f"{NAME}/squeeze/0", (0, 0), "body", "squeeze does not depend on body"),
    ],
)
def test_what_is_not_there_is_named(v: VISCNN, uid: str, position: tuple[int, int], layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        v.receptive_field(uid, position, layer=layer)


def test_layers_and_models_that_are_not_there_are_named(v: VISCNN, stored: Architecture) -> None:
    with pytest.raises(NotInGraph, match="there is no layer 'stm'; did you mean stem"):
        v.receptive_fields(NAME, "stm")
    with pytest.raises(NotInGraph, match="no model 'nothing' is stored"):
        v.receptive_fields("nothing", "stem")
    with pytest.raises(NotInGraph, match="stem has no filter 4; its filters are 0 to 3"):
        ReceptiveFields(stored).layer("stem", channel=4)


def test_the_command_line(v: VISCNN) -> None:
    result = CliRunner().invoke(app, ["receptive", f"{NAME}/stem/3@0,2", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "uid": f"{NAME}/stem/3",
        "layer": "stem",
        "channel": 3,
        "position": [0, 2],
        "towards": "input",
        "size": [12, 10],
        "rows": [0, 1],
        "columns": [3, 5],
        "unclippedRows": [-1, 1],
        "unclippedColumns": [3, 5],
        "padding": {"top": 1, "bottom": 0, "left": 0, "right": 0},
        "pixels": 6,
        "full": True,
    }
    text = CliRunner().invoke(app, ["receptive", f"{NAME}/body/0@0,2", "--layer", "stem"])
    assert text.stdout.splitlines() == [
        f"{NAME}/body/0@0,2 in stem",
        "rows 0 to 1, columns 1 to 3 of 6 x 5 (2 x 3); every position of it",
        "in padding: 1 rows above, 0 below, 0 columns to the left, 0 to the right",
    ]


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (f"{NAME}/stem/3", "is not UID@ROW,COLUMN, such as mnist/conv2/5@3,4"),
        (f"{NAME}/stem/3@1", "is not UID@ROW,COLUMN"),
        (f"{NAME}/stem/3@-1,0", "row -1 lies outside the maps of stem; its rows are 0 to 5"),
        ("nothing/stem/3@0,0", "there is no filter 'nothing/stem/3' in the graph"),
    ],
)
def test_a_wrong_call_is_one_line(v: VISCNN, unit: str, message: str) -> None:
    result = CliRunner().invoke(app, ["receptive", unit])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


# --- the table of rules ----------------------------------------------------------------------------------------------


def test_every_operation_has_a_rule() -> None:
    assert set(RULES) == {*POINTWISE, *PLAIN, *MIXING, "gate"}


def test_what_cannot_be_followed_is_named(stored: Architecture) -> None:
    def with_first(**changes: Any) -> StoredStructure:
        first = dataclasses.replace(stored.feeds[0], **changes)
        return StoredStructure(SHAPE, stored.layers, (first, *stored.feeds[1:]))

    with pytest.raises(StoredDataError, match="which positions the operation 'warp' reads"):
        ReceptiveFields(with_first(operations=(Operation("warp"),)))
    with pytest.raises(StoredDataError, match="FEEDS reads the layer 'body', which does not lie before"):
        ReceptiveFields(with_first(source="body"))
    mirror = Operation("pad", (("amounts", [1, 1, 1, 1]), ("mode", "mirror"), ("value", 0.0)))
    with pytest.raises(StoredDataError, match="there is no padding mode 'mirror'"):
        ReceptiveFields(with_first(operations=(mirror,)))
    with pytest.raises(StoredDataError, match=r'the operation \{"op": "maxpool"\} does not say what it reads'):
        ReceptiveFields(with_first(operations=(Operation("maxpool"),)))


def test_a_layer_that_says_too_little_is_named(graph: Graph) -> None:
    name = "receptive-old"
    rows = [
        {"uid": f"{name}/input", "name": "input", "index": 0, "kind": "input", "filters": 3},
        {"uid": f"{name}/conv", "name": "conv", "index": 1, "kind": "convolution", "filters": 4, "groups": 1},
    ]
    graph.write("write/start_ingest", model=name, properties={"inputShape": list(SHAPE)})
    try:
        graph.write("write/load_layers", model=name, rows=rows)
        with pytest.raises(StoredDataError, match=f"model '{name}' is not stored as it should be"):
            stored_structure(graph, name)
    finally:
        drop_model(graph, name)
