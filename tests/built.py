"""Architectures put together by hand: what the reader would find in branching networks, without the reader."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx, nn

from viscnn.ingest.operations import Operation
from viscnn.ingest.structure import Architecture, Feed, LayerSpec
from viscnn.ingest.sums import Sum

RELU = Operation("relu")


def convolution(
    name: str, inputs: int, filters: int, *, size: int = 1, groups: int = 1, depth: int, branch: int = 0
) -> LayerSpec:
    """A convolution of 5x5 maps that keeps their size; `architecture` numbers the layers."""
    return LayerSpec(
        name=name,
        node=name.replace(".", "_"),
        index=0,
        in_channels=inputs,
        filters=filters,
        kernel_size=(size, size),
        stride=(1, 1),
        padding=(size // 2, size // 2),
        padding_mode="zeros",
        dilation=(1, 1),
        groups=groups,
        output_size=(5, 5),
        activation=None,
        activation_node=None,
        depth=depth,
        branch=branch,
    )


def addition(name: str, channels: int, addends: int, *, depth: int, branch: int = 0) -> LayerSpec:
    """A sum of 5x5 maps."""
    made = convolution(name, channels * addends, channels, groups=channels, depth=depth, branch=branch)
    return replace(made, kind="sum")


def architecture(
    layers: Sequence[LayerSpec], feeds: Sequence[Feed], *, channels: int = 2, logits: int | None = None, seed: int = 0
) -> Architecture:
    """The layers in this order, with random weights and biases, fed as given, on images of `channels` x 5 x 5."""
    ordered = tuple(replace(layer, index=number) for number, layer in enumerate(layers, start=1))
    root = nn.Module()
    graph = fx.Graph()
    value = graph.placeholder("images")
    generator = torch.Generator().manual_seed(seed)
    for layer in ordered:
        root.add_module(layer.node, _module(layer, generator))
        value = graph.create_node("call_module", layer.node, (value,), name=layer.node)
    graph.output(value)
    module = fx.GraphModule(root, graph)
    return Architecture(module, (channels, 5, 5), ordered, tuple(feeds), logits, (ordered[-1].name,))


def _module(layer: LayerSpec, generator: torch.Generator) -> nn.Conv2d:
    if layer.is_sum:
        return Sum(layer.filters, layer.inputs)
    made = nn.Conv2d(layer.in_channels, layer.filters, layer.kernel_size, padding=layer.padding, groups=layer.groups)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made.requires_grad_(False)


def branching() -> Architecture:
    """All ways to be read: by groups, in another order, beside others, as an addend with a zero channel, as logits."""
    layers = [
        convolution("left", 2, 4, size=3, depth=1),
        convolution("right", 2, 3, depth=1, branch=1),
        addition("block.add", 4, 2, depth=2),
        convolution("mixed", 7, 6, size=3, depth=3),
        convolution("grouped", 6, 6, groups=3, depth=4),
        replace(convolution("head", 6, 3, depth=5), kind="linear", logits=True),
    ]
    feeds = [
        Feed("input", "left", (), 2),
        Feed("input", "right", (), 2),
        Feed("left", "block.add", (RELU,), 4),
        Feed("right", "block.add", (), 3, position=1, target_start=1, addend=1),
        Feed("right", "mixed", (), 3),
        Feed("block.add", "mixed", (RELU,), 4, position=1, target_start=3),
        Feed("mixed", "grouped", (), 6, source_channels=(5, 4, 3, 2, 1, 0)),
        Feed("grouped", "head", (Operation("adaptive_avgpool", (("size", [1, 1]),)),), 6),
    ]
    return architecture(layers, feeds, logits=3)


def branching_kernels(model: str) -> set[tuple[str, str, int]]:
    """Source, target and input of every kernel of `branching`, written out."""
    found = {("input/c0", f"{layer}/{o}", 0) for layer, n in (("left", 4), ("right", 3)) for o in range(n)}
    found |= {("input/c1", f"{layer}/{o}", 1) for layer, n in (("left", 4), ("right", 3)) for o in range(n)}
    beside = ["right/0", "right/1", "right/2", "block.add/0", "block.add/1", "block.add/2", "block.add/3"]
    found |= {(source, f"mixed/{o}", i) for o in range(6) for i, source in enumerate(beside)}
    pairs = {0: (5, 4), 1: (5, 4), 2: (3, 2), 3: (3, 2), 4: (1, 0), 5: (1, 0)}
    found |= {(f"mixed/{source}", f"grouped/{o}", i) for o, pair in pairs.items() for i, source in enumerate(pair)}
    found |= {(f"grouped/{i}", f"head/{o}", i) for o in range(3) for i in range(6)}
    return {(f"{model}/{source}", f"{model}/{target}", i) for source, target, i in found}


def branching_identities(model: str) -> set[tuple[str, str, int]]:
    """Source, target and addend of every identity of `branching`; the first channel has one addend only."""
    found = {(f"left/{c}", f"block.add/{c}", 0) for c in range(4)}
    found |= {("right/0", "block.add/1", 1), ("right/1", "block.add/2", 1), ("right/2", "block.add/3", 1)}
    return {(f"{model}/{source}", f"{model}/{target}", i) for source, target, i in found}
