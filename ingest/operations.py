"""The operations that may stand between two layers, as stored on FEEDS, and how they are applied again.

An operation is one JSON object, `{"op": "maxpool", "kernel": [2, 2], ...}`, complete enough to be applied without the
model: the network can be replayed from the database. It acts on all maps of a layer, (N, C, H, W). Lists over channels
are in the order of the source's channels. Operations that mix channels (LRN, LayerNorm, gates) carry
`"mixesChannels": true`; where what is mixed is not simply all maps of one layer, `"of"` lists the *parts* that it is
made of, and `"at"` says for each channel of the source which of the results it is.

A part is `{"source", "operations", "sourceStart", "targetStart", "channels"}`, with `sourceChannels` and
`targetChannels` where they are not neighbours: a feed into nothing but this operation.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from viscnn.errors import StoredDataError

__all__ = ["MIXING", "PLAIN", "POINTWISE", "Operation", "Unknown", "apply", "assemble"]


@dataclass(frozen=True)
class Operation:
    """One step between two layers: its name and its settings, as stored in `FEEDS.operations`."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def pointwise(self) -> bool:
        """Whether it is an activation: a function of each value alone."""
        return self.name in POINTWISE

    @property
    def parts(self) -> tuple[dict[str, Any], ...]:
        """The parts of other maps that it reads."""
        settings = dict(self.settings)
        return (*settings.get("by", ()), *(settings.get("of") or ()))

    def to_dict(self) -> dict[str, Any]:
        """The object that is stored."""
        return {"op": self.name, **dict(self.settings)}

    def to_json(self) -> str:
        """The text that is stored."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Operation":
        """Read a stored object; raises KeyError."""
        rest = {key: value for key, value in settings.items() if key != "op"}
        return cls(settings["op"], tuple(rest.items()))

    @classmethod
    def from_json(cls, text: str) -> "Operation":
        """Read a stored operation; raises StoredDataError."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
            raise StoredDataError(f"FEEDS.operations holds {text!r}, which is not an operation") from error


class Unknown(Exception):
    """An operation that has no stored form; the message says why."""


def _prelu(maps: Tensor, weight: Any) -> Tensor:
    return F.prelu(maps, torch.tensor(weight, dtype=maps.dtype).reshape(-1))


POINTWISE: dict[str, Callable[..., Tensor]] = {
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
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": F.threshold,
    "tanh": torch.tanh,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
    "abs": torch.abs,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "clamp": torch.clamp,
    "prelu": _prelu,
}
"""Functions of each value alone, by the names of torch's own functions."""


def _like(maps: Tensor, values: Any) -> Tensor:
    """A number, or a list over channels, that multiplies maps."""
    return torch.tensor(values, dtype=maps.dtype, device=maps.device).reshape(-1, 1, 1)


def _constant(values: Any, maps: Tensor) -> Tensor | None:
    return None if values is None else torch.tensor(values, dtype=maps.dtype, device=maps.device)


def _layernorm(x: Tensor, s: dict[str, Any]) -> Tensor:
    weight, bias = _constant(s["weight"], x), _constant(s["bias"], x)
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], weight, bias, s["eps"]).permute(0, 3, 1, 2)


def _groupnorm(x: Tensor, s: dict[str, Any]) -> Tensor:
    return F.group_norm(x, s["groups"], _constant(s["weight"], x), _constant(s["bias"], x), s["eps"])


def _crop(x: Tensor, s: dict[str, Any]) -> Tensor:
    (r, c), (dr, dc), (rows, columns) = s["start"], s["step"], s["size"]
    return x[:, :, r::dr, c::dc][:, :, :rows, :columns]


def _interpolate(x: Tensor, s: dict[str, Any]) -> Tensor:
    return F.interpolate(x, s["size"], s["scale"], s["mode"], s["alignCorners"], s["recomputeScale"], s["antialias"])


PLAIN: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "maxpool": lambda x, s: F.max_pool2d(x, s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceilMode"]),
    "avgpool": lambda x, s: F.avg_pool2d(
        x, s["kernel"], s["stride"], s["padding"], s["ceilMode"], s["countIncludePad"], s["divisor"]
    ),
    "adaptive_avgpool": lambda x, s: F.adaptive_avg_pool2d(x, s["size"]),
    "adaptive_maxpool": lambda x, s: F.adaptive_max_pool2d(x, s["size"]),
    "pad": lambda x, s: F.pad(x, s["amounts"], s["mode"], s["value"] if s["mode"] == "constant" else None),
    "affine": lambda x, s: x * _like(x, s["scale"]) + _like(x, s["shift"]),
    "power": lambda x, s: x ** s["exponent"],
    "crop": _crop,
    "expand": lambda x, s: x.expand(-1, -1, *s["size"]),
    "interpolate": _interpolate,
    "instancenorm": lambda x, s: F.instance_norm(x, eps=s["eps"]),
}
"""Operations that act on every channel alone."""

MIXING: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "lrn": lambda x, s: F.local_response_norm(x, s["size"], s["alpha"], s["beta"], s["k"]),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "softmax": lambda x, s: torch.softmax(x, 1),
}
"""Operations whose result in one channel depends on others; `gate` is one more."""


def apply(operation: Operation, maps: Tensor, layers: Mapping[str, Tensor] | None = None) -> Tensor:
    """Apply a stored operation to all maps of a layer (N, C, H, W).

    Args:
        layers: the maps of the layers before, by name, for operations that read those.

    Raises:
        StoredDataError: the operation's name or settings are unknown.
    """
    settings = {key: value for key, value in operation.settings if key != "mixesChannels"}
    try:
        if operation.pointwise:
            return POINTWISE[operation.name](maps, **settings)
        if operation.name == "gate":
            return maps * assemble(settings["by"], layers or {})[:, _indices(settings["at"])]
        if operation.name in MIXING:
            parts = settings.get("of")
            if parts is None:
                return MIXING[operation.name](maps, settings)
            return MIXING[operation.name](assemble(parts, layers or {}), settings)[:, _indices(settings["at"])]
        return PLAIN[operation.name](maps, settings)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())[:120]
        raise StoredDataError(f"cannot apply the stored operation {operation.to_json()[:200]}: {reason}") from error


def _indices(at: list[int]) -> list[int]:
    """Channels that are not read afterwards have -1, and may hold anything."""
    return [max(each, 0) for each in at]


def assemble(parts: list[dict[str, Any]], layers: Mapping[str, Tensor], *, channels: int | None = None) -> Tensor:
    """The maps (N, C, H, W) that parts, or feeds in the same form, make up; what none covers is zero.

    Args:
        layers: maps by layer name.
        channels: C; by default as many as are covered.
    """
    pieces = []
    for part in parts:
        maps = layers[part["source"]]
        for each in part["operations"]:
            maps = apply(each if isinstance(each, Operation) else Operation.from_dict(each), maps, layers)
        pieces.append((maps[:, _channels(part, "source")], _channels(part, "target")))
    if len(pieces) == 1 and pieces[0][1] == slice(0, channels or pieces[0][0].shape[1]):
        return pieces[0][0]
    total = sum(piece.shape[1] for piece, _ in pieces) if channels is None else channels
    first = pieces[0][0]
    found = first.new_zeros(len(first), total, *first.shape[2:])
    for piece, where in pieces:
        found[:, where] = piece
    return found


def _channels(part: Mapping[str, Any], end: str) -> slice | list[int]:
    listed = part.get(f"{end}Channels")
    start = part[f"{end}Start"]
    return slice(start, start + part["channels"]) if listed is None else list(listed)
