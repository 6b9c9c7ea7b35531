"""Builders of the two bundled networks, plain `torch.nn.Sequential` chains of convolutions and ReLU.

Training inserts a BatchNorm after every convolution (`batch_norm=True`); the committed weights have it
folded into the convolutions, so the networks that users explore are the plain ones.
"""

from torch import nn

__all__ = ["CIFAR10_CLASSES", "MNIST_CLASSES", "cifar10", "mnist"]

MNIST_CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def _block(channels_in: int, channels_out: int, size: int, *, batch_norm: bool) -> list[tuple[str, nn.Module]]:
    convolution = nn.Conv2d(channels_in, channels_out, size, padding=size // 2)
    norm: list[tuple[str, nn.Module]] = [("norm", nn.BatchNorm2d(channels_out))] if batch_norm else []
    return [("conv", convolution), *norm, ("relu", nn.ReLU())]


def _features(blocks: list[tuple[int, int, bool]], channels: int, *, batch_norm: bool) -> nn.Sequential:
    features = nn.Sequential()
    for number, (filters, size, pool) in enumerate(blocks, start=1):
        for name, module in _block(channels, filters, size, batch_norm=batch_norm):
            features.add_module(f"{name}{number}", module)
        if pool:
            features.add_module(f"pool{number}", nn.MaxPool2d(2))
        channels = filters
    return features


def mnist(*, batch_norm: bool = False) -> nn.Sequential:
    """Four convolutions (16, 24, 32, 32 filters) for 1x28x28 digits, ten logits."""
    blocks = [(16, 5, True), (24, 3, True), (32, 3, False), (32, 3, True)]
    network = _features(blocks, 1, batch_norm=batch_norm)
    network.add_module("flatten", nn.Flatten())
    network.add_module("logits", nn.Linear(32 * 3 * 3, 10))
    return network


def cifar10(*, batch_norm: bool = False) -> nn.Sequential:
    """AlexNet-like: five convolutions (48, 96, 128, 128, 96 filters) for 3x32x32 images, ten logits."""
    blocks = [(48, 5, True), (96, 3, True), (128, 3, False), (128, 3, False), (96, 3, True)]
    network = _features(blocks, 3, batch_norm=batch_norm)
    network.add_module("flatten", nn.Flatten())
    network.add_module("hidden", nn.Linear(96 * 4 * 4, 256))
    network.add_module("relu", nn.ReLU())
    network.add_module("dropout", nn.Dropout(0.5))
    network.add_module("logits", nn.Linear(256, 10))
    return network
