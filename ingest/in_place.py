"""Nothing in place: who reads maps after they were overwritten reads what overwrote them."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from viscnn.ingest.operation_reading import function_name
from viscnn.ingest.probing import Probe
from viscnn.ingest.tracing import IN_PLACE, Refused

__all__ = ["nothing_in_place"]

_NO_CHANGE = {"requires_grad_"}


def nothing_in_place(module: fx.GraphModule, probe: Probe) -> None:
    """Rewrite a graph until no call overwrites what it is given.

    Args:
        probe: which values share memory; that of what is overwritten is changed under all their names.

    Raises:
        Refused: a part of maps that are read again later is overwritten, or the call has no other form.
    """
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if node.op in {"call_function", "call_method"}:
            _refuse_parts(node)
        if not _in_place(module, node):
            continue
        if node.target in IN_PLACE and not probe.is_tensor(node):  # a size, say
            node.target = IN_PLACE[node.target]
            continue
        changed = node.all_input_nodes[0]
        for other in [changed, *_sharing(probe, changed, order, before=order[node])]:
            later = [user for user in other.users if order[user] > order[node]]
            if later and other is not changed and probe.memory[other] != probe.memory[changed]:
                raise Refused(node, "it overwrites a part of maps in place, which are read again later")
            for user in later:
                user.replace_input_with(other, node)
        _out_of_place(module, node)
    for each in module.modules():
        if getattr(each, "inplace", False):
            each.inplace = False  # type: ignore[assignment]


def _refuse_parts(node: fx.Node) -> None:
    if function_name(node.target) in {"setitem", "copy_", "__setitem__"}:
        raise Refused(node, "it overwrites a part of maps in place")
    if node.kwargs.get("out") is not None:
        raise Refused(node, "it writes its result over other maps (`out`)")


def _sharing(probe: Probe, changed: fx.Node, order: dict[fx.Node, int], *, before: int) -> list[fx.Node]:
    """Other values in the memory of a node, as far as they are there before a place."""
    if changed not in probe.memory:
        return []
    storage = probe.memory[changed].storage
    return [
        each
        for each, memory in probe.memory.items()
        if memory.storage == storage and order[each] < before and each is not changed
    ]


def _in_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return getattr(module.get_submodule(str(node.target)), "inplace", False) is True
    if node.op not in {"call_function", "call_method"}:
        return False
    name = function_name(node.target)
    if node.target in IN_PLACE:
        return True
    if name.endswith("_") and not name.endswith("__") and name not in _NO_CHANGE:
        return node.op == "call_method" or _of_torch(node.target)
    return node.op == "call_function" and _arguments(node).get("inplace", False) is True


def _of_torch(target: Any) -> bool:
    """Whether a function is torch's, where the name tells that it works in place, and not the model's own."""
    return isinstance(target, torch._ops.OpOverload) or str(getattr(target, "__module__", "torch")).startswith("torch")


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a Python function by name; empty where it has no signature."""
    target: Any = node.target
    try:
        return dict(inspect.signature(target).bind(*node.args, **node.kwargs).arguments)
    except (TypeError, ValueError):
        return {}


def _out_of_place(module: fx.GraphModule, node: fx.Node) -> None:
    """The same call without overwriting its input; raises Refused."""
    arguments = _arguments(node) if node.op == "call_function" else {}
    plain = function_name(node.target).removesuffix("_")
    found: Any = None
    if node.op == "call_module":
        return
    if node.op == "call_method":
        found = plain if hasattr(Tensor, plain) else None
    elif node.target in IN_PLACE:
        found = IN_PLACE[node.target]
    elif "inplace" in arguments:
        first, *_ = arguments
        found, node.args = node.target, (arguments.pop(first),)
        node.kwargs = arguments | {"inplace": False}
    elif isinstance(node.target, torch._ops.OpOverload):
        found = getattr(getattr(torch.ops.aten, plain, None), node.target._overloadname, None)
    else:
        found = getattr(torch, plain, None) or getattr(F, plain, None)
    if found is None:
        raise Refused(node, "it overwrites maps in place, and has no other form")
    node.target = found
