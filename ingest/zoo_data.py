"""Models whose weights lie in the data folder (`$VISCNN_DATA`): public Caffe weights as plain arrays.

They see pixels of 0 to 255 less the mean colour of ImageNet, which is `scale` 1 and a `mean` in pixel values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from viscnn.config import data_folder
from viscnn.errors import ModelError
from viscnn.ingest import caffe_nets
from viscnn.ingest.weights import load_weights, read_weights
from viscnn.ingest.zoo_parts import Built, Listed, imagenet_classes, seeded

__all__ = ["DATA", "DataModel", "at_hand", "build", "listed"]

IMAGES = "bundled:imagenet-sample"
_MEAN = (123.0, 117.0, 104.0)


def _as_stored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights


def _dequantized(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`conv1.weight_q` times `scale` as `conv1.weight`; without a scale the weights as they are, which do not fit."""
    if "scale" not in weights:
        return weights
    scale = weights["scale"].to(torch.float32)
    return {name.removesuffix("_q"): values * scale for name, values in weights.items() if name.endswith("_q")}


def _squeezenet() -> nn.Module:
    from torchvision.models import squeezenet1_0

    module: nn.Module = squeezenet1_0()
    return module


@dataclass(frozen=True)
class DataModel:
    """A model of the data folder.

    Attributes:
        file: its weights, below the data folder.
        size: rows and columns of an input, in pixels: the central crop of a picture whose short side is `resize`.
        mean: taken off the pixels 0 to 255, for red, green and blue.
        head: whether it returns logits of the 1,000 ImageNet classes; maps else.
    """

    build: Callable[[], nn.Module]
    file: str
    size: int = 227
    resize: int = 256
    mean: tuple[float, float, float] = _MEAN
    head: bool = True
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _as_stored


DATA = {
    "googlenet-bvlc": DataModel(caffe_nets.GoogLeNet, "googlenet_bvlc/googlenet_fp16.npz", size=224),
    "squeezenet1_0-dense": DataModel(_squeezenet, "squeezenet_v1_0/squeezenet_v1_0_dense.npz"),
    "squeezenet1_0-pruned": DataModel(_squeezenet, "squeezenet_v1_0/squeezenet_v1_0_pruned.npz"),
    "vgg16-trunk": DataModel(
        caffe_nets.vgg16_trunk,
        "vgg16_imagenet/vgg16_conv_fp16.npz",
        size=224,
        mean=(123.68, 116.779, 103.939),
        head=False,
    ),
    "alexnet-bvlc-conv": DataModel(
        caffe_nets.AlexNetTrunk, "alexnet_bvlc_conv/alexnet_conv_int8.npz", head=False, convert=_dequantized
    ),
}


def build(name: str, *, pretrained: bool) -> Built:
    """One of `DATA`, with its weights or with random ones.

    Raises:
        ModelError: there is no data folder, or it has no such file.
        ConfigError: VISCNN_DATA names no folder.
    """
    entry = DATA[name]
    file = _weights_file(name) if pretrained else None
    module = seeded(entry.build)
    if file is not None:
        load_weights(module, entry.convert(read_weights(file)), str(file))
    return Built(
        module=module,
        architecture=f"viscnn.{name}",
        input_shape=(3, entry.size, entry.size),
        classes=imagenet_classes() if entry.head else (),
        preprocess={"resize": entry.resize, "scale": 1.0, "mean": list(entry.mean), "std": [1.0] * 3},
        images=IMAGES,
    )


def _weights_file(name: str) -> Path:
    folder, wanted = data_folder(), DATA[name].file
    if folder is None:
        raise ModelError(
            f"the weights of {name} lie in the data folder, and there is none: set $VISCNN_DATA to a folder with "
            f"{wanted}, or give --weights random"
        )
    if not (folder / wanted).is_file():
        raise ModelError(
            f"the data folder {folder} ($VISCNN_DATA) has no {wanted}, the weights of {name}; give --weights random"
        )
    return folder / wanted


def listed() -> list[Listed]:
    """Their names, and whether the data folder has them; raises ConfigError when VISCNN_DATA names no folder."""
    folder = data_folder()
    return [_listed(name, entry, folder) for name, entry in DATA.items()]


def _listed(name: str, entry: DataModel, folder: Path | None) -> Listed:
    ready = folder is not None and (folder / entry.file).is_file()
    weights = str(folder / entry.file) if folder is not None and ready else f"missing: $VISCNN_DATA/{entry.file}"
    return Listed(name, "data", (3, entry.size, entry.size), ready, weights)


def at_hand() -> str:
    """Where the data folder is, or how to name one; raises ConfigError when VISCNN_DATA names no folder."""
    folder = data_folder()
    return f"data folder {folder}" if folder is not None else "no data folder: set $VISCNN_DATA (docs/models.md)"
