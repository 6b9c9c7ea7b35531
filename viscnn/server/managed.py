"""Starting, stopping and finding the managed server."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from viscnn.config import Connection
from viscnn.errors import ConfigError, ConnectionFailed, ServerError, ViscnnError
from viscnn.graph import change_password, probe
from viscnn.server import exchange, process, settings
from viscnn.server.fetch import Progress, fetch
from viscnn.server.home import Home, State, server_home
from viscnn.server.jars import VERSION, jars_folder, locked

__all__ = ["ServerStatus", "connection", "shell_env", "start", "status", "stop", "stopped"]

_START_SECONDS = 240.0
_JOIN_SECONDS = 60.0
_POLL_SECONDS = 0.2
_PORT_ATTEMPTS = 3


@dataclass(frozen=True)
class ServerStatus:
    """The managed server as it is now; `uri`, `browser` and `pid` are None while it does not run."""

    running: bool
    uri: str | None
    browser: str | None
    password_file: Path
    home: Path
    pid: int | None
    version: str


class _PortTaken(ServerError):
    """Another program took the port between our choice and the server's start."""


def start(*, progress: Progress | None = None) -> ServerStatus:
    """Start the server, or join the one that runs; returns once it has answered a query over Bolt.

    The first start fetches the jars (170 MB); `progress` is told what is fetched, the bytes done and the bytes in all.

    Raises:
        ConfigError: a folder cannot be written, an environment variable is wrong, or the password file is gone.
        ServerError: the disk is full, the jars cannot be fetched, or Neo4j does not start; names the log.
    """
    home = server_home()
    home.prepare()
    jars = jars_folder()
    if process.find(home) is None:
        fetch(locked(), jars, progress=progress)
    with home.locked(), home.writable():
        running = process.find(home, search=True)
        if running is None:
            exchange.repair(home)
        exchange.sweep(home)
        if running is None or not _join(home, running):
            _boot(home, jars)
    return status()


def stop() -> bool:
    """Close the databases and end the server; True when one was running."""
    home = server_home()
    if not home.folder.is_dir():
        return False
    with home.locked(), home.writable():
        running = _end(home)
        home.pid_file.unlink(missing_ok=True)
    return running


@contextmanager
def stopped() -> Iterator[Home]:
    """The home of the server while that is stopped and nobody can start it; it is started again whatever happens.

    Where it does not start with a database that was put in meanwhile, the former one is put back.
    """
    home, jars = server_home(), jars_folder()
    with home.locked(), home.writable():
        try:
            _end(home)
            yield home
        finally:
            _end(home)  # Ctrl-C may have come while it was stopping
            exchange.repair(home)
            _boot_again(home, jars)


def status() -> ServerStatus:
    """What is known of the server without asking it; changes nothing."""
    home = server_home()
    running = process.find(home)
    state = home.state()
    ready = state if running is not None and state is not None and state.ready else None
    return ServerStatus(
        running=ready is not None,
        uri=f"bolt://{settings.HOST}:{ready.bolt}" if ready else None,
        browser=f"http://{settings.HOST}:{ready.http}/browser/" if ready else None,
        password_file=home.password_file,
        home=home.folder,
        pid=running.pid if ready and running else None,
        version=VERSION,
    )


def connection() -> Connection:
    """The connection to the running managed server; raises ConnectionFailed when none runs."""
    home = server_home()
    state = home.state()
    if state is None or not status().running:
        raise ConnectionFailed("the managed Neo4j is not running; start it with `viscnn server start`")
    return _connection(home, state)


def shell_env() -> dict[str, str]:
    """The environment variables that point any Neo4j tool, this package included, at the running managed server."""
    current = connection()
    return {
        "NEO4J_URI": current.uri,
        "NEO4J_USERNAME": current.username,
        "NEO4J_PASSWORD": current.password,
        "NEO4J_DATABASE": current.database or settings.DATABASE,
    }


def _connection(home: Home, state: State) -> Connection:
    try:
        password = home.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"cannot read the password of the managed Neo4j in {home.password_file}: {error.strerror}; restore the"
            f" file, or remove the folder {home.folder} and with it the database"
        ) from error
    return Connection(f"bolt://{settings.HOST}:{state.bolt}", settings.USERNAME, password, settings.DATABASE)


def _join(home: Home, running: psutil.Process) -> bool:
    """Use the server that runs, possibly one whose starter died; one that never answers is ended, giving False."""
    state = home.state()
    if state is not None:
        try:
            _await_answer(home, state, running, seconds=_JOIN_SECONDS)
        except ServerError:
            pass
        else:
            home.remember(replace(state, ready=True))
            return True
    process.terminate(running, home)
    return False


def _end(home: Home) -> bool:
    """End the server; True when one was running."""
    running = process.find(home, search=True)
    if running is not None:
        process.terminate(running, home)
    return running is not None


def _boot_again(home: Home, jars: Path) -> None:
    """Start a server that was stopped for a moment, whatever comes between: Ctrl-C, or a database that does not open.

    Only a database that no server could open is given up: into any other somebody may have written already.
    """
    try:
        _boot(home, jars)
    except BaseException as error:
        if not isinstance(error, ViscnnError) or exchange.put_back(home):
            _boot(home, jars)
        raise


def _boot(home: Home, jars: Path) -> None:
    """Start a new server on the remembered ports, or on new ones when they are taken."""
    home.write(home.java_arguments, settings.java_arguments(locked()))
    for attempt in range(_PORT_ATTEMPTS):
        state = settings.choose_ports(home.state())
        home.remember(state)
        home.write(home.configuration / "neo4j.conf", settings.neo4j_conf(state))
        _provide_password(home, jars)
        try:
            _boot_on(state, home, jars)
        except _PortTaken:
            if attempt == _PORT_ATTEMPTS - 1:
                raise
        else:
            return


def _boot_on(state: State, home: Home, jars: Path) -> None:
    known = process.log_length(home)
    spawned: psutil.Process | None = None
    try:
        spawned = process.spawn(home, jars)
        _await_answer(home, state, spawned, seconds=_START_SECONDS, known=known)
        home.remember(replace(state, ready=True))
    except BaseException:  # Ctrl-C included: what this call started does not outlive it
        orphan = spawned or process.find(home, search=True)
        if orphan is not None:
            process.terminate(orphan, home, seconds=20)
        home.pid_file.unlink(missing_ok=True)
        raise


def _provide_password(home: Home, jars: Path) -> None:
    """Give a new database a throwaway password (it stands in argv), to be changed over Bolt once the server answers.

    A database whose throwaway password is still there has never been published: it is made anew, so that a first
    start that was broken off anywhere can simply be repeated.
    """
    if not home.initial_password_file.exists():
        if home.password_file.exists():
            return
        if (home.data / "databases").exists():
            raise ConfigError(
                f"{home.password_file} is gone, but {home.data} holds a database; restore the file, or remove the"
                f" folder {home.folder} and with it the database"
            )
    shutil.rmtree(home.data, ignore_errors=True)
    home.data.mkdir()
    initial = secrets.token_hex(24)
    home.write(home.initial_password_file, initial)
    home.write(home.password_file, secrets.token_urlsafe(24))
    process.run_admin(home, jars, ["dbms", "set-initial-password", initial])


def _await_answer(home: Home, state: State, running: psutil.Process, *, seconds: float, known: int = 0) -> None:
    target = _connection(home, state)
    deadline = time.monotonic() + seconds
    while not _admitted(home, target):
        if not process.alive(running):
            words = process.last_words(home, known)
            kind = _PortTaken if "already in use" in words else ServerError
            raise kind(f"Neo4j stopped while starting: {words} (log: {home.logs / 'neo4j.log'})")
        if time.monotonic() > deadline:
            raise ServerError(f"Neo4j did not answer at {target.uri} within {seconds:.0f} s (log: {home.logs})")
        time.sleep(_POLL_SECONDS)


def _admitted(home: Home, target: Connection) -> bool:
    """Whether the server answers a query with the published password, changing the throwaway one first."""
    throwaway = home.initial_password_file
    if throwaway.exists():
        first = replace(target, password=throwaway.read_text(encoding="utf-8"))
        if _answer(first) == "yes":
            change_password(first, target.password)
    answer = _answer(target)
    if answer == "refused":
        raise ConfigError(
            f"the managed Neo4j refuses the password in {home.password_file}; if it was changed in Neo4j, write the new"
            " one into the file"
        )
    if answer == "yes":
        throwaway.unlink(missing_ok=True)
    return answer == "yes"


def _answer(target: Connection) -> Literal["yes", "refused", "none"]:
    try:
        probe(target)
    except ViscnnError as error:
        code = getattr(error.__cause__, "code", None) or ""
        return "refused" if code.startswith("Neo.ClientError.Security") else "none"
    return "yes"
