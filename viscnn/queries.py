"""The catalogue of Cypher queries: one file a query below `cypher/`, each with a header.

A header is made of comment lines before the statement:

    // title: Top kernels
    // description: The kernels with the highest score of the active query, layer by layer.
    // mode: read
    // parameter: model = "toy" -- name of the model
    // parameter: limit = 20 -- kernels per layer
    // columns: layer, source, target, input, score

`mode` is `read`, `write` or `schema`. Defaults are JSON; they fit the toy graph of the tests.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, cast

from viscnn.errors import NotInGraph, StoredDataError, nearest

__all__ = ["Parameter", "Query", "as_markdown", "catalogue", "load"]

Mode = Literal["read", "write", "schema"]
_HEADER = re.compile(r"//\s*(title|description|mode|parameter|columns):\s*(.*)")
_PARAMETER = re.compile(r"(\w+)\s*=\s*(.*?)\s*--\s*(.*)")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query, with the default that is used when the caller gives none."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True)
class Query:
    """A query file: `name` is its path below `cypher/` without the suffix, such as `read/top_kernels`."""

    name: str
    title: str
    description: str
    mode: Mode
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    text: str

    def arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """The full set of parameters: what is given over the defaults; unknown names are refused."""
        defaults = {each.name: each.default for each in self.parameters}
        for name in given:
            if name not in defaults:
                known = ", ".join(defaults) or "none"
                raise NotInGraph(f"query {self.name} has no parameter {name!r} (it has: {known})")
        return defaults | given


def parse(name: str, text: str) -> Query:
    """Read one query file; raises StoredDataError when the header is incomplete."""
    single: dict[str, str] = {}
    parameters: list[Parameter] = []
    body: list[str] = []
    for line in text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            body.append(line)
        elif match[1] == "parameter":
            parameters.append(_parameter(name, match[2]))
        else:
            single[match[1]] = match[2].strip()
    missing = {"title", "description", "mode", "columns"} - single.keys()
    if missing or single["mode"] not in {"read", "write", "schema"}:
        raise StoredDataError(f"cypher/{name}.cypher: header lacks {sorted(missing) or 'a valid mode'}")
    return Query(
        name=name,
        title=single["title"],
        description=single["description"],
        mode=cast(Mode, single["mode"]),
        parameters=tuple(parameters),
        columns=tuple(column.strip() for column in single["columns"].split(",") if column.strip()),
        text="\n".join(body).strip(),
    )


def _parameter(name: str, text: str) -> Parameter:
    match = _PARAMETER.fullmatch(text)
    if match is None:
        raise StoredDataError(f"cypher/{name}.cypher: parameter {text!r} is not `name = json -- description`")
    return Parameter(match[1], json.loads(match[2]), match[3])


@cache
def catalogue() -> dict[str, Query]:
    """All queries by name, sorted."""
    found: dict[str, Query] = {}
    root = resources.files("viscnn.cypher")
    for folder in ("read", "schema", "write"):
        for file in sorted(root.joinpath(folder).iterdir(), key=_file_name):
            if file.name.endswith(".cypher"):
                name = f"{folder}/{file.name.removesuffix('.cypher')}"
                found[name] = parse(name, file.read_text(encoding="utf-8"))
    return found


def _file_name(file: Traversable) -> str:
    return file.name


def load(name: str) -> Query:
    """The query called `name` (`read/top_kernels`, or `top_kernels` for short)."""
    known = catalogue()
    for candidate in (name, f"read/{name}", f"write/{name}", f"schema/{name}"):
        if candidate in known:
            return known[candidate]
    short = [each.partition("/")[2] for each in known if known[each].mode == "read"]
    raise NotInGraph(f"no query is called {name!r}{nearest(name, short)} (list them with: viscnn cypher --list)")


def as_markdown() -> str:
    """The page `docs/queries.md`."""
    lines = ["# The query catalogue", "", "Made from `cypher/` by `python -m viscnn.queries`; do not edit.", ""]
    lines += ["Run a read query with `viscnn cypher NAME key=value`, or `VISCNN.cypher(NAME, {...})`.", ""]
    for query in catalogue().values():
        lines += [f"## `{query.name}`", "", f"{query.title}. {query.description}", ""]
        lines += [f"- `{each.name}` = `{json.dumps(each.default)}`: {each.description}" for each in query.parameters]
        lines += [f"- returns: {', '.join(f'`{column}`' for column in query.columns)}"] if query.columns else []
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
