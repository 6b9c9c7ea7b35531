"""What is explained: an output resolved against a model, as one value T per image.

T = sum of weight * reading, each reading per image: the cross-entropy of the image's label, a logit, or a number of a
layer's maps (pre-activation Z, or a = phi(Z)): of one filter's map, of a weighted sum of filters' maps, or the mean
over all filters. T is never a batch mean: the sum over the batch is differentiated, and scores do not depend on the
batch size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from viscnn.engine.capture import Recording
from viscnn.engine.labels import find_class
from viscnn.engine.output import (
    ClassOutput,
    DirectionOutput,
    FilterOutput,
    LayerOutput,
    LossOutput,
    Output,
    Place,
    Unit,
    combined,
    terms_of,
)
from viscnn.errors import ExpressionError, NotInGraph, nearest
from viscnn.ingest.architecture import Architecture, LayerSpec

__all__ = ["Logit", "Loss", "Maps", "Output", "Reading", "Target", "Term", "resolve"]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy of the logits with the labels."""

    def values(self, recording: Recording, labels: Tensor) -> Tensor:
        """(N,)."""
        assert recording.output is not None
        return torch.nn.functional.cross_entropy(recording.output, labels, reduction="none")


@dataclass(frozen=True)
class Logit:
    """The logit of class `number`."""

    number: int

    def values(self, recording: Recording, labels: Tensor) -> Tensor:
        """(N,)."""
        assert recording.output is not None
        return recording.output[:, self.number]


@dataclass(frozen=True)
class Maps:
    """A number of one layer's maps.

    Attributes:
        weights: channel and weight of the filters whose maps are added up; None for the mean over all filters.
        at: `mean`, `max` or (row, column) of the map.
        post: read a = phi(Z) instead of Z.
    """

    layer: LayerSpec
    weights: tuple[tuple[int, float], ...] | None = None
    at: Place = "mean"
    post: bool = False

    @property
    def channels(self) -> tuple[int, ...] | None:
        """The filters that are read, None for all of the layer."""
        return None if self.weights is None else tuple(channel for channel, _ in self.weights)

    def map(self, recording: Recording) -> Tensor:
        """The map (N, P, Q) that is read."""
        maps = self._read(recording)
        if self.weights is None:
            return maps.mean(dim=1)
        if len(self.weights) == 1:
            return _scaled(maps[:, self.weights[0][0]], self.weights[0][1])
        channels, weights = zip(*self.weights, strict=True)
        scale = torch.tensor(weights, dtype=maps.dtype, device=maps.device)
        return (maps[:, list(channels)] * scale[:, None, None]).sum(dim=1)

    def _read(self, recording: Recording) -> Tensor:
        return (recording.activated if self.post else recording.maps)[self.layer.name]  # (N, O, P, Q)

    def values(self, recording: Recording, labels: Tensor) -> Tensor:
        """(N,)."""
        if self.weights is None:
            return self._read(recording).mean(dim=(1, 2, 3))
        found = self.map(recording)
        if isinstance(self.at, tuple):
            return found[:, self.at[0], self.at[1]]
        return found.amax(dim=(1, 2)) if self.at == "max" else found.mean(dim=(1, 2))


Reading = Loss | Logit | Maps


@dataclass(frozen=True)
class Term:
    """A weight, and what it multiplies."""

    weight: float
    reads: Reading


@dataclass(frozen=True)
class Target:
    """An output of one model; made by `resolve`.

    Attributes:
        text: canonical text of the output.
        terms: what T adds up.
        filters: the filters that a circuit of this target reaches, per layer in the order of execution: their
            channels, or None for all of the layer. Where the logits are a layer, a class is its own filter there and
            the loss all of them; else both are all filters of the layers that the head reads.
    """

    text: str
    terms: tuple[Term, ...]
    filters: tuple[tuple[LayerSpec, tuple[int, ...] | None], ...]

    @property
    def last(self) -> LayerSpec | None:
        """The last executed layer whose maps T reads; None when T reads the model's output."""
        if any(not isinstance(term.reads, Maps) for term in self.terms):
            return None
        return self.layers[-1]

    @property
    def last_activated(self) -> bool:
        """Whether the forward pass has to go on to the activation of `last`: its map a is read."""
        last = self.last
        return last is not None and any(each.post and each.layer == last for each in self._maps)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The layers whose maps (Z or a) are read, in the order of execution."""
        return tuple(sorted({each.layer for each in self._maps}, key=lambda layer: layer.index))

    @property
    def direct(self) -> frozenset[str]:
        """Names of the layers whose pre-activation map Z is read: in the scores of their filters a = Z."""
        return frozenset(each.layer.name for each in self._maps if not each.post)

    @property
    def needs_labels(self) -> bool:
        """Whether T depends on the images' labels."""
        return any(isinstance(term.reads, Loss) for term in self.terms)

    @property
    def _maps(self) -> tuple[Maps, ...]:
        return tuple(term.reads for term in self.terms if isinstance(term.reads, Maps))

    def values(self, recording: Recording, labels: Tensor) -> Tensor:
        """T per image, (N,); `labels` are class numbers (N,)."""
        first, *others = (_scaled(term.reads.values(recording, labels), term.weight) for term in self.terms)
        return sum(others, start=first)

    def response(self, recording: Recording, labels: Tensor) -> Tensor:
        """What preservation compares: the whole map of a filter or direction (N, positions), or T itself (N, 1)."""
        term = self.terms[0]
        if len(self.terms) == 1 and isinstance(term.reads, Maps) and term.reads.weights is not None:
            return _scaled(term.reads.map(recording), term.weight).flatten(1)
        return self.values(recording, labels).unsqueeze(1)


def _scaled(values: Tensor, weight: float) -> Tensor:
    return values if weight == 1 else values * weight


def resolve(output: Output, *, model: str, architecture: Architecture, classes: tuple[str, ...]) -> Target:
    """The target that an output names in a model.

    Raises:
        ExpressionError: the model has no logits, no such class, the position lies outside the map, @post of a layer
            without an activation, or the output's terms cancel out.
        NotInGraph: no such filter or layer.
    """
    network = _Network(model, architecture, classes)
    found = [(weight, *network.read(unit)) for weight, unit in terms_of(output)]
    whole = combined([(weight, unit) for weight, unit, _ in found], str(output))
    readings = {unit: reading for _, unit, reading in found}
    terms = tuple(Term(weight, readings[unit]) for weight, unit in terms_of(whole))
    return Target(str(whole), terms, _filters(terms, architecture))


def _filters(
    terms: tuple[Term, ...], architecture: Architecture
) -> tuple[tuple[LayerSpec, tuple[int, ...] | None], ...]:
    channels: dict[LayerSpec, set[int] | None] = {}
    for layer, some in (each for term in terms for each in _reached(term.reads, architecture)):
        before = channels.get(layer, set())
        channels[layer] = None if before is None or some is None else before.union(some)
    return tuple(
        (layer, None if chosen is None else tuple(sorted(chosen)))
        for layer, chosen in sorted(channels.items(), key=lambda item: item[0].index)
    )


def _reached(reads: Reading, architecture: Architecture) -> list[tuple[LayerSpec, tuple[int, ...] | None]]:
    """The filters that a reading depends on directly."""
    if isinstance(reads, Maps):
        return [(reads.layer, reads.channels)]
    logits = [layer for layer in architecture.layers if layer.logits]
    if logits:
        return [(layer, (reads.number,) if isinstance(reads, Logit) else None) for layer in logits]
    return [(layer, None) for layer in architecture.layers if layer.name in architecture.ends]


@dataclass(frozen=True)
class _Network:
    """What the names in an output mean in one model."""

    model: str
    architecture: Architecture
    classes: tuple[str, ...]

    def read(self, unit: Unit) -> tuple[Unit, Reading]:
        """The output by the names of the model, so that equal ones are equal, and what it reads."""
        match unit:
            case LossOutput():
                self._needs_logits(unit)
                return unit, Loss()
            case ClassOutput():
                return self._class(unit)
            case LayerOutput():
                layer = self._layer(unit.name.removeprefix(f"{self.model}/"), unit)
                return LayerOutput(layer.name, unit.post), Maps(layer, post=unit.post)
            case FilterOutput():
                return self._filter(unit)
            case DirectionOutput():
                return self._direction(unit)

    def _needs_logits(self, unit: Unit) -> None:
        if self.architecture.logits is None:
            raise ExpressionError(
                f"model {self.model!r} has no logits, so output {str(unit)!r} does not exist; use layer: or filter:"
            )

    def _class(self, unit: ClassOutput) -> tuple[Unit, Reading]:
        self._needs_logits(unit)
        number = find_class(unit.name, self.classes)
        named = self.classes[number] if self.classes.count(self.classes[number]) == 1 else f"#{number}"
        return ClassOutput(named), Logit(number)

    def _filter(self, unit: FilterOutput) -> tuple[Unit, Reading]:
        owner, _, rest = unit.uid.partition("/")
        name, _, channel = rest.rpartition("/")
        if owner != self.model:
            raise NotInGraph(
                f"filter {unit.uid!r} is not one of model {self.model!r}: its uids start with {self.model}/"
            )
        layer = self._layer(name, unit)
        if channel not in map(str, range(layer.filters)):
            raise NotInGraph(f"there is no filter {unit.uid!r}: layer {name} has filters 0 to {layer.filters - 1}")
        _check_place(layer, unit.at, unit.uid)
        written = FilterOutput(f"{self.model}/{layer.name}/{channel}", unit.at, unit.post)
        return written, Maps(layer, ((int(channel), 1.0),), unit.at, unit.post)

    def _direction(self, unit: DirectionOutput) -> tuple[Unit, Reading]:
        layer = self._layer(unit.layer.removeprefix(f"{self.model}/"), unit)
        for channel, _ in unit.weights:
            if not 0 <= channel < layer.filters:
                raise NotInGraph(
                    f"there is no filter {channel} in output {str(unit)!r}: "
                    f"layer {layer.name} has filters 0 to {layer.filters - 1}"
                )
        _check_place(layer, unit.at, str(unit))
        weights = tuple((channel, weight) for channel, weight in unit.weights if weight)
        return DirectionOutput(layer.name, weights, unit.at, unit.post), Maps(layer, weights, unit.at, unit.post)

    def _layer(self, name: str, unit: LayerOutput | FilterOutput | DirectionOutput) -> LayerSpec:
        known = {layer.name: layer for layer in self.architecture.layers}
        if name != "LAST" and name not in known:
            raise NotInGraph(
                f"model {self.model!r} has no layer {name!r}{nearest(name, tuple(known))} (it has: {', '.join(known)})"
            )
        layer = self.architecture.layers[-1] if name == "LAST" else known[name]
        if unit.post and layer.activation_node is None:
            raise ExpressionError(
                f"output {str(unit)!r} does not exist: no pointwise activation alone consumes the maps of layer "
                f"{layer.name}; leave out @post"
            )
        return layer


def _check_place(layer: LayerSpec, at: Place, what: str) -> None:
    rows, columns = layer.output_size
    if isinstance(at, tuple) and (at[0] >= rows or at[1] >= columns):
        raise ExpressionError(f"position {at} lies outside the {rows}x{columns} map of {what}")
