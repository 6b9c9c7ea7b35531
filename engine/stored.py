"""The layers and feeds of a model as the graph holds them: all there is to know of it without its weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from viscnn.errors import NotInGraph, StoredDataError
from viscnn.graph import Graph
from viscnn.ingest.operations import Operation
from viscnn.ingest.structure import INPUT, Feed, LayerSpec

__all__ = ["StoredStructure", "stored_structure", "structure_of"]


@dataclass(frozen=True)
class StoredStructure:
    """What an `Architecture` says of a model, but for the traced module.

    Attributes:
        input_shape: (channels, rows, columns) of the images.
        layers: in the order of execution; every layer stands behind those it reads.
        feeds: by target, then by position.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    feeds: tuple[Feed, ...]


def stored_structure(graph: Graph, model: str) -> StoredStructure:
    """Read layers and feeds.

    Raises:
        NotInGraph: the model is not stored.
        StoredDataError: a layer or feed lacks what it should say, or holds something that is not an operation.
    """
    found = graph.read("read/model", model=model)
    if not found:
        raise NotInGraph(f"no model {model!r} is stored")
    layers, feeds = graph.read("read/layers", model=model), graph.read("read/feeds", model=model)
    try:
        return structure_of(found[0]["inputShape"], layers, feeds)
    except (TypeError, ValueError) as error:  # a property is missing
        raise StoredDataError(
            f"model {model!r} is not stored as it should be; store it anew with viscnn ingest --replace"
        ) from error


def structure_of(
    input_shape: Iterable[int], layers: Iterable[dict[str, Any]], feeds: Iterable[dict[str, Any]]
) -> StoredStructure:
    """The structure that rows of `read/layers` and `read/feeds` describe; raises TypeError, KeyError, ValueError."""
    channels, rows, columns = input_shape
    convolutions = (row for row in layers if row["name"] != INPUT)
    return StoredStructure((channels, rows, columns), tuple(map(_layer, convolutions)), tuple(map(_feed, feeds)))


def _layer(row: dict[str, Any]) -> LayerSpec:
    """A row of `read/layers`; nodes of the traced graph are not stored."""
    return LayerSpec(
        name=row["name"],
        node="",
        index=row["index"],
        in_channels=row["inputs"] * row["groups"],
        filters=row["filters"],
        kernel_size=tuple(row["kernelSize"]),
        stride=tuple(row["stride"]),
        padding=row["padding"] if isinstance(row["padding"], str) else tuple(row["padding"]),
        padding_mode=row["paddingMode"],
        dilation=tuple(row["dilation"]),
        groups=row["groups"],
        output_size=tuple(row["outputSize"]),
        activation=row["activation"],
        activation_node=None,
        kind=row["kind"],
        depth=row["depth"],
        branch=row["branch"],
        gate=row["gate"],
        logits=row["logits"],
    )


def _feed(row: dict[str, Any]) -> Feed:
    """A row of `read/feeds`."""
    return Feed(
        source=row["source"],
        target=row["target"],
        operations=tuple(map(Operation.from_json, row["operations"])),
        channels=row["channels"],
        position=row["position"],
        source_start=row["sourceStart"],
        target_start=row["targetStart"],
        addend=row["addend"],
        source_channels=_numbers(row["sourceChannels"]),
        target_channels=_numbers(row["targetChannels"]),
    )


def _numbers(listed: list[int] | None) -> tuple[int, ...] | None:
    return None if listed is None else tuple(listed)
