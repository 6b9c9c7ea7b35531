"""Which maps feed which convolution: a `torch.nn.Module` read as a chain of layers with torch.fx.

1. copy the model (the caller's stays as it is), eval mode, float32, CPU; trace it;
2. walk the chain of operations from the input; drop what does nothing in eval mode;
3. fold each BatchNorm into the convolution before it (its output feeds nothing else);
4. record shapes with one forward pass, and between two convolutions the ordered operations.

The walk ends where maps are flattened: what follows is the head, which only turns maps into logits.
A model that is not one chain is refused by the name of the first operation that cannot be followed.
"""

import copy
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.operations import HEAD, Operation, Unknown, read_operation

__all__ = ["Architecture", "Feed", "LayerSpec", "read_architecture"]

INPUT = "input"
_TORCH = re.compile(r"[/\\\\]torch[/\\\\]")
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class LayerSpec:
    """One convolution call; sizes in pixels, (rows, columns)."""

    name: str  # module path; the second call of a shared module is `path#2`
    node: str  # name of the call in the traced graph
    index: int  # depth; 0 is the input
    in_channels: int
    filters: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, int]
    padding_mode: str
    dilation: tuple[int, int]
    groups: int
    output_size: tuple[int, int]
    activation: str | None  # the one pointwise activation that consumes the output, if it is alone
    activation_node: str | None

    @property
    def positions(self) -> int:
        """Number of positions of an output map."""
        return self.output_size[0] * self.output_size[1]

    @property
    def inputs(self) -> int:
        """Incoming kernels per filter: input channels per group."""
        return self.in_channels // self.groups

    def source_start(self, channel: int) -> int:
        """First input channel of the group that filter `channel` belongs to."""
        return channel // (self.filters // self.groups) * self.inputs


@dataclass(frozen=True)
class Feed:
    """The maps of `source` reach `target` through the ordered `operations`."""

    source: str
    target: str
    operations: tuple[Operation, ...]
    channels: int
    position: int = 0
    source_start: int = 0
    target_start: int = 0


@dataclass(frozen=True)
class Architecture:
    """A model as layers and feeds, with the traced, folded module that computes the same function."""

    module: fx.GraphModule = field(repr=False)
    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    feeds: tuple[Feed, ...]
    logits: int | None  # number of logits, or None when the model returns maps

    def convolution(self, layer: LayerSpec) -> nn.Conv2d:
        """The (folded) convolution of a layer."""
        return _submodule(self.module, _node(self.module, layer.node), nn.Conv2d)

    def layer(self, name: str) -> LayerSpec:
        """The layer called `name`; raises KeyError."""
        return {each.name: each for each in self.layers}[name]

    @property
    def kernels(self) -> int:
        """Number of 2-D kernels of all layers."""
        return sum(layer.filters * layer.inputs for layer in self.layers)


class _Shapes(fx.Interpreter):
    """Runs the graph once and keeps the shape of each tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        return value


def read_architecture(model: nn.Module, input_shape: tuple[int, int, int]) -> Architecture:
    """The layers and feeds of a sequential convolutional network.

    Args:
        model: any module whose forward takes one batch of images (N, C, H, W).
        input_shape: (C, H, W).

    Raises:
        UnsupportedModel: an operation that cannot be followed, named.
        ModelError: the model does not accept the input shape.
    """
    try:
        return _read(_traced(model), input_shape)
    except UnsupportedModel:
        # once more with the lines of code for the message: recording them costs seconds, so only when it is needed
        return _read(_traced(model, lines=True), input_shape)


def _read(module: fx.GraphModule, input_shape: tuple[int, int, int]) -> Architecture:
    _fold(module)
    shapes = _run(module, input_shape)
    layers, feeds = _walk(module, input_shape, shapes)
    if not layers:
        raise UnsupportedModel("the model has no 2-D convolution on the way from its input")
    return Architecture(module, input_shape, tuple(layers), tuple(feeds), _logits(module, shapes))


def _traced(model: nn.Module, *, lines: bool = False) -> fx.GraphModule:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_complex():
            raise UnsupportedModel(f"parameter {name} is complex; only real networks can be written as kernels")
    own = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    for submodule in own.modules():
        submodule._forward_hooks.clear()
        submodule._forward_pre_hooks.clear()
    tracer = fx.Tracer()
    tracer.record_stack_traces = lines
    try:
        graph = tracer.trace(own)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModel(f"{type(model).__name__} cannot be traced by torch.fx: {reason}") from error
    module = fx.GraphModule(own, graph)
    module.graph.eliminate_dead_code()
    _give_each_call_its_own_convolution(module)
    _never_in_place(module)
    module.recompile()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _give_each_call_its_own_convolution(module: fx.GraphModule) -> None:
    """A convolution that is called twice becomes two, so that each call is a layer of its own."""
    calls: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), nn.Conv2d):
            calls[node.target] = calls.get(node.target, 0) + 1
            node.meta["layer"] = node.target if node.target != INPUT else f"{INPUT}#1"  # `input` is the image
            if calls[node.target] > 1:
                node.meta["layer"] = f"{node.target}#{calls[node.target]}"
                copied = f"{node.target}_call{calls[node.target]}".replace(".", "_")
                module.add_submodule(copied, copy.deepcopy(module.get_submodule(node.target)))
                node.target = copied


def _never_in_place(module: fx.GraphModule) -> None:
    """In-place activations overwrite the maps that scores are computed from; on this copy they need not."""
    for submodule in module.modules():
        if getattr(submodule, "inplace", False):
            submodule.inplace = False  # type: ignore[assignment]
    for node in module.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        if node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target.removesuffix("_")
        if node.op == "call_function" and node.target in {nn.functional.relu_, torch.relu_}:
            node.target = torch.relu


def _fold(module: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution whose output it alone consumes."""
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(module.get_submodule(node.target), nn.BatchNorm2d):
            continue
        norm = _submodule(module, node, nn.BatchNorm2d)
        if norm.running_mean is None:
            raise UnsupportedModel(f"{node.target}: BatchNorm2d without running statistics depends on the batch")
        before = node.args[0]
        if not _is_convolution(module, before) or len(before.users) != 1:
            continue
        fused = fuse_conv_bn_eval(_submodule(module, before, nn.Conv2d), norm)
        module.add_submodule(str(before.target), fused)
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()


def _run(module: fx.GraphModule, input_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    shapes = _Shapes(module)
    try:
        with torch.no_grad():
            shapes.run(torch.zeros(1, *input_shape))
    except Exception as error:
        size = "x".join(str(n) for n in input_shape)
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the model does not accept an input of {size} (give another with --input): {reason}"
        ) from error
    return shapes.shapes


def _walk(
    module: fx.GraphModule, input_shape: tuple[int, int, int], shapes: dict[str, tuple[int, ...]]
) -> tuple[list[LayerSpec], list[Feed]]:
    layers: list[LayerSpec] = []
    feeds: list[Feed] = []
    pending: list[Operation] = []
    previous, in_head = _input(module), False
    for node in list(module.graph.nodes)[1:]:
        if node.op in {"output", "get_attr"} or node.name not in shapes:  # sizes and the like are no maps
            continue
        convolution = _is_convolution(module, node)
        if in_head:
            if convolution:
                raise UnsupportedModel(f"{_where(node)} is a convolution after the maps were flattened")
            continue
        _follows(node, previous, shapes)
        if convolution:
            layers.append(_layer(module, node, len(layers) + 1, shapes))
            source = layers[-2].name if len(layers) > 1 else INPUT
            channels = layers[-1].in_channels
            feeds.append(Feed(source, layers[-1].name, tuple(pending), channels))
            pending = []
        else:
            operation = _operation(module, node)
            in_head = operation is HEAD
            pending += [operation] if operation is not None and not in_head else []
        previous = node
    return layers, feeds


def _input(module: fx.GraphModule) -> fx.Node:
    inputs = [node for node in module.graph.nodes if node.op == "placeholder" and (node.users or not node.args)]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise UnsupportedModel(f"the model's forward must take one batch of images; it takes: {names}")
    found: fx.Node = inputs[0]
    return found


def _follows(node: fx.Node, previous: fx.Node, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a node that consumes anything but the map before it."""
    inputs = [each for each in node.all_input_nodes if each.name in shapes]
    if inputs != [previous]:
        raise UnsupportedModel(
            f"{_where(node)} does not simply follow {previous.name}: "
            "only sequential networks can be ingested (no branches, skips or concatenations)"
        )


def _operation(module: fx.GraphModule, node: fx.Node) -> Operation | None:
    try:
        return read_operation(module, node)
    except Unknown as error:
        raise UnsupportedModel(f"{_where(node)} is an operation that cannot be followed: {error}") from error


def _layer(module: fx.GraphModule, node: fx.Node, index: int, shapes: dict[str, tuple[int, ...]]) -> LayerSpec:
    convolution = _submodule(module, node, nn.Conv2d)
    after = next(iter(node.users)) if len(node.users) == 1 else None
    operation = None
    if after is not None and after.op != "output" and not _is_convolution(module, after):
        operation = _operation(module, after)
    pointwise = operation is not None and operation.pointwise
    return LayerSpec(
        name=node.meta["layer"],
        node=node.name,
        index=index,
        in_channels=convolution.in_channels,
        filters=convolution.out_channels,
        kernel_size=_pair(convolution.kernel_size),
        stride=_pair(convolution.stride),
        padding=convolution.padding if isinstance(convolution.padding, str) else _pair(convolution.padding),
        padding_mode=convolution.padding_mode,
        dilation=_pair(convolution.dilation),
        groups=convolution.groups,
        output_size=_pair(shapes[node.name][2:]),
        activation=operation.name if operation is not None and pointwise else None,
        activation_node=after.name if after is not None and pointwise else None,
    )


def _logits(module: fx.GraphModule, shapes: dict[str, tuple[int, ...]]) -> int | None:
    output = next(node for node in module.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or output.name not in shapes:
        raise UnsupportedModel("the model must return one tensor (logits or maps), not a tuple or dictionary")
    shape = shapes[output.name]
    return shape[1] if len(shape) == 2 else None


def _is_convolution(module: fx.GraphModule, node: Any) -> bool:
    return (
        isinstance(node, fx.Node)
        and node.op == "call_module"
        and isinstance(module.get_submodule(str(node.target)), nn.Conv2d)
    )


def _node(module: fx.GraphModule, name: str) -> fx.Node:
    found: fx.Node = next(node for node in module.graph.nodes if node.name == name)
    return found


def _submodule(module: fx.GraphModule, node: fx.Node, kind: type[M]) -> M:
    found = module.get_submodule(str(node.target))
    assert isinstance(found, kind), f"{node.target} is {type(found).__name__}"
    return found


def _pair(values: Any) -> tuple[int, int]:
    rows, columns = values
    return int(rows), int(columns)


def _where(node: fx.Node) -> str:
    """The operation's name, with the line of the model's code where it is known."""
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    frames = [
        code for place, code in itertools.pairwise(lines) if place.startswith("File ") and not _TORCH.search(place)
    ]
    code = frames[-1] if frames else ""
    return f"{target!r} (in `{code}`)" if code else repr(target)
