"""An open session: the connection, the stored models, and the models that can be run on this machine."""

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from viscnn.config import Connection, environment_connection
from viscnn.errors import NotInGraph, ViscnnError, nearest
from viscnn.graph import Graph, Tracer, remembering

if TYPE_CHECKING:
    from viscnn.engine.bundle import Bundle
    from viscnn.engine.images import ImageCollection
    from viscnn.engine.receptive import ReceptiveFields

__all__ = ["Session", "absolute"]


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
        self._bundles: dict[tuple[str, str, str | None], Bundle] = {}
        self._sources: dict[tuple[str, str, str], ImageCollection] = {}
        self._fields: dict[tuple[str, str, str], ReceptiveFields] = {}

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

    def layers(self, model: str) -> list[dict[str, Any]]:
        """The layers of a model in depth order, the input first."""
        return self._graph.read("read/layers", model=self.model(model)["name"])

    def filters(self, model: str) -> list[dict[str, Any]]:
        """All filters of a model with their places, the input channels first."""
        return self._graph.read("read/filters", model=self.model(model)["name"])

    def bundle(self, model: str, *, images: str | None = None) -> "Bundle":
        """The model ready to run; raises NotInGraph when it is not registered on this machine."""
        from viscnn.engine.bundle import own_sets, stored_bundle

        weights_hash = self.model(model)["weightsHash"]
        key = (model, weights_hash, images)
        if key not in self._bundles:
            source = absolute(images) if images else None
            bundle = stored_bundle(self._graph, model, weights_hash, images=source)
            self._bundles[key] = replace(bundle, opener=partial(self._opened, model, weights_hash))
        elif self._own_sets(model) != {each.name: each.images_hash for each in self._bundles[key].own}:
            self._bundles[key] = replace(self._bundles[key], own=own_sets(self._graph, model))
        return self._bundles[key]

    def collection(self, model: str) -> "ImageCollection":
        """The images of a model with its image sets; unlike `bundle`, the model itself is not built."""
        from viscnn.engine.bundle import open_images, own_sets
        from viscnn.ingest.registry import registered

        stored = self.model(model)
        weights_hash = stored["weightsHash"]
        if (model, weights_hash, None) in self._bundles:
            return self.bundle(model).collection
        opener = partial(self._opened, model, weights_hash)
        opened = open_images(model, stored["inputShape"][0], registered(model, weights_hash).images, opener)
        return opened.with_sets(own_sets(self._graph, model))

    def _own_sets(self, model: str) -> dict[str, str]:
        """Hashes of the stored image sets of one's own, by name: cheap, so that sets saved elsewhere are noticed."""
        rows = self._graph.read("read/own_image_sets", model=model, paths=False)
        return {str(row["name"]): str(row["hash"]) for row in rows}

    def _opened(self, model: str, weights_hash: str, source: str) -> "ImageCollection":
        """The image source of a model, looked through once for `bundle` and `collection` together."""
        from viscnn.engine.sources import open_source

        key = (model, weights_hash, source)
        if key not in self._sources:
            self._sources[key] = open_source(source)
        return self._sources[key]


def _default_connection() -> Connection:
    from viscnn import server

    return environment_connection() or server.connection()


def absolute(path: str) -> str:
    """A path made independent of the current folder; names that are not files stay as they are."""
    file, colon, function = path.rpartition(":") if ".py:" in path else (path, "", "")
    return f"{Path(file).resolve()}{colon}{function}" if Path(file).exists() else path
