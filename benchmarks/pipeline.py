"""The engine's pass over one batch, whole and in parts: forward, backward, scores."""

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.workload import Goal, Workload
from viscnn.engine.batch import Batch
from viscnn.engine.criteria import criterion_called
from viscnn.engine.device import on_device
from viscnn.engine.output import parse_output
from viscnn.engine.sums import SetScores, Sums
from viscnn.engine.target import Target, resolve
from viscnn.ingest.architecture import Architecture, read_architecture

__all__ = ["Ours"]


class Ours:
    """What a query runs per batch, for one batch; `criterion` as it is written in a query."""

    def __init__(self, work: Workload, criterion: str = "taylor") -> None:
        device = work.images.device
        self.architecture = on_device(read_architecture(work.module.cpu(), work.shape), device)
        work.module.to(device)
        self.criterion = criterion_called(criterion)
        self._images = work.images
        self._labels = [] if work.goal.labels is None else work.goal.labels.tolist()
        self._target = _target(self.architecture, work.goal)

    def batch(self) -> Batch:
        """The batch, not run yet."""
        return Batch(
            architecture=self.architecture,
            images=self._images,
            target=self._target,
            labels=self._labels,
            gradients=self.criterion.gradients,
            signed=self.criterion.products,
        )

    def scores(self) -> SetScores:
        """Mean scores of the batch's images."""
        sums = Sums(self.architecture, self.criterion)
        _add(sums, self.batch())
        return sums.result(tuple(str(number) for number in range(len(self._images))), ())

    def pipeline(self) -> Callable[[], None]:
        """Forward, backward, scores of all layers, added up; once per call."""
        sums = Sums(self.architecture, self.criterion)
        return lambda: _add(sums, self.batch())

    def scoring(self) -> Callable[[], None]:
        """Scores of a pass that is recorded now, computed anew by every call."""
        sums, layers = Sums(self.architecture, self.criterion), self.batch().layers

        def score() -> None:
            recorded = self.batch()
            # `layers` as it is after its first use, but each layer a copy that has no products yet
            vars(recorded)["layers"] = tuple(replace(each) for each in layers)
            _add(sums, recorded)

        return score


def _add(sums: Sums, batch: Batch) -> None:
    with torch.no_grad():  # the recorded pass has its gradients all the same
        sums.add(batch)


def _target(architecture: Architecture, goal: Goal) -> Target:
    text = "loss" if goal.layer is None else f"filter:net/{goal.layer}/{goal.channel}"
    classes = tuple(f"class {number}" for number in range(architecture.logits or 0))
    return resolve(parse_output(text), model="net", architecture=architecture, classes=classes)
