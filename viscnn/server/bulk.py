"""Rows from files into the managed server's database, by Neo4j's offline import tool.

    with bulk.replacement() as load:
        ...                                 # write Parquet files into load.rows
        load.run(nodes, relationships)      # a database is made of them beside the server's own, which runs on
        load.exchange(check)                # a few seconds without a server; then it has the new database

The database is replaced as a whole, so `check` makes sure that the former one is empty. Nothing that anybody has
written is ever given up: not what comes between the check and the exchange, which is refused then, nor what comes into
the new database. What is killed leaves one whole database or the other, and files that the next start of the server, or
the next bulk load, removes.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from viscnn.errors import InputError, ServerError
from viscnn.progress import Progress, silent
from viscnn.server import exchange, managed, process, settings
from viscnn.server.home import Home, server_home
from viscnn.server.jars import jars_folder

__all__ = ["BulkLoad", "RowFile", "other_clients", "replacement"]

_STEPS = {"1": "importing nodes", "2": "importing kernels", "3": "linking kernels", "4": "counting"}
_STEP = re.compile(r"\((\d)/4\)")
_PERCENT = re.compile(r"(\d+)% ")

_UNSEEN = (
    "the system does not say which programs are connected to the managed server, which --bulk stops for some seconds;"
    " leave out --bulk"
)


@dataclass(frozen=True)
class RowFile:
    """One Parquet file of nodes with the labels `kind` (`Filter:Sum`), or of relationships of the type `kind`."""

    kind: str
    path: Path


class BulkLoad:
    """A database that is made beside the server's own and then takes its place (see the module)."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def rows(self) -> Path:
        """Folder for the row files; its file names must be plain."""
        return self._home.bulk / "rows"

    def require(self, needed: int) -> None:
        """Raise ServerError when less than `needed` bytes are free on the disk."""
        free = shutil.disk_usage(self._home.folder).free
        if free < needed:
            raise ServerError(
                f"{self._home.folder} has {free / 1e9:.1f} GB free, but a bulk load of this model needs"
                f" {needed / 1e9:.1f} GB; free some space, set VISCNN_HOME to a folder on another disk, or load without"
                " weights"
            )

    def run(self, nodes: Sequence[RowFile], relationships: Sequence[RowFile], *, progress: Progress = silent) -> None:
        """Make the database of the row files, and remove these.

        The files' columns are named as Neo4j's import tool wants them: `:ID`, `:START_ID`, `:END_ID` (integers that
        count the nodes over all files), and `name:type` of each property.

        Raises:
            ServerError: the import failed, or the disk is full.
        """
        home = self._home
        (home.imported / "conf").mkdir(parents=True)
        home.write(home.imported / "conf" / "neo4j.conf", settings.IMPORT_CONF)
        arguments = [
            "--input-type=parquet",
            "--id-type=integer",
            "--path-pattern-style=none",
            "--bad-tolerance=0",
            f"--max-off-heap-memory={settings.IMPORT_OFF_HEAP}",
            f"--report-file={home.imported / 'report'}",
            *(f"--nodes={each.kind}={each.path}" for each in nodes),
            *(f"--relationships={each.kind}={each.path}" for each in relationships),
        ]
        process.run_import(home, jars_folder(), arguments, on_line=_Teller(progress).line)
        shutil.rmtree(self.rows)

    def exchange(self, check: Callable[[], None]) -> None:
        """Stop the server, exchange its database for the imported one, start it again.

        Args:
            check: raises when the database may not be given up, as when another program is connected to it. It is to
                ask for the programs first and look into the database then: whatever a program commits that connects
                later is seen in the transaction log.

        Raises:
            InputError: something was written after the check had begun; the former database runs on.
            ServerError: the server does not start with the imported one; the former one is back.
        """
        before = exchange.written(self._home)
        check()
        with managed.stopped() as home:
            if exchange.written(home) != before:
                raise InputError(
                    "another program wrote to the database while it was to be replaced; it is as that has left it:"
                    " look at it, and leave out --bulk"
                )
            exchange.put_in(home)


class _Teller:
    """Turns the lines of the import tool, such as `(2/4) Relationship import` and `....  35% `, into progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step = _STEPS["1"]

    def line(self, line: str) -> None:
        """Take in one line."""
        if step := _STEP.match(line):
            self._step = _STEPS[step[1]]
        elif percent := _PERCENT.search(line):
            self._progress(self._step, int(percent[1]), 100)


@contextmanager
def replacement() -> Iterator[BulkLoad]:
    """A bulk load into the managed server; no file of it stays, whatever happens.

    Raises:
        ServerError: another bulk load goes on.
    """
    home = server_home()
    lock = FileLock(home.bulk_lock, timeout=0)
    with home.writable():
        try:
            lock.acquire()
        except Timeout as error:
            raise ServerError("another bulk load goes on; wait for its end, or load without --bulk") from error
        load = BulkLoad(home)
        try:
            exchange.clear(home)
            load.rows.mkdir(parents=True)
            yield load
        finally:
            exchange.clear(home)
            lock.release()


def other_clients() -> list[str]:
    """Programs beside this one that are connected to the managed server, such as `python (pid 123)`.

    Raises:
        ServerError: the connections cannot be seen.
    """
    home = server_home()
    server, state = process.find(home), home.state()
    if server is None or state is None:
        return []
    ports = {state.bolt, state.http}
    try:
        seen, mine = server.net_connections("tcp"), psutil.Process().net_connections("tcp")
    except psutil.Error as error:
        raise ServerError(_UNSEEN) from error
    if not any(each.status == psutil.CONN_LISTEN and each.laddr.port == state.bolt for each in seen):
        raise ServerError(_UNSEEN)  # it does listen: there is no telling what else is not shown
    theirs = {each.raddr.port for each in _open(seen) if each.laddr.port in ports}
    return [_name(port) for port in sorted(theirs - {each.laddr.port for each in _open(mine)})]


def _open(connections: Sequence[Any]) -> list[Any]:
    """Those with another end."""
    return [each for each in connections if each.status == psutil.CONN_ESTABLISHED and each.raddr]


def _name(port: int) -> str:
    """The program whose end of a connection has this port."""
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # another user's, or gone
            if any(connection.laddr.port == port for connection in _open(each.net_connections("tcp"))):
                return f"{each.name()} (pid {each.pid})"
    return f"a program on port {port}"
