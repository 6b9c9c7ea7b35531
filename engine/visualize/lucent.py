"""The same by torch-lucent (the extra `viscnn[lucent]`), behind the same interface.

Lucent parametrises, transforms and steps; the network, its normalisation, redirected ReLUs and objectives are ours, so
it serves models of any number of channels and any size. It hooks every module that it is given and never lets go of
it, so it is given one without submodules. Images are rendered one at a time: their random starts are drawn for a whole
batch, and would depend on it.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module, metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viscnn.engine.visualize.objectives import Objective
from viscnn.engine.visualize.optimise import Problem, as_bytes
from viscnn.engine.visualize.settings import Settings
from viscnn.errors import InputError

__all__ = ["climb", "version"]

_RGB = 3


def climb(
    problem: Problem, objectives: Sequence[Objective], settings: Settings, *, tell: Callable[[int], None]
) -> NDArray[np.uint8]:
    """Images (N, H, W, C) after so many steps of Lucent; the arguments of `optimise.climb`.

    Raises:
        InputError: torch-lucent is not installed.
        KeyboardInterrupt: it was stopped; Lucent itself would hand out the unfinished image.
    """
    render, param, wrap = _lucent()
    found = []
    for number, objective in enumerate(objectives):

        def told(step: int, before: int = number) -> None:
            tell((before * settings.steps + step) // len(objectives))

        with _own_chance(settings.seed), contextlib.redirect_stdout(sys.stderr):
            found.append(_one(problem, objective, settings, render, param, wrap, told))
    return np.stack(found)


def version() -> str:
    """The installed version; raises InputError where there is none."""
    _lucent()
    return metadata.version("torch-lucent")


def _lucent() -> tuple[Any, Any, Any]:
    """`render_vis`, `param` and `Objective`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kornia 0.4 compiles with what torch has deprecated
            render, param, objectives = (
                import_module(f"lucent.optvis.{name}") for name in ("render", "param", "objectives")
            )
    except ImportError as error:
        raise InputError(
            "backend 'lucent' needs torch-lucent, which is not installed: pip install 'viscnn[lucent]'"
        ) from error
    return render.render_vis, param, objectives.Objective


class _Model(nn.Module):
    """The problem as a model without submodules: images in 0..1 to the value that is driven."""

    def __init__(self, problem: Problem, objective: Objective) -> None:
        super().__init__()
        self._run: Callable[[Tensor], Tensor] = lambda images: problem.values(images, [objective])
        self.value: Tensor | None = None

    def forward(self, images: Tensor) -> None:
        self.value = self._run(images)[0]


def _one(
    problem: Problem, objective: Objective, settings: Settings, render: Any, param: Any, wrap: Any, tell: Any
) -> NDArray[np.uint8]:
    channels, rows, columns = problem.shape
    model = _Model(problem, objective)
    done = 0

    def loss(_: Any) -> Tensor:
        nonlocal done
        assert model.value is not None
        done += 1
        tell(done)
        return -objective.sign * model.value

    other = {} if channels == _RGB else {"channels": channels}
    made: list[Any] = []

    def images() -> Any:
        made.append(param.image(columns, rows, **other))
        return made[0]

    how = {"thresholds": (settings.steps,), "preprocess": False, "progress": False, "show_image": False}
    render(model, wrap(loss), images, fixed_image_size=(rows, columns), **how)
    if done < settings.steps:
        raise KeyboardInterrupt
    with torch.no_grad():
        pixels = as_bytes(made[0][1]())[0]
    return np.ascontiguousarray(pixels[:rows, :columns])


@contextlib.contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    """Lucent draws from the random states of torch and numpy: seeded here, and as they were afterwards."""
    arrays = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(arrays)
