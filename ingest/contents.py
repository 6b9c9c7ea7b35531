"""What one ingest stores: the model, how much of it, the properties of its node, and how many of each thing there are.

Both ways into the database, over Bolt (`load.py`) and by bulk import, are given one of these.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from viscnn.errors import ModelError
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.kernels import SIGN_CUTOFF, Extent, Kept, kept_kernels
from viscnn.ingest.structure import Architecture
from viscnn.ingest.zoo import Recipe, ZooModel, build, class_names

__all__ = ["MODEL_NAME", "SCHEMA_VERSION", "Contents", "check_name", "contents_of"]

SCHEMA_VERSION = 2
MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Of a model; files are called by it."""


def check_name(name: str) -> None:
    """Raise ModelError for what cannot be a model's name."""
    if not MODEL_NAME.fullmatch(name):
        shown = name if len(name) <= 100 else f"{name[:100]}..."
        raise ModelError(
            f"model name {shown!r} must be of letters, digits and _ . -, at most 100 of them (choose one with --name)"
        )


@dataclass(frozen=True)
class Contents:
    """A model to be stored under a name.

    Attributes:
        heads: whether `architecture` was read with its head, so that the logits are filters.

    Raises:
        ModelError: a malformed name, or another number of class names than of logits.
    """

    name: str
    zoo: ZooModel = field(repr=False)
    architecture: Architecture = field(repr=False)
    extent: Extent = field(default_factory=Extent)
    heads: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        class_names(self.zoo.classes, self.architecture.logits)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the logits; none for a model without logits."""
        return class_names(self.zoo.classes, self.architecture.logits)

    @cached_property
    def kept(self) -> Kept:
        """Which kernels are stored."""
        return kept_kernels(self.architecture, self.extent)

    @property
    def identity(self) -> dict[str, Any]:
        """The properties of the Model by which an ingest that is asked for again is known to be the same."""
        return {
            "weightsHash": self.zoo.weights_hash,
            "inputShape": list(self.zoo.input_shape),
            "preprocess": json.dumps(self.zoo.preprocess),
            "classes": list(self.classes),
            "heads": self.heads,
            "weights": self.extent.weights,
            "kernelsAbove": self.extent.above,
            "topKernels": self.extent.top,
            "schemaVersion": SCHEMA_VERSION,
        }

    @cached_property
    def properties(self) -> dict[str, Any]:
        """The properties of the Model, but for name, status and what is found out later."""
        architecture = self.architecture
        steps = [operation for feed in architecture.feeds for operation in feed.operations]
        return self.identity | {
            "architecture": self.zoo.architecture,
            "logits": architecture.logits or 0,
            "importanceOutput": "loss" if architecture.logits else f"layer:{architecture.layers[-1].name}",
            "mixesChannels": any(("mixesChannels", True) in step.settings for step in steps),
            "signCutoffs": [-SIGN_CUTOFF, SIGN_CUTOFF],
            "kernelsLeftOut": self.kept.left_out,
            "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many of each thing there are, by the columns of `read/model_counts`."""
        layers, channels = self.architecture.layers, self.architecture.input_shape[0]
        sums = [layer for layer in layers if layer.is_sum]
        identities = sum(int((self.architecture.sources(layer) >= 0).sum()) for layer in sums)
        return {
            "layers": len(layers) - len(sums),
            "filters": channels + sum(layer.filters for layer in layers),
            "inputChannels": channels,
            "sums": sum(layer.filters for layer in sums),
            "feeds": len(self.architecture.feeds),
            "logits": sum(layer.filters for layer in layers if layer.logits),
            "kernels": self.kept.kernels,
            "identities": identities,
        }


def contents_of(name: str, recipe: Recipe, extent: Extent) -> Contents:
    """The model that a recipe describes, built and read, under a name.

    Raises:
        ModelError, UnsupportedModel: it cannot be built, or not be read.
    """
    zoo = build(recipe)
    architecture = read_architecture(zoo.module, zoo.input_shape, heads=recipe.heads)
    return Contents(name, zoo, architecture, extent, recipe.heads)
