"""What every source of models hands to `zoo.build`, and what the sources share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

from viscnn.ingest.exclusive import WHOLE_PROCESS

__all__ = ["Built", "Listed", "imagenet_classes", "one_line", "seeded"]

T = TypeVar("T")


@dataclass(frozen=True)
class Built:
    """A module as its source builds it, and what belongs to it by default.

    Attributes:
        input_shape: (channels, rows, columns).
        preprocess: the settings of `engine.preprocess.Preprocess` that differ from its defaults; `size` is left out.
        images: the image source that belongs to it, if there is one.
        training_only: parts that only training uses and `module` lacks, but a weights file may hold.
    """

    module: nn.Module = field(repr=False)
    architecture: str
    input_shape: tuple[int, int, int] = (3, 224, 224)
    classes: tuple[str, ...] = ()
    preprocess: dict[str, Any] = field(default_factory=dict)
    images: str | None = None
    training_only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A name of the zoo.

    Attributes:
        source: `bundled`, `data`, `torchvision` or `timm`.
        input_shape: None where only building the model would tell.
        ready: whether its weights lie on this machine.
        weights: where they are, or come from.
    """

    name: str
    source: str
    input_shape: tuple[int, int, int] | None
    ready: bool
    weights: str


def seeded(make: Callable[[], T]) -> T:
    """What `make` returns with random seed 0; the caller's random state is left as it was."""
    with WHOLE_PROCESS, torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 ImageNet names in the order of the logits; of the two cranes and maillots one is `crane bird`, one
    `maillot tank suit`.
    """
    from torchvision.models import AlexNet_Weights

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])


def one_line(error: BaseException) -> str:
    """The message of an error on one line, at most 200 characters of it."""
    return " ".join(str(error).split())[:200]
