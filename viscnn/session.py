"""An open session: the connection, the stored models, and the models that can be run on this machine."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from viscnn.config import Connection, environment_connection
from viscnn.errors import NotInGraph, ViscnnError, nearest
from viscnn.graph import Graph, Tracer

if TYPE_CHECKING:
    from viscnn.engine.bundle import Bundle

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
        from viscnn.engine.bundle import stored_bundle

        weights_hash = self.model(model)["weightsHash"]
        key = (model, weights_hash, images)
        if key not in self._bundles:
            source = absolute(images) if images else None
            self._bundles[key] = stored_bundle(self._graph, model, weights_hash, images=source)
        return self._bundles[key]


def _default_connection() -> Connection:
    from viscnn import server

    return environment_connection() or server.connection()


def absolute(path: str) -> str:
    """A path made independent of the current folder; names that are not files stay as they are."""
    file, colon, function = path.rpartition(":") if ".py:" in path else (path, "", "")
    return f"{Path(file).resolve()}{colon}{function}" if Path(file).exists() else path
