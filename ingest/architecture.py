"""Any convolutional network read as layers and feeds.

1. trace a copy of the model (`tracing.py`), and bring the graph into one form (`canonical.py`);
2. probe it with a batch of two, without values where that can be done;
3. follow every channel from the image on (`reading.py`);
4. describe layers and feeds, and check that they compute what the model computes.

What cannot be followed is refused by the operation's name and the line of the model's code.
"""

import contextlib
import copy
import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.canonical import Refused, canonical
from viscnn.ingest.exclusive import WHOLE_PROCESS
from viscnn.ingest.forward import forward
from viscnn.ingest.maps import BATCH, Maps
from viscnn.ingest.operations import Operation
from viscnn.ingest.parts import feeds_of
from viscnn.ingest.reading import Found, Reader
from viscnn.ingest.rewriting import Probe, restored_late
from viscnn.ingest.structure import INPUT, Architecture, Feed, LayerSpec
from viscnn.ingest.tracing import Traced, brief, trace, where

__all__ = ["Architecture", "Feed", "LayerSpec", "read_architecture"]

TOLERANCE = 1e-3
"""Largest difference, relative to the largest value, between the model and what was read of it."""

ROUNDING = 0.1
"""A difference below this may be float32's rounding; it is looked at again in float64."""


def read_architecture(
    model: nn.Module, input_shape: tuple[int, int, int], *, heads: bool = False, check: bool = True
) -> Architecture:
    """The layers and feeds of a convolutional network.

    Args:
        model: any module whose forward takes one batch of images (N, C, H, W).
        input_shape: (C, H, W).
        heads: read the linear layers behind flattened maps too, the last of them as logits.
        check: run the model and what was read of it on one image, and compare; only a model that was read before,
            with the same weights, needs none.

    Raises:
        UnsupportedModel: an operation that cannot be followed, named.
        ModelError: the model does not accept the input shape, or its weights are not finite.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ModelError(f"the input {tuple(input_shape)} is not (channels, rows, columns), such as (3, 224, 224)")
    reader = _Reading(input_shape, heads, check)
    with WHOLE_PROCESS, torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), _chance_kept():
        try:
            return reader.read(model)
        except _SomethingElse as error:
            # it may be rounding, where noise makes a trained network's maps huge; or what only torch.export sees
            ways: list[dict[str, Any]] = [{"dtype": torch.float64}] if error.difference < ROUNDING else []
            for way in (*ways, {"export": True}):
                with contextlib.suppress(UnsupportedModel):
                    return reader.read(model, **way)
            raise UnsupportedModel(str(error)) from error
        except UnsupportedModel:
            # once more with the lines of code for the message: recording them costs seconds, so only when it is needed
            return reader.read(model, lines=True)


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


class _SomethingElse(UnsupportedModel):
    """What was read is not what the model computes."""

    def __init__(self, message: str, difference: float) -> None:
        super().__init__(message)
        self.difference = difference


@dataclass(frozen=True)
class _Reading:
    """What is asked of a model (see `read_architecture`)."""

    input_shape: tuple[int, int, int]
    heads: bool
    check: bool

    def read(
        self, model: nn.Module, *, lines: bool = False, export: bool = False, dtype: torch.dtype = torch.float32
    ) -> Architecture:
        traced = trace(model, self.input_shape, lines=lines, export=export, dtype=dtype)
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, *self.input_shape, generator=generator, dtype=dtype)
        expected = _expected(traced, image) if self.check else None  # at once: the graph shares modules with the copy
        module = traced.module
        try:
            _one_input(module)
            canonical(module)
            _refuse_infinite(module)
            probe = _probed(module, self.input_shape, dtype)
            output = _output(module, probe)
            reader = Reader(module, probe, self.heads)
            reader.read()
        except Refused as error:
            raise UnsupportedModel(f"{where(error.node)} is an operation that cannot be followed: {error}") from error
        if not any(each.kind != "sum" for each in reader.found):
            raise UnsupportedModel("the model has no 2-D convolution on the way from its input")
        read = _architecture(reader, self.input_shape, output)
        if isinstance(expected, Exception):
            raise expected
        if self.check:
            _check(read, image, expected)
        module.to(torch.float32)
        return read


def _one_input(module: fx.GraphModule) -> None:
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    used = [node for node in inputs if node.users or not node.args]
    if len(used) != 1 or str(used[0].target).startswith("*"):
        names = ", ".join(str(node.target) for node in used) or "none"
        raise UnsupportedModel(f"the model's forward must take one batch of images; it takes: {names}")
    for node in inputs:
        if node is not used[0]:
            module.graph.erase_node(node)


def _expected(traced: Traced, image: Tensor) -> Any:
    """What the model itself returns; or why it returns nothing, or something random, which reading may tell better."""
    try:
        found, again = traced.own(image.clone()), traced.own(image.clone())
    except Exception as error:  # noqa: BLE001 -- whatever the model's own code raises
        return _not_accepted(image.shape[1:], error)
    if isinstance(found, Tensor) and not torch.allclose(found, again, rtol=0, atol=0, equal_nan=True):
        return UnsupportedModel("two runs on the same images differ: the model is random even in eval mode")
    return found


def _not_accepted(shape: tuple[int, ...], error: Exception) -> ModelError:
    size = "x".join(str(n) for n in shape)
    return ModelError(f"the model does not accept an input of {size} (give another with --input): {brief(error)}")


def _refuse_infinite(module: fx.GraphModule) -> None:
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.is_quantized:
            raise UnsupportedModel(f"{name} is quantised; give the model that it was made from")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds NaN or infinity (after folding its BatchNorm, if any); check the weights")
    for parameter in module.parameters():
        parameter.requires_grad_(False)


# --- probing -----------------------------------------------------------------------------------------------------


class _Prober(fx.Interpreter):
    """Runs the graph once and keeps shapes and numbers."""

    def __init__(self, module: fx.GraphModule, nodes: dict[str, fx.Node]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.nodes = nodes
        self.probe = Probe()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        node = self.nodes[n.name]
        if isinstance(value, Tensor):
            self.probe.shapes[node] = tuple(value.shape)
        elif shapes := _shapes(value):
            self.probe.several[node] = shapes
        elif n.op != "output":
            self.probe.others[node] = value
        return value


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of all tensors in tuples and lists."""
    if isinstance(value, Tensor):
        return (tuple(value.shape),)
    return tuple(shape for each in value for shape in _shapes(each)) if isinstance(value, tuple | list) else ()


def _probed(module: fx.GraphModule, input_shape: tuple[int, int, int], dtype: torch.dtype) -> Probe:
    """Shapes of all values: on the device `meta`, which computes nothing, else by a real run."""
    nodes = {node.name: node for node in module.graph.nodes}
    prober = _Prober(copy.deepcopy(module).to("meta"), nodes)
    try:
        prober.run(torch.empty(BATCH, *input_shape, device="meta", dtype=dtype))
    except Exception:  # noqa: BLE001 -- some functions have no such form; a real run tells what is wrong
        prober = _Prober(module, nodes)
        try:
            prober.run(torch.zeros(BATCH, *input_shape, dtype=dtype))
        except Exception as error:
            raise _not_accepted(input_shape, error) from error
    return prober.probe


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


# --- the check ---------------------------------------------------------------------------------------------------


class _Recorder(fx.Interpreter):
    """Runs the graph and compares the maps of the layers with those computed from feeds."""

    def __init__(self, read: Architecture, maps: dict[str, Tensor]) -> None:
        super().__init__(read.module)
        self.extra_traceback = False
        self.layers = {layer.node: layer.name for layer in read.layers}
        self.maps = maps

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        name = self.layers.get(n.name)
        if name is not None and (difference := _difference(self.maps.pop(name), value)) > TOLERANCE:
            raise _SomethingElse(f"the maps of layer {name} cannot be computed from the layers before it", difference)
        return value


def _check(read: Architecture, image: Tensor, expected: Any) -> None:
    """Refuse what was not read rightly: a graph that computes something else, or feeds that do.

    Raises:
        UnsupportedModel: the difference is above `TOLERANCE`.
    """
    output = _Recorder(read, forward(read, image)).run(image)
    difference = _difference(output, expected) if isinstance(expected, Tensor) else float("inf")
    if difference > TOLERANCE:
        raise _SomethingElse(
            "the traced graph computes something else than the model: it may change maps in place, or depend on "
            "values or on state that a trace does not see",
            difference,
        )


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest value; infinite where shapes differ, or only one is finite."""
    if found.shape != expected.shape or not torch.equal(found.isfinite(), expected.isfinite()):
        return float("inf")
    finite = expected.isfinite()
    if not finite.any():
        return 0.0
    return float((found - expected)[finite].abs().max() / expected[finite].abs().max().clamp_min(1e-30))
