"""Where scores are computed: VISCNN_DEVICE (`cpu`, `cuda`, `cuda:1`), else CUDA where there is one, else the CPU.

The model itself stays on the CPU for everything else; its copy on the device is kept as long as the model is.
"""

import copy
import os
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import fx

from viscnn.errors import InputError
from viscnn.ingest.architecture import Architecture

__all__ = ["device", "on_device"]

_copies: "WeakKeyDictionary[fx.GraphModule, dict[torch.device, fx.GraphModule]]" = WeakKeyDictionary()


def device() -> torch.device:
    """The device for scores.

    Raises:
        InputError: VISCNN_DEVICE names none, or one that this machine has not.
    """
    named = os.environ.get("VISCNN_DEVICE", "").strip()
    if not named or named == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(named)
    except RuntimeError:
        raise InputError(f"VISCNN_DEVICE={named!r} is no device; use cpu, cuda or cuda:NUMBER") from None
    if found.type not in ("cpu", "cuda"):
        raise InputError(f"VISCNN_DEVICE={named!r} is not supported; use cpu, cuda or cuda:NUMBER")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        ways = f"cuda:0 to cuda:{count - 1}" if count else "cpu"
        raise InputError(f"VISCNN_DEVICE={named!r}: this machine has {count} CUDA devices; use {ways}")
    return found


def on_device(architecture: Architecture, where: torch.device) -> Architecture:
    """The architecture with its module on a device."""
    if where.type == "cpu":
        return architecture
    torch.backends.cudnn.allow_tf32 = False  # scores are cached: they are those of float32 on every device
    copies = _copies.setdefault(architecture.module, {})
    if where not in copies:
        copies[where] = copy.deepcopy(architecture.module).to(where)
    return replace(architecture, module=copies[where])
