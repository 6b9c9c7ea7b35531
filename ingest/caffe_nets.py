"""Networks of the Caffe model zoo that no library ships, with the names of their weights files.

GoogLeNet is Inception V1 as Szegedy et al. published it (2014): no BatchNorm, two response normalisations, max pools
whose last window may hang over the edge. AlexNet is Krizhevsky's (2012), in two groups, up to its last pool.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AlexNetTrunk", "GoogLeNet", "vgg16_trunk"]

# filters of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool projection
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _norm() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class GoogLeNet(nn.Module):
    """57 convolutions in nine Inception modules and one linear layer: images (N, 3, 224, 224) to logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_7x7_s2 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.pool1_3x3_s2 = _pool()
        self.pool1_norm1 = _norm()
        self.conv2_3x3_reduce = nn.Conv2d(64, 64, 1)
        self.conv2_3x3 = nn.Conv2d(64, 192, 3, padding=1)
        self.conv2_norm2 = _norm()
        self.pool2_3x3_s2 = _pool()
        channels = 192
        for module, filters in MODULES.items():
            channels = self._add_inception(f"inception_{module}", channels, filters)
        self.pool3_3x3_s2 = _pool()
        self.pool4_3x3_s2 = _pool()
        self.pool5 = nn.AdaptiveAvgPool2d(1)
        self.pool5_drop = nn.Dropout(0.4)
        self.loss3_classifier = nn.Linear(channels, 1000)

    def _add_inception(self, name: str, channels: int, filters: tuple[int, ...]) -> int:
        """Add the layers of one module; returns how many maps it concatenates."""
        ones, reduce3, threes, reduce5, fives, projected = filters
        self.add_module(f"{name}_1x1", nn.Conv2d(channels, ones, 1))
        self.add_module(f"{name}_3x3_reduce", nn.Conv2d(channels, reduce3, 1))
        self.add_module(f"{name}_3x3", nn.Conv2d(reduce3, threes, 3, padding=1))
        self.add_module(f"{name}_5x5_reduce", nn.Conv2d(channels, reduce5, 1))
        self.add_module(f"{name}_5x5", nn.Conv2d(reduce5, fives, 5, padding=2))
        self.add_module(f"{name}_pool", nn.MaxPool2d(3, stride=1, padding=1))
        self.add_module(f"{name}_pool_proj", nn.Conv2d(channels, projected, 1))
        return ones + threes + fives + projected

    def _layer(self, name: str, maps: Tensor) -> Tensor:
        return F.relu(self.get_submodule(name)(maps))

    def _inception(self, name: str, maps: Tensor) -> Tensor:
        name = f"inception_{name}"
        ones = self._layer(f"{name}_1x1", maps)
        threes = self._layer(f"{name}_3x3", self._layer(f"{name}_3x3_reduce", maps))
        fives = self._layer(f"{name}_5x5", self._layer(f"{name}_5x5_reduce", maps))
        pooled = self._layer(f"{name}_pool_proj", self.get_submodule(f"{name}_pool")(maps))
        return torch.cat([ones, threes, fives, pooled], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1000) of images (N, 3, H, W)."""
        maps = self.pool1_norm1(self.pool1_3x3_s2(self._layer("conv1_7x7_s2", images)))
        maps = self._layer("conv2_3x3", self._layer("conv2_3x3_reduce", maps))
        maps = self.pool2_3x3_s2(self.conv2_norm2(maps))
        maps = self._inception("3b", self._inception("3a", maps))
        maps = self.pool3_3x3_s2(maps)
        for module in ("4a", "4b", "4c", "4d", "4e"):
            maps = self._inception(module, maps)
        maps = self.pool4_3x3_s2(maps)
        maps = self._inception("5b", self._inception("5a", maps))
        logits: Tensor = self.loss3_classifier(self.pool5_drop(torch.flatten(self.pool5(maps), 1)))
        return logits


class AlexNetTrunk(nn.Sequential):
    """Five convolutions: images (N, 3, 227, 227) to maps (N, 256, 6, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self._add("1", nn.Conv2d(3, 96, 11, stride=4), norm=True, pool=True)
        self._add("2", nn.Conv2d(96, 256, 5, padding=2, groups=2), norm=True, pool=True)
        self._add("3", nn.Conv2d(256, 384, 3, padding=1))
        self._add("4", nn.Conv2d(384, 384, 3, padding=1, groups=2))
        self._add("5", nn.Conv2d(384, 256, 3, padding=1, groups=2), pool=True)

    def _add(self, number: str, convolution: nn.Conv2d, *, norm: bool = False, pool: bool = False) -> None:
        self.add_module(f"conv{number}", convolution)
        self.add_module(f"relu{number}", nn.ReLU())
        if norm:
            self.add_module(f"norm{number}", _norm())
        if pool:
            self.add_module(f"pool{number}", _pool())


def vgg16_trunk() -> nn.Sequential:
    """The 13 convolutions of VGG-16 without its head: images (N, 3, H, W) to maps (N, 512, H / 32, W / 32)."""
    from torchvision.models.vgg import cfgs, make_layers

    return nn.Sequential(OrderedDict(features=make_layers(cfgs["D"])))
