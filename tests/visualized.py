"""Small networks of 1, 3 and 5 channels that visualisations are tested with, and literal ways to their activations."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import nets
from viscnn.engine.bundle import Bundle
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.visualize.render import Renderer
from viscnn.engine.visualize.settings import Settings
from viscnn.engine.visualize.views import Normalisation
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.zoo import Recipe, build, class_names, weights_hash

STEPS = 12


class Branching(nn.Module):
    """Two branches that are added up, each with ReLUs in place; the sum is called `add`."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.side = nn.Conv2d(6, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.six = nn.ReLU6(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.one(images))
        total = self.six(self.two(maps)) + self.side(maps)
        return self.head(torch.relu(total).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def bundle_of(network: nn.Module, shape: tuple[int, int, int], *, name: str = "net") -> Bundle:
    """A network ready to be visualised."""
    pictures = {1: Preprocess(mode="L", mean=(0.4,), std=(0.3,)), 3: Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2,) * 3)}
    return Bundle(
        name=name,
        architecture=read_architecture(network, shape),
        classes=("ant", "bee", "cat"),
        preprocess=pictures.get(shape[0], Preprocess()),
        weights_hash=weights_hash(network),
        images=None,
    )


def branching(channels: int = 3, *, name: str = "net") -> Bundle:
    return bundle_of(nets.seeded(lambda: Branching(channels)).eval(), (channels, 12, 10), name=name)


def mnist() -> Bundle:
    """The bundled network."""
    zoo = build(Recipe("mnist", None, None, None, None, None))
    architecture = read_architecture(zoo.module, zoo.input_shape, check=False)
    named = class_names(zoo.classes, architecture.logits)
    return Bundle("mnist", architecture, named, Preprocess.from_json(zoo.preprocess), zoo.weights_hash, zoo.images)


def normalisation_of(bundle: Bundle) -> Normalisation:
    channels = bundle.architecture.input_shape[0]
    if channels in (1, 3):
        return Normalisation.of(bundle.preprocess)
    return Normalisation(1 / 255, (0.5,) * channels, (0.25,) * channels)


def renderer(bundle: Bundle, *, steps: int = STEPS, circuit: Any = None, **settings: Any) -> Renderer:
    return Renderer(bundle, Settings(steps=steps, **settings), normalisation_of(bundle), circuit)


def inputs(bundle: Bundle, image: NDArray[np.uint8]) -> Tensor:
    """A finished image (H, W, C) as the model takes it, float32 (1, C, H, W), written out."""
    norm = normalisation_of(bundle)
    channels = [
        (image[..., number].astype(np.float64) * norm.scale - norm.mean[number]) / norm.std[number]
        for number in range(image.shape[2])
    ]
    return torch.tensor(np.stack(channels)[None], dtype=torch.float32)
