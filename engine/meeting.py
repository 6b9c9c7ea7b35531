"""Where processes that share a task meet: short texts through a store that all of them reach (torch's `TCPStore`).

A collective operation of torch waits until all processes take part, so one that has failed would keep the others
waiting. Here the waiting ones look for a failure as they wait, and the working ones between two batches: whatever fails
in one process ends all of them within seconds, with one message.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch.distributed.distributed_c10d import Store

from viscnn.errors import InputError, ViscnnError

__all__ = ["PATIENCE", "Meeting", "reaching"]

PATIENCE = timedelta(hours=1)
_LEAVING = timedelta(seconds=10)
_GLANCE_SECONDS = 0.5
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.001, 0.1


class Meeting:
    """One process's place in a meeting of `size`.

    Args:
        store: the same for all of them.
        patience: how long one that is done waits for the others.

    Attributes:
        failure: what ended the meeting, in this process or another.
        reports: whether it is for this process to tell people of the failure: one of all does.
    """

    def __init__(self, store: Store, rank: int, size: int, *, patience: timedelta = PATIENCE) -> None:
        self.rank = rank
        self.size = size
        self.failure: ViscnnError | None = None
        self.reports = False
        self._store = store
        self._patience = patience
        self._steps = 0
        self._glanced = 0.0

    def texts(self, step: str, text: str = "") -> list[str]:
        """What each of them says at this step, by rank; waits until all have said it.

        Raises:
            ViscnnError: another process failed, was lost, or is at another step.
        """
        self._steps += 1
        names = [f"{self._steps}/{rank}" for rank in range(self.size)]
        with reaching(self.rank):
            self._store.set(names[self.rank], json.dumps([step, text]))
            self._wait(names)
            said = [json.loads(self._store.get(name)) for name in names]
        for rank, (other, _) in enumerate(said):
            if other != step:
                raise InputError(
                    f"process {rank} is at {other!r} and process {self.rank} at {step!r}; start all of them alike"
                )
        return [each for _, each in said]

    def glance(self) -> None:
        """Raise what another process failed by, if one did; looks twice a second at most."""
        if time.monotonic() - self._glanced > _GLANCE_SECONDS:
            self._glanced = time.monotonic()
            with reaching(self.rank):
                self._look()

    def fail(self, error: ViscnnError) -> None:
        """Tell the others why this one ends, unless one of them told its own reason before."""
        self.failure, self.reports = error, True
        with contextlib.suppress(RuntimeError):
            self.reports = self._store.add("failures", 1) == 1
            if self.reports:
                self._store.set("failure", json.dumps([self.rank, str(error), error.exit_code]))

    def leave(self) -> None:
        """Wait some seconds for the others, so that each ends by itself; the first, who may hold the store, last."""
        with contextlib.suppress(RuntimeError):
            self._count("here", self.size)
            if self.rank == 0:
                self._count("gone", self.size)
            else:
                self._store.add("gone", 1)

    def _count(self, name: str, expected: int) -> None:
        until, count = time.monotonic() + _LEAVING.total_seconds(), self._store.add(name, 1)
        while count < expected and time.monotonic() < until:
            time.sleep(_LONGEST_SLEEP / 2)
            count = self._store.add(name, 0)

    def _wait(self, names: list[str]) -> None:
        until, sleep = time.monotonic() + self._patience.total_seconds(), _SHORTEST_SLEEP
        while not self._store.check(names):
            self._look()
            if time.monotonic() > until:
                late = [rank for rank, name in enumerate(names) if not self._store.check([name])]
                minutes = self._patience.total_seconds() / 60
                raise ViscnnError(
                    f"process {self.rank} waited {minutes:g} minutes for {late}; start again with a longer --patience:"
                    " each process goes on where it was"
                )
            time.sleep(sleep)
            sleep = min(2 * sleep, _LONGEST_SLEEP)

    def _look(self) -> None:
        if self._store.check(["failure"]):
            self.failure = _told(*json.loads(self._store.get("failure")))
            raise self.failure


@contextlib.contextmanager
def reaching(rank: int) -> Iterator[None]:
    """What torch raises when processes do not find or lose each other, as one of our errors."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ViscnnError(
            f"process {rank} does not reach the others ({reason}); start again: each process goes on where it was"
        ) from error


def _told(rank: int, message: str, exit_code: int) -> ViscnnError:
    kind: Any = InputError if exit_code == InputError.exit_code else ViscnnError
    error: ViscnnError = kind(f"process {rank}: {message}")
    return error
