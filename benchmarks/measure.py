"""How benchmarks measure: interleaved times, peak memory in a process of its own (Linux), the machine's GEMM peak."""

import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

__all__ = ["Growth", "child_json", "gemm_peak", "interleaved", "wait"]

GEMM_SIZE = 2048
SUPPORTED = Path("/proc/self/clear_refs").exists()


def interleaved(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, most: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds of every run, A B C A B C ..., so that a busy moment of the machine meets all of them alike.

    Args:
        contenders: what to time, by name; each is run once beforehand, without being timed.
        most: contenders that take part in the first so many rounds only.
    """
    limits = dict(most or {})
    for contender in contenders.values():
        contender()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        gc.collect()
        for name, contender in contenders.items():
            if number < limits.get(name, rounds):
                seconds[name].append(_timed(contender))
    return seconds


def _timed(contender: Callable[[], object]) -> float:
    wait()
    began = time.perf_counter()
    kept = contender()  # let go after the clock has stopped
    wait()
    seconds = time.perf_counter() - began
    del kept
    return seconds


def wait() -> None:
    """Until the GPU, where one is used, has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def gemm_peak(device: str = "cpu", *, repeats: int = 8) -> float:
    """FLOP per second of a float32 matrix product of 2048 x 2048, the best of `repeats`, with the threads now set."""
    a, b, into = (torch.randn(GEMM_SIZE, GEMM_SIZE, device=device) for _ in range(3))
    best = min(_timed(lambda: torch.mm(a, b, out=into)) for _ in range(repeats + 1))
    return 2 * GEMM_SIZE**3 / best


class Growth:
    """`with Growth() as growth`: the most resident memory (of the GPU: allocated) inside, above that at its start.

    What was freed before is handed back to the system first: memory that the allocator keeps for later would be
    part of the start, and hide what is used inside.
    """

    mib: float | None = None  # None where the system does not tell

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def __enter__(self) -> Self:
        gc.collect()
        if self._device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        elif SUPPORTED:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        self._start = self._peak()
        return self

    def __exit__(self, *_: object) -> None:
        peak = self._peak()
        self.mib = None if peak is None or self._start is None else peak - self._start

    def _peak(self) -> float | None:
        """MiB since the last reset."""
        if self._device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        if not SUPPORTED:
            return None
        (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) / 1024


def child_json(script: str, arguments: Sequence[str]) -> Any:
    """What a script prints as JSON in a process of its own."""
    result = subprocess.run([sys.executable, script, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout)
