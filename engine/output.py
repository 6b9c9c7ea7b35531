"""Outputs: what a query's scores are towards. `loss`, `class:NAME`, `filter:UID[@max|@row,col]`, `layer:NAME`."""

import re
from dataclasses import dataclass
from typing import Literal

from viscnn.engine.names import BARE, composed, quote, unquote
from viscnn.errors import ExpressionError

__all__ = ["ClassOutput", "FilterOutput", "LayerOutput", "LossOutput", "Output", "Place", "parse_output"]

Place = Literal["mean", "max"] | tuple[int, int]
"""Where on a filter's map: its mean, its maximum, or one position (row, column)."""

_FORMS = "loss, class:NAME, filter:UID, filter:UID@max, filter:UID@ROW,COLUMN or layer:NAME"
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(.*)""", re.DOTALL)
_PLACE = re.compile(r"mean|max|([0-9]{1,6})\s*,\s*([0-9]{1,6})", re.IGNORECASE)


@dataclass(frozen=True)
class LossOutput:
    """The cross-entropy of each image with its label; `str()` of every output is its canonical text."""

    def __str__(self) -> str:
        return "loss"


@dataclass(frozen=True)
class ClassOutput:
    """The logit of a class, by a name or `#number` that `labels.find_class` resolves."""

    name: str

    def __str__(self) -> str:
        return f"class:{_written(self.name)}"


@dataclass(frozen=True)
class FilterOutput:
    """A filter's pre-activation map: its mean, its maximum, or its value at (row, column)."""

    uid: str
    at: Place = "mean"

    def __str__(self) -> str:
        place = "" if self.at == "mean" else "@max" if self.at == "max" else f"@{self.at[0]},{self.at[1]}"
        return f"filter:{_written(self.uid)}{place}"


@dataclass(frozen=True)
class LayerOutput:
    """The mean over the filters of a layer of their pre-activation maps' means."""

    name: str

    def __str__(self) -> str:
        return f"layer:{_written(self.name)}"


Output = LossOutput | ClassOutput | FilterOutput | LayerOutput


def parse_output(text: str) -> Output:
    """Parse an output; a name may stand in quotes, and has to where an `@` is part of it.

    Raises:
        ExpressionError: names the text and the allowed forms.
    """
    whole = composed(text).strip()
    if whole.lower() == "loss":
        return LossOutput()
    kind, colon, rest = (part.strip() for part in whole.partition(":"))
    kind = kind.lower()
    if not colon or kind not in ("class", "filter", "layer"):
        raise _refused(text, "it is none of the known outputs")
    if kind == "filter":
        return _filter(text, rest)
    name, tail = _name(text, rest)
    if tail:
        raise _refused(text, f"{tail[:20]!r} follows the quoted name")
    return ClassOutput(name) if kind == "class" else LayerOutput(name)


def _filter(text: str, rest: str) -> FilterOutput:
    if rest[:1] not in ('"', "'"):
        uid, at, place = (part.strip() for part in rest.partition("@"))
        if "@" in place:
            raise _refused(text, 'a uid with @ is written in quotes, as in filter:"a@b/conv1/0"@max')
    else:
        uid, tail = _name(text, rest)
        at, place = tail[:1], tail[1:].strip()
        if at and at != "@":
            raise _refused(text, f"{tail[:20]!r} follows the quoted uid")
    if not uid:
        raise _refused(text, "the uid is missing")
    return FilterOutput(uid, _place(text, place) if at else "mean")


def _place(text: str, place: str) -> Place:
    match = _PLACE.fullmatch(place)
    if match is None:
        raise _refused(text, f"{place[:20]!r} after @ is not mean, max or ROW,COLUMN")
    if match[1] is not None:
        return int(match[1]), int(match[2])
    return "max" if place.lower() == "max" else "mean"


def _name(text: str, rest: str) -> tuple[str, str]:
    """The name and what follows it; without quotes all of the rest is the name."""
    name, tail = rest, ""
    if rest[:1] in ('"', "'"):
        match = _QUOTED.fullmatch(rest)
        if match is None:
            raise _refused(text, "its quote is not closed")
        name, tail = unquote(match[1]), match[2]
    if not name.strip():
        raise _refused(text, "the name is missing")
    return name, tail


def _written(name: str) -> str:
    return name if re.fullmatch(BARE, name) else quote(name)


def _refused(text: str, problem: str) -> ExpressionError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ExpressionError(f"output {shown!r} cannot be read: {problem}; use {_FORMS}")
