"""Read weights files without ever running code from them, and put them into a module.

`.safetensors` holds only tensors; `.npz` is read with `allow_pickle=False`; `.pt` / `.pth` is a pickle and is read
with `weights_only=True`, which refuses anything but tensors and plain containers.
"""

import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from viscnn.errors import ModelError

__all__ = ["load_weights", "read_weights"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name.

    Raises:
        ModelError: no such file, an unknown suffix, a broken file, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}")
    readers = {".safetensors": _safetensors, ".npz": _npz, ".pt": _pickled, ".pth": _pickled}
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
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise ModelError(f"{path} holds no state_dict (names with tensors)")
    return {str(name).removeprefix("module."): value for name, value in stored.items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def load_weights(module: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Put `weights` into `module`, every name and shape matching; raises ModelError and leaves `module` as it was."""
    wanted = module.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - weights.keys() - counters)
    unknown = sorted(weights.keys() - wanted.keys())
    if missing or unknown:
        kind, which = ("lacks", missing) if missing else ("has the unknown", unknown)
        raise ModelError(f"{name} {kind} {', '.join(which[:3])}{' ...' if len(which) > 3 else ''}")
    for key, tensor in weights.items():
        scalars = tensor.numel() == wanted[key].numel() == 1
        if tensor.shape != wanted[key].shape and not scalars:
            raise ModelError(f"{name}: {key} has shape {_shape(tensor)}, the model needs {_shape(wanted[key])}")
        if tensor.is_complex() and not wanted[key].is_complex():
            raise ModelError(f"{name}: {key} is complex, the model needs real weights")
    fitting = {key: tensor.reshape(wanted[key].shape).to(wanted[key].dtype) for key, tensor in weights.items()}
    module.load_state_dict(fitting, strict=not counters)


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"
