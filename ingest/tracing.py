"""The graph of a model: a copy in eval mode, traced with torch.fx, or with torch.export where fx cannot.

The caller's model is never changed. What is traced is a deep copy on the CPU, of one precision, in eval mode, without
hooks; weights that are computed from others (weight norm and other parametrizations) are computed once.
"""

import copy
import itertools
import os
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize, prune

from viscnn.errors import ModelError, UnsupportedModel

__all__ = ["Traced", "brief", "trace", "where"]

_NOT_THE_MODEL = tuple(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__))
"""Folders whose code is never the model's own."""
_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


@dataclass(frozen=True)
class Traced:
    """A graph, and the copy of the model that it was made from."""

    module: fx.GraphModule = field(repr=False)
    own: nn.Module = field(repr=False)


def trace(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    lines: bool = False,
    export: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Traced:
    """A copy of the model as a graph.

    Args:
        lines: record the lines of the model's code for messages, which takes seconds.
        export: by torch.export at once, for a model of which torch.fx made something else.
        dtype: of the copy.

    Raises:
        UnsupportedModel: it cannot be traced.
        ModelError: it cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}, not a torch.nn.Module")
    model = _unwrapped(model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_complex():
            raise UnsupportedModel(f"parameter {name} is complex; only real networks can be written as kernels")
    own = _copied(model, dtype)
    if export:
        try:
            return Traced(_exported(own, input_shape, dtype), own)
        except Exception as error:
            raise UnsupportedModel(
                f"{type(model).__name__} cannot be traced by torch.export: {brief(error)}"
            ) from error
    tracer = fx.Tracer()
    tracer.record_stack_traces = lines
    try:
        return Traced(fx.GraphModule(own, tracer.trace(own)), own)
    except Exception as error:  # noqa: BLE001 -- whatever the model's own code raises
        try:
            return Traced(_exported(own, input_shape, dtype), own)
        except Exception:  # noqa: BLE001 -- the first reason is the clearer one
            raise UnsupportedModel(
                f"{type(model).__name__} cannot be traced by torch.fx or torch.export: {brief(error)}{_line(error)}"
            ) from error


def _unwrapped(model: nn.Module) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedModel("the model is a TorchScript module; give the Python module that it was made from")
    inner = getattr(model, _WRAPPERS.get(type(model).__name__, ""), None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


def _unwrap_inside(own: nn.Module) -> None:
    for parent in list(own.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ in _WRAPPERS:
                setattr(parent, name, _unwrapped(child))


def _copied(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    # a weight that a hook computes is no parameter, and cannot be copied while gradients belong to it
    tensors = [each for module in model.modules() for each in vars(module).values() if isinstance(each, Tensor)]
    memo = {id(each): each.detach().clone() for each in tensors if not each.is_leaf}
    try:
        own = copy.deepcopy(model, memo).to(device="cpu", dtype=dtype).eval()
        _unwrap_inside(own)
        _without_hooks(own)
    except Exception as error:
        raise ModelError(f"{type(model).__name__} cannot be copied: {brief(error)}") from error
    return own


def _without_hooks(own: nn.Module) -> None:
    for module in own.modules():
        for hook in list(module._forward_pre_hooks.values()):
            _computed_once(module, hook)
        if parametrize.is_parametrized(module):
            _without_parametrizations(module)
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
        module._backward_pre_hooks.clear()


def _computed_once(module: nn.Module, hook: Any) -> None:
    """Make a parameter of what one of torch's own hooks computes at each call: a pruned or normalised weight."""
    if isinstance(hook, prune.BasePruningMethod):
        name, value = hook._tensor_name, hook.apply_mask(module)  # type: ignore[no-untyped-call]
    elif hasattr(hook, "compute_weight") and hasattr(hook, "name"):  # weight_norm and spectral_norm of old
        hook(module, ())
        name, value = hook.name, getattr(module, hook.name)
    else:
        return
    delattr(module, name)
    setattr(module, name, nn.Parameter(value.detach().clone()))


def _without_parametrizations(module: nn.Module) -> None:
    """Weights as they are now; torch's own function for this would change the class, which the caller's module has."""
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
    module.__class__ = type(module).__bases__[0]
    del module._modules["parametrizations"]
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value))


def _exported(own: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> fx.GraphModule:
    """By torch.export, for models whose own code asks for shapes; any number of images."""
    images: Tensor = torch.zeros(2, *input_shape, dtype=dtype)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(own, (images,), dynamic_shapes=({0: torch.export.Dim("images")},), strict=False)
        module = program.module()
    assert isinstance(module, fx.GraphModule)
    module.graph.set_codegen(fx.graph.CodeGen())
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":  # checks of the input's shape
            module.graph.erase_node(node)
        if node.op == "output" and isinstance(node.args[0], tuple | list) and len(node.args[0]) == 1:
            node.args = (node.args[0][0],)
    module.recompile()
    return module


def brief(error: BaseException) -> str:
    """The first 200 characters of an error of torch, in one line, without its account of the graph."""
    return " ".join(str(error).partition("While executing")[0].split())[:200]


def _line(error: BaseException) -> str:
    """The line of the model's own code that an error comes from."""
    frames = [
        each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_NOT_THE_MODEL)
    ]
    return f" (in `{frames[-1].line}`)" if frames and frames[-1].line else ""


def where(node: fx.Node) -> str:
    """An operation's name, with the line of the model's code where it is known."""
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    frames = [
        code
        for place, code in itertools.pairwise(lines)
        if place.startswith('File "') and not place.removeprefix('File "').startswith(_NOT_THE_MODEL)
    ]
    code = frames[-1] if frames else ""
    return f"{target!r} (in `{code}`)" if code else repr(target)
