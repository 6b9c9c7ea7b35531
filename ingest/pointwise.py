"""Activations: functions of each value alone, as modules and as calls."""

from collections.abc import Callable
from typing import Any

from torch import nn

from viscnn.ingest.operations import Operation

__all__ = ["DEFAULTS", "MODULES", "OTHER_NAMES", "pointwise_call"]

MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
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
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Softsign: ("softsign", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
    nn.Hardshrink: ("hardshrink", ("lambd",)),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nn.Threshold: ("threshold", ("threshold", "value")),
    nn.Tanh: ("tanh", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "relu": {},
    "relu6": {},
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"alpha": 1.0},
    "selu": {},
    "celu": {"alpha": 1.0},
    "gelu": {"approximate": "none"},
    "silu": {},
    "mish": {},
    "sigmoid": {},
    "logsigmoid": {},
    "softsign": {},
    "tanhshrink": {},
    "hardshrink": {"lambd": 0.5},
    "softshrink": {"lambd": 0.5},
    "threshold": {"threshold": 0.0, "value": 0.0},
    "tanh": {},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "hardswish": {},
    "hardsigmoid": {},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "abs": {},
    "exp": {},
    "sqrt": {},
    "square": {},
    "clamp": {"min": None, "max": None},
}
OTHER_NAMES = {"_threshold": "threshold", "log_sigmoid": "logsigmoid", "clip": "clamp", "relu_": "relu"}


def pointwise_call(name: str) -> Callable[..., Operation]:
    """Reads the arguments that follow the maps in a call of an activation."""
    defaults = DEFAULTS[name]

    def read(*values: Any, **named: Any) -> Operation:
        given = dict(zip(defaults, values, strict=False)) | named  # what follows the keys is `inplace`
        return Operation(name, tuple((key, given.get(key, default)) for key, default in defaults.items()))

    return read
