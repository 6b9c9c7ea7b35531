"""Read weights files without ever running code from them, and put them into a module.

`.safetensors` holds only tensors; `.npz` is read with `allow_pickle=False`; `.pt`, `.pth` and `.ckpt` are pickles, read
with `weights_only=True`, which refuses anything but tensors and plain containers.

A checkpoint's state_dict may lie under `state_dict`, `model` and the like; names may all begin with the name of a
wrapper (`module.` of DataParallel, `_orig_mod.` of torch.compile, `model.` of Lightning), which is taken off.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from viscnn.errors import ModelError

__all__ = ["load_weights", "read_weights"]

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name.

    Raises:
        ModelError: no such file, an unknown suffix, a broken file, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}")
    readers = {".safetensors": _safetensors, ".npz": _npz, ".pt": _pickled, ".pth": _pickled, ".ckpt": _pickled}
    if path.suffix not in readers:
        raise ModelError(f"weights file {path} must end in {', '.join(readers)}")
    return readers[path.suffix](path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(f"{path} is not a safetensors file: {_line(error)}") from error


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: torch.from_numpy(np.atleast_1d(archive[name])) for name in archive.files}
    except Exception as error:  # zipfile, zlib, struct and numpy each raise their own for a damaged file
        raise ModelError(f"{path} is not an npz file of plain arrays: {_line(error)}") from error


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, for files that are then refused
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors (it could run code) and was refused; "
            "save the state_dict, best as .safetensors"
        ) from error
    except Exception as error:
        raise ModelError(f"{path} is not a torch weights file: {_line(error)}") from error
    return _state_dict(stored, path)


def _state_dict(stored: Any, path: Path) -> dict[str, Tensor]:
    """The state_dict of a checkpoint, which may hold it beside an optimiser's, under one of the usual names."""
    held = stored
    while isinstance(held, dict) and (inner := [held[key] for key in _CONTAINERS if isinstance(held.get(key), dict)]):
        held = inner[0]
    if isinstance(held, dict) and held and all(isinstance(value, Tensor) for value in held.values()):
        return {str(name): value for name, value in held.items()}
    keys = f"; its keys: {', '.join(map(str, list(held)[:6]))}" if isinstance(held, dict) and held else ""
    raise ModelError(
        f"{path} holds no state_dict (names with tensors), neither itself nor as {' or '.join(_CONTAINERS)}{keys}"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def load_weights(module: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Put `weights` into `module`, every name and shape matching, converted to the module's precision.

    Raises:
        ModelError: they do not fit; `module` is left as it was.
    """
    wanted = module.state_dict()
    weights = _unwrapped(weights, wanted)
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - weights.keys() - counters)
    unknown = sorted(weights.keys() - wanted.keys())
    if missing or unknown:
        kind, which = ("lacks", missing) if missing else ("has the unknown", unknown)
        raise ModelError(f"{name} {kind} {', '.join(which[:3])}{' ...' if len(which) > 3 else ''}")
    for key, tensor in weights.items():
        _check_tensor(tensor, wanted[key], f"{name}: {key}")
    # only scalars are reshaped; load_state_dict converts each tensor while it copies, so no second copy of all is made
    fitting = {key: tensor.reshape(wanted[key].shape) for key, tensor in weights.items()}
    module.load_state_dict(fitting, strict=not counters)


def _unwrapped(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without a wrapper's name before all of their names; only where none fits as it is."""
    while weights and not weights.keys() & wanted.keys():
        first = {name.partition(".")[0] for name in weights}
        if len(first) != 1 or not all("." in name for name in weights):
            break
        weights = {name.partition(".")[2]: tensor for name, tensor in weights.items()}
    return weights


def _check_tensor(tensor: Tensor, wanted: Tensor, where: str) -> None:
    scalars = tensor.numel() == wanted.numel() == 1
    if tensor.shape != wanted.shape and not scalars:
        raise ModelError(f"{where} has shape {_shape(tensor)}, the model needs {_shape(wanted)}")
    if tensor.is_complex() and not wanted.is_complex():
        raise ModelError(f"{where} is complex, the model needs real weights")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"
