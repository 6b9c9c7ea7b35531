"""Fetching jars: in parallel, each checked against its SHA-256 before it takes its final name.

The Maven client is `jgo.maven`, which knows the public repository; jars that Maven itself has already fetched on this
machine are copied. A fetch that was interrupted leaves whole jars only, and the next one goes on with the rest.
"""

import errno
import hashlib
import os
import shutil
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from filelock import FileLock

from viscnn.errors import ConfigError, ServerError
from viscnn.server.jars import Jar, missing

__all__ = ["Progress", "fetch"]

Progress = Callable[[str, int, int], None]
"""Called with what is fetched, the bytes done and the bytes in all."""

_WORKERS = 8
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 30


class _Abandoned(Exception):
    """Another jar failed or the user interrupted: this transfer ends early."""


@dataclass
class _Meter:
    """Bytes done of each jar, over all threads; refuses further bytes once the fetch is abandoned."""

    total: int
    progress: Progress | None
    abandoned: Event = field(default_factory=Event)
    _done: int = 0
    _of: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def report(self, name: str, count: int) -> None:
        """`count` bytes of the file `name` are here; less than before when it has to be fetched again."""
        with self._lock:
            self._done += count - self._of.get(name, 0)
            self._of[name] = count
            if self.progress is not None:
                self.progress("Neo4j", self._done, self.total)

    @contextmanager
    def transfer(self, name: str, _size: int) -> Iterator[Callable[[int], None]]:
        """Count one download, as `jgo` asks for it."""
        received = 0

        def update(count: int) -> None:
            nonlocal received
            if self.abandoned.is_set():
                raise _Abandoned
            received += count
            self.report(name, received)

        yield update


def fetch(jars: Sequence[Jar], folder: Path, *, progress: Progress | None = None) -> None:
    """Bring all `jars` into `folder`; those that are there already are left alone.

    Raises:
        ServerError: a jar cannot be fetched, has another checksum, or the disk is too full.
        ConfigError: `folder` cannot be written, or VISCNN_MAVEN is not an address.
    """
    if not missing(jars, folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "fetch.lock"):
            _fetch_missing(missing(jars, folder), folder, progress)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ServerError(f"the disk of {folder} is full; free some space, or set VISCNN_JARS") from error
        raise ConfigError(
            f"cannot write the jars of Neo4j to {folder}: {error.strerror}; set VISCNN_HOME or VISCNN_JARS to a"
            " writable folder"
        ) from error


def _fetch_missing(jars: Sequence[Jar], folder: Path, progress: Progress | None) -> None:
    total = sum(jar.size for jar in jars)
    free = shutil.disk_usage(folder).free
    if free < total:
        raise ServerError(
            f"the jars of Neo4j need {total / 1e6:.0f} MB, but {folder} has {free / 1e6:.0f} MB free; free some space,"
            " or set VISCNN_JARS to a folder on another disk"
        )
    meter = _Meter(total, progress)
    parts = folder / "parts"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        with _system_certificates():
            tasks = [pool.submit(_obtain, jar, folder, parts, meter) for jar in jars]
            finished, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in finished:
                task.result()
    finally:
        meter.abandoned.set()
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(parts, ignore_errors=True)


@contextmanager
def _system_certificates() -> Iterator[None]:
    """Let `requests` (inside jgo) trust what Python's `ssl` trusts: SSL_CERT_FILE, else the system's certificates."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None or "REQUESTS_CA_BUNDLE" in os.environ:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]


def _obtain(jar: Jar, folder: Path, parts: Path, meter: _Meter) -> None:
    part = _copy_of_maven(jar, parts) or _download_checked(jar, parts, meter)
    os.replace(part, folder / jar.file_name)
    meter.report(jar.file_name, jar.size)


def _copy_of_maven(jar: Jar, parts: Path) -> Path | None:
    """A copy of the jar from Maven's own cache on this machine, when the very same jar is there."""
    from jgo.constants import default_maven_repo

    cached = default_maven_repo() / jar.repository_path
    try:
        if cached.stat().st_size != jar.size or _sha256(cached) != jar.sha256:
            return None
    except OSError:
        return None
    return Path(shutil.copyfile(cached, parts / jar.file_name))


def _download_checked(jar: Jar, parts: Path, meter: _Meter) -> Path:
    reason = ""
    for attempt in range(_ATTEMPTS):
        meter.report(jar.file_name, 0)
        if meter.abandoned.wait(attempt * _PAUSE_SECONDS):
            raise _Abandoned
        try:
            part = _download(jar, parts, meter)
        except (OSError, RuntimeError) as error:  # of requests, and of jgo for any status but 200
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            reason = " ".join(str(error).split())[:240]
            continue
        found = _sha256(part)
        if found == jar.sha256:
            return part
        reason = f"its SHA-256 is {found[:16]}... instead of {jar.sha256[:16]}..."
    raise ServerError(
        f"cannot fetch {jar.coordinates}: {reason}; check the network and proxy, or name a mirror in VISCNN_MAVEN"
    )


def _download(jar: Jar, parts: Path, meter: _Meter) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(
        resolver=PythonResolver(progress_callback=meter.transfer),
        repo_cache=parts,
        remote_repos=_mirror(),
        timeout=_TIMEOUT_SECONDS,
    )
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier, "jar")
    (parts / jar.repository_path).unlink(missing_ok=True)
    path = context.resolver.download(artifact)
    if path is None:
        raise RuntimeError("the repository does not have it")
    return path


def _mirror() -> dict[str, str] | None:
    address = os.environ.get("VISCNN_MAVEN")
    if not address:
        return None
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"VISCNN_MAVEN is {address!r}, which is not an http(s) address")
    return {"mirror": address.rstrip("/")}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
