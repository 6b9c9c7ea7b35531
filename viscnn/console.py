"""What commands print: results on standard output, progress and notes on standard error, errors as one line."""

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from viscnn.errors import ViscnnError

if TYPE_CHECKING:
    from viscnn.api import VISCNN

__all__ = ["Output", "fail", "session", "table"]


class _Rate(ProgressColumn):
    """How many are done per second, such as `31/s`."""

    def render(self, task: Task) -> Text:
        """Empty until there is a pace."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s")


class Output:
    """Prints one command's result, either as text or as JSON."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._stdout = sys.stdout
        self._errors = Console(stderr=True, highlight=False, emoji=False)
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}

    def viscnn(self) -> "VISCNN":
        """An open API session."""
        from viscnn.api import VISCNN

        return VISCNN()

    def progress(self, step: str, done: int, total: int) -> None:
        """Draw a progress bar with the number per second and the time left on standard error."""
        if self._bar is None:
            tty = self._errors.is_terminal  # elsewhere nobody reads a bar, and its end would be an empty line
            counts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
            self._bar = Progress(*counts, *times, console=self._errors, transient=True, disable=not tty)
            self._bar.start()
        if step not in self._tasks:  # what an earlier run has done is none of this one's pace
            self._tasks[step] = self._bar.add_task(step, total=total, completed=done)
        self._bar.update(self._tasks[step], completed=done, total=total)

    def notes(self, lines: Iterable[str]) -> None:
        """Print remarks on standard error."""
        self.close()
        for line in lines:
            self._errors.print(f"note: {line}", markup=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        self.close()
        self._errors.print(line, markup=False, soft_wrap=True)

    def result(self, data: dict[str, Any], *texts: "str | Table") -> None:
        """Print the result: `data` as JSON, or the texts for people."""
        self.close()
        if self._as_json:
            print(_json(data), file=self._stdout)
        else:
            for text in texts:
                Console(highlight=False, emoji=False).print(text, markup=False, soft_wrap=isinstance(text, str))

    def close(self) -> None:
        """End the progress bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks = {}


def fail(message: str, exit_code: int, *, as_json: bool) -> int:
    """Print an error: one line on standard error, with `--json` also an object on standard output."""
    line = " ".join(message.split())
    print(f"viscnn: {line}", file=sys.stderr)
    if as_json:
        print(_json({"error": line, "exitCode": exit_code}))
    return exit_code


def _json(data: dict[str, Any]) -> str:
    return json.dumps(_finite(data), allow_nan=False, ensure_ascii=False)


def _finite(value: Any) -> Any:
    """The value with NaN and infinity as null: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


@contextlib.contextmanager
def session(as_json: bool) -> Iterator[Output]:
    """Run a command: our errors become one line on standard error and their exit code.

    With `as_json` whatever else prints (a user's model file, say) goes to standard error.
    """
    logging.getLogger("neo4j").addHandler(logging.NullHandler())  # its retries would be told on standard error
    output = Output(as_json)
    try:
        with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
            yield output
    except ViscnnError as error:
        output.close()
        raise typer.Exit(fail(str(error), error.exit_code, as_json=as_json)) from error
    except BrokenPipeError:
        # the reader went away (`| head`): say nothing more, also not at shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        output.close()
        raise typer.Exit(fail("stopped", 1, as_json=as_json)) from None
    finally:
        output.close()


def table(title: str, columns: list[str], rows: list[dict[str, Any]]) -> Table:
    """Rows as a table of text."""
    drawn = Table(title=title, title_justify="left")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(row.get(column)) for column in columns))
    return drawn


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 200 else f"{text[:200]}..."
    return str(value)
