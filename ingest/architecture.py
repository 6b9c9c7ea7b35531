"""Which maps feed which convolution: a `torch.nn.Module` read as a chain of layers with torch.fx.

1. trace a copy of the model and clean it (tracing.py);
2. record shapes with one forward pass;
3. walk the chain of operations from the input, and note the ordered operations between two convolutions.

The walk ends where maps are flattened: what follows is the head, which only turns maps into logits.
A model that is not one chain is refused by the name of the first operation that cannot be followed.
"""

import itertools
import re
from typing import Any

import torch
from torch import Tensor, fx, nn

from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.operations import HEAD, Operation, Unknown, read_operation
from viscnn.ingest.structure import INPUT, Architecture, Feed, LayerSpec
from viscnn.ingest.tracing import is_convolution, submodule, traced

__all__ = ["Architecture", "Feed", "LayerSpec", "read_architecture"]

_TORCH = re.compile(r"[/\\\\]torch[/\\\\]")


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
        return _read(traced(model), input_shape)
    except UnsupportedModel:
        # once more with the lines of code for the message: recording them costs seconds, so only when it is needed
        return _read(traced(model, lines=True), input_shape)


def _read(module: fx.GraphModule, input_shape: tuple[int, int, int]) -> Architecture:
    _input(module)
    images = torch.zeros(2, *input_shape)
    shapes, output = _run(module, images)
    layers, feeds = _walk(module, input_shape, shapes)
    if not layers:
        raise UnsupportedModel("the model has no 2-D convolution on the way from its input")
    logits = _logits(module, shapes)
    _check_output(module, images, output)
    return Architecture(module, input_shape, tuple(layers), tuple(feeds), logits, (layers[-1].name,))


def _run(module: fx.GraphModule, images: Tensor) -> tuple[dict[str, tuple[int, ...]], Any]:
    """Shapes by node, and what the model returns."""
    shapes = _Shapes(module)
    try:
        with torch.no_grad():
            output = shapes.run(images)
    except Exception as error:
        size = "x".join(str(n) for n in images.shape[1:])
        reason = " ".join(str(error).partition("While executing")[0].split())[:200]
        raise ModelError(
            f"the model does not accept an input of {size} (give another with --input): {reason}"
        ) from error
    return shapes.shapes, output


def _check_output(module: fx.GraphModule, images: Tensor, output: Tensor) -> None:
    """Refuse a model whose output is not one row per image, or is not always the same."""
    with torch.no_grad():
        again = module(images)
    if output.shape[:1] != images.shape[:1]:
        raise UnsupportedModel(f"the output of a batch of 2 images has shape {tuple(output.shape)}, not one row each")
    if not torch.allclose(output, again, rtol=0, atol=0, equal_nan=True):
        raise UnsupportedModel("two runs on the same images differ: the model is random even in eval mode")


def _walk(
    module: fx.GraphModule, input_shape: tuple[int, int, int], shapes: dict[str, tuple[int, ...]]
) -> tuple[list[LayerSpec], list[Feed]]:
    layers: list[LayerSpec] = []
    feeds: list[Feed] = []
    pending: list[Operation] = []
    previous = _input(module)
    head: set[fx.Node] = set()
    for node in list(module.graph.nodes)[1:]:
        if node.op in {"output", "get_attr"} or node.name not in shapes:  # sizes and the like are no maps
            continue
        convolution = is_convolution(module, node)
        if head:
            if convolution:
                raise UnsupportedModel(f"{_where(node)} is a convolution after the maps were flattened")
            _follows(node, previous, shapes, head=head)
            head.add(node)
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
            if operation is HEAD:
                head.add(node)
                continue
            pending += [operation] if operation is not None else []
        previous = node
    return layers, feeds


def _input(module: fx.GraphModule) -> fx.Node:
    inputs = [node for node in module.graph.nodes if node.op == "placeholder" and (node.users or not node.args)]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise UnsupportedModel(f"the model's forward must take one batch of images; it takes: {names}")
    found: fx.Node = inputs[0]
    return found


def _follows(
    node: fx.Node, previous: fx.Node, shapes: dict[str, tuple[int, ...]], *, head: set[fx.Node] | None = None
) -> None:
    """Refuse a node that consumes anything but the map before it (in the head: also what the head has computed)."""
    inputs = [each for each in node.all_input_nodes if each.name in shapes]
    known = head is not None and all(each == previous or each in head or each.op == "get_attr" for each in inputs)
    if not known and inputs != [previous]:
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
    convolution = submodule(module, node, nn.Conv2d)
    users = [each for each in node.users if each.op == "output" or each.name in shapes]  # asking for sizes is no use
    after = users[0] if len(users) == 1 else None
    operation = None
    if after is not None and after.op != "output" and not is_convolution(module, after):
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
        depth=index,
    )


def _logits(module: fx.GraphModule, shapes: dict[str, tuple[int, ...]]) -> int | None:
    output = next(node for node in module.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or output.name not in shapes:
        raise UnsupportedModel("the model must return one tensor (logits or maps), not a tuple or dictionary")
    shape = shapes[output.name]
    return shape[1] if len(shape) == 2 else None


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
