"""The networks that this project has trained: builders, classes and committed weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from viscnn.ingest.bundled import nets
from viscnn.ingest.weights import load_weights, read_weights
from viscnn.ingest.zoo_parts import Built, Listed, seeded

__all__ = ["BUNDLED", "Bundled", "at_hand", "build", "listed"]


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


def build(name: str, *, pretrained: bool) -> Built:
    """One of `BUNDLED`, with its trained weights or with random ones."""
    entry = BUNDLED[name]
    module = seeded(entry.build)
    if pretrained:
        file = Path(nets.__file__).with_name(f"{name}.safetensors")
        load_weights(module, read_weights(file), str(file))
    preprocess = {"mean": list(entry.mean), "std": list(entry.std)}
    return Built(module, f"viscnn.{name}", entry.input_shape, entry.classes, preprocess, f"bundled:{name}")


def listed() -> list[Listed]:
    """Their names."""
    return [Listed(name, "bundled", entry.input_shape, True, "in the package") for name, entry in BUNDLED.items()]


def at_hand() -> str:
    """Where their weights are."""
    return "trained by this project, weights in the package"
