"""Small networks of every family, in torchvision's own code, with random statistics and parameters as after training.

They have the blocks of the large ones and few kernels, so that each goes through a real Neo4j in a second.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torchvision.models import ConvNeXt, DenseNet, EfficientNet, RegNet, ShuffleNetV2
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.googlenet import Inception
from torchvision.models.inception import InceptionC
from torchvision.models.mnasnet import _InvertedResidual
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.squeezenet import Fire
from torchvision.models.vgg import make_layers

from tests.awkward import trained
from tests.nets import seeded

SHAPE = (3, 32, 40)
CLASSES = 5


def _bare(*steps: nn.Module, channels: int) -> nn.Module:
    """Blocks between a first convolution and logits."""
    first = nn.Conv2d(3, 4, 3, stride=4, padding=1)
    head = nn.Linear(channels, CLASSES)
    return nn.Sequential(first, *steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def lenet() -> nn.Module:
    """Two convolutions and three linear layers behind a flattening."""
    maps = (nn.Conv2d(3, 4, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 5, stride=2), nn.Tanh(), nn.AvgPool2d(2))
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(6 * 2 * 3, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def vgg() -> nn.Module:
    """Convolutions with norms, and poolings."""
    maps = make_layers([4, "M", 6, 6, "M"], batch_norm=True)
    return nn.Sequential(maps, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, CLASSES))


def resnet(block: type[BasicBlock | Bottleneck], **settings: Any) -> nn.Module:
    """Two residual blocks, the first with a stride and a convolution on its shortcut."""
    width = 8 * block.expansion
    down = nn.Sequential(nn.Conv2d(4, width, 1, stride=2), nn.BatchNorm2d(width))
    return _bare(block(4, 8, 2, down, **settings), block(width, 8, **settings), channels=width)


def densenet() -> nn.Module:
    """Four dense blocks and what lies between them."""
    return DenseNet(growth_rate=4, block_config=(3, 2, 1, 1), num_init_features=6, bn_size=2, num_classes=CLASSES)


def mobilenet_v2() -> nn.Module:
    """Inverted residuals, with and without the addition."""
    made: nn.Module = MobileNetV2(
        CLASSES, width_mult=0.1, inverted_residual_setting=[[1, 8, 1, 1], [3, 8, 2, 2]], round_nearest=4
    )
    return made


def mobilenet_v3() -> nn.Module:
    """Inverted residuals with gates and hardswish."""
    row = partial(InvertedResidualConfig, dilation=1, width_mult=1)
    rows = [row(8, 3, 12, 8, True, "RE", 1), row(8, 5, 16, 8, True, "HS", 2)]
    made: nn.Module = MobileNetV3(rows, 16, CLASSES)
    return made


def efficientnet() -> nn.Module:
    """Fused and plain inverted residuals with gates and SiLU; stochastic depth does nothing."""
    rows: list[FusedMBConvConfig | MBConvConfig] = [FusedMBConvConfig(2, 3, 1, 8, 8, 2), MBConvConfig(2, 3, 2, 8, 8, 2)]
    return EfficientNet(rows, dropout=0.1, stochastic_depth_prob=0.5, num_classes=CLASSES, last_channel=16)


def regnet() -> nn.Module:
    """Grouped bottlenecks with gates."""
    return RegNet(BlockParams([1, 1], [8, 16], [4, 8], [1.0, 1.0], [2, 2], 0.25), CLASSES, stem_width=8)


def convnext() -> nn.Module:
    """Depthwise convolutions, norms over channels, linear layers at every position, scales of layers."""
    return ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], 0.5, num_classes=CLASSES)


def mnasnet() -> nn.Module:
    """Its own inverted residuals."""
    return _bare(_InvertedResidual(4, 4, 5, 1, 3), _InvertedResidual(4, 6, 3, 2, 2), channels=6)


def inception() -> nn.Module:
    """The modules of GoogLeNet and of Inception v3, one behind the other."""
    return _bare(Inception(4, 2, 2, 4, 2, 3, 2), InceptionC(11, channels_7x7=3), channels=768)


def squeezenet() -> nn.Module:
    """Fire modules around a pooling that rounds up."""
    pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return _bare(Fire(4, 2, 4, 4), pool, Fire(8, 3, 5, 4), channels=9)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "lenet": lenet,
    "vgg": vgg,
    "resnet": lambda: resnet(BasicBlock),
    "resnext": lambda: resnet(Bottleneck, groups=2, base_width=64),
    "wide_resnet": lambda: resnet(Bottleneck, base_width=128),
    "densenet": densenet,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "shufflenet_v2": lambda: ShuffleNetV2([2, 2, 1], [4, 8, 12, 16, 20], num_classes=CLASSES),
    "efficientnet": efficientnet,
    "regnet": regnet,
    "convnext": convnext,
    "mnasnet": mnasnet,
    "inception": inception,
    "squeezenet": squeezenet,
}


def family(name: str) -> nn.Module:
    """The small network of a family in eval mode, always with the same weights."""
    return trained(seeded(FAMILIES[name])).eval()
