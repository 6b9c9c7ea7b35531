"""What a traced graph gives: shapes, numbers, and which of its values share memory."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from viscnn.errors import ModelError
from viscnn.ingest.maps import BATCH
from viscnn.ingest.tracing import brief

__all__ = ["Memory", "Probe", "not_accepted", "probed"]


@dataclass(frozen=True)
class Memory:
    """Where the numbers of a tensor lie: those of two with the same storage may be the same."""

    storage: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Probe:
    """What a run with a batch of two gave, by node.

    Attributes:
        shapes: of each tensor.
        several: of each of several tensors.
        others: values that are no tensors (sizes and the like).
        memory: of each tensor.
    """

    shapes: dict[fx.Node, tuple[int, ...]] = field(default_factory=dict)
    several: dict[fx.Node, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    others: dict[fx.Node, Any] = field(default_factory=dict)
    memory: dict[fx.Node, Memory] = field(default_factory=dict)

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether the node's value is a tensor, or several."""
        return node in self.shapes or node in self.several


class _Prober(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, nodes: dict[str, fx.Node]) -> None:
        super().__init__(module, garbage_collect_values=False)  # else memory that is free again would be used twice
        self.extra_traceback = False
        self.nodes = nodes
        self.probe = Probe()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        node = self.nodes[n.name]
        if isinstance(value, Tensor):
            self.probe.shapes[node] = tuple(value.shape)
            self.probe.memory[node] = Memory(
                value.untyped_storage()._cdata, int(value.storage_offset()), tuple(value.shape), value.stride()
            )
        elif shapes := _shapes(value):
            self.probe.several[node] = shapes
        elif n.op != "output":
            self.probe.others[node] = value
        return value


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of all tensors in tuples and lists."""
    if isinstance(value, Tensor):
        return (tuple(value.shape),)
    return tuple(shape for each in value for shape in _shapes(each)) if isinstance(value, tuple | list) else ()


def probed(module: fx.GraphModule, input_shape: tuple[int, int, int], dtype: torch.dtype) -> Probe:
    """What a batch of two gives: on the device `meta`, which computes nothing, else by a real run.

    Raises:
        ModelError: the module does not accept the input shape.
    """
    nodes = {node.name: node for node in module.graph.nodes}
    prober = _Prober(_on_meta(module), nodes)
    try:
        prober.run(torch.empty(BATCH, *input_shape, device="meta", dtype=dtype))
    except Exception:  # noqa: BLE001 -- some functions have no such form; a real run tells what is wrong
        prober = _Prober(module, nodes)
        try:
            prober.run(torch.zeros(BATCH, *input_shape, dtype=dtype))
        except Exception as error:
            raise not_accepted(input_shape, error) from error
    return prober.probe


def _on_meta(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of which no weight takes memory."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.to("meta"), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(module, memo).to("meta")


def not_accepted(shape: tuple[int, ...], error: Exception) -> ModelError:
    """The error of a model that cannot be run on images of a shape (C, H, W)."""
    size = "x".join(str(n) for n in shape)
    return ModelError(f"the model does not accept an input of {size} (give another with --input): {brief(error)}")
