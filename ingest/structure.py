"""A network as layers and feeds: what the graph stores, the engine scores, and replay runs.

A *layer* has filters: a convolution, a linear layer (a 1x1 convolution wherever it is applied), or a sum. A *feed* says
which maps of one layer reach another and what happens to them on the way. Nothing else is needed to compute the maps
of all layers (`forward.py`).

A sum of A addends of C channels is, exactly, a 1x1 convolution with C groups over the addends' maps interleaved
channel by channel, every weight one: its `kernels` (o, i) are the IDENTITY relationships of addend i. It has that
convolution in the traced module, so that scores, masks and gradients need no case of their own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from viscnn.ingest.operations import Operation

__all__ = ["INPUT", "KINDS", "Architecture", "Feed", "LayerSpec"]

INPUT = "input"
KINDS = ("convolution", "linear", "sum")


@dataclass(frozen=True)
class LayerSpec:
    """One call of a convolution or linear layer, or one addition; sizes in pixels, (rows, columns)."""

    name: str  # module path; a second call of it `path#2`, a functional call `#conv2d_1`, an addition `path.add`
    node: str  # name of the call in the traced graph
    index: int  # place in the order of execution; 0 is the input
    in_channels: int  # of a sum: channels times addends
    filters: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, int]
    padding_mode: str
    dilation: tuple[int, int]
    groups: int
    output_size: tuple[int, int]
    activation: str | None  # the one pointwise activation that consumes the output, if it is alone
    activation_node: str | None
    kind: str = "convolution"
    depth: int = 0  # layers on the longest path from the input, this one included
    branch: int = 0  # number among the layers of its depth
    gate: bool = False  # its maps reach others only as factors (squeeze-and-excite)
    logits: bool = False  # its filters are the model's logits

    @property
    def positions(self) -> int:
        """Number of positions of an output map."""
        return self.output_size[0] * self.output_size[1]

    @property
    def inputs(self) -> int:
        """Incoming kernels per filter: input channels per group; of a sum its addends."""
        return self.in_channels // self.groups

    @property
    def is_sum(self) -> bool:
        """Whether it is an addition: its incoming relationships are IDENTITY and not counted as kernels."""
        return self.kind == "sum"

    @property
    def kernels(self) -> int:
        """Number of its 2-D kernels; a sum has none."""
        return 0 if self.is_sum else self.filters * self.inputs

    def source_start(self, channel: int) -> int:
        """First input channel of the group that filter `channel` belongs to."""
        return channel // (self.filters // self.groups) * self.inputs


@dataclass(frozen=True)
class Feed:
    """Maps of `source` reach `target` through the ordered `operations`.

    The operations run on all maps of the source; of their result, the maps `source_channels` become the input maps
    `target_channels` of the target. Without these lists they are `channels` neighbours from `source_start` and
    `target_start` on.

    Attributes:
        position: order among the feeds of one target.
        addend: of a sum, which addend it belongs to (0 on); channels are counted within it. Channels of an addend that
            no feed covers are zero.
    """

    source: str
    target: str
    operations: tuple[Operation, ...]
    channels: int
    position: int = 0
    source_start: int = 0
    target_start: int = 0
    addend: int = 0
    source_channels: tuple[int, ...] | None = None
    target_channels: tuple[int, ...] | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        """Channels of the source, in the order of `writes`."""
        return self.source_channels or tuple(range(self.source_start, self.source_start + self.channels))

    @property
    def writes(self) -> tuple[int, ...]:
        """Input channels of the target (of one addend, for a sum)."""
        return self.target_channels or tuple(range(self.target_start, self.target_start + self.channels))


@dataclass(frozen=True)
class Architecture:
    """A model as layers and feeds, with the traced, folded module that computes the same function.

    Attributes:
        layers: in the order of execution; every layer stands behind those it reads.
        feeds: by target, in the order of `layers`, then by position.
        logits: number of logits, or None when the model returns maps.
        ends: names of the layers whose maps the head reads, or that the model returns.
    """

    module: fx.GraphModule = field(repr=False)
    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    feeds: tuple[Feed, ...]
    logits: int | None
    ends: tuple[str, ...] = ()

    def convolution(self, layer: LayerSpec) -> nn.Conv2d:
        """The (folded) convolution of a layer; of a sum, the one that it equals."""
        found = self.module.get_submodule(self._targets[layer.node])
        assert isinstance(found, nn.Conv2d)
        return found

    def layer(self, name: str) -> LayerSpec:
        """The layer called `name`; raises KeyError."""
        return self._by_name[name]

    def feeds_into(self, name: str) -> tuple[Feed, ...]:
        """The feeds of one layer, by position."""
        return self._feeds.get(name, ())

    def sources(self, layer: LayerSpec) -> NDArray[np.int64]:
        """(in_channels,) the number of the filter that each input channel of a layer is; -1 where it is always zero.

        Filters are numbered input channels first, then layer by layer. The kernel (o, i) of a layer reads
        `sources(layer)[layer.source_start(o) + i]`.
        """
        found = np.full((layer.in_channels // layer.inputs, layer.inputs) if layer.is_sum else layer.in_channels, -1)
        for feed in self.feeds_into(layer.name):
            numbers = self.numbers[feed.source] + np.array(feed.reads)
            if layer.is_sum:
                found[list(feed.writes), feed.addend] = numbers
            else:
                found[list(feed.writes)] = numbers
        return found.reshape(-1).astype(np.int64)

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Number of the first filter of each layer, `input` included (see `sources`)."""
        ends = np.cumsum([0, self.input_shape[0], *(layer.filters for layer in self.layers)]).tolist()
        return dict(zip((INPUT, *(layer.name for layer in self.layers)), ends, strict=False))

    @property
    def kernels(self) -> int:
        """Number of 2-D kernels of all layers; additions have none."""
        return sum(layer.kernels for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that is computed, but not over the weights."""
        return hashlib.sha256(f"{self.input_shape} {self.layers} {self.feeds} {self.module}".encode()).hexdigest()

    @cached_property
    def _by_name(self) -> Mapping[str, LayerSpec]:
        return {each.name: each for each in self.layers}

    @cached_property
    def _feeds(self) -> Mapping[str, tuple[Feed, ...]]:
        found: dict[str, tuple[Feed, ...]] = {}
        for feed in self.feeds:
            found[feed.target] = (*found.get(feed.target, ()), feed)
        return found

    @cached_property
    def _targets(self) -> Mapping[str, str]:
        return {node.name: str(node.target) for node in self.module.graph.nodes}
