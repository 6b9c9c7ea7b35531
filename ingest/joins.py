"""Where maps meet: additions, which become layers, and products, which are gates."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from viscnn.ingest import rewriting
from viscnn.ingest.maps import BATCH, Maps
from viscnn.ingest.operations import Operation, Unknown
from viscnn.ingest.parts import parts_of

if TYPE_CHECKING:
    from viscnn.ingest.reading import Reader

__all__ = ["add", "add_slices", "gated", "slices"]

GATES = {"sigmoid", "hardsigmoid", "softmax", "tanh", "relu6", "hardtanh"}
"""Functions of bounded values: what is multiplied by them is gated."""


def add(reader: "Reader", node: fx.Node, terms: list[Any], *, sign: float = 1.0, scale: float = 1.0) -> None:
    """Read an addition as a layer: the last term times `sign` (and the call's `alpha`), the sum times `scale`.

    Raises:
        Unknown: the terms cannot be seen as maps of one size.
    """
    graph, shapes = reader.module.graph, reader.probe.shapes
    alpha: Any = node.kwargs.get("alpha", 1.0)
    if sign * alpha != 1.0:
        terms = [*terms[:-1], _times(reader, node, terms[-1], sign * alpha)]
    views = [_addend(reader, node, each) for each in terms]
    addends = [view.settled for _, view in views]
    if len({(each.size, len(each.channels)) for each in addends}) > 1:
        raise Unknown("it adds maps of different sizes")
    call, restore = rewriting.as_sum(reader.module, node, [each for each, _ in views], views[0][1])
    size, count = addends[0].size, len(addends[0].channels)
    reader.layer(call, "sum", tuple(each.channels for each in addends), (BATCH, count, *size))
    if restore is not call:
        reader.restored(restore, call, views[0][1])
    shapes[restore] = shapes[node]
    if scale != 1.0:
        restore = _times(reader, node, restore, scale)
    node.replace_all_uses_with(restore)
    graph.erase_node(node)


def _times(reader: "Reader", node: fx.Node, term: fx.Node, factor: float) -> fx.Node:
    """A term times a number, computed before `node`."""
    with reader.module.graph.inserting_before(node):
        product = reader.module.graph.call_function(torch.mul, (term, factor))
    reader.probe.shapes[product] = reader.probe.shapes[term]
    reader.read_node(product)
    return product


def _addend(reader: "Reader", node: fx.Node, term: fx.Node) -> tuple[fx.Node, rewriting.View]:
    """A term in the shape of the sum, and how to see it as maps."""
    shape = reader.probe.shapes[node]
    if reader.probe.shapes[term] != shape:
        with reader.module.graph.inserting_before(node):
            term = reader.module.graph.call_method("expand", (term, -1, *shape[1:]))
        reader.probe.shapes[term] = shape
        reader.read_node(term)
    view = rewriting.maps_view(reader.maps(term))
    if view is None:
        raise Unknown("it adds values that are not arranged as maps")
    return term, view


def slices(reader: "Reader", node: fx.Node, source: fx.Node) -> list[Maps]:
    """The maps that a sum or mean over one dimension of a stack adds up; none where it is something else."""
    axis, keeps, maps = *_axis(reader, node), reader.maps(source)
    if axis is None or keeps or maps.ids is None or maps.ids.ndim != 5:
        return []
    found = [maps.arranged(each) for each in maps.ids.unbind(axis)]
    return found if all(each.ids is None for each in found) else []


def _axis(reader: "Reader", node: fx.Node) -> tuple[int | None, bool]:
    """The one dimension that a sum or mean is over, and whether it is kept."""
    arguments, named = reader.arguments(node)
    axis = named.get("dim", arguments[1] if len(arguments) > 1 else None)
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    return axis if isinstance(axis, int) else None, bool(named.get("keepdim", len(arguments) > 2 and arguments[2]))


def add_slices(reader: "Reader", node: fx.Node, found: list[Maps], *, mean: bool) -> None:
    """Read a sum or mean over a stack as an addition of its slices."""
    axis, _ = _axis(reader, node)
    with reader.module.graph.inserting_before(node):
        nodes = [
            reader.module.graph.call_method("select", (node.args[0], axis, number)) for number in range(len(found))
        ]
    for each, maps in zip(nodes, found, strict=True):
        reader.values[each] = maps
        reader.probe.shapes[each] = reader.probe.shapes[node]
    add(reader, node, nodes, scale=1.0 / len(found) if mean else 1.0)


def gated(reader: "Reader", node: fx.Node) -> Maps:
    """Maps times a gate: other maps, of one position, of one channel, or of bounded values.

    Raises:
        Unknown: neither factor is a gate.
    """
    one, other = (reader.maps(each).settled() for each in node.args[:2])
    signal, gate = (other, one) if _is_gate(one, other) and not _is_gate(other, one) else (one, other)
    if not _is_gate(gate, signal):
        raise Unknown("it multiplies maps by each other, and neither is a gate")
    if gate.channels.zeros() or signal.channels.zeros():
        raise Unknown("it multiplies channels that are always zero")
    parts, count = parts_of(gate.channels), len(signal.channels)
    at = np.arange(count) if len(gate.channels) == count else np.zeros(count, dtype=np.int64)

    def made(path: Any, number: int) -> Operation:
        settings = (("by", parts), ("at", signal.channels.aligned(number, at, -1)), ("mixesChannels", True))
        return Operation("gate", settings)

    return Maps(signal.channels.after(made), signal.size)


def _is_gate(gate: Maps, signal: Maps) -> bool:
    if len(gate.channels) not in {1, len(signal.channels)} or gate.size not in {(1, 1), signal.size}:
        return False
    names = [[each.name for each in path.operations] for path in gate.channels.paths]
    smaller = gate.size != signal.size or len(gate.channels) != len(signal.channels)
    return smaller or all("expand" in each or (each and each[-1] in GATES) for each in names)
