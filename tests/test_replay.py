"""The forward pass rebuilt from what a real Neo4j holds, against the model's own maps."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from tests import families, nets, oracles, toy
from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import Connection
from viscnn.engine import replay as replaying
from viscnn.engine.bundle import Bundle
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.replay import ReplayReport, StoredKernels, replay
from viscnn.errors import ImagesError, NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.forward import steps
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import drop_model, load_model

FIVE = """
from torch import nn

def five():
    return nn.Sequential(nn.Conv2d(5, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 2))
"""


@pytest.fixture
def v(server: Connection) -> Iterator[VISCNN]:
    with VISCNN(server) as opened:
        yield opened


@contextmanager
def stored(
    graph: Graph, name: str, network: nn.Module, shape: tuple[int, int, int] = families.SHAPE, *, extent: Extent
) -> Iterator[Bundle]:
    """A network with its head in the graph, ready to be replayed; removed at the end."""
    architecture = read_architecture(network, shape, heads=True)
    zoo = toy.zoo_of(network, shape, classes=())
    load_model(graph, name, zoo, architecture, heads=True, extent=extent)
    try:
        yield Bundle(name, architecture, (), Preprocess(), zoo.weights_hash, None)
    finally:
        drop_model(graph, name, missing_ok=True)


CROP = '{"op": "crop", "start": [1, 1], "step": [1, 1], "size": [3, 3]}'


def change(graph: Graph, text: str) -> None:
    """Run Cypher that writes, as somebody with a browser could."""
    with graph._session("WRITE") as session:
        summary = session.run(text, {"crop": CROP}).consume()
        assert summary.counters.contains_updates


# --- every family, with its head ---------------------------------------------------------------------------------


def _module_outputs(network: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each convolution, linear layer and norm of the original returned, as (N, C, H, W), and the logits."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        flat = output[:, :, None, None] if output.ndim == 2 else output
        found.append((flat.permute(0, 3, 1, 2) if isinstance(module, nn.Linear) and output.ndim == 4 else flat).clone())

    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d
    hooks = [each.register_forward_hook(keep) for each in network.modules() if isinstance(each, kinds)]
    with torch.no_grad():
        logits = network(images)
    for hook in hooks:
        hook.remove()
    return found, logits


def _relative(found: Tensor, own: Tensor) -> float:
    return float((found - own).abs().max() / own.abs().max()) if found.shape == own.shape else float("inf")


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_is_replayed_to_its_logits(graph: Graph, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the original modules' own outputs: a layer is its convolution, or the norm that was folded into it."""
    monkeypatch.setattr(replaying, "KERNELS_PER_READ", 300)  # layers in many pages
    network, images = families.family(name), nets.images(3, shape=families.SHAPE)
    outputs, logits = _module_outputs(network, images)
    with stored(graph, f"replay-{name}", network, extent=Extent()) as bundle:
        kernels = StoredKernels(graph, bundle.name)
        made = steps(kernels.structure, images, convolution=lambda layer: kernels(layer).convolution())
        for layer, maps in made:
            if not layer.is_sum:
                assert min(_relative(maps, each) for each in outputs) <= 1e-5, layer.name
        assert layer.logits
        assert _relative(maps, logits[:, :, None, None]) <= 1e-5
        report = replay(graph, bundle, images)
    assert list(report.errors) == [layer.name for layer in bundle.architecture.layers]
    assert (report.worst <= 1e-5, report.exact, report.left_out, report.notes) == (True, True, 0, ())


# --- geometries and steps ----------------------------------------------------------------------------------------


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
        kernels = StoredKernels(graph, "replay-conv")
        for layer in kernels.structure.layers:
            found, own = kernels(layer).convolution(), network.get_submodule(layer.name)
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
    assert not report.exact


# --- whatever is changed in the graph is seen --------------------------------------------------------------------

KERNEL = "MATCH (a)-[k:KERNEL]->(b:Filter {uid: 'replay-changed/b/3'}) WHERE k.input = 1 "
CHANGES = {
    "a weight": ("b", KERNEL + "SET k.weights = [w IN k.weights | w + 0.5]"),
    "a bias": ("b", "MATCH (b:Filter {uid: 'replay-changed/b/3'}) SET b.bias = b.bias + 1"),
    "a dilation": ("b", "MATCH (l:Layer {uid: 'replay-changed/b'}) SET l.dilation = [2, 2], l.padding = [2, 2]"),
    "an operation": (
        "add",
        "MATCH ()-[f:FEEDS {addend: 1}]->(:Layer {uid: 'replay-changed/add'}) SET f.operations = ['{\"op\": \"abs\"}']",
    ),
}
DAMAGES = {
    "an edge from another filter": (
        KERNEL
        + "MATCH (c:Filter {uid: 'replay-changed/a/2'}) CREATE (c)-[n:KERNEL]->(b) SET n = properties(k) DELETE k",
        "a kernel of filter replay-changed/b/3 starts at another filter than FEEDS says",
    ),
    "a lost kernel": (KERNEL + "DELETE k", "layer replay-changed/b is not stored with all its kernels"),
    "a kernel twice": (
        KERNEL + "CREATE (a)-[n:KERNEL]->(b) SET n = properties(k)",
        "filter replay-changed/b/3 or one of its kernels is stored twice",
    ),
    "a lost identity": (
        "MATCH ()-[k:IDENTITY {input: 0}]->(:Filter {uid: 'replay-changed/add/2'}) DELETE k",
        "layer replay-changed/add is not stored with all its kernels",
    ),
    "a lost weight": (KERNEL + "SET k.weights = k.weights[1..]", "filter replay-changed/b/3 is stored without"),
    "lost weights": (KERNEL + "REMOVE k.weights", "filter replay-changed/b/3 is stored without"),
    "a lost bias": (
        "MATCH (b:Filter {uid: 'replay-changed/b/3'}) REMOVE b.bias",
        "filter replay-changed/b/3 is stored without its bias",
    ),
    "a lost filter": (
        "MATCH (b:Filter {uid: 'replay-changed/b/3'}) DETACH DELETE b",
        "layer replay-changed/b is not stored with all its filters",
    ),
    "another input": (KERNEL + "SET k.input = 99", "filter replay-changed/b/3 is stored, but its layer has no such"),
    "a lost feed": (
        "MATCH ()-[f:FEEDS {addend: 1}]->(:Layer {uid: 'replay-changed/add'}) DELETE f",
        "a kernel of filter replay-changed/add/0 starts at another filter than FEEDS says",
    ),
    "an unknown operation": (
        "MATCH ()-[f:FEEDS]->(:Layer {uid: 'replay-changed/b'}) SET f.operations = ['{\"op\": \"warp\"}']",
        "cannot apply the stored operation",
    ),
    "another kernel size": (
        "MATCH (l:Layer {uid: 'replay-changed/b'}) SET l.kernelSize = [1, 3]",
        "filter replay-changed/b/0 is stored without",
    ),
    "too many channels": (
        "MATCH ()-[f:FEEDS]->(:Layer {uid: 'replay-changed/b'}) SET f.channels = 3",
        "a kernel of filter replay-changed/b/0 starts at another filter than FEEDS says",
    ),
    "an operation that does not fit": (
        "MATCH ()-[f:FEEDS {addend: 1}]->(:Layer {uid: 'replay-changed/add'}) SET f.operations = [$crop]",
        "layer add cannot be computed from what is stored",
    ),
    "another layer": (
        "MATCH (l:Layer {uid: 'replay-changed/b'}) SET l.name = 'other'",
        "the stored layers are not those of the model, from other on",
    ),
}


@pytest.fixture(scope="module")
def residual() -> nn.Module:
    def forward(own: Any, x: Tensor) -> Any:
        z = own.a(x)
        return own.b(z) + z

    return nets.custom(forward, a=nets.conv(2, 4, padding=1), b=nets.conv(4, 4, padding=1))


def _replayed_after(graph: Graph, network: nn.Module, text: str) -> ReplayReport:
    with stored(graph, "replay-changed", network, nets.INPUT, extent=Extent()) as bundle:
        change(graph, text)
        return replay(graph, bundle, nets.images(2))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_an_error_from_its_layer_on(graph: Graph, residual: nn.Module, what: str) -> None:
    first, text = CHANGES[what]
    report = _replayed_after(graph, residual, text)
    assert list(report.errors) == ["a", "b", "add"]
    after = {"b": ["b", "add"], "add": ["add"]}[first]
    assert {name: error > 1e-2 for name, error in report.errors.items()} == {n: n in after for n in report.errors}
    assert not report.exact


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_refused_by_name(graph: Graph, residual: nn.Module, what: str) -> None:
    text, message = DAMAGES[what]
    with pytest.raises(StoredDataError, match=re.escape(message)):
        _replayed_after(graph, residual, text)


def test_a_model_that_is_not_stored_is_refused(graph: Graph) -> None:
    bundle = toy.bundle_of(toy.toy_network(), None, name="replay-none")
    with pytest.raises(NotInGraph, match="no model 'replay-none' is stored"):
        replay(graph, bundle, nets.images(1, shape=toy.SHAPE))


# --- kernels that were left out ----------------------------------------------------------------------------------


def test_without_weights_there_is_nothing_to_replay(graph: Graph, residual: nn.Module) -> None:
    with (
        stored(graph, "replay-light", residual, nets.INPUT, extent=Extent(weights=False)) as bundle,
        pytest.raises(NotInGraph, match=r"'replay-light' is stored without weights \(--no-weights\)"),
    ):
        replay(graph, bundle, nets.images(2))


def test_kernels_that_were_left_out_are_zero(graph: Graph) -> None:
    """The toy network without its two smallest kernels, literally."""
    network, images = toy.toy_network(), nets.images(2, shape=toy.SHAPE)
    cut = toy.toy_network()
    norms = {
        (name, o, i): float(each.abs().sum())
        for name in ("conv1.weight", "conv2.weight")
        for o, row in enumerate(network.get_parameter(name).detach())
        for i, each in enumerate(row)
    }
    for name, o, i in sorted(norms, key=norms.__getitem__)[:2]:
        cut.get_parameter(name).data[o, i] = 0
    architecture, zoo = read_architecture(network, toy.SHAPE), toy.zoo_of(network, toy.SHAPE)
    load_model(graph, "replay-cut", zoo, architecture, extent=Extent(top=len(norms) - 2))
    try:
        report = replay(graph, toy.bundle_of(network, None, name="replay-cut"), images)
    finally:
        drop_model(graph, "replay-cut")
    assert report.left_out == 2
    assert report.notes == ("2 kernels were left out when the model was stored: here they are zero",)
    own, found = (oracles.run(each, images).z for each in (network, cut))
    for name, error in report.errors.items():
        expected = (found[name] - own[name]).abs().max() / own[name].abs().max()
        assert error == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    assert not report.exact


def test_other_kernels_than_those_left_out_must_be_there(graph: Graph) -> None:
    network = toy.toy_network()
    architecture, zoo = read_architecture(network, toy.SHAPE), toy.zoo_of(network, toy.SHAPE)
    load_model(graph, "replay-lost", zoo, architecture, extent=Extent(top=12))
    try:
        change(graph, "MATCH ()-[k:KERNEL]->(b:Filter {model: 'replay-lost'}) WITH k LIMIT 1 DELETE k")
        bundle = toy.bundle_of(network, None, name="replay-lost")
        with pytest.raises(StoredDataError, match="lacks 5 kernels, and 4 were left out when it was stored"):
            replay(graph, bundle, nets.images(1, shape=toy.SHAPE))
    finally:
        drop_model(graph, "replay-lost")


# --- the API and the command -------------------------------------------------------------------------------------


def test_the_bundled_network_is_replayed_from_the_database(v: VISCNN) -> None:
    v.ingest("mnist", name="replay-mnist", importance=False)
    try:
        told: list[tuple[str, int, int]] = []
        report = v.replay("replay-mnist", images=20, progress=lambda *each: told.append(each))
        assert list(report.errors) == ["conv1", "conv2", "conv3", "conv4"]
        assert report.worst <= 1e-5
        assert report.notes == ()
        assert [each[0] for each in told] == ["kernels"] * 4
        assert told[-1][1:] == (2192, 2192)
    finally:
        v.drop("replay-mnist")


def test_five_channels_are_replayed_on_noise(v: VISCNN, tmp_path: Path) -> None:
    (tmp_path / "five.py").write_text(FIVE, encoding="utf-8")
    v.ingest(f"{tmp_path / 'five.py'}:five", name="replay-five", input_shape=(5, 8, 8))
    try:
        report = v.replay("replay-five", images=2)
        assert report.worst <= 1e-5
        assert report.notes == ("model 'replay-five' has no images here: compared on 2 random ones",)
        assert [row["name"] for row in v.filters("replay-five")][:2] == ["input/c0", "input/c1"]
        with pytest.raises(ImagesError, match="5 input channels, and pictures have 1 or 3"):
            v.query("overall", model="replay-five", images=str(toy.write_pictures(tmp_path / "p", counts={"a": 2})))
    finally:
        v.drop("replay-five")


def test_all_images_that_are_asked_for_are_compared(v: VISCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(graph: Graph, bundle: Bundle, images: Tensor, **settings: object) -> ReplayReport:
        seen.append(len(images))
        return ReplayReport(bundle.name, {"conv1": 0.0})

    monkeypatch.setattr(replaying, "replay", counted)
    monkeypatch.setattr("viscnn.engine.streaming.BATCH_FLOATS", 1)  # one image a batch
    v.ingest("mnist", name="replay-many", importance=False)
    try:
        v.replay("replay-many", images=7)
    finally:
        v.drop("replay-many")
    assert seen == [7]


def test_the_command_fails_where_a_layer_is_off(v: VISCNN) -> None:
    v.ingest("mnist", name="replay-part", importance=False, top_kernels=2000)
    try:
        report = v.replay("replay-part")
        found = CliRunner().invoke(app, ["replay", "replay-part", "--json"])
        told = CliRunner().invoke(app, ["replay", "replay-part"])
    finally:
        v.drop("replay-part")
    assert (found.exit_code, told.exit_code) == (1, 1)
    assert json.loads(found.stdout) == {"model": "replay-part", "layers": 4, "maxRelativeError": report.worst}
    assert report.worst > 1e-4
    assert "192 kernels were left out when the model was stored: here they are zero" in found.stderr
    assert "not exact" in told.stdout
