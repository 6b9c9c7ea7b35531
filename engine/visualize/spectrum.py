"""Images as spectra, the parametrisation of Olah, Mordvintsev & Schubert (Feature Visualization, Distill 2017).

Each frequency has a coefficient of equal size at the start, and an image's power falls with the frequency: a step of
the optimiser changes coarse and fine structure alike, where steps in pixels would give noise. Channels of an RGB image
are decorrelated by the colours of ImageNet (the constants of lucid and Lucent); others are as they are. A sigmoid
keeps pixels in 0..1.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["pixels", "spectrum_of", "start"]

SPREAD = 0.01
"""Standard deviation of the coefficients at the start: the image is nearly grey."""

DIVISOR = 4.0
"""Of lucid: smaller values saturate colours."""

_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A root of the covariance of ImageNet's colours, by columns; scaled below so that the longest column is 1."""


def start(identities: Sequence[str], shape: tuple[int, int, int], *, seed: int) -> Tensor:
    """Coefficients (N, C, H, W // 2 + 1, 2) to start from; each depends on the seed and its own identity alone."""
    channels, rows, columns = shape
    size = (channels, rows, columns // 2 + 1, 2)
    return torch.stack([torch.randn(size, generator=_generator(seed, each)) * SPREAD for each in identities])


def _generator(seed: int, identity: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {identity}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def spectrum_of(shape: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W // 2 + 1, 1) by which coefficients are multiplied: 1 / frequency, that of the mean as the lowest."""
    rows, columns = shape
    vertical, horizontal = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]
    frequencies = np.maximum(np.hypot(vertical, horizontal), 1.0 / max(rows, columns))
    return torch.tensor(1.0 / frequencies, dtype=torch.float32, device=device)[..., None]


def pixels(coefficients: Tensor, spectrum: Tensor, shape: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) in 0..1."""
    values: Tensor = torch.fft.irfft2(torch.view_as_complex(coefficients * spectrum), s=shape, norm="ortho") / DIVISOR
    if values.shape[1] == len(_COLOURS):
        values = torch.einsum("dc,nchw->ndhw", _colours(values.device), values)
    return values.sigmoid()


def _colours(device: torch.device) -> Tensor:
    root = torch.tensor(_COLOURS, device=device)
    longest: Tensor = torch.linalg.vector_norm(root, dim=0).max()
    return root / longest
