"""Progress of long work: a function that is told the step, how many are done and how many there are."""

from collections.abc import Callable

__all__ = ["Progress", "silent", "time_left"]

Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""


def time_left(done: int, total: int, seconds: float) -> str:
    """How long the rest takes when `done` of `total` took `seconds`, such as `3 min left`; empty where nobody knows."""
    if done <= 0 or total <= done or seconds <= 0:
        return ""
    rest = seconds * (total - done) / done
    minutes = round(rest / 60)
    if rest < 59.5:
        return f"{max(1, round(rest))} s left"
    if minutes < 60:
        return f"{minutes} min left"
    return f"{minutes // 60} h {minutes % 60} min left"
