"""Any convolutional network read as layers and feeds.

1. trace a copy of the model (`tracing.py`), and bring the graph into one form (`canonical.py`);
2. probe it with a batch of two, without values where that can be done;
3. follow every channel from the image on (`reading.py`);
4. describe layers and feeds, and check that they compute what the model computes.

What cannot be followed is refused by the operation's name and the line of the model's code.
"""

import contextlib
import dataclasses
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from viscnn.errors import ModelError, UnsupportedModel, ViscnnError
from viscnn.ingest.canonical import canonical
from viscnn.ingest.checking import SomethingElse, check, expected, probe_images
from viscnn.ingest.exclusive import WHOLE_PROCESS
from viscnn.ingest.maps import BATCH, Maps
from viscnn.ingest.operations import Operation
from viscnn.ingest.parts import feeds_of
from viscnn.ingest.probing import Probe, probed
from viscnn.ingest.reading import Found, Reader
from viscnn.ingest.rewriting import restored_late
from viscnn.ingest.structure import INPUT, Architecture, Feed, LayerSpec
from viscnn.ingest.tracing import Refused, brief, copied, hooked, line_of, trace, where

__all__ = ["Architecture", "Feed", "LayerSpec", "read_architecture"]


def read_architecture(
    model: nn.Module, input_shape: tuple[int, int, int], *, heads: bool = False, check: bool = True
) -> Architecture:
    """The layers and feeds of a convolutional network.

    Args:
        model: any module whose forward takes one batch of images (N, C, H, W).
        input_shape: (C, H, W).
        heads: read the linear layers behind flattened maps too, the last of them as logits.
        check: run the model and what was read of it on images of three scales, and compare; only a model that was read
            before, with the same weights, needs none.

    Raises:
        UnsupportedModel: an operation that cannot be followed, named.
        ModelError: the model does not accept the input shape, or its weights are not finite.

    Warns:
        UserWarning: modules have hooks, which are left out.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ModelError(f"the input {tuple(input_shape)} is not (channels, rows, columns), such as (3, 224, 224)")
    if isinstance(model, nn.Module) and (names := hooked(model)):
        warnings.warn(f"hooks are no part of a network, and are left out: those of {', '.join(names)}", stacklevel=2)
    reader = _Reading(input_shape, heads, check)
    with WHOLE_PROCESS, torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), _chance_kept():
        try:
            return reader.tried(model)
        except ViscnnError:
            raise
        except Exception as error:  # of torch, about what the model's code does
            raise UnsupportedModel(
                f"{type(model).__name__} cannot be read: {type(error).__name__}: {brief(error)}{line_of(error)}"
            ) from error


@contextmanager
def _chance_kept() -> Iterator[None]:
    """The caller's random numbers stay what they would have been, whatever the model's own code draws."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


@dataclass(frozen=True)
class _Reading:
    """What is asked of a model (see `read_architecture`)."""

    input_shape: tuple[int, int, int]
    heads: bool
    check: bool

    def tried(self, model: nn.Module) -> Architecture:
        """What `read` gives in one of its ways."""
        try:
            return self.read(model)
        except SomethingElse as error:
            # it may be rounding, which some networks enlarge with every layer; or what only torch.export sees
            ways: list[dict[str, Any]] = [{"dtype": torch.float64}, {"export": True}]
            for way in ways:
                with contextlib.suppress(ModelError):
                    return self.read(model, **way)
            raise UnsupportedModel(str(error)) from error
        except UnsupportedModel:
            # once more with the lines of code for the message: recording them costs seconds, so only when it is needed
            return self.read(model, lines=True)

    def read(
        self, model: nn.Module, *, lines: bool = False, export: bool = False, dtype: torch.dtype = torch.float32
    ) -> Architecture:
        images = probe_images(self.input_shape, dtype)
        # of a copy of its own: what the model keeps from a run belongs to no trace, and what a trace leaves to no run
        own = expected(copied(model, dtype), images) if self.check else None
        module = trace(model, self.input_shape, lines=lines, export=export, dtype=dtype)
        try:
            reader, output = self._followed(module, dtype)
        except Refused as error:
            raise UnsupportedModel(f"{where(error.node)} is an operation that cannot be followed: {error}") from error
        if not any(each.kind != "sum" for each in reader.found):
            raise UnsupportedModel("the model has no 2-D convolution on the way from its input")
        read = _architecture(reader, self.input_shape, output)
        if isinstance(own, Exception):  # reading tells better why
            raise own
        if own is not None:
            check(read, own)
        module.to(torch.float32)
        return read

    def _followed(self, module: fx.GraphModule, dtype: torch.dtype) -> tuple[Reader, tuple[int, ...]]:
        """The graph in one form, every channel of it followed; and the shape of the output."""
        _one_input(module)
        first = Probe()
        with contextlib.suppress(ModelError):  # told below, unless there is a clearer reason
            first = probed(module, self.input_shape, dtype)
        canonical(module, first)
        _refuse_infinite(module)
        probe = probed(module, self.input_shape, dtype)
        output = _output(module, probe)
        reader = Reader(module, probe, self.heads)
        reader.read()
        return reader, output


def _one_input(module: fx.GraphModule) -> None:
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    used = [node for node in inputs if node.users or not node.args]
    if len(used) != 1 or str(used[0].target).startswith("*"):
        names = ", ".join(str(node.target) for node in used) or "none"
        raise UnsupportedModel(f"the model's forward must take one batch of images; it takes: {names}")
    for node in inputs:
        if node is not used[0]:
            module.graph.erase_node(node)


def _refuse_infinite(module: fx.GraphModule) -> None:
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.is_quantized:
            raise UnsupportedModel(f"{name} is quantised; give the model that it was made from")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds NaN or infinity (after folding its BatchNorm, if any); check the weights")
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def _output(module: fx.GraphModule, probe: Probe) -> tuple[int, ...]:
    """The shape of what the model returns."""
    node = next(node for node in module.graph.nodes if node.op == "output").args[0]
    shape = probe.shapes.get(node) if isinstance(node, fx.Node) else None
    if shape is None:
        raise UnsupportedModel("the model must return one tensor (logits or maps), not a tuple or dictionary")
    if shape[:1] != (BATCH,):
        raise UnsupportedModel(f"the output of a batch of 2 images has shape {shape}, not one row each")
    return shape


# --- layers and feeds --------------------------------------------------------------------------------------------


def _architecture(reader: Reader, input_shape: tuple[int, int, int], output: tuple[int, ...]) -> Architecture:
    module = reader.module
    logits = output[1] if len(output) == 2 else None
    last, ends = _ends(reader, logits)
    activations = {node: each for node, each in reader.activations.items() if each.name != "prelu"}
    restored_late(module, lambda node: node in activations)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    feeds = {each.name: _feeds(each) for each in reader.found}
    depths = _depths(reader.found, feeds)
    gates = _gates(reader.found, feeds, ends)
    layers: list[LayerSpec] = []
    for index, each in enumerate(reader.found, start=1):
        branch = sum(depths[layer.name] == depths[each.name] for layer in layers)
        layer = _layer(reader, each, index=index, depth=depths[each.name], branch=branch)
        layers.append(dataclasses.replace(layer, gate=each.name in gates, logits=each.name == last))
    specs = tuple(layers)
    return Architecture(module, input_shape, specs, tuple(f for each in specs for f in feeds[each.name]), logits, ends)


def _ends(reader: Reader, logits: int | None) -> tuple[str | None, tuple[str, ...]]:
    """The layer whose filters are the logits, if there is one, and the layers that the head reads."""
    nodes = [node for node in reader.module.graph.nodes if node.op == "output" or node in reader.head]
    read = dict.fromkeys(each for node in nodes for each in node.all_input_nodes if each in reader.values)
    maps = [value for each in read if isinstance(value := reader.values[each], Maps)]
    found = {path.source for each in maps for path in each.channels.paths}
    ends = tuple(each.name for each in reader.found if each.name in found)
    if len(maps) == 1 and maps[0].channels.whole() and not maps[0].channels.paths[0].operations:
        alone = maps[0].positions == 1 and len(maps[0].channels) == logits
        return (ends[0] if alone and reader.heads and ends else None), ends
    return None, ends


def _feeds(found: Found) -> list[Feed]:
    feeds: list[Feed] = []
    for addend, channels in enumerate(found.inputs):
        feeds += feeds_of(channels, found.name, addend=addend, first=len(feeds))
    return feeds


def _depths(found: list[Found], feeds: dict[str, list[Feed]]) -> dict[str, int]:
    depths = {INPUT: 0}
    for each in found:
        read = {name for feed in feeds[each.name] for name in (feed.source, *_read_by(feed.operations))}
        depths[each.name] = 1 + max((depths[name] for name in read), default=0)
    return depths


def _read_by(operations: tuple[Operation, ...]) -> set[str]:
    """Names of the layers that operations read besides the maps they are applied to."""
    found = set()
    for operation in operations:
        for part in operation.parts:
            nested = tuple(Operation.from_dict(each) for each in part["operations"])
            found |= {part["source"], *_read_by(nested)}
    return found


def _gates(found: list[Found], feeds: dict[str, list[Feed]], ends: tuple[str, ...]) -> set[str]:
    """Layers whose maps reach others only as factors."""
    gates: set[str] = set()
    for each in reversed(found):
        targets = [feed.target for name in feeds for feed in feeds[name] if feed.source == each.name]
        if each.name not in ends and all(target in gates for target in targets):
            gates.add(each.name)
    read = {name for each in found for feed in feeds[each.name] for name in _read_by(feed.operations)}
    return gates if read else set()


def _layer(reader: Reader, found: Found, *, index: int, depth: int, branch: int) -> LayerSpec:
    convolution = reader.module.get_submodule(str(found.node.target))
    assert isinstance(convolution, nn.Conv2d)
    value = reader.values[found.node]
    assert isinstance(value, Maps)
    users = [each for each in found.node.users if each.op == "output" or reader.is_maps(each)]
    after = users[0] if len(users) == 1 else None
    activation = reader.activations.get(after) if after is not None else None
    return LayerSpec(
        name=found.name,
        node=found.node.name,
        index=index,
        in_channels=convolution.in_channels,
        filters=convolution.out_channels,
        kernel_size=_pair(convolution.kernel_size),
        stride=_pair(convolution.stride),
        padding=convolution.padding if isinstance(convolution.padding, str) else _pair(convolution.padding),
        padding_mode=convolution.padding_mode,
        dilation=_pair(convolution.dilation),
        groups=convolution.groups,
        output_size=value.size,
        activation=None if activation is None else activation.name,
        activation_node=None if activation is None or after is None else after.name,
        kind=found.kind,
        depth=depth,
        branch=branch,
    )


def _pair(values: Any) -> tuple[int, int]:
    rows, columns = values
    return int(rows), int(columns)
