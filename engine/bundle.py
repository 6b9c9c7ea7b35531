"""A model ready to run: its architecture, classes, preprocessing and images, built from the local registry."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from viscnn.engine.images import ImageCollection, OwnSet
from viscnn.engine.labels import class_indices
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.sources import open_source
from viscnn.errors import ImagesError, NotInGraph
from viscnn.graph import Graph
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import is_stored
from viscnn.ingest.registry import registered
from viscnn.ingest.zoo import build, class_names

__all__ = ["Bundle", "load_bundle", "open_images", "own_sets", "stored_bundle"]

PICTURE_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Bundle:
    """Everything that scoring needs of a model; images are opened when first asked for.

    Attributes:
        images: the image source, if there is one.
        own: image sets of one's own, which are added to those of the source.
        opener: opens the source; one that remembers spares a second look at all its files.
    """

    name: str
    architecture: Architecture = field(repr=False)
    classes: tuple[str, ...]
    preprocess: Preprocess
    weights_hash: str
    images: str | None
    own: tuple[OwnSet, ...] = field(default=(), repr=False)
    opener: Callable[[str], ImageCollection] = field(default=open_source, repr=False)

    @cached_property
    def collection(self) -> ImageCollection:
        """The images of the model; raises ImagesError when none are registered, or it has not 1 or 3 channels."""
        channels = self.architecture.input_shape[0]
        return open_images(self.name, channels, self.images, self.opener).with_sets(self.own)

    def class_numbers(self) -> list[int | None]:
        """Per image of the collection the number of its class, None where its label is no class of the model."""
        return self._class_numbers

    @cached_property
    def _class_numbers(self) -> list[int | None]:
        return class_indices(self.collection.items, self.classes)


def open_images(
    model: str, channels: int, images: str | None, opener: Callable[[str], ImageCollection] = open_source
) -> ImageCollection:
    """The images of a model; raises ImagesError when it has none, or its channels are not those of pictures."""
    if channels not in PICTURE_CHANNELS:
        raise ImagesError(f"model {model!r} has {channels} input channels, and pictures have 1 or 3")
    if images is None:
        raise ImagesError(f"model {model!r} has no images; give them with --images FOLDER (or when ingesting it)")
    return opener(images)


def own_sets(graph: Graph, name: str) -> tuple[OwnSet, ...]:
    """The stored image sets of one's own of a model; their paths are compared with those of its images, no more."""
    rows = graph.read("read/own_image_sets", model=name, paths=True)
    return tuple(OwnSet(str(row["name"]), tuple(map(str, row["paths"])), str(row["hash"])) for row in rows)


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
    """`load_bundle` with the image sets of one's own, and a check that the graph holds the model as it is here.

    Raises:
        NotInGraph: as `load_bundle`, or the preprocessing or layers are others; the message names the way out.
    """
    for check in (False, True):  # ingest has checked it already: that it is the same is nearly always enough
        bundle = load_bundle(name, weights_hash, images=images, check=check)
        _check_preprocess(graph, bundle)
        if is_stored(graph, name, bundle.architecture):
            return replace(bundle, own=own_sets(graph, name))
    raise NotInGraph(f"the layers of model {name!r} have changed since it was ingested; use --replace")


def _check_preprocess(graph: Graph, bundle: Bundle) -> None:
    """Scores of other inputs than those that the model is stored with must not come to its graph."""
    stored = graph.read("read/model", model=bundle.name)
    if bundle.architecture.input_shape[0] in PICTURE_CHANNELS and stored:
        settings = Preprocess.from_json(stored[0]["preprocess"])
        if settings != bundle.preprocess:
            raise NotInGraph(
                f"model {bundle.name!r} is stored with another preprocessing ({settings.to_json()}) than it is "
                "registered with on this machine; viscnn ingest it here as it is stored, or with --replace"
            )
