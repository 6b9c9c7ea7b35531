"""The graph of a model: a copy in eval mode, traced with torch.fx, or with torch.export where fx cannot.

The caller's model is never changed. What is traced is a deep copy on the CPU, of one precision, in eval mode, without
hooks; weights that are computed from others (weight norm and other parametrizations) are computed once.
"""

import copy
import functools
import inspect
import itertools
import operator
import os
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize, prune

from viscnn.errors import ModelError, UnsupportedModel

__all__ = ["IN_PLACE", "Refused", "brief", "copied", "hooked", "line_of", "trace", "where"]

IN_PLACE: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(operator, f"i{name}"): getattr(operator, each)
    for name, each in {
        **{
            name: name for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "xor", "lshift", "rshift")
        },
        "and": "and_",
        "or": "or_",
    }.items()
}
"""Python's augmented assignments, with the functions that do the same and leave their arguments alone."""

_NOT_THE_MODEL = tuple(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__))
"""Folders whose code is never the model's own."""
_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


class Refused(Exception):
    """A node that cannot be read; the message says why."""

    def __init__(self, node: fx.Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node


class _Proxy(fx.Proxy):
    """fx makes `y += x` an addition that leaves y alone; here it stays what it is."""


def _augmented(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(own: fx.Proxy, other: Any) -> Any:
        return own.tracer.create_proxy("call_function", function, (own, other), {})

    return method


for _function in IN_PLACE:
    setattr(_Proxy, f"__{_function.__name__}__", _augmented(_function))


class _Tracer(fx.Tracer):
    """While it traces, torch.fx exchanges methods of `nn.Module` for the whole process.

    What other threads run meanwhile is none of it, and goes on as ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def trace(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    lines: bool = False,
    export: bool = False,
    dtype: torch.dtype = torch.float32,
) -> fx.GraphModule:
    """A copy of the model as a graph.

    Args:
        lines: record the lines of the model's code for messages, which takes seconds.
        export: by torch.export at once, for a model of which torch.fx made something else.
        dtype: of the copy.

    Raises:
        UnsupportedModel: it cannot be traced.
        ModelError: it cannot be copied.
    """
    if export:
        try:
            return _exported(copied(model, dtype), input_shape, dtype)
        except Exception as error:
            raise UnsupportedModel(
                f"{type(model).__name__} cannot be traced by torch.export: {brief(error)}"
            ) from error
    tracer = _Tracer()
    tracer.record_stack_traces = lines
    own = copied(model, dtype)
    try:
        return fx.GraphModule(own, tracer.trace(own))
    except Exception as error:  # noqa: BLE001 -- whatever the model's own code raises
        try:
            return _exported(copied(model, dtype), input_shape, dtype)  # of a new copy: a trace may leave remains
        except Exception:  # noqa: BLE001 -- the first reason is the clearer one
            raise UnsupportedModel(
                f"{type(model).__name__} cannot be traced by torch.fx or torch.export: {brief(error)}{line_of(error)}"
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


def copied(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy on the CPU, in eval mode, of one precision, without hooks; its forward takes the images alone.

    Raises:
        UnsupportedModel: parts that only look like a network of torch's modules.
        ModelError: it cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}, not a torch.nn.Module")
    model = _unwrapped(model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_complex():
            raise UnsupportedModel(f"parameter {name} is complex; only real networks can be written as kernels")
    # a weight that a hook computes is no parameter, and cannot be copied while gradients belong to it
    tensors = [each for module in model.modules() for each in vars(module).values() if isinstance(each, Tensor)]
    memo = {id(each): each.detach().clone() for each in tensors if not each.is_leaf}
    try:
        own = copy.deepcopy(model, memo)
        _refuse_shared(own, model)
        _unwrap_inside(own)
        _refuse_patched(own)
        own.to(device="cpu", dtype=dtype)
        own.eval()
        _without_hooks(own)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{type(model).__name__} cannot be copied: {brief(error)}") from error
    _of_images_alone(own)
    return own


def _refuse_shared(own: nn.Module, model: nn.Module) -> None:
    """A copy that shares parts with the caller's model would change it."""

    def parts(module: nn.Module) -> dict[int, str]:
        named = (*module.named_modules(), *module.named_parameters(), *module.named_buffers())
        return {id(part): name or type(module).__name__ for name, part in named}

    theirs = parts(model)
    for number, name in parts(own).items():
        if number in theirs:
            raise ModelError(f"{type(model).__name__} cannot be copied: its copy shares {name} with it")


def _refuse_patched(own: nn.Module) -> None:
    """A function that was put in place of `forward` is not seen by a trace, or belongs to the caller's model."""
    inside = set(own.modules())
    for path, module in own.named_modules():
        for name in ("forward", "_conv_forward"):
            patch = vars(module).get(name)
            while isinstance(patch, functools.partial):
                patch = patch.func
            if patch is None or (getattr(patch, "__self__", None) in inside and not _is_torchs(module)):
                continue
            where = f"{path}.{name}" if path else name
            raise UnsupportedModel(
                f"{where} of the model was exchanged for a function of its own, which cannot be followed; "
                "make it the method of a class of its own"
            )


def _is_torchs(thing: Any) -> bool:
    """Whether a function, or the class of an object, is torch's own."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.startswith("torch.nn")


def _of_images_alone(own: nn.Module) -> None:
    """Leave out arguments of `forward` that have defaults: a trace would take them for further inputs."""
    if "forward" in vars(own):
        return
    try:
        first, *others = inspect.signature(own.forward).parameters.values()
    except (TypeError, ValueError):
        return
    free = [each for each in others if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]
    if not free or any(each.default is each.empty for each in free) or first.kind is not first.POSITIONAL_OR_KEYWORD:
        return
    kind = type(own)

    def forward(self: nn.Module, images: Tensor) -> Any:
        return kind.forward(self, images)

    own.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def hooked(model: nn.Module) -> list[str]:
    """Paths of the modules with hooks that may change what they compute, and are left out; torch's own do not count."""
    found = []
    for path, module in model.named_modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        if not all(_is_torchs(getattr(each, "__func__", each)) for each in hooks):
            found.append(path or type(module).__name__)
    return found


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


def line_of(error: BaseException) -> str:
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
