"""Rewrites `jars.txt` for another version of Neo4j.

Resolve `org.neo4j:neo4j`, `org.neo4j.app:neo4j-server` and `org.neo4j.client:neo4j-browser` with Maven, then:

    mvn dependency:build-classpath -DincludeScope=runtime -Dmdep.outputFile=classpath.txt
    python -m viscnn.server.lock classpath.txt ~/.m2/repository > viscnn/server/jars.txt
"""

import hashlib
import os
import sys
from pathlib import Path

from viscnn.server.jars import Jar

__all__ = ["line_of"]


def line_of(path: Path, repository: Path) -> str:
    """The line of `jars.txt` for a jar below a Maven repository folder."""
    *group, artifact, version, name = path.relative_to(repository).parts
    classifier = name.removeprefix(f"{artifact}-{version}").removesuffix(".jar").removeprefix("-")
    content = path.read_bytes()
    jar = Jar(".".join(group), artifact, version, classifier, len(content), hashlib.sha256(content).hexdigest())
    return f"{jar.coordinates} {jar.size} {jar.sha256}"


def main(classpath: str, repository: str) -> None:
    """Print the list, sorted, for a class path in Maven's own form."""
    paths = [Path(each) for each in Path(classpath).read_text(encoding="utf-8").strip().split(os.pathsep)]
    print("# group:artifact:version[:classifier] bytes sha256 (written by python -m viscnn.server.lock)")
    for line in sorted(line_of(path, Path(repository)) for path in paths):
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
