"""Input expressions: linear combinations of image sets and images, such as `0.5*(cat + dog) - 2*truck`.

Names are kept as written; `ImageCollection.find` gives them their meaning. Numbers are exact fractions until the
end, so that `cat / 3 * 3` is `cat` and `0.1*cat + 0.2*cat - 0.3*cat` is nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import NoReturn, Self

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from viscnn.engine.names import BARE, composed, quote, unquote
from viscnn.errors import ExpressionError

__all__ = ["Expression", "parse"]

_MOST_CHARACTERS = 20_000
_MOST_DIGITS = 40
_LARGEST_EXPONENT = 30
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PLAIN = rf"{_NUMBER}(?:/{_NUMBER})*(?![\w.#]|/[\w.#])"  # a number, or numbers divided: no name
_QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_OPERAND = "an image set, a number or ( is expected"

_GRAMMAR = rf"""
    ?start: sum
    ?sum: product | sum PLUS product -> add | sum MINUS product -> subtract
    ?product: factor | product STAR factor -> multiply | product SLASH factor -> divide
    ?factor: MINUS factor -> negative
           | PLUS factor -> positive
           | LEFT sum RIGHT -> bracket
           | NUMBER -> number
           | NAME -> name
           | QUOTED -> quoted
    PLUS: "+"
    MINUS: "-"
    STAR: "*"
    SLASH: "/"
    LEFT: "("
    RIGHT: ")"
    NAME.2: /(?!{_PLAIN.replace("/", chr(92) + "/")}){BARE.replace("/", chr(92) + "/")}/
    NUMBER: /{_NUMBER}/
    QUOTED: /{_QUOTED}/s
    %ignore /\s+/
"""


@dataclass(frozen=True)
class Expression:
    """A linear combination of image sets and images.

    Attributes:
        terms: coefficient (finite, not zero) and name, each name once, in order of first appearance.

    `str()` is its canonical text, which parses to an equal expression.
    """

    terms: tuple[tuple[float, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(name for _, name in self.terms)

    def renamed(self, name_of: Callable[[str], str]) -> Self:
        """The expression with every name replaced; names that become equal are merged.

        Raises:
            ExpressionError: the merged terms cancel out (`cat - Cat`).
        """
        terms: dict[str, Fraction] = {}
        for coefficient, name in self.terms:
            new = name_of(name)
            terms[new] = terms.get(new, Fraction()) + Fraction(repr(coefficient))
        return type(self)(_finished(terms, str(self)))

    def __str__(self) -> str:
        pieces = []
        for number, (coefficient, name) in enumerate(self.terms):
            sign = "-" if coefficient < 0 else "+"
            size = "" if abs(coefficient) == 1 else f"{_decimal(abs(coefficient))}*"
            lead = (f" {sign} " if number else "-" if sign == "-" else "") + size
            pieces.append(lead + (name if _is_bare(name) else quote(name)))
        return "".join(pieces)


def parse(text: str) -> Expression:
    """Parse an input expression.

    Numbers, `+ - * / ( )`, names, and names in single or double quotes (a backslash before a quote in them). A name
    without quotes has letters, digits and `_ . / #` and is not a plain number; `cat / 2` divides, `cat/2` is a name.

    Raises:
        ExpressionError: not an expression, or not linear in image sets; names the column and what is expected.
    """
    composed_text = composed(text)
    if not composed_text.strip():
        raise ExpressionError('the input expression is empty; write one such as "tiger - overall"')
    if len(composed_text) > _MOST_CHARACTERS:
        raise ExpressionError(f"the input expression has {len(text)} characters; at most {_MOST_CHARACTERS} are read")
    try:
        linear = _parser().parse(composed_text)
    except UnexpectedInput as error:
        raise ExpressionError(f"input expression {_shown(text)}: {_problem(composed_text, error)}") from None
    except _Nonlinear as error:
        raise ExpressionError(f"input expression {_shown(text)}: {error}") from None
    if not isinstance(linear, _Sets):
        raise ExpressionError(f'input expression {_shown(text)} names no image set (a set named 3 is written "3")')
    return Expression(_finished(linear.terms, text))


@dataclass(frozen=True)
class _Sets:
    terms: dict[str, Fraction]

    def scaled(self, factor: Fraction) -> "_Sets":
        return _Sets({name: coefficient * factor for name, coefficient in self.terms.items()})


_Value = Fraction | _Sets


class _Nonlinear(Exception):
    """What the expression means is not a linear combination; the message says where and why."""


def _refuse(operator: Token, problem: str) -> NoReturn:
    raise _Nonlinear(f"{problem} (column {(operator.start_pos or 0) + 1})")


@v_args(inline=True)
class _Builder(Transformer[Token, _Value]):
    """Computes the linear combination while the parser reads, without recursion, so that depth is no danger."""

    def number(self, token: Token) -> _Value:
        _, _, exponent = token.lower().partition("e")
        if len(token) > _MOST_DIGITS or abs(int(exponent or 0)) > _LARGEST_EXPONENT:
            _refuse(token, f"the number {token[:20]} is too long, too large or too small")
        return Fraction(str(token))

    def name(self, token: Token) -> _Value:
        return _Sets({str(token): Fraction(1)})

    def quoted(self, token: Token) -> _Value:
        name = unquote(token)
        if not name.strip():
            _refuse(token, "the quotes hold no name")
        return _Sets({name: Fraction(1)})

    def bracket(self, left: Token, value: _Value, right: Token) -> _Value:
        return value

    def positive(self, sign: Token, value: _Value) -> _Value:
        return value

    def negative(self, sign: Token, value: _Value) -> _Value:
        return value.scaled(Fraction(-1)) if isinstance(value, _Sets) else -value

    def add(self, left: _Value, operator: Token, right: _Value) -> _Value:
        if isinstance(left, _Sets) and isinstance(right, _Sets):
            both = dict.fromkeys((*left.terms, *right.terms))
            return _Sets({name: left.terms.get(name, Fraction()) + right.terms.get(name, Fraction()) for name in both})
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left + right
        _refuse(operator, "a number cannot be added to or subtracted from image sets, it can only multiply or divide")

    def subtract(self, left: _Value, operator: Token, right: _Value) -> _Value:
        return self.add(left, operator, self.negative(operator, right))

    def multiply(self, left: _Value, operator: Token, right: _Value) -> _Value:
        if isinstance(left, _Sets):
            if isinstance(right, _Sets):
                _refuse(operator, "image sets cannot be multiplied with each other")
            return left.scaled(right)
        return right.scaled(left) if isinstance(right, _Sets) else left * right

    def divide(self, left: _Value, operator: Token, right: _Value) -> _Value:
        if isinstance(right, _Sets):
            _refuse(operator, "nothing can be divided by an image set")
        if right == 0:
            _refuse(operator, "division by zero")
        return self.multiply(left, operator, 1 / right)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False)


def _finished(terms: dict[str, Fraction], text: str) -> tuple[tuple[float, str], ...]:
    kept = {name: coefficient for name, coefficient in terms.items() if coefficient}
    if not kept:
        raise ExpressionError(f"input expression {_shown(text)} cancels out: every image set has coefficient 0")
    bound = Fraction(10) ** _LARGEST_EXPONENT
    for name, coefficient in kept.items():
        if not 1 / bound <= abs(coefficient) <= bound:
            raise ExpressionError(f"input expression {_shown(text)}: the coefficient of {name!r} is out of range")
    return tuple((float(coefficient), name) for name, coefficient in kept.items())


def _is_bare(name: str) -> bool:
    return re.fullmatch(rf"(?!{_PLAIN}){BARE}", name) is not None


def _decimal(value: float) -> str:
    return str(int(value)) if value.is_integer() and value < 1e15 else repr(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _problem(text: str, error: UnexpectedInput) -> str:
    """What is wrong where, in plain words."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        opened = _open_brackets(text)
        if "NAME" in error.expected:
            return f"it ends too early, where {_OPERAND}"
        return f"the bracket at column {opened[-1] + 1} is not closed" if opened else "it ends too early"
    position = error.pos_in_stream or 0
    column = f"column {position + 1}"
    if isinstance(error, UnexpectedCharacters):
        character = text[position]
        if character in "\"'":
            return f"the quote at {column} is not closed"
        return f"unexpected {character!r} at {column}; names with other characters are written in quotes"
    assert isinstance(error, UnexpectedToken)
    found = repr(str(error.token)[:40])
    if "NAME" in error.expected:
        return f"unexpected {found} at {column}, where {_OPERAND}"
    if error.token.type == "RIGHT":
        return f"the bracket at {column} closes none"
    hint = "; names with spaces are written in quotes" if error.token.type in ("NAME", "NUMBER") else ""
    return f"unexpected {found} at {column}, where + - * / or the end is expected{hint}"


def _open_brackets(text: str) -> list[int]:
    opened: list[int] = []
    for match in re.finditer(rf"{_QUOTED}|[()]", text, re.DOTALL):
        if match[0] == "(":
            opened.append(match.start())
        elif match[0] == ")" and opened:
            opened.pop()
    return opened
