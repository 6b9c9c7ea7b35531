"""The register of criteria, and their text: `taylor`, `force(keep=0.05,rounds=10)`.

A criterion is a function of one `Batch`, and of its own parameters by keyword; it yields the `Scores` of
`batch.layers` one by one in their order. The caller sums over batches and divides by the number of images.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import Tensor

from viscnn.engine.batch import Batch
from viscnn.errors import ExpressionError, nearest

__all__ = ["CRITERIA", "Criterion", "Prune", "Score", "Scores", "criterion", "criterion_called", "criterion_forms"]

Number = int | float
S = TypeVar("S", bound="Score")


@dataclass(frozen=True)
class Scores:
    """Scores of a layer from a batch: kernels (filters, inputs per group) summed over its images, filters (N, O)."""

    kernel: Tensor
    filter: Tensor


Score = Callable[..., Iterator[Scores]]
"""A criterion's function: `score(batch, **parameters)`."""

Prune = Callable[..., dict[str, Tensor]]
"""What an iterative criterion removes after a round: `prune(kernels, done, **parameters)` returns masks of 0 and 1 by
layer name, from the summed scores of the `done`-th round by layer name: those of the kernels upstream of the target,
in a flat array."""


@dataclass(frozen=True)
class Criterion:
    """A way to score, with its parameters.

    Attributes:
        gradients: whether the batch must offer gradients.
        signed: whether scores may be negative for a single image set.
        products: whether the signed sums of `LayerMaps.products` are read.
        baseline: whether the batch must offer `baseline`.
        prune: after each of `parameters["rounds"]` passes over the images, what the next pass leaves out.
        check: raises ExpressionError for parameters that cannot be used.
        meaning: one line for people.
    """

    name: str
    score: Score = field(repr=False)
    meaning: str
    parameters: Mapping[str, Number] = field(default_factory=dict)
    gradients: bool = True
    signed: bool = False
    products: bool = False
    baseline: bool = False
    prune: Prune | None = field(default=None, repr=False)
    check: Callable[..., None] | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """Name and parameters as they are written, and as they stand in uids and cache keys."""
        if not self.parameters:
            return self.name
        return f"{self.name}({','.join(f'{key}={value}' for key, value in self.parameters.items())})"

    @property
    def rounds(self) -> int:
        """Passes over all the images."""
        return int(self.parameters["rounds"]) if self.prune else 1

    def of(self, batch: Batch) -> Iterator[Scores]:
        """The scores of the batch's layers."""
        return self.score(batch, **self.parameters)


CRITERIA: dict[str, Criterion] = {}
"""Every criterion by name, with its default parameters."""


def criterion(name: str, meaning: str, **facts: Any) -> Callable[[S], S]:
    """Register the decorated function; its keyword-only arguments are the parameters, with their defaults."""

    def register(score: S) -> S:
        found = inspect.signature(score).parameters.values()
        parameters = {each.name: each.default for each in found if each.kind is inspect.Parameter.KEYWORD_ONLY}
        CRITERIA[name] = Criterion(name, score, meaning, parameters, **facts)
        return score

    return register


def criterion_called(text: str) -> Criterion:
    """The criterion of a text such as `taylor` or `force(keep=0.1)`; parameters left out have their defaults.

    Raises:
        ExpressionError: an unknown criterion or parameter, with the known ones, or a value that cannot be used.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^()]*)\))?\s*", text)
    name = match[1].lower() if match else text
    if match is None or name not in CRITERIA:
        known = tuple(CRITERIA)
        raise ExpressionError(f"no criterion is called {name!r}{nearest(name, known)} (one of {', '.join(known)})")
    found = CRITERIA[name]
    given: dict[str, Number] = {}
    for part in (match[2] or "").split(","):
        if part.strip():
            parameter, value = _parameter(found, part)
            if parameter in given:
                raise ExpressionError(f"criterion {found.name!r}: {parameter} is given twice")
            given[parameter] = value
    bound = replace(found, parameters={**found.parameters, **given})
    if bound.check is not None:
        bound.check(**bound.parameters)
    return bound


def _parameter(of: Criterion, part: str) -> tuple[str, Number]:
    name, equals, value = (each.strip() for each in part.partition("="))
    known = ", ".join(of.parameters) or "none"
    if not equals or name not in of.parameters:
        raise ExpressionError(f"criterion {of.name!r} has no parameter {part.strip()!r} (it has: {known})")
    kind = type(of.parameters[name])
    try:
        return name, kind(value)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ExpressionError(f"criterion {of.name!r}: {name}={value} is not {what}") from None


def criterion_forms() -> str:
    """All criteria as they are written, for messages and help texts."""
    return ", ".join(each.text for each in CRITERIA.values())
