"""What the layers of awkward nets are said to be: their feeds, kinds, activations, gates, order and ends."""

import pytest
import torch

from tests.awkward_expected import EXPECTED, shown
from tests.awkward_nets import NETS, architecture_of, recorded
from tests.untouched import untouched
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.operations import apply
from viscnn.ingest.structure import INPUT

GATES = {
    "squeeze_and_excite": "down up",
    "squeeze_and_excite_by_linear_layers": "fc.0 fc.2",
    "gate_of_two_poolings": "down up down#2 up#2 add",
    "spatial_gate": "g",
    "gated_linear_unit": "b",
    "gate_on_a_concat": "down up",
    "gate_of_a_gate": "g h",
}
"""Layers whose maps reach others only as factors; no other net has any."""

ACTIVATIONS = {
    "fire": "squeeze:relu one:relu three:relu",
    "different_functions_of_one_layer": "b: a:",
    "plus_itself": "a:",
    "overwritten_by_its_relu": "a:relu add:",
    "overwritten_by_a_module": "a:relu",
    "overwritten_by_a_sum": "a: add:sigmoid",
    "scaled_residual": "a: b: add:relu",
    "preactivated_residual": "stem: a:relu add:",
    "shuffled_channels": "a:relu",
    "half_of_the_channels": "a:relu",
    "norm_beside_its_convolution": "a:",
    "depthwise_separable": "a:relu6 c:relu6 d:",
    "silu_written_out": "a:",
    "sizes_decide": "a:",
    "two_linear_heads": "a:relu fc1:relu fc2:",
    "squeeze_and_excite": "a:silu down:silu up:sigmoid",
    "squeeze_and_excite_by_linear_layers": "a: fc.0:relu fc.2:sigmoid add:relu",
    "convnext_block": "stem: block.0: block.3:gelu block.5:",
    "bottleneck": "stem.0:relu c.0: down.0: add:relu",
    "nested_sequentials": "trunk.entry.0:relu trunk.middle.0.0:relu last:",
}
"""The one pointwise function that alone consumes a layer's maps; empty where there is none."""

ENDS = {
    "ends_with_a_sum": "add",
    "concat_of_concat": "d",
    "flattened_head": "a",
    "two_linear_heads": "a",
    "pooled_heads": "a b",
    "residual_head": "b",
    "heads_of_two_layers": "a b",
    "recurrent_head": "a",
    "upsampled_with_a_skip": "e",
}
"""Layers that the head reads, or that the model returns, when linear layers of the head are not read."""


@pytest.mark.parametrize("name", EXPECTED)
def test_layers_and_feeds_are_those_written_by_hand(name: str) -> None:
    expected, architecture = EXPECTED[name], architecture_of(name)
    found = [layer.name for layer in architecture.layers if not layer.is_sum]
    assert found == expected.layers.split()
    assert sum(layer.is_sum for layer in architecture.layers) == expected.sums
    assert architecture.kernels == expected.kernels
    for target, feeds in expected.feeds.items():
        assert [shown(feed, architecture.layer(target)) for feed in architecture.feeds_into(target)] == feeds


@pytest.mark.parametrize("name", NETS)
def test_gates_are_the_layers_that_are_only_factors(name: str) -> None:
    assert [layer.name for layer in architecture_of(name).layers if layer.gate] == GATES.get(name, "").split()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_that_alone_consume_the_maps(name: str) -> None:
    found = {layer.name: layer.activation or "" for layer in architecture_of(name).layers}
    expected = dict(each.split(":") for each in ACTIVATIONS[name].split())
    assert {layer: found[layer] for layer in expected} == expected


@pytest.mark.parametrize("name", NETS)
def test_who_reads_an_activated_layer_reads_it_through_its_activation(name: str) -> None:
    architecture, recording = architecture_of(name), recorded(name)
    for layer in architecture.layers:
        maps, activated = recording.maps[layer.name], recording.activated[layer.name]
        if layer.activation is None:
            assert activated is maps
            continue
        for feed in architecture.feeds:
            if feed.source == layer.name:
                assert feed.operations[0].name == layer.activation
                torch.testing.assert_close(activated, apply(feed.operations[0], maps))


@pytest.mark.parametrize("name", ENDS)
def test_ends_are_what_the_head_reads(name: str) -> None:
    architecture = read_architecture(NETS[name].build(), NETS[name].shape)
    assert architecture.ends == tuple(ENDS[name].split())
    assert not any(layer.kind == "linear" or layer.logits for layer in architecture.layers)


@pytest.mark.parametrize(
    ("name", "logits"),
    [("flattened_head", "fc"), ("two_linear_heads", "fc2"), ("pooled_heads", "fc"), ("heads_of_two_layers", "add")],
)
def test_with_heads_the_logits_are_a_layer(name: str, logits: str) -> None:
    architecture = architecture_of(name)
    assert architecture.logits == 5
    assert [layer.name for layer in architecture.layers if layer.logits] == [logits]
    assert architecture.ends == (logits,)
    assert {layer.kind for layer in architecture.layers if layer.name.startswith("fc")} == {"linear"}
    found, output = recorded(name).maps[logits], recorded(name).output
    assert output is not None
    assert torch.equal(found.flatten(1), output)


def test_a_linear_layer_behind_flattened_maps_has_kernels_of_their_size() -> None:
    layer = architecture_of("flattened_head").layer("fc")
    assert (layer.kernel_size, layer.inputs, layer.filters, layer.output_size) == ((3, 2), 4, 5, (1, 1))
    second = architecture_of("two_linear_heads").layer("fc2")
    assert (second.kernel_size, second.inputs, second.filters, second.output_size) == ((1, 1), 6, 5, (1, 1))


@pytest.mark.parametrize("name", NETS)
def test_reading_twice_gives_the_same_and_changes_nothing(name: str) -> None:
    net, one = NETS[name], architecture_of(name)
    model = net.build()
    with untouched(model):
        two = read_architecture(model, net.shape, heads=net.heads)
    assert (two.layers, two.feeds, two.ends, two.logits) == (one.layers, one.feeds, one.ends, one.logits)
    assert two.digest == one.digest


@pytest.mark.parametrize("name", NETS)
def test_layers_stand_behind_those_that_they_read(name: str) -> None:
    architecture = architecture_of(name)
    assert [layer.index for layer in architecture.layers] == list(range(1, len(architecture.layers) + 1))
    places = {INPUT: 0} | {layer.name: layer.index for layer in architecture.layers}
    depths = {INPUT: 0} | {layer.name: layer.depth for layer in architecture.layers}
    assert len(places) == len(architecture.layers) + 1
    for layer in architecture.layers:
        feeds = architecture.feeds_into(layer.name)
        read = {feed.source for feed in feeds}
        read |= {part["source"] for feed in feeds for operation in feed.operations for part in operation.parts}
        assert all(places[each] < layer.index for each in read)
        assert layer.depth == 1 + max(depths[each] for each in read)
        assert [feed.position for feed in feeds] == list(range(len(feeds)))
    branches = sorted((layer.depth, layer.branch) for layer in architecture.layers)
    assert len(set(branches)) == len(branches)
