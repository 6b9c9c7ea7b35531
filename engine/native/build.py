"""Compile the native library beside this file, where a C++ compiler is found: `python -m viscnn.engine.native.build`.

Only the standard library is used, so that the build hook of the package can run this file by its path. The library's
name holds a hash of what it is made from: one that was built from other sources is never loaded.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["build", "library_path", "why_missing"]

_FOLDER = Path(__file__).parent
_STEM = "_edge_products"
_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-fno-math-errno")
_LINK = ("-shared", "-static-libstdc++", "-static-libgcc", "-Wl,--as-needed", "-Wl,-s", "-pthread")
_LINK_ON_MAC = ("-shared", "-undefined", "dynamic_lookup")
_SHARED_SOURCES = ("library.cpp", "plan.cpp", "threads.cpp")
_VARIANTS: dict[str, dict[str, tuple[int, int, tuple[str, ...]]]] = {
    "x86_64": {
        "avx512": (16, 32, ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512")),
        "avx2": (8, 16, ("-mavx2", "-mfma")),
        "baseline": (4, 16, ()),
    },
    "aarch64": {"neon": (4, 32, ())},
}
"""By machine: the lanes of a vector, the number of vector registers, and the compiler's flags of each variant."""


def library_path(folder: Path = _FOLDER) -> Path:
    """Where the library that belongs to the sources in `folder` lies, built or not."""
    return folder / f"{_STEM}.{_platform()}.{_hash_of_sources(folder)}.so"


def why_missing(folder: Path = _FOLDER) -> str:
    """One line: why the library of the sources in `folder` cannot be loaded, and the way out."""
    path = library_path(folder)
    again = "run `python -m viscnn.engine.native.build`"
    if path.exists():
        return f"{path.name} cannot be loaded here: {again}"
    if _others(path):
        return f"stale: built from other sources than those that are here; {again}"
    if _machine() not in _VARIANTS or os.name == "nt":
        return f"not built: there is no native kernel for {platform.system()} on {platform.machine()}"
    if _compiler() is None:
        return f"not built: no C++ compiler was found; install g++ and {again}"
    return f"not built: {again}"


def build(folder: Path = _FOLDER) -> Path | None:
    """Compile the sources in `folder`; says on stderr why there is no library where there is none.

    A library of older sources is removed, one of the same sources is kept as it is.
    """
    target = library_path(folder)
    if not target.exists():
        problem = _compile(folder, target)
        if problem:
            print(f"viscnn: the native kernel was not built, slower ones do its work: {problem}", file=sys.stderr)
            return None
    for other in _others(target):
        other.unlink(missing_ok=True)
    return target


def _compile(folder: Path, target: Path) -> str | None:
    """Make `target` in one step; what went wrong, or None."""
    compiler = _compiler()
    if _machine() not in _VARIANTS or os.name == "nt":
        return f"there is none for {platform.system()} on {platform.machine()}"
    if compiler is None:
        return "no C++ compiler was found (install g++, or name one in CXX)"
    with tempfile.TemporaryDirectory(prefix="viscnn-native-") as scratch:
        commands = _commands(compiler, folder, Path(scratch))
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            problems = [problem for problem in pool.map(_run, commands) if problem]
        if problems:
            return problems[0]
        try:
            return _link(compiler, [command[-1] for command in commands], target)
        except OSError as error:
            return str(error)


def _commands(compiler: Sequence[str], folder: Path, scratch: Path) -> list[list[str]]:
    """One per object file, whose path is the last word."""
    found = [
        [*compiler, *_COMMON, "-O2", "-c", str(folder / name), "-o", str(scratch / f"{name}.o")]
        for name in _SHARED_SOURCES
    ]
    for variant, (lanes, registers, flags) in _VARIANTS[_machine()].items():
        names = (f"-DVARIANT={variant}", f"-DLANES={lanes}", f"-DREGISTERS={registers}")
        source = str(folder / "variant.cpp")
        found.append([*compiler, *_COMMON, "-O3", *names, *flags, "-c", source, "-o", str(scratch / f"{variant}.o")])
    return found


def _link(compiler: Sequence[str], objects: Sequence[str], target: Path) -> str | None:
    """Link into a file beside `target` and rename it, so that nobody ever sees half a library."""
    with tempfile.TemporaryDirectory(prefix=f".{_STEM}-", dir=target.parent) as scratch:
        linked = Path(scratch, target.name)
        options = _LINK_ON_MAC if sys.platform == "darwin" else _LINK
        problem = _run([*compiler, *options, *objects, "-o", str(linked)])
        if problem is None:
            linked.replace(target)
        return problem


def _run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
    return f"{command[0]} failed: {lines[0] if lines else done.returncode}" if done.returncode else None


def _compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX (with its options), c++, g++ or clang++."""
    candidates = [shlex.split(os.environ.get("CXX", "")), ["c++"], ["g++"], ["clang++"]]
    return next((words for words in candidates if words and shutil.which(words[0])), None)


def _machine() -> str:
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


def _platform() -> str:
    """System and processor: the same for every Python on a machine, and unlike on machines that share a folder."""
    return f"{sys.platform}_{_machine()}"


def _hash_of_sources(folder: Path) -> str:
    """Of the C++ sources and this file, which holds the flags."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.h"), folder / "build.py"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _others(target: Path) -> list[Path]:
    return [path for path in target.parent.glob(f"{_STEM}.{_platform()}.*.so") if path != target]


if __name__ == "__main__":
    made = build()
    if made is None:
        sys.exit(1)
    print(made)
