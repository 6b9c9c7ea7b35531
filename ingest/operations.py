"""The operations that may stand between two convolutions, read from a traced graph and applied again.

An operation is stored on FEEDS as one JSON object, `{"op": "maxpool", "kernel": [2, 2], ...}`, complete enough
to be applied without the model: the network can be replayed from the database. Operations that mix channels
(LRN) carry `"mixesChannels": true`.
"""

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from viscnn.errors import StoredDataError

__all__ = ["HEAD", "Operation", "Unknown", "apply", "read_operation"]


@dataclass(frozen=True)
class Operation:
    """One step between two layers: its name and its settings, as stored in `FEEDS.operations`."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def pointwise(self) -> bool:
        """Whether it is an activation: the same function of each value alone."""
        return self.name in _POINTWISE

    def to_json(self) -> str:
        """The JSON object that is stored."""
        return json.dumps({"op": self.name, **dict(self.settings)})

    @classmethod
    def from_json(cls, text: str) -> "Operation":
        """Read a stored operation; raises StoredDataError."""
        try:
            settings = json.loads(text)
            return cls(settings.pop("op"), tuple(settings.items()))
        except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
            raise StoredDataError(f"FEEDS.operations holds {text!r}, which is not an operation") from error


class Unknown(Exception):
    """An operation that has no stored form."""


HEAD = Operation("head")
"""Marks the operation after which there are no maps any more."""

_POINTWISE: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
}
_POINTWISE_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.CELU: ("celu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.SiLU: ("silu", ()),
    nn.Mish: ("mish", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Tanh: ("tanh", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_PADDINGS: dict[type[nn.Module], str] = {
    nn.ZeroPad2d: "constant",
    nn.ConstantPad2d: "constant",
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
    nn.CircularPad2d: "circular",
}
_FLATTENING = {"flatten", "view", "reshape", "mean", "squeeze"}


def read_operation(module: fx.GraphModule, node: fx.Node) -> Operation | None:
    """The operation that a node stands for; None when it does nothing in eval mode; HEAD at the end of the maps.

    Raises:
        Unknown: the operation has no stored form; the message says why.
    """
    if node.op == "call_module":
        return _of_module(module.get_submodule(str(node.target)))
    if node.op not in {"call_method", "call_function"}:
        raise Unknown(f"a node of kind {node.op}")
    target: Any = node.target
    try:
        operation = _of_name(target if isinstance(target, str) else getattr(target, "__name__", str(target)), node)
        json.dumps(operation.settings if operation else None)
    except (TypeError, ValueError) as error:  # an argument that the model computes, say
        raise Unknown(f"its arguments cannot be stored ({' '.join(str(error).split())[:100]})") from error
    return operation


def _of_module(module: nn.Module) -> Operation | None:
    kind = type(module)
    if kind in _POINTWISE_MODULES:
        name, keys = _POINTWISE_MODULES[kind]
        return Operation(name, tuple((key, getattr(module, key)) for key in keys))
    if isinstance(module, _NOTHING):
        return None
    if isinstance(module, nn.Flatten | nn.Linear):
        return HEAD
    if kind in _PADDINGS:
        value = getattr(module, "value", 0.0)
        amounts = [int(each) for each in module.padding]  # type: ignore[union-attr]
        return Operation("pad", (("amounts", amounts), ("mode", _PADDINGS[kind]), ("value", value)))
    reader = _MODULES.get(kind)
    if reader is None:
        raise Unknown(f"modules of class {kind.__name__} have no stored form yet")
    return reader(module)


def _max_pool(pool: nn.MaxPool2d) -> Operation:
    return _pooling("maxpool", pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)


def _pooling(name: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any) -> Operation:
    return Operation(
        name,
        (
            ("kernel", _pair(kernel)),
            ("stride", _pair(stride if stride is not None and stride != () else kernel)),
            ("padding", _pair(padding)),
            ("dilation", _pair(dilation)),
            ("ceilMode", bool(ceil_mode)),
        ),
    )


def _average_pool(pool: nn.AvgPool2d) -> Operation:
    return _averaging(
        pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad, pool.divisor_override
    )


def _averaging(kernel: Any, stride: Any, padding: Any, ceil_mode: Any, include_pad: Any, divisor: Any) -> Operation:
    return Operation(
        "avgpool",
        (
            ("kernel", _pair(kernel)),
            ("stride", _pair(stride if stride is not None and stride != () else kernel)),
            ("padding", _pair(padding)),
            ("ceilMode", bool(ceil_mode)),
            ("countIncludePad", bool(include_pad)),
            ("divisor", divisor),
        ),
    )


def _adaptive(name: str) -> Callable[[Any], Operation]:
    return lambda pool: Operation(name, (("size", _pair(pool.output_size)),))


def _lrn(norm: nn.LocalResponseNorm) -> Operation:
    settings = (("size", norm.size), ("alpha", norm.alpha), ("beta", norm.beta), ("k", norm.k))
    return Operation("lrn", (*settings, ("mixesChannels", True)))


def _affine(norm: nn.BatchNorm2d) -> Operation:
    """A BatchNorm that could not be folded, in eval mode: y = scale * x + shift per channel."""
    if norm.running_mean is None or norm.running_var is None:
        raise Unknown("a BatchNorm2d without running statistics depends on the batch")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return Operation("affine", (("scale", scale.tolist()), ("shift", shift.tolist())))


_MODULES: dict[type[nn.Module], Callable[[Any], Operation]] = {
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive("adaptive_avgpool"),
    nn.AdaptiveMaxPool2d: _adaptive("adaptive_maxpool"),
    nn.LocalResponseNorm: _lrn,
    nn.BatchNorm2d: _affine,
}


def _max_pool_call(
    maps: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil: Any = False, **named: Any
) -> Operation:
    if named.get("return_indices"):
        raise Unknown("max pooling that returns indices")
    return _pooling("maxpool", kernel, stride, padding, dilation, named.get("ceil_mode", ceil))


def _average_pool_call(
    maps: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Operation:
    return _averaging(kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_average_call(maps: Any, output_size: Any) -> Operation:
    return Operation("adaptive_avgpool", (("size", _pair(output_size)),))


def _adaptive_max_call(maps: Any, output_size: Any, return_indices: Any = False) -> Operation:
    if return_indices:
        raise Unknown("max pooling that returns indices")
    return Operation("adaptive_maxpool", (("size", _pair(output_size)),))


def _lrn_call(maps: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Operation:
    return Operation("lrn", (("size", size), ("alpha", alpha), ("beta", beta), ("k", k), ("mixesChannels", True)))


def _pad_call(maps: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Operation:
    if len(pad) > 4:
        raise Unknown("padding of channels")
    return Operation("pad", (("amounts", list(pad)), ("mode", mode), ("value", value or 0.0)))


_CALLS: dict[str, Callable[..., Operation]] = {
    "max_pool2d": _max_pool_call,
    "avg_pool2d": _average_pool_call,
    "adaptive_avg_pool2d": _adaptive_average_call,
    "adaptive_max_pool2d": _adaptive_max_call,
    "local_response_norm": _lrn_call,
    "pad": _pad_call,
}
_KEYWORDS = {"kernel_size": "kernel"}


def _of_name(name: str, node: fx.Node) -> Operation | None:
    """A functional call or a method, told by the function's name."""
    arguments = [None, *node.args[1:]]
    if name in _FLATTENING or name == "linear":
        return HEAD
    if name in {"dropout", "dropout2d", "alpha_dropout", "contiguous"}:
        on = [node.kwargs.get("training"), node.kwargs.get("train"), *node.args[2:3]]
        if any(each is True for each in on):
            raise Unknown("dropout with training=True is random")
        return None
    if name in _POINTWISE:
        return _pointwise_call(name, arguments, dict(node.kwargs))
    if name in _CALLS:
        named = {_KEYWORDS.get(key, key): value for key, value in node.kwargs.items() if key != "input"}
        return _CALLS[name](*arguments, **named)
    if name in {operator.add.__name__, "iadd", "cat", "mul"}:
        raise Unknown("it joins maps; branching networks are not supported yet")
    raise Unknown("it has no stored form yet")


def _pointwise_call(name: str, arguments: list[Any], kwargs: dict[str, Any]) -> Operation:
    kind, keys = next((kind, keys) for kind, (known, keys) in _POINTWISE_MODULES.items() if known == name)
    default = kind()
    given = dict(zip(keys, arguments[1:], strict=False)) | kwargs  # what follows the keys is `inplace`
    return Operation(name, tuple((key, given.get(key, getattr(default, key))) for key in keys))


def _pair(value: Any) -> list[int | None]:
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return [None if each is None else int(each) for each in (rows, columns)]


def apply(operation: Operation, maps: Tensor) -> Tensor:
    """Apply a stored operation to maps (N, C, H, W).

    Raises:
        StoredDataError: the operation's name or settings are unknown.
    """
    settings = dict(operation.settings)
    settings.pop("mixesChannels", None)
    try:
        if operation.pointwise:
            return _POINTWISE[operation.name](maps, **settings)
        return _APPLY[operation.name](maps, settings)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise StoredDataError(f"cannot apply the stored operation {operation.to_json()[:200]}: {reason}") from error


def _apply_affine(maps: Tensor, settings: dict[str, Any]) -> Tensor:
    scale, shift = (torch.tensor(settings[key], dtype=maps.dtype).view(1, -1, 1, 1) for key in ("scale", "shift"))
    return maps * scale + shift


_APPLY: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "maxpool": lambda x, s: F.max_pool2d(x, s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceilMode"]),
    "avgpool": lambda x, s: F.avg_pool2d(
        x, s["kernel"], s["stride"], s["padding"], s["ceilMode"], s["countIncludePad"], s["divisor"]
    ),
    "adaptive_avgpool": lambda x, s: F.adaptive_avg_pool2d(x, s["size"]),
    "adaptive_maxpool": lambda x, s: F.adaptive_max_pool2d(x, s["size"]),
    "lrn": lambda x, s: F.local_response_norm(x, s["size"], s["alpha"], s["beta"], s["k"]),
    "pad": lambda x, s: F.pad(x, s["amounts"], s["mode"], s["value"] if s["mode"] == "constant" else None),
    "affine": _apply_affine,
}
