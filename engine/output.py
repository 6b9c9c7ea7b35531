"""Outputs: what a query's scores are towards, as text.

    loss                                cross-entropy of each image with its label
    class:NAME                          a logit, by class name, synonym, wnid or #number
    filter:UID                          mean of the filter's map; UID@max its maximum, UID@ROW,COLUMN one position
    layer:NAME                          mean over the layer's filters of their maps' means
    direction:LAYER[0:0.5, 7:-1]        the weighted sum of filters' maps (CHANNEL:WEIGHT), and its mean;
                                        @max and @ROW,COLUMN as for a filter
    class:three - class:five            linear combinations: signs and coefficients (`2*layer:conv2`, `-0.5*loss`)

Maps are pre-activation maps Z. The suffix `@post` reads a = phi(Z) instead: `filter:UID@post`, `filter:UID@max@post`,
`layer:NAME@post`, `direction:LAYER[0:1]@3,4@post`.

A name with other characters than letters, digits and `_ . / #` stands in quotes in the canonical text (`str()`). When
read, a name may do without as long as it is unambiguous: it then ends at a `+` or `-` between spaces that another
output follows, the uid of a filter and the name of a layer also at an `@`, the layer of a direction at its `[`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from viscnn.engine.names import BARE, composed, quote, unquote
from viscnn.errors import ExpressionError

__all__ = [
    "ClassOutput",
    "Combination",
    "DirectionOutput",
    "FilterOutput",
    "LayerOutput",
    "LossOutput",
    "Output",
    "Place",
    "Unit",
    "combined",
    "parse_output",
    "terms_of",
]

Place = Literal["mean", "max"] | tuple[int, int]
"""Where on a map: its mean, its maximum, or one position (row, column)."""

_FORMS = (
    "loss, class:NAME, filter:UID, filter:UID@max, filter:UID@ROW,COLUMN, layer:NAME or direction:LAYER[0:0.5, 7:-1], "
    "@post for the map after its activation, and sums such as class:NAME - 2*layer:NAME"
)
_MOST_CHARACTERS = 20_000
_MOST_DIGITS = 40
_LARGEST_EXPONENT = 30
_NUMBER = r"(?>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_START = (  # sign, coefficient and kind of a term
    rf"([+-]?)\s*+(?:({_NUMBER})(?:\s*+\*\s*+|\s++))?"
    r"(loss(?=\s*+(?:\Z|[+-]))|(?:class|filter|layer|direction)\s*+:)"
)
_HEAD = re.compile(_START, re.IGNORECASE)
_SPACED = re.compile(rf"(?<!\s)\s++([+-])\s++(?={_START})", re.IGNORECASE)
_TIGHT = re.compile(rf"(?<!\s)\s*+([+-])\s*+(?={_START})", re.IGNORECASE)
_QUOTED = re.compile(r"""\s*+(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)
_PLACE = re.compile(r"mean|max|([0-9]{1,6})\s*,\s*([0-9]{1,6})", re.IGNORECASE)
_ENDS = {"class": "", "filter": "@", "layer": "@", "direction": "["}  # where an unquoted name ends within its term


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
    """A filter's map, after its activation where `post`: its mean, its maximum, or its value at (row, column)."""

    uid: str
    at: Place = "mean"
    post: bool = False

    def __str__(self) -> str:
        return f"filter:{_written(self.uid)}{_suffix(self.at, self.post)}"


@dataclass(frozen=True)
class LayerOutput:
    """The mean over the filters of a layer of their maps' means."""

    name: str
    post: bool = False

    def __str__(self) -> str:
        return f"layer:{_written(self.name)}{_suffix('mean', self.post)}"


@dataclass(frozen=True)
class DirectionOutput:
    """The weighted sum of some filters' maps of a layer, read like the map of a filter.

    Attributes:
        weights: channel and weight, each channel once, in the written order.

    Raises:
        ExpressionError: no weights, a channel twice, all weights zero, or one that is not finite or out of range.
    """

    layer: str
    weights: tuple[tuple[int, float], ...]
    at: Place = "mean"
    post: bool = False

    def __post_init__(self) -> None:
        problem = _weights_problem(self.weights)
        if problem:
            raise ExpressionError(f"direction of layer {self.layer!r}: {problem}")

    def __str__(self) -> str:
        weights = ", ".join(f"{channel}:{_decimal(weight)}" for channel, weight in self.weights)
        return f"direction:{_written(self.layer)}[{weights}]{_suffix(self.at, self.post)}"


Unit = LossOutput | ClassOutput | FilterOutput | LayerOutput | DirectionOutput


@dataclass(frozen=True)
class Combination:
    """A linear combination of outputs; made by `combined`.

    Attributes:
        terms: coefficient (finite, not zero) and output, each output once, in order of first appearance.
    """

    terms: tuple[tuple[float, Unit], ...]

    def __str__(self) -> str:
        pieces = []
        for number, (coefficient, unit) in enumerate(self.terms):
            sign = "-" if coefficient < 0 else "+" if number else ""
            size = "" if abs(coefficient) == 1 else f"{_decimal(abs(coefficient))}*"
            pieces.append((f" {sign} " if number else sign) + size + str(unit))
        return "".join(pieces)


Output = Unit | Combination


def terms_of(output: Output) -> tuple[tuple[float, Unit], ...]:
    """The terms of a combination; of any other output itself, once."""
    return output.terms if isinstance(output, Combination) else ((1.0, output),)


def combined(terms: Iterable[tuple[Fraction | float, Unit]], text: str) -> Output:
    """The sum of weighted outputs, equal ones merged; a single output of weight 1 is that output itself.

    Raises:
        ExpressionError: names `text`: everything cancels out, or a coefficient is not finite or out of range.
    """
    sums: dict[Unit, Fraction] = {}
    for weight, unit in terms:
        if not math.isfinite(weight):
            raise _refused(text, f"the coefficient {weight} of {unit} is not a finite number")
        sums[unit] = sums.get(unit, Fraction()) + (weight if isinstance(weight, Fraction) else _exact(weight))
    kept = {unit: weight for unit, weight in sums.items() if weight}
    if not kept:
        raise _refused(text, "it cancels out, every coefficient is 0")
    for unit, weight in kept.items():
        if not _in_range(weight):
            raise _refused(text, f"the coefficient of {unit} is out of range")
    if len(kept) == 1 and set(kept.values()) == {1}:
        return next(iter(kept))
    return Combination(tuple((float(weight), unit) for unit, weight in kept.items()))


def parse_output(text: str) -> Output:
    """Parse an output, in the forms at the head of this module.

    Raises:
        ExpressionError: names the text and the allowed forms.
    """
    whole = composed(text).strip()
    if len(whole) > _MOST_CHARACTERS:
        raise _refused(text, f"it has {len(whole)} characters, at most {_MOST_CHARACTERS} are read")
    terms: list[tuple[Fraction | float, Unit]] = []
    start, sign = 0, 1
    while True:
        head = _HEAD.match(whole, start)
        if head is None:
            raise _refused(text, "it is none of the known outputs")
        kind = head[3].partition(":")[0].strip().lower()
        after = _next(text, whole, head.end(), kind)
        body = whole[head.end() : after.start() if after else len(whole)].strip()
        size = _number(text, head[2]) if head[2] else Fraction(1)
        terms.append((sign * (-size if head[1] == "-" else size), _unit(text, kind, body)))
        if after is None:
            return combined(terms, text)
        start, sign = after.end(), -1 if after[1] == "-" else 1


def _next(text: str, whole: str, start: int, kind: str) -> re.Match[str] | None:
    """The + or - that ends the term whose kind ends at `start`; None when it is the last."""
    if not whole[start:].lstrip().startswith(('"', "'")):
        return (_TIGHT if kind == "loss" else _SPACED).search(whole, start)
    quoted = _QUOTED.match(whole, start)
    if quoted is None:
        raise _refused(text, "its quote is not closed")
    return _TIGHT.search(whole, quoted.end())


def _unit(text: str, kind: str, body: str) -> Unit:
    if kind == "loss":
        if body:
            raise _refused(text, f"{body[:20]!r} follows loss")
        return LossOutput()
    name, tail = _name(text, kind, body)
    if kind == "class":
        if tail:
            raise _refused(text, f"{tail[:20]!r} follows the quoted name")
        return ClassOutput(name)
    weights, tail = _weights(text, tail) if kind == "direction" else ((), tail)
    if tail[:1] not in ("", "@"):
        raise _refused(text, f"{tail[:20]!r} follows {'the bracket' if weights else f'the quoted {_what(kind)}'}")
    if "/" in tail and not body.startswith(('"', "'")):
        raise _refused(text, f'a {_what(kind)} with @ is written in quotes, as in filter:"a@b/conv1/0"@max')
    place, post = _reading(text, tail)
    if kind == "filter":
        return FilterOutput(name, place, post)
    if kind == "direction":
        return DirectionOutput(name, weights, place, post)
    if place != "mean":
        raise _refused(text, "a layer has no place, only @post; name one of its filters, or write a direction")
    return LayerOutput(name, post)


def _name(text: str, kind: str, body: str) -> tuple[str, str]:
    """The name and what follows it."""
    quoted = _QUOTED.match(body)
    if quoted is not None:
        name, tail = unquote(quoted[0]), body[quoted.end() :].strip()
    else:
        end = body.find(_ENDS[kind]) if _ENDS[kind] else -1
        name, tail = (body, "") if end < 0 else (body[:end].strip(), body[end:])
    if not name.strip():
        raise _refused(text, f"the {_what(kind)} is missing")
    return name, tail


def _what(kind: str) -> str:
    return "uid" if kind == "filter" else "name"


def _reading(text: str, tail: str) -> tuple[Place, bool]:
    """Place and `@post` in any order, each at most once."""
    places: list[Place] = []
    posts = 0
    for piece in (each.strip() for each in tail.split("@")[1:]):
        match = _PLACE.fullmatch(piece)
        if match is not None:
            places.append((int(match[1]), int(match[2])) if match[1] else "max" if piece.lower() == "max" else "mean")
        elif piece.lower() == "post":
            posts += 1
        else:
            raise _refused(text, f"{piece[:20]!r} after @ is not mean, max, ROW,COLUMN or post")
    if len(places) > 1 or posts > 1:
        raise _refused(text, f"{'@post' if posts > 1 else 'a place'} stands twice in {tail[:40]!r}")
    return (places[0] if places else "mean"), posts > 0


def _weights(text: str, tail: str) -> tuple[tuple[tuple[int, float], ...], str]:
    """What the bracket of a direction holds, and what follows it."""
    inside, closed, rest = tail[1:].partition("]")
    if not tail.startswith("[") or not closed:
        problem = "the bracket of its weights is not closed" if tail.startswith("[") else "the weights are missing"
        raise _refused(text, f"{problem}, as in direction:conv2[0:0.5, 7:-1]")
    weights = []
    for entry in inside.split(","):
        channel, _, weight = (part.strip() for part in entry.partition(":"))
        if not re.fullmatch(r"[0-9]{1,9}", channel) or not weight:
            raise _refused(text, f"{entry.strip()[:20]!r} is not CHANNEL:WEIGHT, as in direction:conv2[0:0.5, 7:-1]")
        weights.append((int(channel), float(_number(text, weight))))
    problem = _weights_problem(weights)
    if problem:
        raise _refused(text, problem)
    return tuple(weights), rest.strip()


def _weights_problem(weights: Sequence[tuple[int, float]]) -> str:
    """What is wrong with the weights of a direction; empty when nothing is."""
    seen: set[int] = set()
    for channel, weight in weights:
        if channel in seen:
            return f"channel {channel} stands twice"
        if not math.isfinite(weight):
            return f"the weight {weight} of channel {channel} is not a finite number"
        if weight and not _in_range(_exact(weight)):
            return f"the weight of channel {channel} is out of range"
        seen.add(channel)
    return "" if any(weight for _, weight in weights) else "all weights are zero"


def _number(text: str, number: str) -> Fraction:
    """A decimal number, exactly."""
    if re.fullmatch(rf"[+-]?{_NUMBER}", number) is None:
        raise _refused(text, f"{number[:20]!r} is not a finite number")
    exponent = number.lower().partition("e")[2]
    if len(number) > _MOST_DIGITS or abs(int(exponent or 0)) > _LARGEST_EXPONENT:
        raise _refused(text, f"the number {number[:20]} is too long, too large or too small")
    return Fraction(number)


def _exact(value: float) -> Fraction:
    """The decimal number that is written for a float, so that 0.1 + 0.2 - 0.3 is nothing."""
    return Fraction(repr(float(value)))


def _in_range(value: Fraction) -> bool:
    bound = Fraction(10) ** _LARGEST_EXPONENT
    return 1 / bound <= abs(value) <= bound


def _decimal(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _suffix(at: Place, post: bool) -> str:
    place = "" if at == "mean" else "@max" if at == "max" else f"@{at[0]},{at[1]}"
    return f"{place}@post" if post else place


def _written(name: str) -> str:
    return name if re.fullmatch(BARE, name) else quote(name)


def _refused(text: str, problem: str) -> ExpressionError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ExpressionError(f"output {shown!r} cannot be read: {problem}; use {_FORMS}")
