"""What a visualisation drives: a filter's map, a kernel's edge map, a direction, a logit, or a sum of these.

    mnist/conv2/5                       a filter
    mnist/conv1/3 -> mnist/conv2/5      a kernel: its edge map, without bias (of a sum: the addend's map)
    class:three, direction:conv2[0:1]   an output, as in a query (engine/output.py); but not `loss`, which needs labels

Maps are pre-activation maps. `channel` takes the mean of a map, `neuron` its middle (row and column size // 2), as
Lucent does; a place that is written, as in `filter:UID@3,4`, stays. An objective is named by layers, channels and
places alone (`identity`), so that the same network has the same visualisations under any name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from viscnn.engine.capture import Recording
from viscnn.engine.output import FilterOutput, Place, parse_output
from viscnn.engine.padding import padded
from viscnn.engine.target import Logit, Loss, Maps, Reading, resolve
from viscnn.engine.visualize.settings import OBJECTIVES
from viscnn.errors import ExpressionError, InputError, NotInGraph, nearest
from viscnn.ingest.architecture import Architecture, LayerSpec
from viscnn.ingest.rows import channel_names

__all__ = ["ARROW", "EdgeMap", "Objective", "Seen", "filter_objective", "objective_of"]

ARROW = "->"
At = Place | Literal["middle"]


@dataclass(frozen=True)
class Seen:
    """What one image does to the network, with gradients.

    Attributes:
        recording: maps by layer, and the model's output, as far as they were asked for; of one image each.
        inputs: by layer what it reads: its input maps (1, C, H, W), or the addends of a sum.
    """

    recording: Recording
    inputs: Mapping[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class MapPart:
    """The map of a filter or direction, or a layer's mean map, at a place."""

    maps: Maps
    at: At

    @property
    def layer(self) -> LayerSpec:
        return self.maps.layer

    @property
    def reached(self) -> tuple[tuple[str, int], ...]:
        """Layer and channel of the filters that are read."""
        channels = range(self.layer.filters) if self.maps.channels is None else self.maps.channels
        return tuple((self.layer.name, channel) for channel in channels)

    def identity(self) -> list[object]:
        """What it is, apart from the model's name."""
        return ["map", self.layer.name, self.maps.weights, self.at, self.maps.post]

    def value(self, seen: Seen, architecture: Architecture) -> Tensor:
        """A number."""
        return _read(self.maps.map(seen.recording), self.at)


@dataclass(frozen=True)
class EdgeMap:
    """The edge map of the kernel W[channel, input] of a layer, at a place."""

    layer: LayerSpec
    channel: int
    input: int
    at: At

    @property
    def reached(self) -> tuple[tuple[str, int], ...]:
        """The filter that it leads into."""
        return ((self.layer.name, self.channel),)

    def identity(self) -> list[object]:
        """What it is, apart from the model's name."""
        return ["kernel", self.layer.name, self.channel, self.input, self.at]

    def value(self, seen: Seen, architecture: Architecture) -> Tensor:
        """A number."""
        parts = seen.inputs[self.layer.name]
        if self.layer.is_sum:
            return _read(parts[self.input][:, self.channel], self.at)
        convolution = architecture.convolution(self.layer)
        maps = padded(parts[0], convolution)[:, self.layer.source_start(self.channel) + self.input].unsqueeze(1)
        weight = convolution.weight[self.channel, self.input][None, None]
        found = F.conv2d(maps, weight, None, convolution.stride, 0, convolution.dilation)
        return _read(found[:, 0], self.at)


@dataclass(frozen=True)
class LogitPart:
    """A logit; it has no place."""

    number: int

    @property
    def layer(self) -> None:
        """It is read from the model's output."""

    @property
    def reached(self) -> tuple[tuple[str, int], ...]:
        """No filter by itself."""
        return ()

    def identity(self) -> list[object]:
        """What it is, apart from the model's name."""
        return ["logit", self.number]

    def value(self, seen: Seen, architecture: Architecture) -> Tensor:
        """A number."""
        assert seen.recording.output is not None
        return seen.recording.output[0, self.number]


Part = MapPart | EdgeMap | LogitPart


@dataclass(frozen=True)
class Objective:
    """What is driven.

    Attributes:
        text: canonical text of the target.
        kind: `channel` or `neuron`.
        terms: weights and parts; the sum of all is driven.
        sign: 1 up, -1 down.
    """

    text: str
    kind: str
    terms: tuple[tuple[float, Part], ...]
    sign: int = 1

    @property
    def identity(self) -> str:
        """What it is apart from its sign, in text that does not name the model."""
        return json.dumps([[weight, part.identity()] for weight, part in self.terms])

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts without their weights."""
        return tuple(part for _, part in self.terms)

    def value(self, seen: Seen, architecture: Architecture) -> Tensor:
        """The activation, whatever the sign; a number with a gradient."""
        first, *others = (weight * part.value(seen, architecture) for weight, part in self.terms)
        return sum(others, start=first)


def _read(maps: Tensor, at: At) -> Tensor:
    """A number of a map (1, P, Q)."""
    if at == "mean":
        return maps.mean()
    if at == "max":
        return maps.amax()
    row, column = (maps.shape[1] // 2, maps.shape[2] // 2) if at == "middle" else at
    if row >= maps.shape[1] or column >= maps.shape[2]:
        raise InputError(f"position ({row}, {column}) lies outside the {maps.shape[1]}x{maps.shape[2]} map")
    return maps[0, row, column]


def filter_objective(model: str, layer: LayerSpec, channel: int, *, kind: str = "channel", sign: int = 1) -> Objective:
    """The objective of one filter; its text is the uid."""
    part = MapPart(Maps(layer, ((channel, 1.0),)), _place("mean", kind))
    return Objective(f"{model}/{layer.name}/{channel}", kind, ((1.0, part),), sign)


def objective_of(
    text: str,
    *,
    model: str,
    architecture: Architecture,
    classes: tuple[str, ...],
    kind: str = "channel",
    sign: int = 1,
) -> Objective:
    """The objective that a text means in a model, in the forms at the head of this module.

    Raises:
        InputError: an unknown kind of objective, or a sign other than 1 and -1.
        ExpressionError: no such class, the loss, or a text that cannot be read.
        NotInGraph: no such filter, layer or kernel.
    """
    if kind not in OBJECTIVES:
        raise InputError(f"no objective {kind!r}{nearest(kind, OBJECTIVES)} (there are {', '.join(OBJECTIVES)})")
    if sign not in (1, -1):
        raise InputError(f"sign {sign} is neither 1 (the largest activation) nor -1 (the smallest)")
    source, arrow, into = text.partition(ARROW)
    if arrow and source.strip() and "/" in into and ":" not in source.partition("/")[0]:
        return _kernel(source.strip(), into.strip(), model, architecture, kind, sign)
    bare = text.strip().startswith(f"{model}/")
    if bare and text.strip().startswith(f"{model}/input/"):
        raise InputError(f"{text.strip()} is an input channel: it has no map to visualise; name a filter")
    output = FilterOutput(text.strip()) if bare else parse_output(text)
    target = resolve(output, model=model, architecture=architecture, classes=classes)
    terms = tuple((term.weight, _part(term.reads, kind)) for term in target.terms)
    if all(isinstance(part, LogitPart) for _, part in terms):
        kind = "channel"  # logits have no place
    name = target.text
    if isinstance(output, FilterOutput) and output.at == "mean" and not output.post:
        name = "/".join([model, *map(str, terms[0][1].reached[0])])
    return Objective(name, kind, terms, sign)


def _part(reads: Reading, kind: str) -> Part:
    if isinstance(reads, Loss):
        raise ExpressionError("loss depends on an image's label, and a visualisation has none; use class:NAME")
    if isinstance(reads, Logit):
        return LogitPart(reads.number)
    return MapPart(replace(reads, at="mean"), _place(reads.at, kind))


def _place(at: Place, kind: str) -> At:
    return "middle" if at == "mean" and kind == "neuron" else at


def _kernel(source: str, into: str, model: str, architecture: Architecture, kind: str, sign: int) -> Objective:
    """A kernel; where a layer reads its source more than once, all of them added up."""
    target = resolve(FilterOutput(into), model=model, architecture=architecture, classes=())
    reads = target.terms[0].reads
    assert isinstance(reads, Maps)
    assert reads.channels is not None
    layer, channel = reads.layer, reads.channels[0]
    start = layer.source_start(channel)
    inputs = architecture.sources(layer)[start : start + layer.inputs]
    found = np.flatnonzero(inputs == _number(source, model, architecture))
    if not len(found):
        raise NotInGraph(f"there is no kernel from {source} to {into}")
    parts = tuple((1.0, EdgeMap(layer, channel, int(each), _place("mean", kind))) for each in found)
    return Objective(f"{source} {ARROW} {model}/{layer.name}/{channel}", kind, parts, sign)


def _number(uid: str, model: str, architecture: Architecture) -> int:
    """A filter or input channel in the numbering of `Architecture.sources`."""
    owner, _, rest = uid.partition("/")
    name, _, channel = rest.rpartition("/")
    if owner == model and name == "input":
        known = channel_names(architecture.input_shape[0])
        if channel in known:
            return list(known).index(channel)
        raise NotInGraph(f"there is no input channel {uid!r}; there are {', '.join(known)}")
    target = resolve(FilterOutput(uid), model=model, architecture=architecture, classes=())
    reads = target.terms[0].reads
    assert isinstance(reads, Maps)
    assert reads.channels is not None
    return architecture.numbers[reads.layer.name] + reads.channels[0]
