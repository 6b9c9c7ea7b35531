"""Files and functions stay small, Cypher stays in cypher/, and nothing unsafe is called."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import EVERY, ROOT, SHIPPED, parse

FILE_LINES = 400
FUNCTION_LINES = 50
CYPHER = re.compile(r"\bMATCH\s*\(|\bMERGE\s*\(|\bCREATE\s*\(", re.IGNORECASE)
UNSAFE = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "joblib.load",
    "torch.jit.load",
    "os.system",
}


@pytest.mark.parametrize("path", EVERY, ids=str)
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{path} has {lines} lines; split it by concept"


@pytest.mark.parametrize("path", EVERY, ids=str)
def test_a_function_has_at_most_50_lines(path: Path) -> None:
    long = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                long.append(f"{path}:{node.lineno}: {node.name} has {lines} lines; split it by step")
    assert long == []


def _docstrings(tree: ast.Module) -> set[int]:
    """Ids of the constants that stand alone as a statement: docstrings, of attributes too."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _cypher(path: Path) -> Iterator[str]:
    tree = parse(path)
    docstrings = _docstrings(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str) and CYPHER.search(node.value):
            yield f"{path}:{node.lineno}: Cypher in Python; make it a file below cypher/: {node.value[:60]!r}"


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_no_module_holds_cypher(path: Path) -> None:
    assert list(_cypher(path)) == []


def _calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def _keyword(call: ast.Call, name: str) -> object:
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_no_module_runs_code_from_data(path: Path) -> None:
    unsafe = [f"{path}:{call.lineno}: {name}" for call, name in _calls(path) if name in UNSAFE]
    for call, name in _calls(path):
        if name == "torch.load" and _keyword(call, "weights_only") is not True:
            unsafe.append(f"{path}:{call.lineno}: torch.load without weights_only=True")
        if name.rpartition(".")[2] == "load" and _keyword(call, "allow_pickle") is True:
            unsafe.append(f"{path}:{call.lineno}: {name} with allow_pickle=True")
        if _keyword(call, "shell") is True:
            unsafe.append(f"{path}:{call.lineno}: {name} with shell=True")
    assert unsafe == []


def test_the_checks_see_the_whole_program() -> None:
    names = {path.as_posix() for path in EVERY}
    assert {"viscnn/graph.py", "ingest/rows.py", "engine/selection.py", "tests/test_sizes.py"} <= names
    assert not any(name.startswith(("viscnn/ingest", "viscnn/engine", "viscnn/ui")) for name in names)


@pytest.mark.parametrize("file", ["Makefile", "constraints.txt", "Dockerfile", "docker-compose.yml", ".ci/run"])
def test_no_package_index_is_fixed(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(r"--(extra-)?index-url|://(?!127\.0\.0\.1|neo4j:)", text) is None
