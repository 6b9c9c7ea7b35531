"""A model ready to run: its architecture, classes, preprocessing and images, built from the local registry."""

from dataclasses import dataclass, field
from functools import cached_property

from viscnn.engine.images import ImageCollection
from viscnn.engine.labels import class_indices
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.sources import open_source
from viscnn.errors import ImagesError, NotInGraph
from viscnn.graph import Graph
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import is_stored
from viscnn.ingest.registry import registered
from viscnn.ingest.zoo import build, class_names

__all__ = ["Bundle", "load_bundle", "stored_bundle"]

PICTURE_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Bundle:
    """Everything that scoring needs of a model; images are opened when first asked for."""

    name: str
    architecture: Architecture = field(repr=False)
    classes: tuple[str, ...]
    preprocess: Preprocess
    weights_hash: str
    images: str | None

    @cached_property
    def collection(self) -> ImageCollection:
        """The images of the model; raises ImagesError when none are registered, or it has not 1 or 3 channels."""
        channels = self.architecture.input_shape[0]
        if channels not in PICTURE_CHANNELS:
            raise ImagesError(f"model {self.name!r} has {channels} input channels, and pictures have 1 or 3")
        if self.images is None:
            raise ImagesError(
                f"model {self.name!r} has no images; give them with --images FOLDER (or when ingesting it)"
            )
        return open_source(self.images)

    def class_numbers(self) -> list[int | None]:
        """Per image of the collection the number of its class, None where its label is no class of the model."""
        return self._class_numbers

    @cached_property
    def _class_numbers(self) -> list[int | None]:
        return class_indices(self.collection.items, self.classes)


def load_bundle(name: str, weights_hash: str, *, images: str | None = None, check: bool = False) -> Bundle:
    """Build the registered model `name` and check that it is the one in the graph.

    Args:
        weights_hash: hash of the stored model's weights.
        images: an image source instead of the registered one.
        check: check what is read of the model, as ingest does: where it is not what the model computes, it is read in
            another way.

    Raises:
        NotInGraph: not registered on this machine, or with other weights; the message names the command.
    """
    entry = registered(name, weights_hash)
    zoo = build(entry.recipe)
    if zoo.weights_hash != weights_hash:
        raise NotInGraph(f"the weights of model {name!r} have changed since it was ingested; ingest it with --replace")
    architecture = read_architecture(zoo.module, zoo.input_shape, heads=entry.recipe.heads, check=check)
    channels = zoo.input_shape[0]
    return Bundle(
        name=name,
        architecture=architecture,
        classes=class_names(zoo.classes, architecture.logits),
        preprocess=Preprocess.from_json(zoo.preprocess) if channels in PICTURE_CHANNELS else Preprocess(),
        weights_hash=weights_hash,
        images=images or entry.images,
    )


def stored_bundle(graph: Graph, name: str, weights_hash: str, *, images: str | None = None) -> Bundle:
    """`load_bundle`, and a check that the graph holds all its layers as they are here.

    Raises:
        NotInGraph: as `load_bundle`, or the layers have changed; the message names the way out.
    """
    for check in (False, True):  # ingest has checked it already: that it is the same is nearly always enough
        bundle = load_bundle(name, weights_hash, images=images, check=check)
        if is_stored(graph, name, bundle.architecture):
            return bundle
    raise NotInGraph(f"the layers of model {name!r} have changed since it was ingested; use --replace")
