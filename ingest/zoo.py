"""Named models and models of the user's own: how to build them, with their weights, classes and preprocessing.

| name | what | module |
| --- | --- | --- |
| `mnist`, `cifar10` | trained by this project, weights in the package | `zoo_bundled` |
| `googlenet-bvlc`, `squeezenet1_0-dense`, ... | weights in the data folder, `$VISCNN_DATA` | `zoo_data` |
| any 2-D CNN of torchvision (`alexnet`, ...) | its pretrained weights, downloaded on first use | `zoo_torchvision` |
| `timm:NAME` | a model of timm, where that is installed | `zoo_timm` |
| `path/to/file.py:function` | a function without arguments that returns a `torch.nn.Module` | `zoo_file` |

Weights are read safely: safetensors, npz without pickles, or `.pt` files that hold only tensors (`weights`).
"""

import hashlib
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from viscnn.errors import ModelError, nearest
from viscnn.ingest import zoo_bundled, zoo_data, zoo_file, zoo_timm, zoo_torchvision
from viscnn.ingest.weights import load_weights, read_weights
from viscnn.ingest.zoo_bundled import BUNDLED
from viscnn.ingest.zoo_data import DATA
from viscnn.ingest.zoo_parts import Built

__all__ = ["BUNDLED", "DATA", "Recipe", "ZooModel", "build", "class_names", "model_name", "parse_shape", "weights_hash"]

_BUILDING = threading.RLock()  # the random seed and `sys.path` belong to the whole process


@dataclass(frozen=True)
class Recipe:
    """How to build a model again on this machine; kept in the local registry, never in the graph.

    `weights` is a file, `random` (seed 0), or None for the model's own (bundled, pretrained or as the file builds it).
    `heads`: its architecture is read with the linear layers behind flattened maps.
    """

    source: str
    weights: str | None = None
    input_shape: tuple[int, int, int] | None = None
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    heads: bool = False


@dataclass(frozen=True)
class ZooModel:
    """A built model in eval mode, with what its images must look like."""

    module: nn.Module = field(repr=False)
    architecture: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    images: str | None  # the image source that belongs to it, if there is one
    weights_hash: str


def model_name(source: str) -> str:
    """The default name of a model: the zoo name (`timm-NAME` for `timm:NAME`), or the function's name of a file."""
    if source.startswith(zoo_timm.PREFIX):
        return source.replace(":", "-", 1)  # `resnet18` is torchvision's
    return source.rpartition(":")[2]


def parse_shape(text: str) -> tuple[int, int, int]:
    """`3x224x224` as (channels, rows, columns); raises ModelError."""
    parts = text.lower().split("x")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        channels, rows, columns = (int(part) for part in parts)
        return channels, rows, columns
    raise ModelError(f"--input {text!r} is not CHANNELSxROWSxCOLUMNS, such as 3x224x224")


def class_names(classes: tuple[str, ...], logits: int | None) -> tuple[str, ...]:
    """Names of a model's logits: those given, or `class 0` and on; none for a model without logits.

    Raises:
        ModelError: another number of names than of logits.
    """
    if logits is None:
        return ()
    if classes and len(classes) != logits:
        raise ModelError(f"{len(classes)} class names are given, but the model has {logits} logits (see --classes)")
    return classes or tuple(f"class {number}" for number in range(logits))


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all parameters and buffers.

    Raises:
        ModelError: a lazy layer has no weights yet.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if is_lazy(tensor):
            raise ModelError(f"{name} has no values yet: run a lazy layer once before the model is returned")
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def build(recipe: Recipe) -> ZooModel:
    """Build the model that a recipe describes.

    Raises:
        ModelError: unknown name, function missing in the file, weights that do not fit, an unsafe weights file.
    """
    with _BUILDING:
        return _build(recipe)


def _build(recipe: Recipe) -> ZooModel:
    built = _built(recipe.source, pretrained=recipe.weights is None)
    if recipe.weights is not None and recipe.weights != "random":
        load_weights(built.module, _without(built.training_only, read_weights(Path(recipe.weights))), recipe.weights)
    built.module.eval()
    shape = recipe.input_shape or built.input_shape
    return ZooModel(
        module=built.module,
        architecture=built.architecture,
        input_shape=shape,
        classes=recipe.classes or built.classes,
        preprocess=_preprocess(recipe, built, shape),
        images=built.images,
        weights_hash=weights_hash(built.module),
    )


def _built(source: str, *, pretrained: bool) -> Built:
    if source.startswith(zoo_timm.PREFIX):
        return zoo_timm.build(source.removeprefix(zoo_timm.PREFIX), pretrained=pretrained)
    if zoo_file.is_file(source):
        return zoo_file.build(source)
    if source in BUNDLED:
        return zoo_bundled.build(source, pretrained=pretrained)
    if source in DATA:
        return zoo_data.build(source, pretrained=pretrained)
    torchvision = zoo_torchvision.names()
    if source not in torchvision:
        raise ModelError(
            f"no model is called {source!r}{nearest(source, [*BUNDLED, *DATA, *torchvision])} "
            "(viscnn zoo lists the names; your own model is path/to/file.py:function)"
        )
    return zoo_torchvision.build(source, pretrained=pretrained)


def _without(parts: tuple[str, ...], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights but those of parts that only training uses."""
    return {name: tensor for name, tensor in weights.items() if name.partition(".")[0] not in parts}


def _preprocess(recipe: Recipe, built: Built, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Complete settings of `engine.preprocess.Preprocess` for an input of `shape`."""
    channels = shape[0]
    defaults = {
        "resize": None,
        "mode": "L" if channels == 1 else "RGB",
        "scale": 1 / 255,
        "mean": [0.0] * channels,
        "std": [1.0] * channels,
    }
    given = {key: list(each) for key, each in (("mean", recipe.mean), ("std", recipe.std)) if each is not None}
    complete = {**defaults, "size": [shape[1], shape[2]], **built.preprocess, **given}
    if complete["resize"] is not None:  # another input size sees the same share of a picture
        complete["resize"] = round(complete["resize"] * max(shape[1:]) / max(built.input_shape[1:]))
    for key in ("mean", "std"):
        if len(complete[key]) != channels:
            raise ModelError(f"--{key} needs {channels} numbers, one per input channel, not {len(complete[key])}")
        if not all(math.isfinite(value) for value in complete[key]):
            raise ModelError(f"--{key} must be finite, not {complete[key]}")
    if any(value <= 0 for value in complete["std"]):
        raise ModelError(f"--std must be positive, not {complete['std']}")
    return complete
