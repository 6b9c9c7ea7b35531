"""Operations read from modules and calls: what a node of a traced graph does to the maps it is given."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from viscnn.ingest.operations import Operation, Unknown
from viscnn.ingest.pointwise import DEFAULTS, MODULES, OTHER_NAMES, pointwise_call

__all__ = ["IDLE", "MAPS", "PerChannel", "function_name", "is_idle", "of_call", "of_module"]

MAPS = object()
"""Stands for the maps among the arguments of a call."""

IDLE = {"dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout", "stochastic_depth"}
_COPIES = {"clone", "detach", "float", "double", "alias", "lift_fresh_copy"}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True, eq=False)
class PerChannel:
    """y = scale * x + shift, or PReLU's slopes as `scale`.

    Attributes:
        listed: the tensors are (C,), along dimension 1 of the value; else they are broadcast to it.
    """

    name: str
    scale: Tensor | None = None
    shift: Tensor | None = None
    listed: bool = False


_PADDINGS: dict[type[nn.Module], str] = {
    nn.ZeroPad2d: "constant",
    nn.ConstantPad2d: "constant",
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
    nn.CircularPad2d: "circular",
}

Read = Operation | PerChannel


def function_name(target: Any) -> str:
    """The name of what a node calls: of a function, a method, or an operator of torch.export's graphs."""
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):
        return str(target._schema.name).rpartition("::")[2]
    return str(getattr(target, "__name__", target))


def is_idle(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node hands its input on in eval mode.

    Raises:
        Unknown: it is dropout that is random in eval mode too.
    """
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), _NOTHING)
    if node.op not in {"call_function", "call_method"}:
        return False
    name = function_name(node.target)
    if name in IDLE:
        on = [node.kwargs.get(key) for key in ("training", "train")]
        on += [each for each in node.args[1:] if isinstance(each, bool)]
        if name == "stochastic_depth" and len(node.args) < 4 and "training" not in node.kwargs:
            on = [True]
        if any(each is not False and each is not None for each in on):
            raise Unknown("it is random although the model is in eval mode")
        return True
    if name == "getattr":
        return node.args[1:] == ("data",)
    return name in _COPIES and not node.kwargs and len(node.args) == 1


def of_module(module: nn.Module) -> Read:
    """What a module does to maps.

    Raises:
        Unknown: modules of its class have no stored form.
    """
    kind = type(module)
    if kind in MODULES:
        name, keys = MODULES[kind]
        return storable(Operation(name, tuple((key, getattr(module, key)) for key in keys)))
    if kind in _PADDINGS:
        value = getattr(module, "value", 0.0)
        amounts = [int(each) for each in module.padding]  # type: ignore[union-attr]
        return storable(Operation("pad", (("amounts", amounts), ("mode", _PADDINGS[kind]), ("value", value))))
    reader = _MODULES.get(kind)
    if reader is None:
        raise Unknown(f"modules of class {kind.__name__} have no stored form")
    return storable(reader(module))


def of_call(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Read:
    """What a call of a function or method does to the maps, which stand as `MAPS` among its arguments.

    Raises:
        Unknown: it has no stored form, or its arguments have none.
    """
    name = OTHER_NAMES.get(name, name)
    if not arguments or arguments[0] is not MAPS:
        if name in {"add", "sub"} and len(arguments) == 2:
            factor = float(named.get("alpha", 1.0)) * (-1.0 if name == "sub" else 1.0)
            return PerChannel("affine", torch.tensor(factor), _number(arguments[0]))
        if name not in {"mul", "multiply"} and named.get("input") is not MAPS:
            raise Unknown("the maps are not its first argument")
        arguments = [MAPS, *(each for each in arguments if each is not MAPS)]
    given = {key: value for key, value in named.items() if value is not MAPS and key != "inplace"}
    reader = pointwise_call(name) if name in DEFAULTS else _CALLS.get(name)
    if reader is None:
        raise Unknown("it has no stored form")
    try:
        found = reader(*arguments[1:], **given)
    except (TypeError, ValueError) as error:
        raise Unknown(f"its arguments cannot be stored ({' '.join(str(error).split())[:100]})") from error
    return storable(found)


def storable(found: Read) -> Read:
    """An operation whose settings can be written down; raises Unknown: a tensor, or infinity, cannot."""
    try:
        json.dumps(found.settings if isinstance(found, Operation) else None, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Unknown(f"its arguments cannot be stored ({' '.join(str(error).split())[:100]})") from error
    return found


# --- pooling, padding, resizing ----------------------------------------------------------------------------------


def _max_pool(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
) -> Operation:
    if return_indices:
        raise Unknown("max pooling that returns indices")
    return Operation(
        "maxpool",
        (
            ("kernel", _pair(kernel_size)),
            ("stride", _pair(stride if stride is not None and stride != [] and stride != () else kernel_size)),
            ("padding", _pair(padding)),
            ("dilation", _pair(dilation)),
            ("ceilMode", bool(ceil_mode)),
        ),
    )


def _average_pool(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Operation:
    return Operation(
        "avgpool",
        (
            ("kernel", _pair(kernel_size)),
            ("stride", _pair(stride if stride is not None and stride != [] and stride != () else kernel_size)),
            ("padding", _pair(padding)),
            ("ceilMode", bool(ceil_mode)),
            ("countIncludePad", bool(count_include_pad)),
            ("divisor", divisor_override),
        ),
    )


def _adaptive_average(output_size: Any) -> Operation:
    return Operation("adaptive_avgpool", (("size", _pair(output_size)),))


def _adaptive_max(output_size: Any, return_indices: Any = False) -> Operation:
    if return_indices:
        raise Unknown("max pooling that returns indices")
    return Operation("adaptive_maxpool", (("size", _pair(output_size)),))


def _mean(dim: Any = None, keepdim: bool = False, **others: Any) -> Operation:
    """Of a value (N, C, H, W), over both positions; whether dimensions are kept is the reader's business."""
    axes = sorted(each % 4 for each in (dim if isinstance(dim, list | tuple) else [dim]))
    if axes != [2, 3]:
        raise Unknown(f"a mean over dimensions {dim} of (N, C, H, W)")
    return _adaptive_average(1)


def _amax(dim: Any = (), keepdim: bool = False) -> Operation:
    axes = sorted(each % 4 for each in (dim if isinstance(dim, list | tuple) else [dim]))
    if axes != [2, 3]:
        raise Unknown(f"a maximum over dimensions {dim} of (N, C, H, W)")
    return _adaptive_max(1)


def _pad(pad: Any, mode: str = "constant", value: float | None = None) -> Operation:
    if len(pad) > 4:
        raise Unknown("padding of channels by something else than zeros")
    return Operation("pad", (("amounts", [int(each) for each in pad]), ("mode", mode), ("value", value or 0.0)))


def _resize(
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Operation:
    scale = None if scale_factor is None else [float(each) for each in _both(scale_factor)]
    return Operation(
        "interpolate",
        (
            ("size", None if size is None else _pair(size)),
            ("scale", scale),
            ("mode", mode),
            ("alignCorners", align_corners),
            ("recomputeScale", recompute_scale_factor),
            ("antialias", bool(antialias)),
        ),
    )


# --- norms -------------------------------------------------------------------------------------------------------


def _lrn(size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Operation:
    return Operation("lrn", (("size", size), ("alpha", alpha), ("beta", beta), ("k", k), ("mixesChannels", True)))


def _layer_norm(shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *cudnn: Any) -> Operation:
    if len(shape) != 1:
        raise Unknown(f"a LayerNorm over {len(shape)} dimensions; only one over channels can be stored")
    settings = (("weight", _list(weight)), ("bias", _list(bias)), ("eps", eps), ("mixesChannels", True))
    return Operation("layernorm", settings)


def _group_norm(groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *cudnn: Any) -> Operation:
    settings = (("groups", groups), ("weight", _list(weight)), ("bias", _list(bias)), ("eps", eps))
    return Operation("groupnorm", (*settings, ("mixesChannels", True)))


def _batch_norm(norm: nn.modules.batchnorm._BatchNorm) -> PerChannel:
    """A BatchNorm that could not be folded, in eval mode: y = scale * x + shift per channel."""
    if norm.running_mean is None or norm.running_var is None:
        raise Unknown(f"a {type(norm).__name__} without running statistics depends on the batch")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return PerChannel("affine", scale, shift, listed=True)


def _prelu(weight: Tensor) -> PerChannel:
    return PerChannel("prelu", weight.detach(), listed=weight.numel() > 1)


def _instance_norm(norm: nn.InstanceNorm2d) -> Operation:
    if norm.track_running_stats or norm.affine:
        raise Unknown("an InstanceNorm2d with parameters or running statistics has no stored form")
    return Operation("instancenorm", (("eps", norm.eps),))


def _softmax(dim: Any = None, *others: Any, **named: Any) -> Operation:
    if dim not in {1, -3}:
        raise Unknown("a softmax over other things than channels")
    return Operation("softmax", (("mixesChannels", True),))


# --- arithmetic with constants -----------------------------------------------------------------------------------


def _number(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().double()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unknown(f"arithmetic with {value!r}")
    return torch.tensor(float(value), dtype=torch.float64)


def _times(other: Any) -> PerChannel:
    return PerChannel("affine", scale=_number(other))


def _plus(other: Any, alpha: float = 1.0) -> PerChannel:
    return PerChannel("affine", shift=_number(other) * alpha)


def _power(exponent: Any) -> Operation:
    if isinstance(exponent, bool) or not isinstance(exponent, int | float):
        raise Unknown("a power that is not one number")
    return Operation("power", (("exponent", exponent),))


_MODULES: dict[type[nn.Module], Callable[[Any], Read]] = {
    nn.MaxPool2d: lambda m: _max_pool(m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices),
    nn.AvgPool2d: lambda m: _average_pool(
        m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override
    ),
    nn.AdaptiveAvgPool2d: lambda m: _adaptive_average(m.output_size),
    nn.AdaptiveMaxPool2d: lambda m: _adaptive_max(m.output_size, m.return_indices),
    nn.Upsample: lambda m: _resize(m.size, m.scale_factor, m.mode, m.align_corners, m.recompute_scale_factor),
    nn.UpsamplingNearest2d: lambda m: _resize(m.size, m.scale_factor, "nearest"),
    nn.UpsamplingBilinear2d: lambda m: _resize(m.size, m.scale_factor, "bilinear", True),
    nn.LocalResponseNorm: lambda m: _lrn(m.size, m.alpha, m.beta, m.k),
    nn.LayerNorm: lambda m: _layer_norm(m.normalized_shape, m.weight, m.bias, m.eps),
    nn.GroupNorm: lambda m: _group_norm(m.num_groups, m.weight, m.bias, m.eps),
    nn.InstanceNorm2d: _instance_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.SyncBatchNorm: _batch_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.PReLU: lambda m: _prelu(m.weight),
    nn.Softmax2d: lambda m: _softmax(1),
    nn.Softmax: lambda m: _softmax(m.dim),
}
_CALLS: dict[str, Callable[..., Read]] = {
    "max_pool2d": _max_pool,
    "avg_pool2d": _average_pool,
    "adaptive_avg_pool2d": _adaptive_average,
    "adaptive_max_pool2d": _adaptive_max,
    "mean": _mean,
    "amax": _amax,
    "interpolate": _resize,
    "upsample": _resize,
    "upsample_nearest2d": lambda size, scale=None: _resize(size, _unless_size(size, scale)),
    "upsample_bilinear2d": lambda size, corners, scale=None: _resize(
        size, _unless_size(size, scale), "bilinear", corners
    ),
    "upsample_bicubic2d": lambda size, corners, scale=None: _resize(
        size, _unless_size(size, scale), "bicubic", corners
    ),
    "local_response_norm": _lrn,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "prelu": _prelu,
    "softmax": _softmax,
    "pad": _pad,
    "clamp_min": lambda min: Operation("clamp", (("min", min), ("max", None))),  # noqa: A006 -- torch's name
    "clamp_max": lambda max: Operation("clamp", (("min", None), ("max", max))),  # noqa: A006
    "mul": _times,
    "multiply": _times,
    "imul": _times,
    "truediv": lambda other: _times(1.0 / _number(other)),
    "div": lambda other: _times(1.0 / _number(other)),
    "itruediv": lambda other: _times(1.0 / _number(other)),
    "neg": lambda: _times(-1),
    "add": _plus,
    "iadd": _plus,
    "sub": lambda other, alpha=1.0: _plus(other, -alpha),
    "rsub": lambda other, alpha=1.0: PerChannel("affine", torch.tensor(-float(alpha)), _number(other)),
    "isub": lambda other: _plus(other, -1.0),
    "pow": _power,
}


def _pair(value: Any) -> list[int | None]:
    return [None if each is None else int(each) for each in _both(value)]


def _unless_size(size: Any, scale: Any) -> Any:
    """The scale of a resizing operator of torch.export's graphs, which has a size or a scale."""
    return scale if size is None else None


def _both(value: Any) -> tuple[Any, Any]:
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _list(values: Any) -> list[float] | None:
    return None if values is None else values.detach().double().tolist()
