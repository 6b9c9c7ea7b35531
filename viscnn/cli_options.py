"""Texts of the command line turned into values, each with an error that names the option."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from viscnn.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from viscnn.api import VISCNN
    from viscnn.engine.one_image import Picture

__all__ = [
    "class_names",
    "confirmation",
    "factor_values",
    "filter_at",
    "input_image",
    "key_values",
    "numbers",
    "picture",
]

VISUALIZATION = "visualization:"


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` as numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not a list of numbers, such as 0.5,0.5,0.5") from error


def class_names(path: str | None) -> tuple[str, ...] | None:
    """The lines of a text file."""
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes {path!r} cannot be read as text: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"--classes {path!r} holds no class names")
    return names


def confirmation(say: Callable[[str], None], *, yes: bool) -> Callable[[int], bool]:
    """Says how many kernels a model with its head has; many are stored with `yes`, or when a person agrees."""

    def confirm(kernels: int) -> bool:
        from viscnn.ingest.load import few_kernels

        say(f"{kernels:,} kernels with the head")
        if yes or few_kernels(kernels):
            return True
        return sys.stdin.isatty() and typer.confirm("Store them all?", err=True)

    return confirm


def filter_at(text: str) -> tuple[str, tuple[int, int]]:
    """`mnist/conv2/5@3,4` as the uid of a filter and a (row, column)."""
    found = re.fullmatch(r"(.+)@\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*", text, re.DOTALL)
    if found is None:
        raise InputError(f"{text!r} is not UID@ROW,COLUMN, such as mnist/conv2/5@3,4")
    return found[1], (int(found[2]), int(found[3]))


def key_values(pairs: list[str]) -> dict[str, Any]:
    """`limit=5 model=mnist` as a dictionary; values are JSON where they can be, else text."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"{pair!r} is not KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def factor_values(pairs: list[str]) -> dict[str, float]:
    """`mnist/conv2/5=0` as a dictionary of numbers."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise InputError(f"{pair!r} is not NAME=FACTOR, such as mnist/conv2/5=0")
    return found


def input_image(viscnn: "VISCNN", model: str, text: str) -> "Picture":
    """The image that a text names: `visualization:TARGET` a rendered feature visualisation, else as `picture`.

    Raises:
        InputError: the target has not been rendered; the message names the command.
    """
    target = text.removeprefix(VISUALIZATION)
    if target == text:
        return picture(text)
    found = viscnn.visualization(target, model=model)
    if found is None:
        command = f'viscnn visualize {model} --filter "{target}"'
        raise InputError(f"{target!r} is not rendered on this machine with the default settings; run: {command}")
    return found


def picture(text: str) -> "str | Image.Image":
    """The picture in a file, where there is one of this name; else the text, a path of a model's image source."""
    if not Path(text).is_file():
        return text
    from viscnn.engine.decode import decode

    with Path(text).open("rb") as file:
        return decode(file, text)
