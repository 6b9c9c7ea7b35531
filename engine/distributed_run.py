"""The command `python -m viscnn.engine.run`: queries scored by one process, or by all that torchrun has started.

    torchrun --nproc-per-node=4 -m viscnn.engine.run alexnet "tiger - overall" --max-images 0

Only the first process talks to Neo4j and prints; the others need the model in their registry, and the images. With
`--no-graph` none does: the scores are kept in the cache, where `viscnn query` finds them. Exit codes are those of
`viscnn`: 0 done, 2 the caller's mistake, 1 anything else.
"""

import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import typer
from typer.main import get_command

from viscnn import server
from viscnn.config import environment_connection
from viscnn.engine.bundle import load_bundle, own_sets, stored_bundle
from viscnn.engine.distributed import Processes, processes
from viscnn.engine.images import OwnSet
from viscnn.engine.meeting import PATIENCE
from viscnn.engine.run import QueryReport, QuerySpec, run_queries, score_queries
from viscnn.engine.scoring import Running
from viscnn.errors import NotInGraph, ViscnnError, nearest
from viscnn.graph import Graph
from viscnn.ingest.registry import registered

__all__ = ["Task", "main", "run"]

_LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """What all processes do together: the queries, the first of which is activated."""

    model: str
    queries: tuple[QuerySpec, ...]
    images: str | None = None
    workers: int | None = None
    activate: bool = True
    graph: bool = True


def run(group: Processes, task: Task) -> list[QueryReport]:
    """Score the queries with all processes of the group; the first one stores them, and alone returns reports.

    Without `task.graph` they are scored, and left in the cache.

    Raises:
        ViscnnError: anything that `run_queries` raises in this process, or what another process failed by.
    """
    progress = group.watched(_Lines().tell) if group.rank == 0 else group.watched(lambda step, done, total: None)
    running = Running(group=group, progress=progress, workers=task.workers)
    if group.rank == 0 and task.graph:
        with Graph(environment_connection() or server.connection()) as graph:
            weights_hash = _weights_hash(graph, task.model)
            group.first(_stored(weights_hash, own_sets(graph, task.model)))
            bundle = stored_bundle(graph, task.model, weights_hash, images=task.images)
            return run_queries(graph, bundle, task.queries, activate=task.activate, running=running)
    said = "" if group.rank else _stored(registered(task.model).weights_hash, ())
    weights_hash, own = json.loads(group.first(said))
    bundle = load_bundle(task.model, weights_hash, images=task.images)
    bundle = replace(bundle, own=tuple(OwnSet(name, tuple(paths), of) for name, paths, of in own))
    reports = score_queries(bundle, task.queries, running=running)
    return [] if group.rank else reports


def _stored(weights_hash: str, own: Iterable[OwnSet]) -> str:
    """What the other processes must know of the graph: the model's weights, and the image sets of one's own."""
    return json.dumps([weights_hash, [[each.name, each.paths, each.images_hash] for each in own]])


def _weights_hash(graph: Graph, model: str) -> str:
    found = graph.read("read/model", model=model)
    if not found or found[0]["status"] != "complete":
        known = tuple(each["name"] for each in graph.read("read/models") if each["status"] == "complete")
        raise NotInGraph(f"no complete model {model!r} is stored{nearest(model, known)} (stored: {', '.join(known)})")
    return str(found[0]["weightsHash"])


class _Lines:
    """Progress as lines, for the log of a batch job: one every ten seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._began = self._told = time.monotonic()
        self._first = 0

    def tell(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._step:
            self._step, self._began, self._told, self._first = step, now, now, done
        elif now - self._told > _LINE_SECONDS and done > self._first:
            left = (now - self._began) / (done - self._first) * (total - done)
            print(f"{step}: {done:,} of {total:,}, {timedelta(seconds=round(left))} left", file=sys.stderr, flush=True)
            self._told = now


_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def _command(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    input: Annotated[str, typer.Argument(metavar="EXPR", help="Input expression, such as 'tiger - overall'.")],  # noqa: A002
    output: Annotated[list[str] | None, typer.Option(help="As for `viscnn query`; may be given again.")] = None,
    criterion: Annotated[list[str] | None, typer.Option(help="As for `viscnn query`; may be given again.")] = None,
    max_images: Annotated[int, typer.Option(min=0, help="At most so many of each image set; 0 for all.")] = 500,
    images: Annotated[str | None, typer.Option(help="Image source instead of the registered one.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode, for each process.")] = None,
    activate: Annotated[bool, typer.Option(help="Copy the first query's scores to `score`.")] = True,
    graph: Annotated[bool, typer.Option(help="Store the scores in Neo4j; else in the cache alone.")] = True,
    backend: Annotated[str | None, typer.Option(help="gloo or nccl; by itself by default.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Minutes to wait for slower processes.")] = (
        PATIENCE.total_seconds() / 60
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Score queries with all processes that torchrun has started; one pass over the images serves all of them."""
    outputs: list[str | None] = [*output] if output else [None]
    asked = itertools.product(outputs, criterion or ["taylor"])
    queries = tuple(QuerySpec(input, each, by, max_images) for each, by in asked)
    task = Task(model, queries, images, workers, activate, graph)
    raise typer.Exit(_together(task, backend=backend, patience=timedelta(minutes=patience), as_json=as_json))


def _together(task: Task, *, backend: str | None, patience: timedelta, as_json: bool) -> int:
    """Run the task and print its result or error, in one process of all; returns the exit code."""
    logging.getLogger("neo4j").addHandler(logging.NullHandler())  # its retries would be told on standard error
    group: Processes | None = None
    try:
        with contextlib.redirect_stdout(sys.stderr), processes(backend=backend, patience=patience) as group:
            signal.signal(signal.SIGTERM, partial(_stop, group))
            reports = run(group, task)
    except ViscnnError as error:
        return _fail(group, str(error), error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        return _fail(None, "stopped; the same command goes on where it was", 1, as_json=as_json)
    if group.rank == 0:
        _print(group, reports, as_json=as_json)
    return 0


def _stop(group: Processes, *_: object) -> None:
    """What SIGTERM does: as Ctrl-C, so that the place is saved; nothing where the end has begun already."""
    if group.meeting.failure is None:
        raise KeyboardInterrupt


def _fail(group: Processes | None, message: str, exit_code: int, *, as_json: bool) -> int:
    """One line on standard error from one process (of each machine, while they have not met); JSON from the first."""
    rank = int(os.environ.get("RANK", "0"))
    line = " ".join(message.split())
    if group.meeting.reports if group else int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(f"viscnn: {'' if rank == 0 else f'process {rank}: '}{line}", file=sys.stderr, flush=True)
    if as_json and rank == 0:
        print(json.dumps({"error": line, "exitCode": exit_code}, ensure_ascii=False), flush=True)
    return exit_code


def _print(group: Processes, reports: Sequence[QueryReport], *, as_json: bool) -> None:
    if as_json:
        found = {"processes": group.size, "backend": group.backend, "queries": [each.facts() for each in reports]}
        print(json.dumps(found, ensure_ascii=False))
        return
    for warning in dict.fromkeys(warning for report in reports for warning in report.warnings):
        print(f"note: {warning}", file=sys.stderr)
    for report in reports:
        active = ", active" if report.activated else ""
        print(f"{report.uid}: {report.text}, {report.images:,} of {report.available_images:,} images{active}")


_UsageError: Any = typer.BadParameter.__base__  # typer exports its subclass only


def main() -> None:
    """Entry point; a wrong call is one line too."""
    command: Any = get_command(_app)
    try:
        sys.exit(command.main(prog_name="python -m viscnn.engine.run", standalone_mode=False))
    except _UsageError as error:
        message = error.format_message()  # empty where the help was printed already
        sys.exit(_fail(None, message, 2, as_json="--json" in sys.argv) if message else 2)
