"""From a picture to the tensor that a model was trained on."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viscnn.errors import ImagesError, StoredDataError

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MOST_PIXELS = 1 << 27


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images: resize, crop, `(pixels * scale - mean) / std`.

    With `resize` and `size`: short side to `resize`, then the central `size` (torchvision's classification presets);
    a `resize` too small for the crop is taken as the crop's longer side.
    With `size` alone: resized to exactly that. With `resize` alone: no crop. With neither: as the picture is.

    Attributes:
        size: height and width in pixels of the tensor.
        resize: short side in pixels before the crop.
        mode: `L` for one channel, `RGB` for three.
        scale: factor on the pixels 0..255; 1/255, or 1 for nets on raw pixels.
        mean, std: one number per channel; zeros and ones when left out.
        interpolation: `bilinear`, `bicubic` or `nearest`, antialiased.

    Raises:
        ImagesError: a value that cannot be used.
    """

    size: tuple[int, int] | None = None
    resize: int | None = None
    mode: Literal["L", "RGB"] = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.mode not in ("L", "RGB"):
            raise ImagesError(f"preprocess: mode is {self.mode!r}; use L or RGB")
        object.__setattr__(self, "size", tuple(self.size) if self.size else None)
        object.__setattr__(self, "mean", tuple(map(float, self.mean)) or (0.0,) * self.channels)
        object.__setattr__(self, "std", tuple(map(float, self.std)) or (1.0,) * self.channels)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise ImagesError(f"preprocess: {name} is {values}; give {self.channels} finite numbers")
        if 0 in self.std or not math.isfinite(self.scale) or self.scale == 0:
            raise ImagesError(f"preprocess: std is {self.std} and scale {self.scale}; zero and infinity are not usable")
        if self.interpolation not in _FILTERS:
            raise ImagesError(f"preprocess: interpolation is {self.interpolation!r}; use one of {', '.join(_FILTERS)}")
        self._check_sizes()

    def _check_sizes(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ImagesError(f"preprocess: size is {self.size}; give height and width in pixels")
        if self.resize is not None and self.resize < 1:
            raise ImagesError(f"preprocess: resize is {self.resize}; give the short side in pixels")

    @property
    def channels(self) -> int:
        """1 for `L`, 3 for `RGB`."""
        return len(self.mode)

    def to_json(self) -> str:
        """JSON text with the names of the attributes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, stored: str | Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; a parsed object is taken as well.

        Raises:
            StoredDataError: not such an object.
        """
        try:
            values = json.loads(stored) if isinstance(stored, str) else dict(stored)
            lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
            return cls(**{**values, **lists})
        except (ValueError, TypeError, AttributeError, ImagesError) as error:
            raise StoredDataError(f"stored preprocess {str(stored)[:120]!r} cannot be used: {error}") from error

    def crop(self, image: Image.Image) -> Image.Image:
        """The picture as the model sees it, before scaling: in the right mode, resized and cropped.

        Raises:
            ImagesError: a sliver of a picture, which would fill the memory once its short side is resized.
        """
        picture = _eight_bit(image).convert(self.mode)
        height, width = picture.height, picture.width
        if self.resize is not None:
            side, short = max(self.resize, *(self.size or (1,))), min(height, width)
            height, width = (int(side * each / short) for each in (height, width))
        elif self.size is not None:
            height, width = self.size
        if (width, height) != picture.size:
            if width * height > _MOST_PIXELS:
                raise ImagesError(f"a picture of {image.width}x{image.height} pixels is too long to be resized")
            picture = picture.resize((width, height), _FILTERS[self.interpolation])
        if self.resize is None or self.size is None:
            return picture
        top, left = (round((full - crop) / 2.0) for full, crop in zip((height, width), self.size, strict=True))
        return picture.crop((left, top, left + self.size[1], top + self.size[0]))

    def apply(self, image: Image.Image) -> "torch.Tensor":
        """Float32 tensor (C, H, W) of a picture of any mode."""
        import torch

        return self.normalise(torch.from_numpy(self.pixels(image)))

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """The picture as the model sees it, before scaling: (H, W, C)."""
        picture = self.crop(image)
        return np.array(picture, dtype=np.uint8).reshape(picture.height, picture.width, self.channels)

    def normalise(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """`(pixels * scale - mean) / std` of uint8 pixels (..., H, W, C), as float32 (..., C, H, W)."""
        import torch

        mean, std = (torch.tensor(each, dtype=torch.float32)[:, None, None] for each in (self.mean, self.std))
        values = pixels.movedim(-1, -3).to(torch.float32, memory_format=torch.contiguous_format)
        return values.mul_(self.scale).sub_(mean).div_(std)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pictures of 16 or 32 bits per pixel as 8 bits: Pillow's own conversion would clip instead of scale."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip(values >> 8, 0, 255).astype(np.uint8))
