"""An open session: the connection, the stored models, and the models that can be run on this machine."""

import hashlib
import json
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from viscnn.config import Connection, environment_connection
from viscnn.errors import NotInGraph, ViscnnError, nearest
from viscnn.graph import Graph, Tracer, remembering

if TYPE_CHECKING:
    from collections.abc import Callable

    from viscnn.engine.bundle import Bundle
    from viscnn.engine.images import ImageCollection
    from viscnn.engine.receptive import ReceptiveFields

__all__ = ["Session", "absolute"]


@dataclass(frozen=True)
class _Built:
    """A bundle with what it was made `of`: after another ingest of the model, that is something else."""

    of: tuple[Any, ...]
    images_hash: str | None
    bundle: "Bundle"


@dataclass(frozen=True)
class _Opened:
    """An image source as it was looked through for an ingest, and the hash of `overall` that was stored then."""

    created: str
    images_hash: str | None
    collection: "ImageCollection"


class Session:
    """What every part of the API stands on; a context manager.

    Raises:
        ConnectionFailed: no Neo4j answers, or it refuses the password.
    """

    def __init__(self, connection: Connection | None = None, *, tracer: Tracer | None = None) -> None:
        self._graph = Graph(connection or _default_connection(), tracer=tracer)
        try:
            self._graph.verify()
        except ViscnnError:
            self._graph.close()
            raise
        self._bundles: dict[tuple[str, str | None], _Built] = {}
        self._sources: dict[tuple[str, str], _Opened] = {}
        self._fields: OrderedDict[tuple[str, str, str], ReceptiveFields] = OrderedDict()
        self._locks: dict[tuple[str, str], threading.RLock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._graph.close()

    @property
    def address(self) -> str:
        """The Bolt address of the database."""
        return self._graph.connection.uri

    @staticmethod
    def remembering(on: bool = True) -> AbstractContextManager[None]:
        """Within `with v.remembering():` small questions to the database are asked once, until this thread writes.

        For what calls many methods at a time, such as a page: each looks by itself whether its model is still there.
        """
        return remembering(on)

    def models(self) -> list[dict[str, Any]]:
        """All stored models with size, status and active query."""
        return self._graph.read("read/models")

    def model(self, name: str) -> dict[str, Any]:
        """The properties of a complete model; raises NotInGraph with the nearest names."""
        found = self._graph.read("read/model", model=name)
        if not found:
            known = tuple(each["name"] for each in self.models())
            stored = ", ".join(known) or "none yet: viscnn ingest mnist"
            raise NotInGraph(f"no model {name!r} is stored{nearest(name, known)} (stored: {stored})")
        if found[0]["status"] != "complete":
            raise NotInGraph(f"model {name!r} is not complete (an ingest runs or was stopped): viscnn ingest it again")
        return found[0]

    def stamp(self, model: str) -> str:
        """A text that changes with all that is stored of a complete model, but for what has a uid of its own.

        That is its ingest, its preprocessing, its images (those of this machine's registry) and its `importance`.
        """
        from viscnn.ingest.registry import registered

        stored = self.model(model)
        try:
            source = registered(model, stored["weightsHash"]).images
        except ViscnnError:  # it is shown all the same
            source = None
        parts = ("weightsHash", "createdAt", "preprocess", "imagesHash", "importanceQuery", "importanceRun")
        text = json.dumps([*(stored[part] for part in parts), source], default=str)
        return "|".join((self.address, model, hashlib.sha256(text.encode()).hexdigest()[:24]))

    def layers(self, model: str) -> list[dict[str, Any]]:
        """The layers of a model in depth order, the input first."""
        return self._graph.read("read/layers", model=self.model(model)["name"])

    def filters(self, model: str) -> list[dict[str, Any]]:
        """All filters of a model with their places, the input channels first."""
        return self._graph.read("read/filters", model=self.model(model)["name"])

    def bundle(self, model: str, *, images: str | None = None) -> "Bundle":
        """The model ready to run, as it is stored and registered now.

        Raises:
            NotInGraph: it is not registered on this machine, or with other weights, preprocessing or layers.
        """
        from viscnn.engine.bundle import own_sets

        stored = self.model(model)
        found = self._built(stored, images)
        if found.images_hash != stored["imagesHash"]:  # the same source, and maybe other files
            opener = self._opener(stored)
            found = replace(found, images_hash=stored["imagesHash"], bundle=replace(found.bundle, opener=opener))
            self._bundles[model, images] = found
        if self._own_sets(model) != {each.name: each.images_hash for each in found.bundle.own}:
            found = replace(found, bundle=replace(found.bundle, own=own_sets(self._graph, model)))
            self._bundles[model, images] = found
        return found.bundle

    def _built(self, stored: dict[str, Any], images: str | None) -> _Built:
        """The bundle that is kept, or a new one in its place where the model was ingested or registered again."""
        from viscnn.engine.bundle import stored_bundle

        name, of = stored["name"], _made_of(stored)
        found = self._bundles.get((name, images))
        if found is not None and found.of == of:
            return found
        with self._lock("build", name):  # of two visitors one waits for what the other builds
            found = self._bundles.get((name, images))
            if found is None or found.of != of:
                source = absolute(images) if images else None
                bundle = stored_bundle(self._graph, name, stored["weightsHash"], images=source)
                found = _Built(of, stored["imagesHash"], replace(bundle, opener=self._opener(stored)))
                self._bundles[name, images] = found
            return found

    def _lock(self, work: str, model: str) -> threading.RLock:
        """For work on a model that several threads of this session may want at once, and one of them does."""
        return self._locks.setdefault((work, model), threading.RLock())

    def collection(self, model: str) -> "ImageCollection":
        """The images of a model with its image sets; unlike `bundle`, the model itself is not built."""
        from viscnn.engine.bundle import open_images, own_sets
        from viscnn.ingest.registry import registered

        stored = self.model(model)
        kept = self._bundles.get((model, None))
        if kept is not None and kept.of == _made_of(stored):
            return self.bundle(model).collection
        source = registered(model, stored["weightsHash"]).images
        opened = open_images(model, stored["inputShape"][0], source, self._opener(stored))
        return opened.with_sets(own_sets(self._graph, model))

    def _own_sets(self, model: str) -> dict[str, str]:
        """Hashes of the stored image sets of one's own, by name: cheap, so that sets saved elsewhere are noticed."""
        rows = self._graph.read("read/own_image_sets", model=model, paths=False)
        return {str(row["name"]): str(row["hash"]) for row in rows}

    def _opener(self, stored: dict[str, Any]) -> "Callable[[str], ImageCollection]":
        return partial(self._opened, stored["name"], str(stored["createdAt"]), stored["imagesHash"])

    def _opened(self, model: str, created: str, images_hash: str | None, source: str) -> "ImageCollection":
        """The image source of a model, looked through once an ingest for `bundle` and `collection` together."""
        from viscnn.engine.images import images_hash as hash_of
        from viscnn.engine.sources import open_source

        with self._lock("open", model):
            known = self._sources.get((model, source))
            same = known is not None and known.created == created
            if known is not None and same and known.images_hash != images_hash:  # its files may be others by now
                same = images_hash in (None, hash_of(known.collection.items))
            collection = known.collection if known is not None and same else open_source(source)
            self._sources[model, source] = _Opened(created, images_hash, collection)
            return collection


def _made_of(stored: dict[str, Any]) -> tuple[Any, ...]:
    """What a bundle depends on, but for image sets; raises NotInGraph when the model is not registered here."""
    from viscnn.ingest.registry import registered

    entry = registered(stored["name"], stored["weightsHash"])
    return stored["weightsHash"], stored["createdAt"], stored["preprocess"], entry


def _default_connection() -> Connection:
    from viscnn import server

    return environment_connection() or server.connection()


def absolute(path: str) -> str:
    """A path made independent of the current folder; names that are not files stay as they are."""
    file, colon, function = path.rpartition(":") if ".py:" in path else (path, "", "")
    return f"{Path(file).resolve()}{colon}{function}" if Path(file).exists() else path
