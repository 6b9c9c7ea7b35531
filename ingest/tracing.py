"""The graph of a model: a copy in eval mode, traced with torch.fx and cleaned, so that each node is a step that counts.

1. copy the model (the caller's stays as it is), eval mode, float32, CPU; trace it;
2. give each call of a shared convolution a module of its own; nothing works in place; drop what does nothing;
3. fold each BatchNorm into the convolution before it (its output feeds nothing else).
"""

import copy
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from viscnn.errors import ModelError, UnsupportedModel
from viscnn.ingest.operations import Unknown, read_operation
from viscnn.ingest.structure import INPUT

__all__ = ["is_convolution", "submodule", "traced"]

M = TypeVar("M", bound=nn.Module)


def traced(model: nn.Module, *, lines: bool = False) -> fx.GraphModule:
    """A copy of the model as a graph whose every node counts: eval mode, float32, CPU, norms folded, nothing in place.

    Each convolution call has a module of its own; its layer's name is the node's `meta["layer"]`.

    Args:
        lines: record the lines of the model's code for messages, which takes seconds.

    Raises:
        UnsupportedModel: it cannot be traced, or has convolutions that are not 2-D.
        ModelError: it cannot be copied, or its weights are not finite.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_complex():
            raise UnsupportedModel(f"parameter {name} is complex; only real networks can be written as kernels")
    own = _copied(model)
    tracer = fx.Tracer()
    tracer.record_stack_traces = lines
    try:
        graph = tracer.trace(own)
    except Exception as error:
        reason = " ".join(str(error).partition("While executing")[0].split())[:200]
        raise UnsupportedModel(f"{type(model).__name__} cannot be traced by torch.fx: {reason}") from error
    module = fx.GraphModule(own, graph)
    module.graph.eliminate_dead_code()
    _by_position(module)
    _refuse_other_convolutions(module)
    _give_each_call_its_own_convolution(module)
    _never_in_place(module)
    _drop_what_does_nothing(module)
    _fold(module)
    _refuse_infinite(module)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _copied(model: nn.Module) -> nn.Module:
    try:
        own = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    except Exception as error:
        reason = " ".join(str(error).partition("While executing")[0].split())[:200]
        raise ModelError(f"{type(model).__name__} cannot be copied: {reason}") from error
    for submodule in own.modules():
        submodule._forward_hooks.clear()
        submodule._forward_pre_hooks.clear()
    return own


def _by_position(module: fx.GraphModule) -> None:
    """Modules called with `input=x` are called with `x`."""
    for node in module.graph.nodes:
        if node.op == "call_module" and not node.args and "input" in node.kwargs:
            node.args = (node.kwargs["input"],)
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != "input"}


def _refuse_other_convolutions(module: fx.GraphModule) -> None:
    for node in module.graph.nodes:
        called = module.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(called, nn.modules.conv._ConvNd) and not isinstance(called, nn.Conv2d):
            raise UnsupportedModel(f"{node.target!r} is a {type(called).__name__}; only 2-D convolutions can be read")


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


def _drop_what_does_nothing(module: fx.GraphModule) -> None:
    """Remove dropout, Identity and the like, so that they hide neither a BatchNorm nor an activation."""
    for node in list(module.graph.nodes):
        if node.op not in {"call_module", "call_function"}:  # not `contiguous()`, which a `view` may need
            continue
        try:
            idle = read_operation(module, node) is None
        except Unknown:
            continue
        if idle:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)


def _fold(module: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution whose output it alone consumes."""
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(module.get_submodule(node.target), nn.BatchNorm2d):
            continue
        norm = submodule(module, node, nn.BatchNorm2d)
        before = node.args[0]
        if norm.running_mean is None or not is_convolution(module, before) or len(before.users) != 1:
            continue
        fused = fuse_conv_bn_eval(submodule(module, before, nn.Conv2d), norm)
        module.add_submodule(str(before.target), fused)
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()


def _refuse_infinite(module: fx.GraphModule) -> None:
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds NaN or infinity (after folding its BatchNorm, if any); check the weights")


def is_convolution(module: fx.GraphModule, node: Any) -> bool:
    """Whether a node of the graph calls a 2-D convolution."""
    return (
        isinstance(node, fx.Node)
        and node.op == "call_module"
        and isinstance(module.get_submodule(str(node.target)), nn.Conv2d)
    )


def submodule(module: fx.GraphModule, node: fx.Node, kind: type[M]) -> M:
    """The module that a node calls."""
    found = module.get_submodule(str(node.target))
    assert isinstance(found, kind), f"{node.target} is {type(found).__name__}"
    return found
