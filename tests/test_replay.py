"""The forward pass rebuilt from what a real Neo4j holds, against the model's own maps."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests import nets, oracles, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.replay import replay, stored_convolution
from viscnn.errors import ImagesError, NotInGraph, StoredDataError
from viscnn.graph import Graph

FIVE = """
from torch import nn

def five():
    return nn.Sequential(nn.Conv2d(5, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 2))
"""


@pytest.fixture
def v(server: Connection) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        yield opened


def test_the_bundled_network_is_replayed_from_the_database(v: VISCNN) -> None:
    v.ingest("mnist", name="replay-mnist", importance=False)
    try:
        report = v.replay("replay-mnist", images=20)
        assert list(report.errors) == ["conv1", "conv2", "conv3", "conv4"]
        assert report.worst <= 1e-5
    finally:
        v.drop("replay-mnist")


@pytest.mark.parametrize("name", ["grouped", "depthwise", "same-reflect", "strided-past-the-edge", "no-bias", "lrn"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_every_geometry_is_replayed(graph: Graph, name: str) -> None:
    network, images = nets.make(name), nets.images(3)
    with toy.stored(graph, "replay-net", network, nets.INPUT):
        bundle = toy.bundle_of(network, None, name="replay-net", shape=nets.INPUT)
        report = replay(graph, bundle, images)
        assert list(report.errors) == ["conv1", "conv2"]
        assert report.worst <= 1e-5


def test_every_operation_is_replayed(graph: Graph) -> None:
    network = nets.with_statistics(nets.seeded(nets.every_operation))
    with toy.stored(graph, "replay-every", network, (1, 24, 24)):
        bundle = toy.bundle_of(network, None, name="replay-every", shape=(1, 24, 24))
        report = replay(graph, bundle, nets.images(4, shape=(1, 24, 24)))
        assert len(report.errors) == 5
        assert report.worst <= 1e-5


def test_a_stored_convolution_is_the_networks_own(graph: Graph) -> None:
    network = nets.make("grouped")
    with toy.stored(graph, "replay-conv", network, nets.INPUT):
        state = torch.random.get_rng_state()
        layers = [row for row in graph.read("read/layers", model="replay-conv") if row["kind"] == "convolution"]
        for row in layers:
            found, own = stored_convolution(graph, "replay-conv", row), network.get_submodule(row["name"])
            assert isinstance(own, nn.Conv2d)
            assert str(found) == str(own)
            torch.testing.assert_close(found.weight, own.weight, rtol=0, atol=0)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_the_errors_are_relative_to_each_layers_largest_value(graph: Graph) -> None:
    """Another network than the stored one: the report says how far off it is, literally."""
    network, images = toy.toy_network(), nets.images(2, shape=toy.SHAPE)
    other = toy.toy_network()
    other.get_parameter("conv2.weight").data[1, 2] += 0.1
    with toy.stored(graph, "replay-off", network, toy.SHAPE):
        report = replay(graph, toy.bundle_of(other, None, name="replay-off"), images)
    stored, own = (oracles.run(each, images).z["conv2"].detach().numpy() for each in (network, other))
    assert report.errors["conv1"] <= 1e-6
    assert report.errors["conv2"] == pytest.approx(np.abs(stored - own).max() / np.abs(own).max(), rel=1e-4)
    assert report.worst == report.errors["conv2"]


def test_five_channels_are_replayed_on_noise(v: VISCNN, tmp_path: Path) -> None:
    (tmp_path / "five.py").write_text(FIVE, encoding="utf-8")
    v.ingest(f"{tmp_path / 'five.py'}:five", name="replay-five", input_shape=(5, 8, 8))
    try:
        assert v.replay("replay-five").worst <= 1e-5
        assert [row["name"] for row in v.filters("replay-five")][:2] == ["input/c0", "input/c1"]
        with pytest.raises(ImagesError, match="5 input channels, and pictures have 1 or 3"):
            v.query("overall", model="replay-five", images=str(toy.write_pictures(tmp_path / "p", counts={"a": 2})))
    finally:
        v.drop("replay-five")


def test_what_is_not_stored_whole_is_refused(graph: Graph) -> None:
    network = toy.toy_network()
    bundle = toy.bundle_of(network, None, name="replay-broken")
    images = nets.images(1, shape=toy.SHAPE)
    with pytest.raises(NotInGraph, match="no model 'replay-broken' is stored"):
        replay(graph, bundle, images)
    with toy.stored(graph, "replay-broken", network, toy.SHAPE):
        graph.stream("write/drop_kernels", model="replay-broken")
        with pytest.raises(StoredDataError, match="layer replay-broken/conv1 is not stored with all its kernels"):
            replay(graph, bundle, images)
