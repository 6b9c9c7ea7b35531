"""The Python files of this repository, for the tests that read them."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("viscnn", "ingest", "engine", "ui")


def _below(*folders: str) -> list[Path]:
    """Paths relative to the root; the directory links in `viscnn/` are not followed."""
    found: list[Path] = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            linked = any((ROOT / parent).is_symlink() for parent in relative.parents)
            if not linked and "node_modules" not in relative.parts:
                found.append(relative)
    return found


SHIPPED = _below(*LAYERS)
EVERY = _below(*LAYERS, "tests", "benchmarks", "examples")


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file named relative to the root."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))
