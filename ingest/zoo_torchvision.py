"""Torchvision's 2-D classifiers by name, with their pretrained weights, classes and preprocessing.

What a builder is for, and how its weights want their images, is asked of torchvision; nothing is listed by hand.
"""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import torch
from torch import nn

from viscnn.errors import ModelError
from viscnn.ingest.zoo_parts import Built, Listed, one_line, seeded

__all__ = ["at_hand", "build", "inputs", "listed", "names"]

# What a builder sets by itself where it is given weights. Without this a module with random weights would lack the
# input scaling of the pretrained one and have auxiliary heads, whose slow initialisation torchvision warns about.
_AS_PRETRAINED = {"transform_input": True, "aux_logits": False, "init_weights": False}


def names() -> list[str]:
    """Every name that torchvision knows, those that are refused included."""
    from torchvision.models._api import list_models

    return list(list_models())


def build(name: str, *, pretrained: bool) -> Built:
    """A torchvision model with its best weights or with random ones.

    Raises:
        ModelError: not a 2-D CNN classifier, or its weights cannot be downloaded.
    """
    from torchvision.models._api import get_model

    reason = _unfit(name)
    if reason:
        raise ModelError(f"{name} is not a 2-D CNN classifier: {reason}")
    weights = _weights(name)
    try:
        module = get_model(name, weights=weights) if pretrained else seeded(lambda: get_model(name, **_settings(name)))
    except (OSError, RuntimeError) as error:  # no network; a damaged download
        raise ModelError(
            f"the pretrained weights of {name} cannot be downloaded ({one_line(error)}); "
            "give a file with --weights, or --weights random"
        ) from error
    shape, preprocess = inputs(name)
    return Built(
        module=module,
        architecture=f"torchvision.{name}",
        input_shape=shape,
        classes=tuple(weights.meta["categories"]),
        preprocess=preprocess,
        training_only=_left_out(module),
    )


def _left_out(module: nn.Module) -> tuple[str, ...]:
    """Attributes that are None where the builder can put a part: the auxiliary heads."""
    attributes = vars(module) | module._modules
    return tuple(name for name, value in attributes.items() if value is None and not name.startswith("_"))


def listed() -> list[Listed]:
    """All names that can be built, and whether their weights are downloaded already."""
    return [_listed(name) for name in names() if not _unfit(name)]


def at_hand() -> str:
    """Its version, and where it keeps what it downloads."""
    return f"torchvision {version('torchvision')}, weights in {_downloads()}"


def _downloads() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _listed(name: str) -> Listed:
    weights = _weights(name)
    file = _downloads() / Path(urlsplit(weights.url).path).name
    ready = file.is_file()
    return Listed(name, "torchvision", inputs(name)[0], ready, str(file) if ready else "downloaded on first use")


def _weights(name: str) -> Any:
    """The weights that torchvision recommends, with how they want their images."""
    from torchvision.models._api import get_model_weights

    return get_model_weights(name).DEFAULT  # type: ignore[attr-defined]


def inputs(name: str) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """Shape of an input, and the preprocessing settings, with which torchvision evaluated a classifier's weights."""
    preset = _weights(name).transforms()
    size = preset.crop_size[0]
    return (3, size, size), {
        "resize": preset.resize_size[0],
        "mean": list(preset.mean),
        "std": list(preset.std),
        "interpolation": preset.interpolation.value,
    }


def _settings(name: str) -> dict[str, Any]:
    """Arguments that give the structure of the pretrained module; `init_weights` only where it has no default."""
    from torchvision.models._api import get_model_builder

    parameters = inspect.signature(_returned(get_model_builder(name))).parameters
    return {
        key: value
        for key, value in _AS_PRETRAINED.items()
        if key in parameters and not (key == "init_weights" and parameters[key].default is not None)
    }


def _returned(builder: Callable[..., nn.Module]) -> type[nn.Module]:
    found: type[nn.Module] = get_type_hints(builder)["return"]
    return found


def _unfit(name: str) -> str | None:
    """Why a builder of torchvision makes no 2-D CNN classifier; None where it does."""
    from torchvision.models._api import get_model_builder

    preset = type(_weights(name).transforms()).__name__
    if preset != "ImageClassification":
        words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in preset).strip()
        return f"it is made for {words}"
    builder = get_model_builder(name)
    if "quantize" in inspect.signature(builder).parameters:
        return f"it is quantized; use {name.removeprefix('quantized_')}"
    attention = _attention(builder)
    return f"it is a transformer ({attention})" if attention else None


def _attention(builder: Callable[..., nn.Module]) -> str | None:
    """Name of the attention module that the builder's file defines or uses; None in a file of plain CNNs."""
    file = sys.modules[builder.__module__]
    for each in vars(file).values():
        if inspect.isclass(each) and each.__module__ == file.__name__ and issubclass(each, nn.Module):
            used = [each.__name__, *each.__init__.__code__.co_names]
            found = [name for name in used if "Attention" in name]
            if found:
                return found[0]
    return None
