"""`viscnn demo` and `viscnn ui`: what they start, they stop."""

import signal
import time
from types import FrameType
from typing import TYPE_CHECKING

from viscnn.config import environment_connection

if TYPE_CHECKING:
    from viscnn.console import Output

__all__ = ["run", "serve"]

FIRST_QUERY = "three - overall"


def serve(out: "Output", *, address: str, port: int | None, browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    from viscnn.ui.launch import launch

    _stop_on_signals()
    page = launch(address=address, port=port, browser=browser)
    try:
        out.say(f"page      {page.url}\nCtrl-C stops it")
        page.wait()
    except KeyboardInterrupt:
        out.say("stopping")
    finally:
        page.stop()


def run(out: "Output", *, port: int | None, browser: bool) -> None:
    """Start Neo4j if none is named or running, make the bundled model ready, and serve the page."""
    from viscnn import server
    from viscnn.api import VISCNN

    _stop_on_signals()
    external = environment_connection()
    ours = False
    try:
        if external is None:
            ours = not server.status().running
            out.say("starting Neo4j (the first time its jars are fetched, about 170 MB)")
            server.start(progress=out.progress)
        with VISCNN() as viscnn:
            report = viscnn.ingest("mnist", progress=out.progress)
            out.say(f"model     mnist: {report.filters} filters, {report.kernels:,} kernels")
            began = time.monotonic()
            query = viscnn.query(FIRST_QUERY, model="mnist", progress=out.progress)
            out.say(f"query     {query.text} in {time.monotonic() - began:.1f} s")
        _addresses(out)
        serve(out, address="127.0.0.1", port=port, browser=browser)
    except KeyboardInterrupt:
        out.say("stopping")
    finally:
        if ours:
            server.stop()
            out.say("Neo4j is stopped; its data stays")


def _stop_on_signals() -> None:
    """`kill` ends the command as Ctrl-C does, so that what it started is stopped; also in a shell's background."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _addresses(out: "Output") -> None:
    from viscnn import server

    external = environment_connection()
    if external is not None:
        out.say(f"Bolt      {external.uri} (NEO4J_URI)")
        return
    status = server.status()
    out.say(f"Bolt      {status.uri}")
    out.say(f"Browser   {status.browser}")
    out.say(f"password  of user neo4j: in {status.password_file}")
