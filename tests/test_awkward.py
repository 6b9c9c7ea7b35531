"""Awkward nets are read exactly: the same function, the same maps, and sources that are what the layers really read."""

import copy
import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests import toy
from tests.awkward import Net
from tests.awkward_expected import EXPECTED
from tests.awkward_nets import NETS, architecture_of, images_of, off, recorded
from viscnn.engine.capture import Recording, record
from viscnn.engine.replay import replay
from viscnn.errors import UnsupportedModel
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.forward import forward
from viscnn.ingest.load import drop_model, load_model
from viscnn.ingest.structure import INPUT, Architecture, LayerSpec

TOLERANCE = 1e-5
THROUGH_NEO4J = (
    "concat_of_concat",
    "dense_block",
    "option_a_shortcut",
    "shuffled_concat",
    "broadcast_channel",
    "squeeze_and_excite",
    "gate_on_a_concat",
    "lrn_behind_a_concat",
    "convnext_block",
    "two_linear_heads",
)


def test_there_are_enough_of_them() -> None:
    assert len(NETS) >= 80
    assert len(EXPECTED) >= 60


@pytest.mark.parametrize("name", NETS)
def test_the_traced_module_computes_the_same(name: str) -> None:
    images = images_of(name)
    with torch.no_grad():
        expected = NETS[name].build()(images.clone())
        assert off(architecture_of(name).module(images), expected) <= TOLERANCE
        assert off(architecture_of(name).module(images[:1]), expected[:1]) <= TOLERANCE


@pytest.mark.parametrize("name", NETS)
def test_layers_and_feeds_alone_compute_the_same_maps(name: str) -> None:
    recording = recorded(name)
    with torch.no_grad():
        maps = forward(architecture_of(name), images_of(name))
    layers = architecture_of(name).layers
    assert set(maps) == {INPUT, *(layer.name for layer in layers)}
    assert set(recording.maps) == {layer.name for layer in layers}
    for layer in layers:
        assert off(maps[layer.name], recording.maps[layer.name]) <= TOLERANCE, layer.name
        assert maps[layer.name].shape[1:] == (layer.filters, *layer.output_size)


# --- against the model's own modules -----------------------------------------------------------------------------


def own_maps(model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the model's own convolutions and linear layers return, by layer name; and its norms right behind them."""
    own, held = copy.deepcopy(model).eval(), []
    calls: dict[str, int] = {}
    plain: dict[str, Tensor] = {}
    normed: dict[str, Tensor] = {}
    names: dict[int, str] = {}

    def keep(path: str, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        held.append(output)  # so that no other tensor gets its id
        if not isinstance(module, nn.Conv2d | nn.Linear):
            before = names.get(id(given[0]))
            if before is not None:
                normed[before] = output.clone()
                names[id(output)] = before  # for a norm behind the norm
            return
        calls[path] = calls.get(path, 0) + 1
        name = path if calls[path] == 1 else f"{path}#{calls[path]}"
        names[id(output)] = name
        plain[name] = output.clone()

    for path, module in own.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.SyncBatchNorm):
            module.register_forward_hook(lambda module, given, output, path=path: keep(path, module, given, output))
    with torch.no_grad():
        own(images.clone())
    return plain, normed


def as_maps(found: Tensor, layer: LayerSpec) -> Tensor:
    """The output of a linear layer, (..., C), as maps."""
    if layer.kind == "linear":
        found = found.reshape(len(found), -1, layer.filters).transpose(1, 2)
        found = found.reshape(*found.shape[:2], *layer.output_size)
    return found


@pytest.mark.parametrize("name", NETS)
def test_maps_are_those_of_the_models_own_layers(name: str) -> None:
    architecture, model = architecture_of(name), NETS[name].build()
    plain, normed = own_maps(model, images_of(name))
    maps = recorded(name).maps
    compared = set()
    for layer in architecture.layers:
        if layer.is_sum or layer.name.startswith("#"):
            continue
        path = INPUT if layer.name == f"{INPUT}#1" else layer.name  # `input` is the image
        own = model.get_submodule(path.partition("#")[0])
        assert isinstance(own, nn.Conv2d | nn.Linear)
        weight = architecture.convolution(layer).weight
        assert weight.numel() == own.weight.numel()
        folded = not torch.equal(weight.flatten(), own.weight.flatten())
        expected = normed.get(path, plain[path]) if folded else plain[path]
        assert off(maps[layer.name], as_maps(expected, layer)) <= TOLERANCE, layer.name
        compared.add(layer.name)
    if name in EXPECTED:
        assert compared == {each for each in EXPECTED[name].layers.split() if not each.startswith("#")}


# --- sources -----------------------------------------------------------------------------------------------------


def _frozen(recording: Recording, layers: list[LayerSpec], source: str, channel: int) -> dict[str, object]:
    """Interventions under which all layers give the maps that they gave, but for one map of `source`."""

    def given(maps: Tensor) -> object:
        return lambda *_: maps

    found = {layer.name: given(recording.maps[layer.name]) for layer in layers}
    if source != INPUT:
        found[source] = given(_changed(recording.maps[source], channel))
    return found


def _changed(maps: Tensor, channel: int) -> Tensor:
    """Maps of which one is much larger at some positions and much smaller at others."""
    maps = maps.clone()
    noise = torch.randn(maps[:, channel].shape, generator=torch.Generator().manual_seed(2))
    maps[:, channel] += noise.sign() * (maps[:, channel].abs() + 1) + noise
    return maps


def _mixing(architecture: Architecture, layer: LayerSpec) -> bool:
    return any(
        ("mixesChannels", True) in operation.settings
        for feed in architecture.feeds_into(layer.name)
        for operation in feed.operations
    )


def _changes(name: str, target: LayerSpec) -> Iterator[tuple[int, set[int]]]:
    """Each filter that a feed of the target reads, and the input channels that depend on it directly."""
    architecture, images, before = architecture_of(name), images_of(name), recorded(name)
    others = [layer for layer in architecture.layers if layer.index < target.index]
    for source in dict.fromkeys(feed.source for feed in architecture.feeds_into(target.name)):
        count = architecture.input_shape[0] if source == INPUT else architecture.layer(source).filters
        for channel in range(count):
            found = record(
                architecture,
                _changed(images, channel) if source == INPUT else images,
                last=target,
                gradients=False,
                interventions=_frozen(before, others, source, channel),  # type: ignore[arg-type]
            )
            differs = (found.inputs[target.name] != before.inputs[target.name]).flatten(2).any(2).any(0)
            yield architecture.numbers[source] + channel, set(differs.nonzero().flatten().tolist())


@pytest.mark.parametrize("name", NETS)
def test_every_input_channel_reads_the_filter_that_it_is_said_to_read(name: str) -> None:
    architecture, recording = architecture_of(name), recorded(name)
    for layer in architecture.layers:
        sources = architecture.sources(layer)
        assert sources.shape == (layer.in_channels,)
        assert recording.inputs[layer.name].shape[1] == layer.in_channels
        assert not recording.inputs[layer.name][:, sources < 0].any()
        for number, changed in _changes(name, layer):
            expected = set((sources == number).nonzero()[0].tolist())
            assert (expected <= changed) if _mixing(architecture, layer) else (expected == changed), layer.name


# --- other ways ------------------------------------------------------------------------------------------------------


NOT_EXPORTED = {
    "lrn_behind_a_concat": "'mul",  # torch.export writes a local response norm out as arithmetic
    "lrn_on_one_layer": "'mul",
    "norms_behind_cuts": "'mul",
}


def exported(net: Net) -> nn.Module:
    """The model with control flow on the image's size, which torch.fx cannot trace."""
    forward = net.forward
    return dataclasses.replace(net, forward=lambda own, x: forward(own, x) if x.shape[-1] > 2 else x).build()


@pytest.mark.parametrize("name", sorted(NETS.keys() - {"recurrent_head"}))  # an LSTM takes torch.export 10 seconds
def test_the_same_is_read_by_torch_export(name: str) -> None:
    net, images = NETS[name], images_of(name)
    if name in NOT_EXPORTED:
        with pytest.raises(UnsupportedModel, match=NOT_EXPORTED[name]):
            read_architecture(exported(net), net.shape, heads=net.heads)
        return
    architecture = read_architecture(exported(net), net.shape, heads=net.heads)
    with torch.no_grad():
        assert off(architecture.module(images), net.build()(images.clone())) <= TOLERANCE
        maps = forward(architecture, images)
    found = record(architecture, images, gradients=False).maps
    assert all(off(maps[layer], found[layer]) <= TOLERANCE for layer in found)
    facts = [
        (layer.kind, layer.filters, layer.inputs, layer.kernel_size, layer.output_size) for layer in architecture.layers
    ]
    by_fx = architecture_of(name).layers
    assert facts == [(each.kind, each.filters, each.inputs, each.kernel_size, each.output_size) for each in by_fx]


@pytest.mark.parametrize("name", THROUGH_NEO4J)
def test_the_hardest_are_replayed_from_a_real_neo4j(graph: Graph, name: str) -> None:
    net, model, architecture = NETS[name], f"awkward-{name}", architecture_of(name)
    classes = tuple(f"class {number}" for number in range(architecture.logits or 0))
    bundle = toy.bundle_of(net.build(), None, name=model, shape=net.shape, classes=classes)
    load_model(graph, model, toy.zoo_of(net.build(), net.shape, classes=classes), architecture)
    try:
        report = replay(graph, dataclasses.replace(bundle, architecture=architecture), images_of(name))
    finally:
        drop_model(graph, model)
    assert list(report.errors) == [layer.name for layer in architecture.layers]
    assert report.worst <= 1e-4
