"""What is explained: an output resolved against a model, as one value T per image.

`loss` is the cross-entropy of the image's label, `class:NAME` a logit, `filter:UID` a value of the filter's
pre-activation map Z (its mean by default), `layer:NAME` the mean over the layer's filters. T is never a batch mean:
the sum over the batch is differentiated, and scores do not depend on the batch size.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from viscnn.engine.capture import Recording
from viscnn.engine.labels import find_class
from viscnn.engine.output import ClassOutput, FilterOutput, LayerOutput, LossOutput, Output
from viscnn.errors import ExpressionError, NotInGraph, nearest
from viscnn.ingest.architecture import Architecture, LayerSpec

__all__ = ["Output", "Target", "resolve"]


@dataclass(frozen=True)
class Target:
    """An output of one model.

    Attributes:
        text: canonical text of the output.
        layer: the layer whose maps T is made of; None for the loss and logits.
        channel: the filter within `layer`, None for all of them.
        at: `mean`, `max` or (row, column) of the map.
        class_number: the logit, None for the loss.
    """

    text: str
    layer: LayerSpec | None = None
    channel: int | None = None
    at: Literal["mean", "max"] | tuple[int, int] = "mean"
    class_number: int | None = None

    @property
    def needs_labels(self) -> bool:
        """Whether T depends on the images' labels."""
        return self.layer is None and self.class_number is None

    def values(self, recording: Recording, labels: Tensor) -> Tensor:
        """T per image, (N,); `labels` are class numbers (N,)."""
        if self.layer is None:
            assert recording.output is not None
            if self.class_number is not None:
                return recording.output[:, self.class_number]
            return torch.nn.functional.cross_entropy(recording.output, labels, reduction="none")
        maps = recording.maps[self.layer.name]  # (N, O, P, Q)
        if self.channel is None:
            return maps.mean(dim=(1, 2, 3))
        chosen = maps[:, self.channel]  # (N, P, Q)
        if isinstance(self.at, tuple):
            return chosen[:, self.at[0], self.at[1]]
        return chosen.amax(dim=(1, 2)) if self.at == "max" else chosen.mean(dim=(1, 2))

    def response(self, recording: Recording, labels: Tensor) -> Tensor:
        """What preservation compares: the filter's whole map (N, positions), or T itself (N, 1)."""
        if self.layer is None or self.channel is None:
            return self.values(recording, labels).unsqueeze(1)
        return recording.maps[self.layer.name][:, self.channel].flatten(1)


def resolve(output: Output, *, model: str, architecture: Architecture, classes: tuple[str, ...]) -> Target:
    """The target that an output names in a model.

    Raises:
        ExpressionError: the model has no logits, no such class, or the position lies outside the map.
        NotInGraph: no such filter or layer.
    """
    text = str(output)
    if isinstance(output, LossOutput | ClassOutput) and architecture.logits is None:
        raise ExpressionError(
            f"model {model!r} has no logits, so output {text!r} does not exist; use layer: or filter:"
        )
    if isinstance(output, LossOutput):
        return Target(text)
    if isinstance(output, ClassOutput):
        number = find_class(output.name, classes)
        named = classes[number] if classes.count(classes[number]) == 1 else f"#{number}"
        return Target(str(ClassOutput(named)), class_number=number)
    if isinstance(output, LayerOutput):
        layer = _layer(output.name.removeprefix(f"{model}/"), model, architecture)
        return Target(str(LayerOutput(layer.name)), layer=layer)
    return _filter(output, model, architecture)


def _filter(output: FilterOutput, model: str, architecture: Architecture) -> Target:
    owner, _, rest = output.uid.partition("/")
    name, _, channel = rest.rpartition("/")
    if owner != model:
        raise NotInGraph(f"filter {output.uid!r} is not one of model {model!r}: its uids start with {model}/")
    layer = _layer(name, model, architecture)
    if channel not in map(str, range(layer.filters)):
        raise NotInGraph(f"there is no filter {output.uid!r}: layer {name} has filters 0 to {layer.filters - 1}")
    if isinstance(output.at, tuple):
        rows, columns = layer.output_size
        if output.at[0] >= rows or output.at[1] >= columns:
            raise ExpressionError(f"position {output.at} lies outside the {rows}x{columns} map of {output.uid}")
    return Target(str(output), layer=layer, channel=int(channel), at=output.at)


def _layer(name: str, model: str, architecture: Architecture) -> LayerSpec:
    known = {layer.name: layer for layer in architecture.layers}
    if name == "LAST":
        return architecture.layers[-1]
    if name not in known:
        raise NotInGraph(
            f"model {model!r} has no layer {name!r}{nearest(name, tuple(known))} (it has: {', '.join(known)})"
        )
    return known[name]
