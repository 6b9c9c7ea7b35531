"""The jars of Neo4j: our locked list, and the folder that holds them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from viscnn.config import home_folder
from viscnn.errors import ConfigError

__all__ = ["VERSION", "Jar", "jars_folder", "locked", "missing"]

VERSION = "2026.08.1"


@dataclass(frozen=True)
class Jar:
    """One Maven artifact: `classifier` is empty for most, `size` is in bytes."""

    group: str
    artifact: str
    version: str
    classifier: str
    size: int
    sha256: str

    @property
    def coordinates(self) -> str:
        """`group:artifact:version[:classifier]`."""
        return ":".join(part for part in (self.group, self.artifact, self.version, self.classifier) if part)

    @property
    def file_name(self) -> str:
        """Name of the file, unique in the list."""
        return "-".join(part for part in (self.artifact, self.version, self.classifier) if part) + ".jar"

    @property
    def repository_path(self) -> str:
        """Path below the root of any Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"


def parse(line: str) -> Jar:
    """A jar from a line `group:artifact:version[:classifier] size sha256` of the list."""
    coordinates, size, sha256 = line.split()
    group, artifact, version, *classifier = coordinates.split(":")
    return Jar(group, artifact, version, classifier[0] if classifier else "", int(size), sha256)


def locked() -> tuple[Jar, ...]:
    """The jars of Neo4j `VERSION` and of Neo4j Browser with everything that they need at run time."""
    lines = resources.files("viscnn.server").joinpath("jars.txt").read_text(encoding="utf-8").splitlines()
    return tuple(parse(line) for line in lines if line and not line.startswith("#"))


def jars_folder() -> Path:
    """Where the jars lie (`VISCNN_JARS`, else below the user's data folder), not yet created."""
    named = os.environ.get("VISCNN_JARS")
    if named and Path(named).exists() and not Path(named).is_dir():
        raise ConfigError(f"VISCNN_JARS names {named}, which is not a folder")
    return (Path(named) if named else home_folder() / "jars").absolute()


def missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    """The jars that are not in `folder` in full length; their checksums were compared before they got there."""
    present = {entry.name: entry.stat().st_size for entry in os.scandir(folder)} if folder.is_dir() else {}
    return [jar for jar in jars if present.get(jar.file_name) != jar.size]
