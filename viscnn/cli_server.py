"""`viscnn server`: the managed local Neo4j."""

from typing import Annotated, Any

import typer

from viscnn import console

__all__ = ["server_app"]

server_app = typer.Typer(no_args_is_help=True, help="The managed local Neo4j.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def _facts(status: Any) -> dict[str, Any]:
    return {
        "running": status.running,
        "uri": status.uri,
        "browser": status.browser,
        "passwordFile": str(status.password_file),
        "home": str(status.home),
        "pid": status.pid,
        "version": status.version,
    }


def describe(status: Any) -> str:
    """A status for people."""
    if not status.running:
        return f"Neo4j {status.version} is not running (data folder {status.home}); start it: viscnn server start"
    return (
        f"Neo4j {status.version} runs (pid {status.pid})\n"
        f"  Bolt      {status.uri}\n"
        f"  Browser   {status.browser}\n"
        f"  user      neo4j, password in {status.password_file}\n"
        f"  data      {status.home}"
    )


@server_app.command()
def start(json: Json = False) -> None:
    """Start the server (the first time its jars are fetched, about 170 MB)."""
    from viscnn import server

    with console.session(json) as out:
        status = server.start(progress=out.progress)
        out.result(_facts(status), describe(status))


@server_app.command()
def stop(json: Json = False) -> None:
    """Stop the server."""
    from viscnn import server

    with console.session(json) as out:
        stopped = server.stop()
        out.result({"stopped": stopped}, "stopped" if stopped else "no server was running")


@server_app.command()
def status(json: Json = False) -> None:
    """Show whether the server runs, its addresses and the file that holds the password."""
    from viscnn import server

    with console.session(json) as out:
        found = server.status()
        out.result(_facts(found), describe(found))


@server_app.command(name="shell-env")
def shell_env(json: Json = False) -> None:
    """Print NEO4J_URI and friends for `eval "$(viscnn server shell-env)"`."""
    import shlex

    from viscnn import server

    with console.session(json) as out:
        found = server.shell_env()
        out.result(dict(found), "\n".join(f"export {key}={shlex.quote(value)}" for key, value in found.items()))
