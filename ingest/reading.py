"""A canonical graph read as layers and feeds: from the images on, what each value is made of (`maps.py`).

Layers that are not written as convolutions are rewritten as such on the way: a linear layer as a 1x1 convolution
wherever it is applied, an addition as a `Sum`. So afterwards every layer is a node of the graph that is called on
(N, C, H, W) maps.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from viscnn.ingest import joins, rewriting
from viscnn.ingest.canonical import is_convolution, submodule
from viscnn.ingest.maps import BATCH, Channels, Maps, joined, moved
from viscnn.ingest.operation_reading import MAPS, PerChannel, function_name, of_call, of_module
from viscnn.ingest.operations import MIXING, Operation, Unknown, apply
from viscnn.ingest.parts import parts_of
from viscnn.ingest.probing import Probe
from viscnn.ingest.structure import INPUT
from viscnn.ingest.tracing import Refused

__all__ = ["Found", "Reader"]

MOVES = {"view", "reshape", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "chunk", "split"}
MOVES |= {"tensor_split", "narrow", "getitem", "flatten", "unflatten", "squeeze", "unsqueeze", "stack", "index_select"}
MOVES |= {
    "select",
    "unbind",
    "expand",
    "slice",
    "_unsafe_view",
    "ravel",
    "cat",
    "concat",
    "concatenate",
}
MOVES |= {"split_with_sizes", "repeat", "repeat_interleave", "channel_shuffle", "native_channel_shuffle"}
MOVES |= {"pixel_unshuffle", "pixel_shuffle", "index"}
ZEROS = {"zeros", "zeros_like", "new_zeros"}
JOINS = {"cat", "concat", "concatenate"}
ADDS = {"add", "sub"}
TIMES = {"mul", "multiply"}
INDEXED = {"adaptive_max_pool2d": "adaptive_max_pool2d", "max_pool2d_with_indices": "max_pool2d"}
SAME = {"contiguous", "to", "type_as", "float", "double", "detach"}

Value = Maps | tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """A layer as it was found: its node, its kind, and its input maps, one set of channels for each addend."""

    name: str
    node: fx.Node
    kind: str
    inputs: tuple[Channels, ...]


@dataclass
class Reader:
    """Reads the graph of `module`, rewriting it.

    Attributes:
        probe: shapes and numbers of a run with a batch of two.
        found: the layers in the order of execution.
        values: by node, what its value is made of.
        activations: pointwise operations by node.
        head: nodes behind the maps, which are not read.
    """

    module: fx.GraphModule
    probe: Probe
    heads: bool
    found: list[Found] = field(default_factory=list)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    activations: dict[fx.Node, Operation] = field(default_factory=dict)
    head: set[fx.Node] = field(default_factory=set)

    def read(self) -> None:
        """Follow the graph from the image to the head.

        Raises:
            Refused: a node that cannot be followed.
        """
        self.head = rewriting.head_nodes(self.module, self.probe, heads=self.heads, moves=MOVES)
        for node in list(self.module.graph.nodes):
            if node.op in {"output", "get_attr"} or node in self.head or not self.probe.is_tensor(node):
                continue
            try:
                self.read_node(node)
            except Unknown as error:
                raise Refused(node, str(error)) from error

    def is_maps(self, node: fx.Node) -> bool:
        """Whether a node's value depends on the image's values: not a size, say."""
        return node in self.values or node in self.head or bool(node.meta.get("moves"))

    def read_node(self, node: fx.Node) -> None:
        """Read one node; its shape has been probed."""
        if node.op == "placeholder":
            shape = self.probe.shapes[node]
            self.values[node] = Maps(Channels.layer(INPUT, shape[1]), (shape[2], shape[3]))
        elif node.op == "call_module":
            self._module(node)
        else:
            self._call(node, function_name(node.target))

    # -- modules ---------------------------------------------------------------------------------------------------

    def _module(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target))
        if isinstance(module, nn.Flatten | nn.Unflatten | nn.PixelShuffle | nn.PixelUnshuffle | nn.ChannelShuffle):
            self.values[node] = self._moved(node, lambda ids: module(ids[0]))
            return
        maps = self.maps(node.args[0])
        if is_convolution(self.module, node):
            self.layer(node, "convolution", (maps.settled().channels,))
        elif isinstance(module, nn.Linear):
            self._linear(node, maps)
        else:
            self._operate(node, maps, of_module(module))

    def layer(
        self, node: fx.Node, kind: str, inputs: tuple[Channels, ...], shape: tuple[int, ...] | None = None
    ) -> None:
        """Note a layer of these inputs, called by `node`; its output has the `shape` (by default the probed one)."""
        shape = shape or self.probe.shapes[node]
        if kind != "sum" and inputs[0].zeros():
            raise Unknown("some of its input channels are always zero")
        self.probe.shapes[node] = shape
        name = str(node.meta["layer"])
        self.found.append(Found(name, node, kind, inputs))
        self.values[node] = Maps(Channels.layer(name, shape[1]), (shape[2], shape[3]))

    def _linear(self, node: fx.Node, maps: Maps) -> None:
        linear = submodule(self.module, node, nn.Linear)
        view = rewriting.channels_view(maps, linear.in_features)
        if view is None:
            raise Unknown("its inputs are not the channels of one position, or all maps flattened")
        settled, convolution = view.settled, rewriting.convolution_like(linear, view)
        prepare, call, restore = rewriting.as_convolution(self.module, node, view, convolution)
        rows, columns = view.output_size
        self.values[prepare] = settled
        self.layer(call, "linear", (settled.channels,), (BATCH, linear.out_features, rows, columns))
        self.restored(restore, call, view)
        node.replace_all_uses_with(restore)
        self.module.graph.erase_node(node)

    def restored(self, restore: fx.Node, call: fx.Node, view: rewriting.View) -> None:
        """Note that `restore` is the result of `call` in the arrangement of a view."""
        result = self.maps(call)
        self.values[restore] = result.arranged(view.restore(result.numbered()))
        self.probe.shapes[restore] = tuple(self.maps(restore).numbered().shape)

    # -- calls -----------------------------------------------------------------------------------------------------

    def _call(self, node: fx.Node, name: str) -> None:
        sources = [each for each in node.all_input_nodes if each in self.values]
        shape = self.probe.shapes.get(node, ())
        if name in ZEROS and len(shape) == 4 and shape[0] == BATCH:
            self.values[node] = Maps(Channels.of_zeros(shape[1]), (shape[2], shape[3]))
        elif not sources:
            raise Unknown("it makes maps of its own, not out of the image")
        elif name in SAME or (name == "expand_as" and self.probe.shapes[sources[0]] == self.probe.shapes[node]):
            self.values[node] = self.values[sources[0]]
        elif name in INDEXED and node.op == "call_function" and node in self.probe.several:
            arguments, named = self.arguments(node)
            self.probe.shapes[node] = self.probe.several[node][0]
            self._operate(node, self.maps(sources[0]), of_call(INDEXED[name], arguments, named))
            self.values[node] = (self.values[node],)  # the indices of the maxima are nothing that can be followed
        elif name == "getitem" and isinstance(self.values[sources[0]], tuple):
            self.values[node] = self.values[sources[0]][node.args[1]]  # type: ignore[index]
        elif name in JOINS and self._joins_channels(node, sources):
            inputs = [self.maps(each) for each in node.args[0]]  # type: ignore[union-attr]
            self.values[node] = Maps(joined(inputs), inputs[0].size)
        elif name in MOVES:
            self.values[node] = self._moved(node, self._mover(node))
        elif name == "expand_as":
            size = list(self.probe.shapes[node])
            self.values[node] = self._moved(node, lambda ids: ids[0].expand(size), only=sources[:1])
        elif name in ADDS and self._two(node):
            joins.add(self, node, [*node.args[:2]], sign=-1.0 if name == "sub" else 1.0)
        elif name in TIMES and self._two(node):
            self.values[node] = joins.gated(self, node)
        elif name in {"sum", "mean"} and (slices := joins.slices(self, node, sources[0])):
            joins.add_slices(self, node, slices, mean=name == "mean")
        elif name == "pad" and self._pads_channels(node):
            self.values[node] = self._with_zeros(node)
        else:
            arguments, named = self.arguments(node)
            self._operate(node, self.maps(sources[0]), of_call(name, arguments, named))

    def maps(self, node: Any) -> Maps:
        """The maps that a node's value is made of; raises Unknown where it is none."""
        found = self.values.get(node) if isinstance(node, fx.Node) else None
        if not isinstance(found, Maps):
            raise Unknown("its input is not a tensor of maps")
        return found

    def arguments(self, node: fx.Node) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call, with `MAPS` for maps and the values of everything else."""
        args, named = fx.node.map_arg((node.args, node.kwargs), self._constant)
        return list(args), dict(named)

    def _constant(self, node: fx.Node) -> Any:
        if node in self.values:
            return MAPS
        if node.op == "get_attr":
            return rewriting.attribute(self.module, node)
        if node not in self.probe.others:
            raise Unknown("it depends on numbers that are computed from the image")
        return self.probe.others[node]

    def _two(self, node: fx.Node) -> bool:
        return len(node.args) >= 2 and all(
            isinstance(each, fx.Node) and isinstance(self.values.get(each), Maps) for each in node.args[:2]
        )

    # -- moving data -----------------------------------------------------------------------------------------------

    def _joins_channels(self, node: fx.Node, sources: list[fx.Node]) -> bool:
        axis = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else 0))
        settled = all(isinstance(value := self.values[each], Maps) and value.ids is None for each in sources)
        return settled and axis in {1, -3} and isinstance(node.args[0], list | tuple)

    def _moved(
        self, node: fx.Node, function: Callable[[list[Tensor]], Any], only: list[fx.Node] | None = None
    ) -> Value:
        inputs = [self.maps(each) for each in (only or self._given(node))]
        found: Value = moved(inputs, function)
        if isinstance(found, Maps) and found.ids is not None:
            return dataclasses.replace(found, by=f" (by {function_name(node.target)!r})")
        return found

    def _given(self, node: fx.Node) -> list[fx.Node]:
        """The nodes of maps among the arguments, in order and as often as they are given."""
        given: list[fx.Node] = []
        fx.node.map_arg((node.args, node.kwargs), lambda each: given.append(each) if each in self.values else None)
        return given

    def _mover(self, node: fx.Node) -> Callable[[list[Tensor]], Any]:
        """The call itself, to be made with other tensors for the maps."""

        def call(ids: list[Tensor]) -> Any:
            rest = iter(ids)
            args, named = fx.node.map_arg(
                (node.args, node.kwargs), lambda each: next(rest) if each in self.values else self._constant(each)
            )
            target: Any = node.target
            try:
                if node.op == "call_method":
                    return getattr(args[0], target)(*args[1:], **named)
                return target(*args, **named)
            except (RuntimeError, TypeError, IndexError, ValueError) as error:
                raise Unknown(f"its arguments cannot be followed ({' '.join(str(error).split())[:100]})") from error

        return call

    def _pads_channels(self, node: fx.Node) -> bool:
        arguments, named = self.arguments(node)
        amounts = named.get("pad", arguments[1] if len(arguments) > 1 else ())
        return len(amounts) == 6

    def _with_zeros(self, node: fx.Node) -> Maps:
        """Maps padded with channels of zeros (and rows and columns, if asked for)."""
        arguments, named = self.arguments(node)
        given = dict(zip(("pad", "mode", "value"), arguments[1:], strict=False)) | named
        maps, amounts = self.maps(self._given(node)[0]).settled(), [int(each) for each in given["pad"]]
        if given.get("mode", "constant") != "constant" or given.get("value") or min(amounts[4:]) < 0:
            raise Unknown("padding of channels by something else than zeros")
        before, after = (np.full(count, -1, dtype=np.int64) for count in amounts[4:])
        channels = maps.channels
        padded = Channels(
            channels.paths,
            np.concatenate([before, channels.path, after]),
            np.concatenate([before, channels.channel, after]),
        )
        if any(amounts[:4]):
            around = Operation("pad", (("amounts", amounts[:4]), ("mode", "constant"), ("value", 0.0)))
            padded = padded.after(lambda path, number: around)
        rows, columns = self.probe.shapes[node][2:]
        return Maps(padded, (rows, columns))

    # -- operations ------------------------------------------------------------------------------------------------

    def _operate(self, node: fx.Node, maps: Maps, read: Operation | PerChannel) -> None:
        if isinstance(read, PerChannel):
            found = self._per_channel(node, maps, read)
        elif read.pointwise:
            found = Maps(maps.channels.after(lambda path, number: read), maps.size, maps.ids)
            self._zeros_stay(maps, read)
            self.activations[node] = read
        elif read.name in MIXING:
            found = self._mixed(maps, read)
        else:
            settled = maps.settled()
            self._zeros_stay(settled, read)
            shape = self.probe.shapes[node]
            size = (shape[2], shape[3]) if len(shape) == 4 else (1, 1)
            found = Maps(settled.channels.after(lambda path, number: read), size)
            if len(shape) == 2:
                found = found.arranged(found.numbered().flatten(1))
        self.values[node] = found

    def _zeros_stay(self, maps: Maps, operation: Operation) -> None:
        if maps.channels.zeros() and apply(operation, torch.zeros(1, 1, *maps.size)).any():
            raise Unknown("it changes channels that are always zero")

    def _per_channel(self, node: fx.Node, maps: Maps, read: PerChannel) -> Maps:
        scale, shift = (self._values(maps, each, read.listed) for each in (read.scale, read.shift))
        scale = np.ones(len(maps.channels)) if scale is None else scale
        shift = np.zeros(len(maps.channels)) if shift is None else shift
        if shift[maps.channels.path < 0].any():
            raise Unknown("it changes channels that are always zero")
        if read.name == "affine" and (scale == 1).all() and (shift == 0).all():
            node.replace_all_uses_with(node.all_input_nodes[0])
            return maps

        def made(path: Any, number: int) -> Operation:
            if read.name == "prelu":
                return Operation("prelu", (("weight", maps.channels.aligned(number, scale, 1.0)),))
            scales, shifts = (
                float(values[0]) if (values == values[0]).all() else maps.channels.aligned(number, values, missing)
                for values, missing in ((scale, 1.0), (shift, 0.0))
            )
            return Operation("affine", (("scale", scales), ("shift", shifts)))

        if read.name == "prelu":
            self.activations[node] = Operation("prelu")
        return Maps(maps.channels.after(made), maps.size, maps.ids)

    def _values(self, maps: Maps, constant: Tensor | None, listed: bool) -> Any:
        if constant is None:
            return None
        if constant.ndim == 0:
            return np.full(len(maps.channels), float(constant))
        if listed and maps.ids is None:
            return constant.double().numpy()
        if listed:
            constant = constant.view(-1, *[1] * (maps.numbered().ndim - 2))
        return maps.per_channel(constant)

    def _mixed(self, maps: Maps, read: Operation) -> Maps:
        """An operation over all channels; LayerNorm is one over the last dimension of the value."""
        view = rewriting.channels_view(maps, len(maps.channels)) if read.name == "layernorm" else None
        if read.name == "layernorm" and (view is None or maps.ids is None):
            raise Unknown("a LayerNorm over other things than the channels of a position")
        settled = maps.settled() if view is None else view.settled
        channels = settled.channels
        if channels.whole():
            after = channels.after(lambda path, number: read)
        elif channels.zeros():
            raise Unknown("it mixes channels that are always zero")
        else:
            parts, at = parts_of(channels), np.arange(len(channels))

            def over(path: Any, number: int) -> Operation:
                return Operation(read.name, (*read.settings, ("of", parts), ("at", channels.aligned(number, at, -1))))

            after = channels.after(over)
        found = Maps(after, settled.size)
        return found if view is None else found.arranged(view.restore(found.numbered()))
