"""What is handed out is complete: the wheel, the source archive, and a wheel built from the latter."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("viscnn", "ingest", "engine", "ui", "cypher")
SUFFIXES = {
    ".py",
    ".cypher",
    ".js",
    ".css",
    ".html",
    ".safetensors",
    ".json",
    ".txt",
    ".png",
    ".svg",
    ".lark",
    ".cpp",
    ".h",
}
BESIDE = {"pyproject.toml", "README.md", "LICENSE"}


def _build(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


def _layer_files(root: Path) -> set[str]:
    """Paths below `root` of all files that the program needs; links are not followed."""
    found = set()
    for layer in LAYERS:
        for folder, inner, names in os.walk(root / layer, followlinks=False):
            inner[:] = [name for name in inner if name not in {"__pycache__", "node_modules"}]
            for path in (Path(folder, name) for name in names):
                if path.suffix in SUFFIXES or path.name == "py.typed":
                    found.add(path.relative_to(root).as_posix())
    return found


def _in_wheel(name: str) -> str:
    return name if name.startswith("viscnn/") else f"viscnn/{name}"


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel that is built from this checkout."""
    return _names(_build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


def test_a_wheel_with_the_native_library_is_for_one_platform(tmp_path: Path) -> None:
    path = _build("wheel", ROOT, tmp_path)
    libraries = [name for name in _names(path) if name.endswith(".so")]
    assert path.name.endswith("-py3-none-any.whl") == (libraries == [])
    assert len(libraries) <= 1


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source archive."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(_build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


def test_the_wheel_holds_every_file_of_every_layer(wheel: set[str]) -> None:
    wanted = {_in_wheel(name) for name in _layer_files(ROOT)}
    assert {"viscnn/graph.py", "viscnn/cypher/read/top_kernels.cypher", "viscnn/engine/py.typed"} <= wanted
    assert wanted - wheel == set()


def test_the_only_top_level_name_of_the_wheel_is_viscnn(wheel: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel if ".dist-info/" not in name} == {"viscnn"}


def test_the_wheel_holds_nothing_twice_and_no_rubbish(wheel: set[str]) -> None:
    rubbish = [name for name in wheel if "__pycache__" in name or "/tests/" in name or name.endswith("/.env")]
    assert rubbish == []
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)


def test_the_source_archive_holds_everything(unpacked: Path) -> None:
    assert _layer_files(ROOT) - _layer_files(unpacked) == set()
    assert BESIDE - {path.name for path in unpacked.iterdir()} == set()


def test_the_wheel_from_the_source_archive_is_the_same(wheel: set[str], unpacked: Path, tmp_path: Path) -> None:
    assert _names(_build("wheel", unpacked, tmp_path)) == wheel


def test_an_installed_wheel_finds_its_layers_and_queries(tmp_path: Path) -> None:
    with zipfile.ZipFile(_build("wheel", ROOT, tmp_path / "built")) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import viscnn, viscnn.engine, viscnn.ingest, viscnn.ui\n"
        "from viscnn import queries\n"
        "print(viscnn.engine.__file__, queries.load('top_kernels').mode)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "site")]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert out.split() == [str(tmp_path / "site" / "viscnn" / "engine" / "__init__.py"), "read"]
