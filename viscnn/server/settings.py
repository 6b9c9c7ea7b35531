"""How the managed Neo4j is set up: its settings file, its ports, and the flags of its Java."""

import os
import random
import re
import shlex
import socket
import time
from collections.abc import Sequence

from viscnn.errors import ConfigError, ServerError
from viscnn.server.home import State
from viscnn.server.jars import Jar

__all__ = [
    "DATABASE",
    "HOST",
    "IMPORT_CONF",
    "IMPORT_HEAP",
    "IMPORT_OFF_HEAP",
    "USERNAME",
    "choose_ports",
    "java_arguments",
    "neo4j_conf",
]

HOST = "127.0.0.1"
USERNAME = "neo4j"
DATABASE = "neo4j"

IMPORT_HEAP = ("-Xms256m", "-Xmx1g")
"""Of Neo4j's import tool, behind the server's own flags: the last ones count."""

IMPORT_OFF_HEAP = "1g"

IMPORT_CONF = """\
dbms.usage_report.enabled=false
db.tx_log.preallocate=false
"""
"""The text of `neo4j.conf` for Neo4j's import tool."""

_PORTS = range(20_000, 32_000)
"""Below the ports that Linux and macOS give to outgoing connections, so that a remembered port stays free."""

_LINGER_SECONDS = 2.0

_CONF = """\
# Written by viscnn at each start of the server.
server.default_listen_address={host}
server.bolt.listen_address={host}:{bolt}
server.bolt.advertised_address={host}:{bolt}
server.http.listen_address={host}:{http}
server.http.advertised_address={host}:{http}
server.https.enabled=false
server.directories.import=import
server.memory.pagecache.size={pagecache}
dbms.security.auth_enabled=true
dbms.security.allow_csv_import_from_file_urls=false
dbms.security.procedures.allowlist={procedures}
dbms.usage_report.enabled=false
client.allow_telemetry=false
db.query.default_language=CYPHER_25
# Only what is written takes space.
db.tx_log.preallocate=false
# LOAD CSV reaches no address at all.
internal.dbms.cypher_ip_blocklist=0.0.0.0/0,::/0
# Else every stop waits twice for 5 s after the databases are closed.
internal.dbms.bolt.netty_server_shutdown_quiet_period_duration=0s
"""

_PROCEDURES = (
    "db.*",
    "dbms.components",
    "dbms.info",
    "dbms.listCapabilities",
    "dbms.queryJmx",
    "dbms.showCurrentUser",
    "dbms.routing.*",
    "dbms.cluster.routing.*",
    "tx.*",
)
"""What this package and Neo4j Browser call (Neo4j 2026.08 applies the list to plugins, not to its own procedures)."""

_JAVA_FLAGS = (
    "-XX:+UseG1GC",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djdk.nio.maxCachedBufferSize=1024",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


def neo4j_conf(state: State) -> str:
    """The text of `neo4j.conf` for these ports."""
    return _CONF.format(
        host=HOST,
        bolt=state.bolt,
        http=state.http,
        pagecache=_memory("VISCNN_PAGECACHE", "512m"),
        procedures=",".join(_PROCEDURES),
    )


def java_arguments(jars: Sequence[Jar]) -> str:
    """The text of Java's argument file; file names stand alone, for a process that runs in the folder of the jars."""
    heap = _memory("VISCNN_HEAP", "1g")
    class_path = os.pathsep.join(jar.file_name for jar in jars)
    own = (_quoted(option) for option in _java_options())
    return "\n".join((f"-Xms{heap}", f"-Xmx{heap}", *_JAVA_FLAGS, *own, "-cp", class_path)) + "\n"


def _java_options() -> list[str]:
    try:
        return shlex.split(os.environ.get("VISCNN_JAVA_OPTIONS", ""))
    except ValueError as error:
        raise ConfigError(f"VISCNN_JAVA_OPTIONS cannot be read: {error}; quote as in a shell") from error


def _quoted(option: str) -> str:
    """An option as a line of Java's argument file."""
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _memory(variable: str, default: str) -> str:
    amount = os.environ.get(variable) or default
    if not re.fullmatch(r"[1-9]\d*[kmgKMG]", amount):
        raise ConfigError(f"{variable} is {amount!r}, which is not an amount of memory such as 512m or 2g")
    return amount


def choose_ports(last: State | None) -> State:
    """The ports that the server had last where they are still free, and new free ones otherwise."""
    taken: set[int] = set()
    chosen: list[int] = []
    for remembered in (last.bolt, last.http) if last else (0, 0):
        port = remembered if remembered not in taken and _falls_free(remembered) else _free_port(taken)
        taken.add(port)
        chosen.append(port)
    return State(bolt=chosen[0], http=chosen[1])


def _falls_free(port: int) -> bool:
    """Whether the port is free, or is about to be: the kernel needs a moment to close those of a killed server."""
    deadline = time.monotonic() + _LINGER_SECONDS
    while 0 < port < 65_536:
        if _is_free(port):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return False


def _free_port(taken: set[int]) -> int:
    for port in random.sample(_PORTS, 200):
        if port not in taken and _is_free(port):
            return port
    raise ServerError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {HOST}; stop other servers")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Java does: connections of a killed server that linger in the kernel do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
