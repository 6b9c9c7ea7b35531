"""Views of an image: each step of the optimiser sees it a little moved, scaled and turned, as in lucid and Lucent.

Without them the optimiser finds patterns that only work at one pixel's exact place. Sizes are those of Lucent's
standard transforms for 224 pixels (pad 12, jitter 8 and 4, scale 0.9 to 1.1, rotation by up to 10 degrees), in
proportion to the image: 28 pixels move by 1.5, not by 12. All of a view is one resampling: Lucent's five, one after
the other, blur more and take longer. What lies outside the image is grey however far one looks, so a pad needs no
size. Views depend on the seed and the step, and are the same for all images of a batch.
"""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from viscnn.engine.preprocess import Preprocess
from viscnn.errors import StoredDataError

__all__ = ["Normalisation", "seen", "views"]

JITTER = 12 / 224
"""Width of the places that the image moves to, as a share of its shorter side."""

SCALES = tuple(1 + (step - 5) / 50 for step in range(11))
DEGREES = (*range(-10, 11), 0, 0, 0, 0, 0)
GREY = 0.5


@dataclass(frozen=True)
class Normalisation:
    """From pixels to a model's input, (pixels * scale - mean) / std, for any number of channels."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, preprocess: Preprocess) -> "Normalisation":
        """That of a model that takes pictures."""
        return cls(preprocess.scale, preprocess.mean, preprocess.std)

    @classmethod
    def from_json(cls, stored: str) -> "Normalisation":
        """That of a stored model, which may have any number of channels.

        Raises:
            StoredDataError: not the JSON of a `Preprocess`.
        """
        try:
            values: dict[str, Any] = json.loads(stored)
            mean, std = (tuple(float(each) for each in values[name]) for name in ("mean", "std"))
            return cls(float(values["scale"]), mean, std)
        except (ValueError, TypeError, KeyError) as error:
            raise StoredDataError(f"stored preprocess {str(stored)[:120]!r} cannot be used: {error}") from error

    def apply(self, images: Tensor) -> Tensor:
        """The model's input of images (N, C, H, W) in 0..1."""
        mean, std = (torch.tensor(each, device=images.device)[:, None, None] for each in (self.mean, self.std))
        return (images * (255 * self.scale) - mean) / std


def views(steps: int, shape: tuple[int, int], *, seed: int) -> Tensor:
    """(steps, 2, 3) for each step where in the image a view's pixels lie, in the coordinates of `F.affine_grid`."""
    chance = random.Random(seed)
    reach = JITTER * min(shape) / 2
    return torch.tensor([_view(chance, reach, shape) for _ in range(steps)])


def _view(chance: random.Random, reach: float, shape: tuple[int, int]) -> Sequence[Sequence[float]]:
    rows, columns = shape
    scale, angle = chance.choice(SCALES), math.radians(chance.choice(DEGREES))
    down, right = chance.uniform(-reach, reach), chance.uniform(-reach, reach)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # an angle is one between pixels; the coordinates run from -1 to 1 along both sides, however long they are
    return (
        (cos, -sin * rows / columns, 2 * right / columns),
        (sin * columns / rows, cos, 2 * down / rows),
    )


def seen(images: Tensor, view: Tensor) -> Tensor:
    """The images (N, C, H, W) in 0..1 through a view (2, 3); grey where it looks past their borders."""
    grid = F.affine_grid(view.to(images).expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images - GREY, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + GREY
