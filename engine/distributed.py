"""Processes that share the images of a pass, on one machine or many: a `Group` on torch.distributed.

Each process scores every size-th batch. The sums over images are then added up in float64 (`all_reduce`), so that all
have the scores of all images: those of one process, but for the order of the additions. torchrun says through
environment variables how many processes there are and where they meet.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from viscnn.engine.device import device
from viscnn.engine.meeting import PATIENCE, Meeting, reaching
from viscnn.engine.streaming import PER_IMAGE, Accumulator
from viscnn.errors import InputError, StoredDataError, ViscnnError
from viscnn.progress import Progress

__all__ = ["BACKENDS", "Processes", "processes"]

BACKENDS = ("gloo", "nccl")
_START = timedelta(minutes=5)
_REDUCE = timedelta(minutes=10)


class Processes:
    """The group of this process; get one from `processes`."""

    def __init__(self, meeting: Meeting, backend: str, *, first_here: bool = True) -> None:
        self.meeting = meeting
        self.backend = backend
        self._first_here = first_here

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.meeting.rank

    @property
    def size(self) -> int:
        """How many there are."""
        return self.meeting.size

    @property
    def keeps(self) -> bool:
        """Whether this process is the one of its machine that keeps scores on disk."""
        return self._first_here

    def first(self, text: str) -> str:
        """What the first process says."""
        return self.meeting.texts("first", text)[0]

    def common(self, names: Iterable[str]) -> set[str]:
        """The names that every process gives."""
        said = self.meeting.texts("common", json.dumps(list(names)))
        return set.intersection(*(set(json.loads(each)) for each in said))

    def gather(self, accumulator: Accumulator, skipped: list[str]) -> list[str]:
        """Add up the sums of all processes in place in each of them; returns what any of them skipped.

        Raises:
            StoredDataError: a sum is not finite.
            ViscnnError: another process failed or was lost.
        """
        if self.size == 1:
            return skipped
        state = accumulator.state()
        images = {name: len(array) for name, array in state.items() if _per_image(name)}
        said = [json.loads(each) for each in self.meeting.texts("sums", json.dumps([skipped, images]))]
        with reaching(self.rank):
            for name, array in state.items():
                lengths = [theirs[name] for _, theirs in said] if _per_image(name) else None
                state[name] = self._added(array) if lengths is None else _joined(array, lengths)
        if not all(np.isfinite(array).all() for array in state.values()):
            raise StoredDataError("the scores hold NaN or infinity: the gradients overflow; check the weights")
        accumulator.restore(state)
        return list(dict.fromkeys(path for theirs, _ in said for path in theirs))

    def watched(self, progress: Progress) -> Progress:
        """A progress function that also ends this process when another one fails."""

        def tell(step: str, done: int, total: int) -> None:
            self.meeting.glance()
            progress(step, done, total)

        return tell

    def _added(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        sums = torch.from_numpy(np.ascontiguousarray(array))
        if self.backend == "nccl":
            sums = sums.to(device())
        dist.all_reduce(sums)
        return sums.cpu().numpy()


def _per_image(name: str) -> bool:
    return name.rpartition("/")[2] == PER_IMAGE


def _joined(array: NDArray[np.generic], lengths: list[int]) -> NDArray[np.generic]:
    """The processes' arrays (n,), of so many values each, one after the other."""
    if not any(lengths):
        return array
    padded: Tensor = torch.zeros(max(lengths), dtype=torch.float64)
    padded[: len(array)] = torch.from_numpy(array)
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return np.concatenate([part[:length].numpy() for part, length in zip(parts, lengths, strict=True)])


@contextmanager
def processes(*, backend: str | None = None, patience: timedelta = PATIENCE) -> Iterator[Processes]:
    """The group that torchrun has started, or this process alone; ends for all when one of them fails.

    An error that is raised inside, in whatever process, is raised in all of them; leaving waits for the others.

    Args:
        backend: `gloo` or `nccl`; by default nccl where each process of a machine has a GPU of its own.
        patience: how long a process that is done waits for the others.

    Raises:
        InputError: no such backend, or nccl without GPUs.
        ViscnnError: the processes do not find each other, or one of them failed.
    """
    group = _start(backend, patience)
    try:
        with _shared_failure(group.meeting):
            yield group
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def _shared_failure(meeting: Meeting) -> Iterator[None]:
    """Tell the others of an error, and raise theirs."""
    try:
        yield
        meeting.texts("end")
    except BaseException as error:
        if meeting.failure is None:
            meeting.fail(_as_own(error))
        meeting.leave()
        raise
    meeting.leave()


def _as_own(error: BaseException) -> ViscnnError:
    """What the others are told of an error."""
    if isinstance(error, ViscnnError):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return ViscnnError("it was stopped; start again: each process goes on where it was")
    return ViscnnError(f"{type(error).__name__}: {error}")


def _start(backend: str | None, patience: timedelta) -> Processes:
    if backend not in (None, *BACKENDS):
        raise InputError(f"--backend {backend!r} is none; use {' or '.join(BACKENDS)}")
    if "RANK" not in os.environ:
        store = dist.HashStore()  # type: ignore[attr-defined]  # torch exports it, but not for mypy
        return Processes(Meeting(store, 0, 1), "none")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    _take_device(local_rank)
    chosen = backend or _backend()
    if chosen == "nccl" and not _apart():
        raise InputError("--backend nccl needs a CUDA device of its own for each process; use --backend gloo")
    with reaching(int(os.environ["RANK"])):
        store, rank, size = next(rendezvous("env://", timeout=_START))
        dist.init_process_group(
            "gloo" if chosen == "gloo" else "cpu:gloo,cuda:nccl",
            store=PrefixStore("torch", store),
            rank=rank,
            world_size=size,
            timeout=_REDUCE,
        )
    meeting = Meeting(PrefixStore("viscnn", store), rank, size, patience=patience)
    return Processes(meeting, chosen, first_here=local_rank == 0)


def _take_device(local_rank: int) -> None:
    """Give each process of a machine a GPU of its own, unless VISCNN_DEVICE names one, or the CPU."""
    if os.environ.get("VISCNN_DEVICE", "").strip() in ("", "auto", "cuda") and torch.cuda.is_available():
        os.environ["VISCNN_DEVICE"] = f"cuda:{local_rank % torch.cuda.device_count()}"
    if device().type == "cuda":
        torch.cuda.set_device(device())


def _backend() -> str:
    """nccl refuses two processes on one GPU."""
    return "nccl" if _apart() and dist.is_nccl_available() else "gloo"


def _apart() -> bool:
    """Whether each process of this machine has a GPU of its own."""
    if device().type != "cuda" or torch.cuda.device_count() < int(os.environ.get("LOCAL_WORLD_SIZE", "1")):
        return False
    return device().index == int(os.environ.get("LOCAL_RANK", "0"))
