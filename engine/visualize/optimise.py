"""Climbing: Adam on the spectra of many images at once, image n for objective n."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine.visualize import spectrum
from viscnn.engine.visualize.network import Network
from viscnn.engine.visualize.objectives import Objective, Seen
from viscnn.engine.visualize.settings import Settings
from viscnn.engine.visualize.views import Normalisation, seen, views
from viscnn.errors import StoredDataError
from viscnn.ingest.architecture import Architecture

__all__ = ["Problem", "activations", "climb"]

RATE = 0.05


@dataclass(frozen=True)
class Problem:
    """What is climbed.

    Attributes:
        network: runs as far as the objectives read.
        architecture: with its module on the device.
        shape: (C, H, W) of the images.
    """

    network: Network
    architecture: Architecture
    normalisation: Normalisation
    shape: tuple[int, int, int]
    device: torch.device

    def values(self, images: Tensor, objectives: Sequence[Objective]) -> Tensor:
        """(N,) the activations by images (N, C, H, W) in 0..1, image n of objective n."""
        found = self.network.each(self.normalisation.apply(images))
        each: Sequence[tuple[Objective, Seen]] = list(zip(objectives, found, strict=True))
        return torch.stack([objective.value(one, self.architecture) for objective, one in each])


def climb(
    problem: Problem, objectives: Sequence[Objective], settings: Settings, *, tell: Callable[[int], None]
) -> NDArray[np.uint8]:
    """Images (N, H, W, C) after so many steps.

    An image does not depend on the others of its batch, up to rounding.

    Args:
        tell: called after each step with their number; what it raises ends the climb.

    Raises:
        StoredDataError: an activation or its gradient is not finite.
    """
    shape = problem.shape[1:]
    identities = [objective.identity for objective in objectives]
    coefficients = spectrum.start(identities, problem.shape, seed=settings.seed).to(problem.device).requires_grad_()
    scale = spectrum.spectrum_of(shape, problem.device)
    signs = torch.tensor([float(objective.sign) for objective in objectives], device=problem.device)
    optimiser = torch.optim.Adam([coefficients], lr=RATE)
    for step, view in enumerate(views(settings.steps, shape, seed=settings.seed)):
        images = spectrum.pixels(coefficients, scale, shape)
        with torch.enable_grad():
            loss = -(signs * problem.values(seen(images, view), objectives)).sum()
        (coefficients.grad,) = torch.autograd.grad(loss, [coefficients])
        _check(loss, coefficients.grad, objectives)
        optimiser.step()
        tell(step + 1)
    with torch.no_grad():
        return as_bytes(spectrum.pixels(coefficients, scale, shape))


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in 0..1 as pixels (N, H, W, C)."""
    found: NDArray[np.uint8] = (images.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(found)


def activations(problem: Problem, objectives: Sequence[Objective], images: NDArray[np.uint8]) -> list[float]:
    """The activations by finished images (N, H, W, C), as they are stored and without any view.

    Raises:
        StoredDataError: one is not finite.
    """
    values = torch.from_numpy(images).to(problem.device).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        found = problem.values(values, objectives)
    if not bool(found.isfinite().all()):
        raise StoredDataError(_not_finite(objectives))
    return [float(each) for each in found]


def _check(loss: Tensor, gradient: Tensor, objectives: Sequence[Objective]) -> None:
    if not bool(loss.isfinite()) or not bool(gradient.sum().isfinite()):
        raise StoredDataError(_not_finite(objectives))


def _not_finite(objectives: Sequence[Objective]) -> str:
    some = objectives[0].text if len(objectives) == 1 else f"{objectives[0].text} to {objectives[-1].text}"
    return f"an activation of {some} is NaN or infinite; check the weights"
