"""What the scoring benchmarks run: a network, images, a target T, and the plain pass to hold against.

The plain pass is forward and *activation-only* backward: the gradients of all convolution outputs by one
`torch.autograd.grad`, none of weights; it ends at the target's layer. A full `loss.backward()` takes about twice as
long, and would make every ratio look better.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from viscnn.config import data_folder
from viscnn.engine.preprocess import Preprocess
from viscnn.errors import InputError

__all__ = ["FILTER_LAYERS", "Goal", "Workload", "forward_backward", "reach", "tiny", "workload"]

FILTER_LAYERS = {"alexnet": "features.8", "vgg16": "features.21", "resnet50": "layer3.5.conv2"}
"""A layer of the fourth stage: conv4 of AlexNet, conv4_3 of VGG-16."""
FILTER = 7
SIZE = 224
PRESET = Preprocess(size=(SIZE, SIZE), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = Preprocess(size=(SIZE, SIZE), resize=256, scale=1, mean=(123.68, 116.779, 103.939))


@dataclass(frozen=True)
class Goal:
    """T: the cross-entropy of `labels`, or the mean of filter `channel` of `layer`; summed over the images."""

    labels: Tensor | None = None  # (N,) class numbers
    layer: str | None = None
    channel: int = FILTER

    def total(self, reached: Tensor) -> Tensor:
        """T of the logits (N, classes), or of the layer's maps (N, O, P, Q)."""
        if self.layer is not None:
            return reached[:, self.channel].mean(dim=(1, 2)).sum()
        return torch.nn.functional.cross_entropy(reached, self.labels, reduction="sum")


@dataclass(frozen=True)
class Workload:
    """A network in eval mode whose weights take no gradient, images (N, 3, 224, 224), T, and where these come from."""

    module: nn.Module
    images: Tensor
    goal: Goal
    weights: str
    photographs: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows, columns."""
        _, channels, rows, columns = self.images.shape
        return channels, rows, columns


class _Reached(Exception):
    """Carries the maps of the layer at which a pass ends."""


def reach(module: nn.Module, images: Tensor, layer: str | None) -> Tensor:
    """The model's output, or a layer's maps as they left it; nothing behind the layer is run."""
    if layer is None:
        output: Tensor = module(images)
        return output

    def stop(_: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _Reached(output)

    handle = module.get_submodule(layer).register_forward_hook(stop)
    try:
        module(images)
    except _Reached as reached:
        return reached.args[0]  # type: ignore[no-any-return]
    finally:
        handle.remove()
    raise AssertionError(f"the model does not use {layer}")


def forward_backward(module: nn.Module, images: Tensor, goal: Goal) -> tuple[Tensor, ...]:
    """The plain pass: dT/dZ of all convolutions that were run."""
    edges: list[GradientEdge] = []

    def keep(_: nn.Module, inputs: Any, output: Tensor) -> None:
        edges.append(get_gradient_edge(output))  # at once: an activation in place would change whose gradient it is

    handles = [each.register_forward_hook(keep) for each in module.modules() if isinstance(each, nn.Conv2d)]
    try:
        total = goal.total(reach(module, images.detach().requires_grad_(True), goal.layer))
    finally:
        for handle in handles:
            handle.remove()
    return torch.autograd.grad(total, edges, allow_unused=True)


def workload(
    model: str, *, images: int, target: str, layer: str | None = None, weights: str = "random", device: str = "cpu"
) -> Workload:
    """A torchvision network with photographs where there are some, else noise.

    Args:
        target: `loss` (of the class that the model itself predicts) or `filter` (number 7 of `layer`).
        layer: for `filter`; a layer of the fourth stage where the model has a known one.
        weights: `random` (Kaiming, seed 0), or `data` for VGG-16's trunk below $VISCNN_DATA.

    Raises:
        InputError: weights that are not there; a filter target without a known layer.
    """
    module, said = _network(model, weights)
    pixels, photographs = _images(images, CAFFE if weights == "data" else PRESET)
    module, pixels = module.to(device), pixels.to(device)
    if target == "filter":
        layer = layer or FILTER_LAYERS.get(model)
        if layer is None:
            raise InputError(f"which layer of {model} is the target filter in? name it with --layer")
        return Workload(module, pixels, Goal(layer=layer), said, photographs)
    with torch.no_grad():
        labels = module(pixels).argmax(dim=1)
    return Workload(module, pixels, Goal(labels=labels), said, photographs)


def tiny(device: str = "cpu") -> Workload:
    """A network and an image that take next to nothing, to wake what is made on first use."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    images = torch.rand(1, 3, 8, 8, device=device)
    goal = Goal(labels=torch.zeros(1, dtype=torch.int64, device=device))
    return Workload(module.requires_grad_(False).to(device), images, goal, "random", "noise")


def _network(model: str, weights: str) -> tuple[nn.Module, str]:
    from torchvision.models._api import get_model

    torch.manual_seed(0)
    module = get_model(model, weights=None).eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if weights == "random":
        return module, "random (Kaiming, seed 0)"
    folder = data_folder()
    file = None if folder is None else folder / "vgg16_imagenet" / "vgg16_conv_fp16.npz"
    if model != "vgg16" or file is None or not file.is_file():
        raise InputError(f"--weights data has no weights of {model}: VGG-16 only, in $VISCNN_DATA/vgg16_imagenet")
    with np.load(file, allow_pickle=False) as arrays:
        trunk = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    found = module.load_state_dict(trunk, strict=False)
    if found.unexpected_keys or any(name.startswith("features") for name in found.missing_keys):
        raise InputError(f"{file} is not VGG-16's trunk in torchvision's names")
    return module, "ImageNet trunk, random head"


def _images(count: int, preprocess: Preprocess) -> tuple[Tensor, str]:
    folder = data_folder()
    files = [] if folder is None else sorted((folder / "imagenet_sample" / "images").glob("*.jpg"))
    if len(files) < count:
        return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), "noise"
    return torch.stack([_read(each, preprocess) for each in files[:: len(files) // count][:count]]), "photographs"


def _read(file: Path, preprocess: Preprocess) -> Tensor:
    with Image.open(file) as picture:
        return preprocess.apply(picture)
