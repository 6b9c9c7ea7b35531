"""Models of the `timm` library, named `timm:NAME`; an optional extra.

`NAME` is one of timm's own, with or without the tag of its weights: `timm:resnet18`, `timm:resnet18.a1_in1k`.
Names of other repositories (`hf-hub:...`) are not taken: what they hold is not timm's to vouch for.
"""

import importlib.util
import math
from types import ModuleType
from typing import Any

from torch import nn

from viscnn.errors import ModelError, nearest
from viscnn.ingest.zoo_parts import Built, Listed, one_line, seeded

__all__ = ["PREFIX", "at_hand", "build", "installed", "listed", "preprocess"]

PREFIX = "timm:"


def installed() -> bool:
    """Whether timm can be imported."""
    return importlib.util.find_spec("timm") is not None


def build(name: str, *, pretrained: bool) -> Built:
    """A timm model (`name` is without the prefix), with the weights of its tag or with random ones.

    Raises:
        ModelError: timm is not installed, has no such model or no weights of it, the weights cannot be downloaded, or
            the model prepares its images in a way that cannot be followed.
    """
    timm = _timm()
    _check_name(timm, name, pretrained)
    try:
        module: nn.Module = seeded(lambda: timm.create_model(name, pretrained=pretrained))
    except Exception as error:  # what the hub's client and its HTTP library raise is theirs to choose
        what = "the pretrained weights of" if pretrained else "the model"
        way_out = "; give a file with --weights, or --weights random" if pretrained else ""
        raise ModelError(f"{what} {PREFIX}{name} cannot be had ({one_line(error)}){way_out}") from error
    config = timm.data.resolve_model_data_config(module)
    channels, rows, columns = config["input_size"]
    return Built(
        module=module,
        architecture=f"timm.{name}",
        input_shape=(channels, rows, columns),
        classes=_classes(timm, module),
        preprocess=preprocess(name, config),
    )


def listed() -> list[Listed]:
    """All names with pretrained weights, transformers included: only building a model tells; none without timm."""
    if not installed():
        return []
    names = _timm().list_models(pretrained=True)
    return [Listed(f"{PREFIX}{name}", "timm", None, False, "downloaded on first use") for name in names]


def at_hand() -> str:
    """Its version, or how to install it."""
    return f"timm {_timm().__version__}" if installed() else "timm is not installed: pip install 'viscnn[timm]'"


def _timm() -> ModuleType:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ModelError(f"models of timm need it: pip install 'viscnn[timm]' ({one_line(error)})") from error
    found: ModuleType = timm
    return found


def _check_name(timm: Any, name: str, pretrained: bool) -> None:
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    if name not in known:
        raise ModelError(f"timm has no model {name!r}{nearest(name, known)} (viscnn zoo timm lists them)")
    if pretrained and not timm.models.is_model_pretrained(name):
        raise ModelError(f"timm has no pretrained weights of {name!r}; give a file with --weights, or --weights random")


def _classes(timm: Any, module: nn.Module) -> tuple[str, ...]:
    """Names of the logits where the model is of one of the ImageNet sets that timm knows; else none."""
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        return ()
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def preprocess(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """timm's evaluation transform of a data configuration in our settings; raises ModelError where they differ."""
    _, rows, columns = config["input_size"]
    share, mode = config["crop_pct"], config["crop_mode"]
    settings = {
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config["interpolation"],
    }
    if mode == "squash" and share == 1:
        return settings  # without `resize` a picture is resized to exactly the input's size
    if mode == "center" and rows == columns:
        return settings | {"resize": math.floor(rows / share)}
    raise ModelError(
        f"{PREFIX}{name} prepares its images by a {mode!r} crop of {rows}x{columns} pixels at {share:g} of the "
        "picture, which cannot be followed; use another tag of its weights"
    )
