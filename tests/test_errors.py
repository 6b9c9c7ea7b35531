"""The error tree is drawn as it is, and what the program raises on purpose belongs to it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import SHIPPED, parse
from viscnn import errors
from viscnn.errors import InputError, ServerError, StoredDataError, ViscnnError, nearest

TREE = [getattr(errors, name) for name in errors.__all__ if name != "nearest"]
PYTHONS_OWN = {"AttributeError", "StopIteration", "SystemExit", "KeyboardInterrupt", "TimeoutError"}
SIGNALS = {"Unknown": ["ingest/canonical.py", "ingest/reading.py"], "Refused": ["ingest/architecture.py"]}
"""What parts of the reader tell one another, and the modules that make a refusal or another way of it."""
TYPERS = {"typer.Exit", "typer.BadParameter", "typer.Abort", "click.UsageError", "lark.exceptions.UnexpectedInput"}
STREAMLITS = {"StopException"}
"""How a run of the page is ended, which no `except Exception` catches."""


def _drawn() -> dict[str, str]:
    """Name of each error of the drawing with the name of its parent."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^[ |`-]*?(?P<name>[A-Z][A-Za-z]+) {2,}", line + "  ")
        if match is None or match["name"] not in errors.__all__:
            continue
        depth = match.start("name")
        above = [each for each in above if each[0] < depth]
        parents[match["name"]] = above[-1][1] if above else "Exception"
        above.append((depth, match["name"]))
    return parents


def test_the_drawing_is_the_tree() -> None:
    assert _drawn() == {error.__name__: error.__bases__[0].__name__ for error in TREE}


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_exit_code_tells_whose_mistake_it_is(error: type[ViscnnError]) -> None:
    assert issubclass(error, ViscnnError)
    assert error.exit_code == (2 if issubclass(error, InputError) else 1)
    assert error.__doc__


def test_a_broken_server_and_wrong_data_are_not_the_callers_mistake() -> None:
    assert (ServerError.exit_code, StoredDataError.exit_code) == (1, 1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("trunk", "; did you mean truck?"),
        ("TIGER", "; did you mean tiger or tiger cat?"),
        ("xylophone", ""),
        ("", ""),
    ],
)
def test_nearest_names_are_suggested(name: str, sentence: str) -> None:
    assert nearest(name, ["tiger", "tiger cat", "truck"]) == sentence


def test_nearest_gives_names_as_they_are_written() -> None:
    assert nearest("border colie", ["Border Collie"]) == "; did you mean Border Collie?"


def _raised(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every `raise Name(...)` and `raise Name`; a variable that is raised again has a small letter."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(raised)
            if name.rpartition(".")[2][:1].isupper():
                yield node.lineno, name


def _caught(path: Path) -> set[str]:
    """Names of the errors that a module handles itself."""
    handlers = [node.type for node in ast.walk(parse(path)) if isinstance(node, ast.ExceptHandler) and node.type]
    return {ast.unparse(each) for kind in handlers for each in (kind.elts if isinstance(kind, ast.Tuple) else [kind])}


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_a_module_raises_only_errors_of_the_tree_or_what_it_handles_itself(path: Path) -> None:
    own = {node.name for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)}
    allowed = {*errors.__all__, *PYTHONS_OWN, *TYPERS, *STREAMLITS, *own, *_caught(path)}
    if path.parts[0] == "ingest":
        allowed |= SIGNALS.keys()
    strange = [f"{path}:{line} raises {name}" for line, name in _raised(path) if name not in allowed]
    assert strange == []


@pytest.mark.parametrize(("name", "modules"), SIGNALS.items())
def test_what_modules_tell_one_another_is_handled(name: str, modules: list[str]) -> None:
    assert [each for each in modules if name not in _caught(Path(each))] == []
