"""One form for the many ways in which the same network can be written.

A traced graph is rewritten, without changing what it computes, until

1. nothing works in place: who reads a map after it was overwritten reads the overwriting node;
2. what depends on no image is a constant;
3. functional convolutions, linear layers and norms are modules, and each call has a module of its own;
4. what does nothing in eval mode is gone;
5. each BatchNorm that alone consumes a convolution is folded into it.
"""

import operator
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from viscnn.ingest.in_place import nothing_in_place
from viscnn.ingest.operation_reading import function_name, is_idle
from viscnn.ingest.operations import Unknown
from viscnn.ingest.probing import Probe
from viscnn.ingest.structure import INPUT
from viscnn.ingest.sums import convolution_of, linear_of
from viscnn.ingest.tracing import Refused

__all__ = ["canonical", "is_convolution", "submodule"]

_CALLED = {"call_module", "call_function", "call_method"}
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_LINEAR = ("input", "weight", "bias")
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_ATEN_NORM = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn")


M = TypeVar("M", bound=nn.Module)


def canonical(module: fx.GraphModule, probe: Probe) -> None:
    """Rewrite the graph of a module that is a copy of the caller's.

    Args:
        probe: of the graph as it is.

    Raises:
        Refused: a node that cannot be read.
    """
    _by_position(module)
    nothing_in_place(module, probe)
    module.graph.eliminate_dead_code()
    _fold_constants(module)
    _gated_linear_units(module)
    _as_modules(module, probe)
    _refuse_other_convolutions(module)
    _a_module_for_each_call(module)
    _drop_what_does_nothing(module)
    _fold_norms(module)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()


def _by_position(module: fx.GraphModule) -> None:
    """Modules called with `input=x` are called with `x`."""
    for node in module.graph.nodes:
        if node.op == "call_module" and not node.args and "input" in node.kwargs:
            node.args = (node.kwargs["input"],)
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != "input"}


# --- 2. constants ------------------------------------------------------------------------------------------------


def _fold_constants(module: fx.GraphModule) -> None:
    """Tensors that depend on no image become buffers; parameters are reached by their own names."""
    known: dict[fx.Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            known[node] = operator.attrgetter(str(node.target))(module)
        elif node.op in _CALLED and all(each in known for each in node.all_input_nodes):
            value = _evaluated(module, node, known)
            if value is None:
                continue
            known[node] = value
            if isinstance(value, int | float):
                _write_in(node, value)
            if isinstance(value, Tensor):
                name = f"_constant_{len(known)}"
                module.register_buffer(name, value.detach().clone())
                with module.graph.inserting_before(node):
                    constant = module.graph.get_attr(name)
                node.replace_all_uses_with(constant)
                known[constant] = value
    module.graph.eliminate_dead_code()


def _write_in(node: fx.Node, value: float) -> None:
    """Let a number stand where a node was an argument."""
    for user in list(node.users):
        user.args, user.kwargs = fx.node.map_arg((user.args, user.kwargs), lambda each: value if each is node else each)


def _evaluated(module: fx.GraphModule, node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """The value of a node whose inputs are known; None where it cannot be had."""
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda each: known[each])
    target: Any = node.target
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            if node.op == "call_function":
                return target(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            return module.get_submodule(target)(*args, **kwargs)
    except Exception:  # noqa: BLE001 -- whatever the model's own code raises: it is then read, or refused, as it stands
        return None


# --- 3. modules --------------------------------------------------------------------------------------------------


def _as_modules(module: fx.GraphModule, probe: Probe) -> None:
    counts: dict[str, int] = {}
    for node in list(module.graph.nodes):
        name = function_name(node.target)
        made = _module_of(module, node, name, probe) if node.op == "call_function" else None
        if made is None:
            continue
        owner = _owner(module, node)
        target = f"_{name}_{node.name}"
        counts[name] = counts.get(name, 0) + (owner is None)
        module.add_submodule(target, made)
        maps = node.args[0] if node.args else node.kwargs["input"]
        with module.graph.inserting_before(node):
            call = module.graph.call_module(target, (maps,))
        call.meta = dict(node.meta) | {"layer": owner or f"#{name}_{counts[name]}"}
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)


def _gated_linear_units(module: fx.GraphModule) -> None:
    """GLU written out: one half of the channels times the sigmoid of the other."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(called := module.get_submodule(str(node.target)), nn.GLU):
            dim: Any = called.dim
        elif node.op == "call_function" and function_name(node.target) == "glu":
            dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else -1)
        else:
            continue
        with graph.inserting_before(node):
            halves = graph.call_function(torch.chunk, (node.all_input_nodes[0], 2, dim))
            one, other = (graph.call_function(operator.getitem, (halves, number)) for number in range(2))
            product = graph.call_function(torch.mul, (one, graph.call_function(torch.sigmoid, (other,))))
        for each in (halves, one, other, product):
            each.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def _module_of(module: fx.GraphModule, node: fx.Node, name: str, probe: Probe) -> nn.Module | None:
    """The module of a functional convolution, linear layer or norm with constant weights; None of others."""
    if name not in {"conv2d", "linear", "batch_norm"}:
        return None
    exported = isinstance(node.target, torch._ops.OpOverload)
    keys = {"conv2d": _CONV, "linear": _LINEAR, "batch_norm": _ATEN_NORM if exported else _NORM}[name]
    given: dict[str, Any] = dict(zip(keys, node.args, strict=False)) | dict(node.kwargs)
    tensors: dict[str, Any] = {}
    for key in ("weight", "bias", "running_mean", "running_var"):
        value = given.get(key)
        if isinstance(value, fx.Node):
            if value.op != "get_attr":
                raise Refused(node, f"its {key} depends on the image")
            value = operator.attrgetter(str(value.target))(module)
        tensors[key] = value
    if name == "conv2d":
        settings: Any = {key: given[key] for key in ("stride", "padding", "dilation", "groups") if key in given}
        settings = fx.node.map_arg(settings, lambda each: probe.others.get(each, each))
        if any(isinstance(each, fx.Node) for each in _flat(settings.values())):
            raise Refused(node, "its settings depend on the image")
        return convolution_of(tensors["weight"], tensors["bias"], **settings)
    if name == "linear":
        if tensors["weight"].ndim != 2:
            raise Refused(node, "its weight is a vector and makes one number of all channels")
        return linear_of(tensors["weight"], tensors["bias"])
    return _norm_of(node, given, tensors)


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, tuple | list):
            yield from _flat(each)
        else:
            yield each


def _norm_of(node: fx.Node, given: dict[str, Any], tensors: dict[str, Any]) -> nn.Module:
    if given.get("training", False) or tensors["running_mean"] is None:
        raise Refused(node, "a batch norm without running statistics depends on the batch")
    eps, affine = given.get("eps", 1e-5), tensors["weight"] is not None
    norm = nn.BatchNorm2d(len(tensors["running_mean"]), eps=eps, affine=affine, device="meta")
    _set(norm, weight=tensors["weight"], bias=tensors["bias"])
    norm.running_mean, norm.running_var = (tensors[key].detach().clone() for key in ("running_mean", "running_var"))
    norm.num_batches_tracked = None
    return norm.eval()


def _set(module: nn.Module, **parameters: Tensor | None) -> None:
    for name, value in parameters.items():
        if value is not None:
            setattr(module, name, nn.Parameter(value.detach().clone(), requires_grad=False))
        elif name in module._parameters:
            module._parameters[name] = None


def _owner(module: fx.GraphModule, node: fx.Node) -> str | None:
    """Path of the convolution or linear module (of a subclass, or in exported graphs) whose forward makes the call."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if stack and isinstance(stack[-1][1], type) and issubclass(stack[-1][1], nn.Conv2d | nn.Linear):
        return str(stack[-1][0])
    for each in node.all_input_nodes:
        path, _, last = str(each.target).rpartition(".")
        if each.op == "get_attr" and last == "weight" and isinstance(node.target, torch._ops.OpOverload):
            return path or None
    return None


def _refuse_other_convolutions(module: fx.GraphModule) -> None:
    for node in module.graph.nodes:
        called = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(called, nn.modules.conv._ConvNd) and type(called) is not nn.Conv2d:
            raise Refused(node, f"{node.target!r} is a {type(called).__name__}; only 2-D convolutions can be read")


def _a_module_for_each_call(module: fx.GraphModule) -> None:
    """Each call of a layer gets a layer of its own, and a name.

    It is made anew from the weight: a module's attributes may tell other sizes, or do nothing.
    """
    calls: dict[str, int] = {}
    for node in module.graph.nodes:
        layer = module.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        name = node.meta.get("layer", node.target)
        name = f"{INPUT}#1" if name == INPUT else name  # `input` is the image
        calls[name] = calls.get(name, 0) + 1
        node.meta = dict(node.meta) | {"layer": name if calls[name] == 1 else f"{name}#{calls[name]}"}
        if calls[name] > 1:
            node.target = f"{node.target}_call{calls[name]}".replace(".", "_")
        module.add_submodule(node.target, _anew(layer))


def _anew(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return linear_of(layer.weight, layer.bias)
    settings = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups", "padding_mode")}
    return convolution_of(layer.weight, layer.bias, **settings)


# --- 4. and 5. ---------------------------------------------------------------------------------------------------


def _drop_what_does_nothing(module: fx.GraphModule) -> None:
    """Remove dropout, Identity and the like, so that they hide neither a BatchNorm nor an activation."""
    for node in list(module.graph.nodes):
        try:
            idle = is_idle(module, node)
        except Unknown as error:
            raise Refused(node, str(error)) from error
        if idle:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)


def _fold_norms(module: fx.GraphModule) -> None:
    for node, norm in _called(module, nn.modules.batchnorm._BatchNorm):
        before: Any = node.args[0]
        if norm.training:
            raise Refused(node, "a batch norm that stays in train mode depends on the batch")
        if norm.running_mean is None or not is_convolution(module, before) or len(before.users) != 1:
            continue
        fused = fuse_conv_bn_eval(submodule(module, before, nn.Conv2d), norm)
        module.add_submodule(str(before.target), fused)
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)


def _called(module: fx.GraphModule, kind: type[M]) -> Iterator[tuple[fx.Node, M]]:
    for node in list(module.graph.nodes):
        if node.op == "call_module" and isinstance(found := module.get_submodule(str(node.target)), kind):
            yield node, found


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
