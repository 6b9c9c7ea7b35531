"""The folder of the managed server: its files, what is remembered in them, and whether it can be used at all."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from viscnn.config import home_folder
from viscnn.errors import ConfigError, ServerError

__all__ = ["Home", "State", "server_home", "writable"]

_FREE_MB = 300
"""A transaction log of 256 MB and the store of a small network."""
_LOCK_SECONDS = 600.0


@dataclass(frozen=True)
class State:
    """Ports that the server had last; `ready` says that it answered there with the published password."""

    bolt: int
    http: int
    ready: bool = False


@dataclass(frozen=True)
class Home:
    """Paths of the managed server below `folder`; nothing exists before `prepare`."""

    folder: Path

    @property
    def configuration(self) -> Path:
        return self.folder / "conf"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def console(self) -> Path:
        return self.logs / "console.log"

    @property
    def java_arguments(self) -> Path:
        return self.folder / "java.args"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def initial_password_file(self) -> Path:
        """Exists from before the first boot until the password is changed: nobody can have stored anything yet."""
        return self.folder / "password.initial"

    @property
    def pid_file(self) -> Path:
        return self.folder / "server.pid"

    @property
    def state_file(self) -> Path:
        return self.folder / "server.json"

    @property
    def bulk(self) -> Path:
        """Folder of a bulk load; exists only while one goes on, or after one was killed."""
        return self.folder / "bulk"

    @property
    def imported(self) -> Path:
        """Home that Neo4j's import tool works in, so that it never touches the server's own data."""
        return self.bulk / "home"

    @property
    def replaced(self) -> Path:
        """The parts of the database that an imported one has replaced."""
        return self.bulk / "replaced"

    @property
    def exchanging(self) -> Path:
        """Exists while databases are exchanged (module `exchange`)."""
        return self.bulk / "exchanging"

    @property
    def bulk_lock(self) -> Path:
        return self.folder / "bulk.lock"

    def prepare(self) -> None:
        """Create the folders, for this user only.

        Raises:
            ConfigError: the folder cannot be written.
            ServerError: its disk is too full.
        """
        with self.writable():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("conf", "data", "import", "logs", "run"):
                (self.folder / name).mkdir(exist_ok=True)
            free = shutil.disk_usage(self.folder).free // 1_000_000
            if free < _FREE_MB:
                raise ServerError(
                    f"{self.folder} has {free} MB free, but Neo4j needs {_FREE_MB} MB; free some space, or set"
                    " VISCNN_HOME to a folder on another disk"
                )
            tempfile.TemporaryFile(dir=self.folder).close()

    @contextmanager
    def writable(self) -> Iterator[None]:
        """Turn failures to write below the folder into our errors."""
        with writable(self.folder):
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One start or stop at a time, over all processes of this machine."""
        lock = FileLock(self.folder / "server.lock", timeout=_LOCK_SECONDS)
        with self.writable():
            try:
                lock.acquire()
            except Timeout as error:  # which is an OSError too
                raise ServerError(
                    f"another process has been starting or stopping the server for {_LOCK_SECONDS:.0f} s; see"
                    f" {self.logs}"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def state(self) -> State | None:
        """What is remembered of the last server; None when nothing, or nothing readable, is."""
        try:
            stored = json.loads(self.state_file.read_text(encoding="utf-8"))
            return State(int(stored["bolt"]), int(stored["http"]), bool(stored["ready"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, state: State) -> None:
        """Replace the state file."""
        self.write(self.state_file, json.dumps(asdict(state)) + "\n")

    def write(self, path: Path, text: str) -> None:
        """Replace a file below the folder at once, readable by this user only."""
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn failures to write below a folder that VISCNN_HOME decides on into our errors, in one line."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ServerError(
                f"the disk of {folder} is full; free some space, or set VISCNN_HOME to one on another disk"
            ) from error
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}; set VISCNN_HOME to a writable folder"
        ) from error


def server_home() -> Home:
    """The home of this user's managed server (below VISCNN_HOME)."""
    return Home((home_folder() / "server").resolve())
