"""Where things lie on this machine, and which Neo4j to talk to.

| environment variable | meaning | default |
| --- | --- | --- |
| VISCNN_HOME | data folder of this user: managed server, registry, cache | `platformdirs.user_data_dir("viscnn")` |
| VISCNN_JARS | folder of the managed server's jars, to share it between homes | `VISCNN_HOME/jars` |
| VISCNN_MAVEN | base address of a Maven mirror to fetch the jars from | the repository that `jgo` knows |
| VISCNN_HEAP, VISCNN_PAGECACHE | memory of the managed server | 1g, 512m |
| VISCNN_JAVA_OPTIONS | further options of its Java | none |
| VISCNN_WORKERS | processes that decode images; 0 decodes in the main one | by images and CPUs (engine/loading.py) |
| VISCNN_DATA | folder of public test and benchmark data | `../shared/data` beside the checkout, if it exists |
| NEO4J_URI | another Neo4j than the managed one | the managed server |
| NEO4J_USERNAME, NEO4J_PASSWORD, NEO4J_DATABASE | used with NEO4J_URI | neo4j, (none), the server's default |
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from viscnn.errors import ConfigError

__all__ = ["Connection", "cache_folder", "data_folder", "environment_connection", "home_folder", "made_home"]


@dataclass(frozen=True)
class Connection:
    """Address and credentials of a Neo4j; the password is left out of `repr`."""

    uri: str
    username: str
    password: str = field(repr=False)
    database: str | None = None


def home_folder() -> Path:
    """The user's data folder, not yet created."""
    return Path(os.environ.get("VISCNN_HOME") or platformdirs.user_data_dir("viscnn", appauthor=False))


def cache_folder() -> Path:
    """Folder of cached scores below the data folder, created on demand."""
    return _made(home_folder() / "cache")


def made_home() -> Path:
    """The user's data folder, created on demand; raises ConfigError when it cannot be."""
    return _made(home_folder())


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {folder}: {error.strerror}; set VISCNN_HOME to a writable folder") from error
    return folder


def data_folder() -> Path | None:
    """Folder of public data (`VISCNN_DATA`, else `../shared/data` beside a checkout), or None."""
    named = os.environ.get("VISCNN_DATA")
    if named:
        if not Path(named).is_dir():
            raise ConfigError(f"VISCNN_DATA names {named}, which is not a folder")
        return Path(named)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return beside if beside.is_dir() else None


def environment_connection() -> Connection | None:
    """The connection that NEO4J_URI and friends name, or None when NEO4J_URI is not set."""
    uri = os.environ.get("NEO4J_URI")
    if not uri:
        return None
    return Connection(
        uri=uri,
        username=os.environ.get("NEO4J_USERNAME", "neo4j"),
        password=os.environ.get("NEO4J_PASSWORD", ""),
        database=os.environ.get("NEO4J_DATABASE") or None,
    )
