"""Graph surgery for `reading.py`: values seen as maps, linear layers and additions as convolutions, the head found."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from viscnn.ingest.canonical import is_convolution
from viscnn.ingest.maps import Maps
from viscnn.ingest.operation_reading import function_name
from viscnn.ingest.probing import Probe
from viscnn.ingest.structure import INPUT
from viscnn.ingest.sums import Sum, convolution_of

__all__ = [
    "View",
    "as_convolution",
    "as_sum",
    "attribute",
    "channels_view",
    "convolution_like",
    "head_nodes",
    "maps_view",
    "restored_late",
]


Step = tuple[str, tuple[Any, ...]]
"""A method of tensors with its arguments."""


@dataclass(frozen=True)
class View:
    """A value seen as (N, C, H, W) maps.

    Attributes:
        settled: the maps.
        prepares, restores: the method calls that lead there, and those that lead back for a result of `output_size`.
        kernel: (rows, columns) of the convolution that a linear layer on it is.
    """

    settled: Maps
    prepares: tuple[Step, ...] = ()
    restores: tuple[Step, ...] = ()
    kernel: tuple[int, int] = (1, 1)

    @property
    def output_size(self) -> tuple[int, int]:
        """Rows and columns of what the convolution returns."""
        return self.settled.size if self.kernel == (1, 1) else (1, 1)

    def restore(self, value: Tensor) -> Tensor:
        """A result (N, C, H, W) in the arrangement of the value."""
        return _run(value, self.restores)


def _run(value: Tensor, steps: Sequence[Step]) -> Tensor:
    for name, arguments in steps:
        value = getattr(value, name)(*arguments)
    return value


def channels_view(maps: Maps, features: int) -> View | None:
    """How a value whose last dimension a linear layer or LayerNorm works on is seen as maps; None if it cannot be."""
    rows, columns = maps.size
    dimensions = maps.numbered().ndim
    if dimensions == 2:
        tries = [View(maps, (("reshape", (-1, features, 1, 1)),), (("flatten", (1,)),))]
        if features % maps.positions == 0 and maps.positions > 1:
            whole = ("reshape", (-1, features // maps.positions, rows, columns))
            tries.insert(0, View(maps, (whole,), (("flatten", (1,)),), kernel=(rows, columns)))
    elif dimensions == 3:
        spread = (("transpose", (1, 2)), ("reshape", (-1, features, rows, columns)))
        tries = [View(maps, spread, (("flatten", (2,)), ("transpose", (1, 2))))]
    elif dimensions == 4:
        tries = [View(maps, (("permute", (0, 3, 1, 2)),), (("permute", (0, 2, 3, 1)),))]
    else:
        tries = []
    for each in tries:
        steps = each.prepares
        found = maps.through(lambda ids, steps=steps: _run(ids, steps))  # type: ignore[misc]
        if found is not None and len(found.channels) * each.kernel[0] * each.kernel[1] == features:
            return View(found, each.prepares, each.restores, each.kernel)
    return None


def maps_view(maps: Maps) -> View | None:
    """How any value is seen as maps: as it is, or channels last."""
    if maps.ids is None:
        return View(maps)
    view = channels_view(maps, len(maps.channels))
    return view if view is None or view.kernel == (1, 1) else None


def convolution_like(linear: nn.Linear, view: View) -> nn.Conv2d:
    """The convolution that a linear layer is on the maps of a view."""
    weight = linear.weight.detach()
    return convolution_of(weight.reshape(len(weight), -1, *view.kernel), linear.bias)


def as_convolution(
    module: fx.GraphModule, node: fx.Node, view: View, convolution: nn.Conv2d
) -> tuple[fx.Node, fx.Node, fx.Node]:
    """Calls in place of a linear layer's: the maps, the convolution of them, and its result in the old arrangement."""
    graph = module.graph
    module.add_submodule(str(node.target), convolution)
    with graph.inserting_before(node):
        prepare = _steps(graph, node.args[0], view.prepares)
        call = graph.call_module(str(node.target), (prepare,))
        restore = _steps(graph, call, view.restores)
    call.meta = dict(node.meta)
    return prepare, call, restore


def as_sum(module: fx.GraphModule, node: fx.Node, terms: Sequence[fx.Node], view: View) -> tuple[fx.Node, fx.Node]:
    """Calls before an addition that do the same: the sum of maps, and its result in the arrangement of the terms."""
    graph, name = module.graph, _name(module, node)
    target = "_sum_" + name.replace(".", "_").replace("#", "_")
    module.add_submodule(target, Sum(len(view.settled.channels), len(terms)).eval())
    with graph.inserting_before(node):
        call = graph.call_module(target, tuple(_steps(graph, each, view.prepares) for each in terms))
        restore = _steps(graph, call, view.restores)
    call.meta = dict(node.meta) | {"layer": name}
    return call, restore


def _steps(graph: fx.Graph, node: Any, steps: Sequence[Step]) -> fx.Node:
    for name, arguments in steps:
        node = graph.call_method(name, (node, *arguments))
        node.meta["moves"] = True
    assert isinstance(node, fx.Node)
    return node


def _name(module: fx.GraphModule, node: fx.Node) -> str:
    """`path.add`, or `add` at the top; the second one of a module is `path.add#2`."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    name = f"{path}.add" if path else "add"
    taken = {each.meta.get("layer") for each in module.graph.nodes} | {INPUT}
    numbers = (number for number in range(1, len(taken) + 2))
    return next(each for n in numbers if (each := name if n == 1 else f"{name}#{n}") not in taken)


def attribute(module: fx.GraphModule, node: fx.Node) -> Any:
    """The value of a `get_attr` node."""
    return operator.attrgetter(str(node.target))(module)


def head_nodes(module: fx.GraphModule, probe: Probe, *, heads: bool, moves: set[str]) -> set[fx.Node]:
    """The nodes that only turn maps into logits: all values behind them are flat, down to the output.

    With `heads`, linear layers are no part of it, nor is what stands before them.
    """
    head: set[fx.Node] = set()
    for node in reversed(module.graph.nodes):
        users = [each for each in node.users if each.op == "output" or probe.is_tensor(each)]
        if node.op in {"output", "placeholder"} or not users or any(e.op != "output" and e not in head for e in users):
            continue
        linear = node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), nn.Linear)
        dimensions = max(map(len, probe.several.get(node) or (probe.shapes.get(node, (0,) * 4),)))
        moving = dimensions == 3 and (function_name(node.target) in moves or node in probe.several)
        adding = function_name(node.target) in {"add", "sub"} and len(node.all_input_nodes) == 2
        if (dimensions <= 2 or moving) and not ((linear or adding) and heads):
            head.add(node)
    return head


def restored_late(module: fx.GraphModule, pointwise: Callable[[fx.Node], bool]) -> None:
    """Let activations follow their layers at once: rearranging a layer's maps can wait until after them.

    What is rearranged and at once arranged back is then left out.
    """
    graph = module.graph
    for node in list(graph.nodes):
        before = node.all_input_nodes[0] if len(node.all_input_nodes) == 1 else None
        chain = []
        while before is not None and before.meta.get("moves") and len(before.users) == 1:
            chain.append(before)
            before = before.all_input_nodes[0]
        if not chain or before is None or not pointwise(node) or not is_convolution(module, before):
            continue
        node.replace_input_with(chain[0], before)
        chain[-1].replace_input_with(before, node)
        users = [each for each in node.users if each is not chain[-1]]
        for user in users:
            user.replace_input_with(node, chain[0])
        place = node
        for each in reversed(chain):
            place.append(each)
            place = each
    _cancelled(graph)


def _cancelled(graph: fx.Graph) -> None:
    """Leave out a rearrangement that undoes the one before it."""
    for node in list(graph.nodes):
        before = node.all_input_nodes[0] if node.meta.get("moves") else None
        if before is None or not before.meta.get("moves"):
            continue
        steps = {(before.target, before.args[1:]), (node.target, node.args[1:])}
        permuted = steps == {("permute", (0, 2, 3, 1)), ("permute", (0, 3, 1, 2))}
        flat = node.target == "reshape" and node.args[-2:] == (1, 1) and before.target == "flatten"
        if permuted or flat:
            node.replace_all_uses_with(before.all_input_nodes[0])
    graph.eliminate_dead_code()
