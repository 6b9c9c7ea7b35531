"""The local registry: how models of this user are built and where their images lie.

It is written only by `viscnn ingest` on this machine. Nothing that is read from Neo4j, a URL or an upload is ever
imported, unpickled or opened as a path: the graph names a model and its weights hash, the registry says how to
build it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from viscnn.config import home_folder, made_home
from viscnn.errors import ConfigError, NotInGraph
from viscnn.ingest.zoo import Recipe
from viscnn.server.home import writable

__all__ = ["Entry", "forget", "register", "registered"]


@dataclass(frozen=True)
class Entry:
    """A registered model: its recipe, the hash of its weights, and its image source if it has one."""

    recipe: Recipe
    weights_hash: str
    images: str | None


def registered(name: str, weights_hash: str | None = None) -> Entry:
    """The entry of a model; raises NotInGraph naming the command that registers it.

    With `weights_hash`, an entry of other weights counts as missing.
    """
    entry = _read().get(name)
    if entry is None or (weights_hash is not None and entry["weights_hash"] != weights_hash):
        why = "is not registered on this machine" if entry is None else "is registered here with other weights"
        raise NotInGraph(
            f"model {name!r} {why}; its stored data can be read, but to run it: viscnn ingest MODEL --name {name}"
        )
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry["recipe"].items()
    }
    recipe = Recipe(**fields)
    return Entry(recipe, entry["weights_hash"], entry["images"])


def register(name: str, entry: Entry) -> None:
    """Add or replace the entry of a model."""
    with writable(made_home()), _lock():
        _write(_read() | {name: asdict(entry)})


def forget(name: str) -> None:
    """Remove the entry of a model, if there is one."""
    with writable(made_home()), _lock():
        _write({key: value for key, value in _read().items() if key != name})


def _file() -> Path:
    return home_folder() / "registry.json"


def _lock() -> FileLock:
    return FileLock(made_home() / "registry.lock")


def _read() -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_file().read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{_file()} is damaged; remove it and ingest your models again") from error


def _write(entries: dict[str, dict[str, Any]]) -> None:
    partial = _file().with_suffix(".part")
    partial.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    partial.replace(_file())
