"""How image sets and classes are named: quoting, synonyms, and the lookup from exact to lenient."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["BARE", "Names", "composed", "quote", "synonyms", "unquote"]

BARE = r"[\w.#]+(?:/[\w.#]+)*"
"""What needs no quotes: letters of any script, digits and `_ . / #`; no slash at either end."""

_WNID = re.compile(r"(n\d{8})[\s,:]+(\S.*)", re.DOTALL)


def composed(text: str) -> str:
    """The text in Unicode's composed form: file systems and keyboards differ in how they write an accent."""
    return unicodedata.normalize("NFC", text)


def quote(name: str) -> str:
    """The name in double quotes, with backslashes before quotes and backslashes."""
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def unquote(text: str) -> str:
    """The name between the first and last character of a quoted text; a lone backslash stays as it is."""
    return re.sub(r"""\\(["'\\])""", r"\1", text[1:-1])


def synonyms(name: str) -> tuple[str, ...]:
    """The comma-separated parts of a class name, and the wnid and the rest of one like `n02012849 crane`."""
    known = _WNID.fullmatch(name)
    parts = [known[1], *known[2].split(",")] if known else name.split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _lenient(name: str) -> str:
    return " ".join(re.sub(r"[_,\s]+", " ", name).casefold().split())


class Names:
    """A lookup of names, each with its aliases.

    Four steps, the first that finds something wins: the whole name as written; one of its synonyms or aliases as
    written; the whole name, and last a synonym or alias, without regard to case and with `_`, space and comma alike.
    """

    def __init__(self, entries: Iterable[tuple[str, Sequence[str]]]) -> None:
        self._steps: tuple[defaultdict[str, list[int]], ...] = tuple(defaultdict(list) for _ in range(4))
        for number, (name, aliases) in enumerate(entries):
            whole = composed(name)
            parts = [part for each in (whole, *aliases) for part in (composed(each), *synonyms(composed(each)))]
            keys = ([whole], parts, [_lenient(whole)], [_lenient(part) for part in parts])
            for step, found in zip(self._steps, keys, strict=True):
                for key in dict.fromkeys(found):
                    step[key].append(number)

    def lookup(self, name: str) -> tuple[int, ...]:
        """Positions of the entries that `name` means: none, one, or several when it is ambiguous."""
        whole = composed(name).strip()
        for step, key in zip(self._steps, (whole, whole, _lenient(whole), _lenient(whole)), strict=True):
            if key in step:
                return tuple(step[key])
        return ()

    def known(self) -> tuple[str, ...]:
        """Every name and synonym as written, to suggest from."""
        return tuple(self._steps[1])
