"""A model of the user's own: `path/to/file.py:function`, imported with the files and packages beside it.

The file sees its neighbours as if it were run from its folder, whatever they are called (`engine.py`, `ui.py`); in a
folder with `__init__.py` it is a module of that package. The file's own code does run: it is named by the person at
this machine, never by the graph (`registry.py`).
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from viscnn.errors import ModelError, nearest
from viscnn.ingest.zoo_parts import Built, one_line, seeded

__all__ = ["build", "is_file"]


def is_file(source: str) -> bool:
    """Whether `source` is meant as `path/to/file.py:function`."""
    return ":" in source or source.endswith(".py")


def build(source: str) -> Built:
    """What the function returns, its random weights drawn with seed 0.

    Raises:
        ModelError: no such file or function, one that needs arguments, fails, or returns anything but one module.
    """
    path, _, function = source.rpartition(":")
    file = Path(path or source)
    if not path or file.suffix != ".py":
        raise ModelError(f"{source!r} is not path/to/file.py:function")
    if not file.is_file():
        raise ModelError(f"there is no file {file} (in {source!r})")
    place = _place(file.resolve())
    with _beside(place):
        loaded = _import(file, place)
        made = _make(loaded, file, function, source)
    if not isinstance(made, nn.Module):
        raise ModelError(f"{source} returns {_described(made)}, not a torch.nn.Module")
    return Built(made, type(made).__name__)


def _described(value: Any) -> str:
    """`int`, or `a tuple of ResNet and dict` with what to do about it."""
    if not isinstance(value, tuple | list) or not any(isinstance(each, nn.Module) for each in value):
        return type(value).__name__
    inside = ", ".join(type(each).__name__ for each in value)
    return f"a {type(value).__name__} ({inside}; write a function that returns the module alone)"


def _make(loaded: ModuleType, file: Path, function: str, source: str) -> Any:
    found = getattr(loaded, function, None)
    if isinstance(found, nn.Module):
        return found  # a model made while the file was imported
    if not callable(found):
        functions = [name for name, each in inspect.getmembers(loaded) if inspect.isroutine(each)]
        raise ModelError(f"{file} has no function {function!r}{nearest(function, functions)}")
    needed = _needed(found)
    if needed:
        raise ModelError(
            f"{source} needs {', '.join(needed)}; give every argument a default, or write a function without any"
        )
    try:
        return seeded(found)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{source} failed: {type(error).__name__}: {one_line(error)}") from error


def _needed(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # some builtins have none
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


@dataclass(frozen=True)
class _Place:
    """Where a file lies among its neighbours.

    Attributes:
        file: its absolute path.
        top: the folder of the outermost package it belongs to; its own folder when that is no package.
        package: names of the packages from `top` down to the file.
    """

    file: Path
    top: Path
    package: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the outermost package in `sys.modules`: no other module has it, and two folders of one name differ."""
        return f"viscnn_user_{hashlib.sha256(str(self.top).encode()).hexdigest()[:12]}"

    @property
    def paths(self) -> list[str]:
        """What goes to the front of `sys.path`: the file's folder, and the one that holds its package."""
        above = [str(self.top.parent)] if _is_package(self.top) else []
        return [str(self.file.parent), *above]


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _place(file: Path) -> _Place:
    top = file.parent
    while _is_package(top) and _is_package(top.parent):
        top = top.parent
    return _Place(file, top, file.parent.relative_to(top).parts)


@contextmanager
def _beside(place: _Place) -> Iterator[None]:
    """Let the user's file import its neighbours while it is imported and called.

    They are forgotten afterwards, so that the next project's `engine.py` is not taken to be this one's; the file and
    its package stay, under names of our own: dataclasses and pickling look their module up.
    """
    before = set(sys.modules)
    path = list(sys.path)
    sys.path[:0] = place.paths
    try:
        yield
    finally:
        sys.path[:] = path
        new = {name for name in sys.modules if name.partition(".")[0] not in {place.name, *before}}
        for name in {name for name in new if _is_neighbour(name, place.paths)}:
            del sys.modules[name]


def _is_neighbour(name: str, folders: list[str]) -> bool:
    """Whether a module is a file of one of the folders, or belongs to a package directly in it."""
    module = sys.modules[name]
    origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if not isinstance(origin, str):
        return False
    beside = [Path(folder) / name.partition(".")[0] for folder in folders]
    return any(Path(origin).with_suffix("") == each or Path(origin).is_relative_to(each) for each in beside)


def _import(file: Path, place: _Place) -> ModuleType:
    """Run the file as a module of its package, which is run first, as Python would."""
    for name in [each for each in sys.modules if each == place.name or each.startswith(f"{place.name}.")]:
        del sys.modules[name]  # the file may have changed since
    try:
        return seeded(lambda: _executed(place))
    except (Exception, SystemExit) as error:
        raise ModelError(f"{file} cannot be imported: {type(error).__name__}: {one_line(error)}") from error


def _executed(place: _Place) -> ModuleType:
    name, folder = place.name, place.top
    _load(name, folder / "__init__.py" if _is_package(folder) else None, folder)
    for part in place.package:
        name, folder = f"{name}.{part}", folder / part
        if name not in sys.modules:
            _load(name, folder / "__init__.py", folder)
    if place.file.name == "__init__.py":
        return sys.modules[name]
    name = f"{name}.{place.file.stem.replace('.', '_')}"
    return sys.modules.get(name) or _load(name, place.file, None)


def _load(name: str, file: Path | None, folder: Path | None) -> ModuleType:
    """A module from a file; with `folder` a package, whose file may be missing."""
    if file is None:
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
        return module
    inside = [str(folder)] if folder else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
