"""How visualisations are rendered, and what a rendered one is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.errors import InputError, nearest

__all__ = ["BACKENDS", "LARGEST_SEED", "OBJECTIVES", "STEPS", "VERSION", "Settings", "Visualization"]

VERSION = 1
"""Of the algorithm: part of every key of the cache. Raise it whenever another image comes out for the same settings."""

OBJECTIVES = ("channel", "neuron")
BACKENDS = ("own", "lucent")
STEPS = 512
LARGEST_SEED = 2**32 - 1
MOST_STEPS = 100_000
LARGEST_SIZE = 2048


@dataclass(frozen=True)
class Settings:
    """How to render.

    Attributes:
        steps: of Adam.
        size: (rows, columns) of the image in pixels; None is what the model takes.
        seed: of the image to start from and of the jitter; the same one gives the same bits on one machine.
        backend: `own`, or `lucent` where torch-lucent is installed.

    Raises:
        InputError: a value that cannot be used.
    """

    steps: int = STEPS
    size: tuple[int, int] | None = None
    seed: int = 0
    backend: str = "own"

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise InputError(f"{self.steps} steps: give 1 to {MOST_STEPS}")
        if self.size is not None and not all(1 <= side <= LARGEST_SIZE for side in self.size):
            raise InputError(f"an image of {'x'.join(map(str, self.size))} pixels: give 1 to {LARGEST_SIZE} a side")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(f"seed {self.seed} is not in 0..{LARGEST_SEED}")
        if self.backend not in BACKENDS:
            raise InputError(
                f"no backend {self.backend!r}{nearest(self.backend, BACKENDS)} (there are {', '.join(BACKENDS)})"
            )

    def properties(self) -> dict[str, Any]:
        """All of them by name, for keys and reports."""
        return {"steps": self.steps, "size": self.size, "seed": self.seed, "backend": self.backend}


@dataclass(frozen=True, eq=False)
class Visualization:
    """A rendered visualisation.

    Attributes:
        model: name of the model.
        target: what is visualised, in canonical text: a filter's uid, `SOURCE -> TARGET` of a kernel, or an output.
        objective: `channel` or `neuron`.
        sign: 1 for the largest, -1 for the smallest activation.
        circuit: uid of the circuit whose masked network it is rendered from; None for the whole network.
        image: (H, W, C) pixels 0..255, C the input channels of the model.
        activation: of what is visualised, by this very image: pre-activation, without jitter, by the given objective.
        seconds: rendering took so long; the share of one image where many were rendered at once.
        cached: whether it was there already.
        file: its PNG file in the cache.
    """

    model: str
    target: str
    objective: str
    sign: int
    circuit: str | None
    settings: Settings
    image: NDArray[np.uint8]
    activation: float
    seconds: float
    cached: bool
    file: Path

    def properties(self) -> dict[str, Any]:
        """All but the pixels, as JSON has it."""
        rows, columns, channels = self.image.shape
        return {
            "model": self.model,
            "target": self.target,
            "objective": self.objective,
            "sign": self.sign,
            "circuit": self.circuit,
            **self.settings.properties(),
            "size": [rows, columns],
            "channels": channels,
            "activation": self.activation,
            "seconds": round(self.seconds, 3),
            "cached": self.cached,
            "file": str(self.file),
        }
