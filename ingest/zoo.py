"""Named models and models of the user's own: how to build them, with their weights, classes and preprocessing.

| name | what |
| --- | --- |
| `mnist`, `cifar10` | bundled: trained by this project, weights in the package |
| any torchvision builder (`alexnet`, `vgg16`, ...) | pretrained weights, downloaded by torchvision on first use |
| `path/to/file.py:function` | a function without arguments that returns a `torch.nn.Module` |

Weights are read safely: safetensors, npz without pickles, or `.pt` files that hold only tensors.
"""

import hashlib
import importlib.util
import inspect
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from viscnn.errors import ModelError, nearest
from viscnn.ingest.bundled import nets
from viscnn.ingest.weights import load_weights, read_weights

__all__ = ["BUNDLED", "Recipe", "ZooModel", "build", "class_names", "model_name", "parse_shape", "weights_hash"]

_BUILDING = threading.RLock()  # the random seed and `sys.path` belong to the whole process
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Bundled:
    """A network of this project: its builder and what its inputs look like."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


BUNDLED = {
    "mnist": Bundled(nets.mnist, (1, 28, 28), nets.MNIST_CLASSES, (0.1307,), (0.3081,)),
    "cifar10": Bundled(
        nets.cifar10, (3, 32, 32), nets.CIFAR10_CLASSES, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    ),
}


@dataclass(frozen=True)
class Recipe:
    """How to build a model again on this machine; kept in the local registry, never in the graph.

    `weights` is a file, `random` (seed 0), or None for the model's own (bundled, pretrained or as the file builds it).
    """

    source: str
    weights: str | None = None
    input_shape: tuple[int, int, int] | None = None
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


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
    """The default name of a model: the zoo name, or the function's name for `file.py:function`."""
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
    if ":" in recipe.source or recipe.source.endswith(".py"):
        module, architecture, defaults = *_from_file(recipe.source), _Defaults((3, 224, 224), (), {}, None)
    elif recipe.source in BUNDLED:
        module, architecture, defaults = _bundled(recipe.source, recipe.weights is None)
    else:
        module, architecture, defaults = _torchvision(recipe.source, recipe.weights is None)
    if recipe.weights is not None and recipe.weights != "random":
        load_weights(module, read_weights(Path(recipe.weights)), recipe.weights)
    module.eval()
    shape = recipe.input_shape or defaults.input_shape
    preprocess = {"size": [shape[1], shape[2]], **defaults.preprocess}
    for key, values in (("mean", recipe.mean), ("std", recipe.std)):
        if values is not None:
            preprocess[key] = list(values)
    return ZooModel(
        module=module,
        architecture=architecture,
        input_shape=shape,
        classes=recipe.classes or defaults.classes,
        preprocess=_complete(preprocess, shape[0]),
        images=defaults.images,
        weights_hash=weights_hash(module),
    )


@dataclass(frozen=True)
class _Defaults:
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    images: str | None


def _complete(preprocess: dict[str, Any], channels: int) -> dict[str, Any]:
    defaults = {
        "resize": None,
        "mode": "L" if channels == 1 else "RGB",
        "scale": 1 / 255,
        "mean": [0.0] * channels,
        "std": [1.0] * channels,
    }
    complete = defaults | preprocess
    for key in ("mean", "std"):
        if len(complete[key]) != channels:
            raise ModelError(f"--{key} needs {channels} numbers, one per input channel, not {len(complete[key])}")
        if not all(math.isfinite(value) for value in complete[key]):
            raise ModelError(f"--{key} must be finite, not {complete[key]}")
    if any(value <= 0 for value in complete["std"]):
        raise ModelError(f"--std must be positive, not {complete['std']}")
    return complete


def _bundled(name: str, trained: bool) -> tuple[nn.Module, str, _Defaults]:
    entry = BUNDLED[name]
    module = _seeded(entry.build)
    if trained:
        file = Path(nets.__file__).with_name(f"{name}.safetensors")
        load_weights(module, read_weights(file), str(file))
    preprocess = {"mean": list(entry.mean), "std": list(entry.std)}
    return module, f"viscnn.{name}", _Defaults(entry.input_shape, entry.classes, preprocess, f"bundled:{name}")


def _torchvision(name: str, pretrained: bool) -> tuple[nn.Module, str, _Defaults]:
    from torchvision import models
    from torchvision.models._api import get_model, get_model_weights, list_models

    builders = list_models(module=models)
    if name not in builders:
        known = [*BUNDLED, *builders]
        raise ModelError(
            f"no model is called {name!r}{nearest(name, known)} "
            "(use a torchvision name, mnist, cifar10, or path/to/file.py:function)"
        )
    weights = get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    preset = weights.transforms()
    preprocess = {
        "resize": preset.resize_size[0],
        "mean": list(preset.mean),
        "std": list(preset.std),
        "interpolation": preset.interpolation.value,
    }
    try:
        module = get_model(name, weights=weights) if pretrained else _seeded(lambda: get_model(name))
    except (OSError, RuntimeError) as error:  # no network; a damaged download
        raise ModelError(
            f"the pretrained weights of {name} cannot be downloaded ({error}); "
            "give a file with --weights, or --weights random"
        ) from error
    size = preset.crop_size[0]
    defaults = _Defaults((3, size, size), tuple(weights.meta["categories"]), preprocess, None)
    return module, f"torchvision.{name}", defaults


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Random weights with seed 0, the caller's random state left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def _from_file(source: str) -> tuple[nn.Module, str]:
    path, _, function = source.rpartition(":")
    file = Path(path or source)
    if not path or file.suffix != ".py":
        raise ModelError(f"{source!r} is not path/to/file.py:function")
    if not file.is_file():
        raise ModelError(f"there is no file {file} (in {source!r})")
    loaded = _import(file.resolve())
    if not callable(getattr(loaded, function, None)):
        functions = [name for name, each in inspect.getmembers(loaded, inspect.isroutine)]
        raise ModelError(f"{file} has no function {function!r}{nearest(function, functions)}")
    with _beside(file.resolve()):
        module = _call(getattr(loaded, function), source)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{source} returns {type(module).__name__}, not a torch.nn.Module")
    return module, type(module).__name__


def _call(function: Callable[[], Any], source: str) -> Any:
    try:
        return _seeded(function)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{source} failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


@contextmanager
def _beside(file: Path) -> Iterator[None]:
    """Let the user's file import its neighbours while it is imported and called.

    They are forgotten afterwards, so that the next project's `engine.py` is not taken to be this one's.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(file.parent))
    try:
        yield
    finally:
        sys.path.remove(str(file.parent))
        for name in sys.modules.keys() - before:
            origin = Path(getattr(sys.modules[name], "__file__", None) or "/")
            if origin.is_relative_to(file.parent) and "site-packages" not in origin.parts:
                del sys.modules[name]


def _import(file: Path) -> ModuleType:
    name = f"viscnn_user_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses and pickling look their module up here
    try:
        with _beside(file):
            spec.loader.exec_module(loaded)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file} cannot be imported: {type(error).__name__}: {reason}") from error
    return loaded
