"""The database of a stopped server put aside for one that was made beside it, and put back.

Both are folders below the home, so that an exchange is four renames. `Home.exchanging` exists while they happen: found
by a start, what was done of them is undone first. A kill at any moment leaves one whole database or the other.
"""

import contextlib
import shutil

import psutil
from filelock import FileLock, Timeout

from viscnn.server.home import Home
from viscnn.server.process import ended, importers
from viscnn.server.settings import DATABASE

__all__ = ["clear", "put_back", "put_in", "repair", "sweep", "written"]

_KILL_SECONDS = 10.0

_PARTS = ("databases", "transactions")
"""Folders below Neo4j's data folder that hold one folder per database."""

_LOG = "neostore.transaction.db."
"""Transaction logs are called so, with a number behind it; what checkpoints write lies in other files."""


def put_in(home: Home) -> None:
    """Exchange the database for the imported one; no server may run."""
    home.write(home.exchanging, "")
    home.replaced.mkdir(exist_ok=True)
    for part in _PARTS:
        (home.data / part / DATABASE).rename(home.replaced / part)
    for part in _PARTS:
        (home.imported / "data" / part / DATABASE).rename(home.data / part / DATABASE)
    home.exchanging.unlink()


def written(home: Home) -> tuple[int, int]:
    """Number and size of the newest transaction log of the database: every commit, and nothing else, makes it grow."""
    logs = (home.data / "transactions" / DATABASE).glob(f"{_LOG}*")
    return max(((int(log.name.removeprefix(_LOG)), log.stat().st_size) for log in logs), default=(0, 0))


def put_back(home: Home) -> bool:
    """Give the database up for the one that it replaced; False if it replaced none. No server may run."""
    if not any((home.replaced / part).exists() for part in _PARTS):
        return False
    home.write(home.exchanging, "")
    repair(home)
    return True


def repair(home: Home) -> None:
    """Undo an exchange that was broken off; no server may run. It can itself be broken off and begun anew."""
    if not home.exchanging.exists():
        return
    for part in _PARTS:
        if (home.replaced / part).exists():
            shutil.rmtree(home.data / part / DATABASE, ignore_errors=True)
            (home.replaced / part).rename(home.data / part / DATABASE)
    home.exchanging.unlink()


def sweep(home: Home) -> None:
    """Remove what a killed bulk load left: its Java, and its folder; one that is alive is left alone."""
    if not home.bulk.exists():
        return
    lock = FileLock(home.bulk_lock, timeout=0)
    with contextlib.suppress(Timeout), lock:
        clear(home)


def clear(home: Home) -> None:
    """End imports and remove the folder of bulk loads, but not while it holds a database that has to be put back."""
    for process in importers(home):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            ended(process, _KILL_SECONDS)
    if not home.exchanging.exists():
        shutil.rmtree(home.bulk, ignore_errors=True)
