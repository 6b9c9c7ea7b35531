"""Imports go one way, the driver has one importer, and importing the package loads nothing heavy."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.sources import LAYERS, ROOT, SHIPPED, parse

ORDER: list[set[str]] = [
    {"errors", "progress", "colours"},
    {"config", "schema"},
    {"queries"},
    {"graph"},
    {"adhoc", "server", "subgraph"},
    {"ingest", "diagram", "comparison"},
    {"engine"},
    {"session", "py2neo", "doctor"},
    {"api"},
    {"console", "reports", "ui"},
    {"demo"},
    {"cli"},
    {"commands"},
    {"main"},
]
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
UI_MAY_IMPORT = {"api", "colours", "errors", "queries", "ui", "config", "progress"}
NOT_IN_UI = {"torch", "torchvision", "neo4j", "py2neo"}
ONLY_IMPORTER = {"neo4j": "viscnn/graph.py", "py2neo": "viscnn/py2neo_adapter.py"}
HEAVY = ("torch", "torchvision", "neo4j", "streamlit", "pandas", "scipy", "umap", "numba", "matplotlib")
FACADE = Path("viscnn/__init__.py")


def _component(dotted: str) -> str:
    """`viscnn.server.jars` and `viscnn.server_files` belong to `server`."""
    return dotted.split(".")[1].strip("_").partition("_")[0]


def _own_component(path: Path) -> str:
    name = path.with_suffix("").parts
    return _component(".".join(name if name[0] == "viscnn" else ("viscnn", *name)))


def _for_types_only(path: Path) -> set[int]:
    """Lines below `if TYPE_CHECKING:`, which never run."""
    guards = [node for node in ast.walk(parse(path)) if isinstance(node, ast.If)]
    lines = [each for guard in guards if ast.unparse(guard.test) == "TYPE_CHECKING" for each in guard.body]
    return {each.lineno for each in lines}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, at any depth."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write it out from viscnn"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names)


def _viscnn_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and component of the imports of this package; `from viscnn import __version__` is none."""
    for line, name in _imports(path):
        if name.startswith("viscnn.") and not name.startswith("viscnn.__"):
            yield line, _component(name)


def _packages(path: Path) -> Iterator[tuple[int, str]]:
    yield from ((line, name.partition(".")[0]) for line, name in _imports(path))


@pytest.mark.parametrize("path", [path for path in SHIPPED if path != FACADE], ids=str)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    own = _own_component(path)
    assert own in RANKS, f"{path}: {own} has no place in the order of tests/test_layers.py"
    for line, component in _viscnn_imports(path):
        assert component in RANKS, f"{path}:{line}: {component} has no place in the order of tests/test_layers.py"
        fits = component == own or RANKS[component] < RANKS[own]
        assert fits, f"{path}:{line}: {own} imports {component}, which lies above or beside it"


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.parts[0] == "ui"], ids=str)
def test_the_page_knows_the_api_only(path: Path) -> None:
    """It may name the classes of the reports that the API hands it, but only for the type checker."""
    types = _for_types_only(path)
    below = [(line, name) for line, name in _viscnn_imports(path) if name not in UI_MAY_IMPORT]
    wrong = [f"{path}:{line}: {name}" for line, name in below if line not in types]
    wrong += [f"{path}:{line}: {name}" for line, name in _packages(path) if name in NOT_IN_UI]
    assert wrong == []


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_each_driver_has_one_importer(path: Path) -> None:
    for line, name in _packages(path):
        importer = ONLY_IMPORTER.get(name, str(path))
        assert path.as_posix() == importer, f"{path}:{line}: only {importer} imports {name}"


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_no_module_imports_a_layer_by_its_bare_name(path: Path) -> None:
    bare = {*LAYERS, "cypher", "tests"} - {"viscnn"}
    assert [f"{path}:{line}: {name}" for line, name in _packages(path) if name in bare] == []


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def test_importing_the_package_loads_no_layer_and_nothing_heavy() -> None:
    loaded = _loaded_by("import viscnn")
    assert {name for name in loaded if name.startswith("viscnn.")} == set()
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.skipif(not (ROOT / "viscnn/cli.py").exists(), reason="viscnn/cli.py does not exist yet")
def test_importing_the_command_line_loads_nothing_heavy() -> None:
    assert _loaded_by("import viscnn.cli").isdisjoint(HEAVY)


@pytest.mark.skipif(not (ROOT / "viscnn/api.py").exists(), reason="viscnn/api.py does not exist yet")
def test_every_public_name_resolves() -> None:
    import viscnn

    for name in viscnn.__all__:
        assert getattr(viscnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        viscnn.missing  # noqa: B018


def test_the_layers_are_linked_into_the_package() -> None:
    """What a checkout without links (Windows, a zip archive) has is a text file with the same content."""
    for layer in {*LAYERS, "cypher"} - {"viscnn"}:
        link = ROOT / "viscnn" / layer
        target = str(link.readlink()) if link.is_symlink() else link.read_text() if link.is_file() else None
        assert target == f"../{layer}" or link.is_dir(), f"viscnn/{layer} is no link to ../{layer}"


def test_the_order_is_the_one_that_contributors_read() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    match = re.search(r"Imports go one way: (.*)\.\n", text)
    assert match is not None
    steps = [[name.strip() for name in step.split(",")] for step in match[1].split("<-")]
    for lower, upper in pairwise(steps):
        assert max(RANKS[name] for name in lower) < min(RANKS[name] for name in upper)
