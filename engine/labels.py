"""Which class of a model a label means: by name or wnid, never by the position of a folder."""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from viscnn.engine.names import Names, synonyms
from viscnn.errors import ExpressionError, nearest

if TYPE_CHECKING:
    from viscnn.engine.images import ImageItem

__all__ = ["class_index", "class_indices", "find_class"]


@lru_cache(maxsize=8)
def _names(classes: tuple[str, ...]) -> Names:
    return Names((name, ()) for name in classes)


def _numbered(label: str, classes: Sequence[str]) -> int | None:
    number = re.fullmatch(r"#([0-9]{1,9})", label.strip())
    return int(number[1]) if number and int(number[1]) < len(classes) else None


def _matches(label: str, classes: Sequence[str], aliases: Sequence[str] = ()) -> tuple[int, ...]:
    """Classes that a label or one of its synonyms or aliases names; the first of these that names any decides."""
    names = _names(tuple(classes))
    for name in (label, *synonyms(label), *aliases):
        if found := names.lookup(name):
            return found
    return ()


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w+", name.casefold().replace("_", " ")))


def _agrees(label: str, name: str) -> bool:
    """Whether one of two names has all words of the other: `crane` and `crane bird`, not `crane` and `tench`."""
    return any(
        left and right and (left <= right or right <= left)
        for left in map(_words, (label, *synonyms(label)))
        for right in map(_words, (name, *synonyms(name)))
    )


def class_index(label: str | None, classes: Sequence[str], *, aliases: Sequence[str] = ()) -> int | None:
    """Position in `classes` of the class that an image's label means; None when it means none, or several.

    Args:
        label: name, synonym or wnid as supplied with the image, or `#517`.
        classes: the model's class names; each may hold synonyms (`tench, Tinca tinca`) or start with a wnid.
        aliases: other names of the label. A wnid counts as a name. A position (`#134`) that the images' owner
            supplied is believed only where the class there agrees in name: it tells ImageNet's two cranes apart.
    """
    if label is None:
        return None
    numbered = _numbered(label, classes)
    if numbered is not None:
        return numbered
    for alias in aliases:
        hint = _numbered(alias, classes)
        if hint is not None and _agrees(label, classes[hint]):
            return hint
    wnids = [alias for alias in aliases if not alias.startswith("#")]
    found = _matches(label, classes, wnids)
    if len(found) > 1:
        by_wnid = {match for wnid in wnids for match in _names(tuple(classes)).lookup(wnid)}
        found = tuple(by_wnid.intersection(found))
    return found[0] if len(found) == 1 else None


def class_indices(items: Iterable["ImageItem"], classes: Sequence[str]) -> list[int | None]:
    """`class_index` of every image, looked up once per label."""

    @cache
    def index(label: str | None, aliases: tuple[str, ...]) -> int | None:
        return class_index(label, classes, aliases=aliases)

    return [index(item.label, item.aliases) for item in items]


def find_class(name: str, classes: Sequence[str]) -> int:
    """Position of the one class that a person's `name` (or `#517`) means.

    Raises:
        ExpressionError: the model has no classes, or none of this name, or several.
    """
    if not classes:
        raise ExpressionError(f"class {name!r} cannot be found: the model has no named classes")
    numbered = _numbered(name, classes)
    if numbered is not None:
        return numbered
    if name.strip().startswith("#"):
        raise ExpressionError(f"class {name!r} does not exist: the model has classes #0 to #{len(classes) - 1}")
    found = _names(tuple(classes)).lookup(name)
    if not found:
        raise ExpressionError(f"the model has no class {name!r}{nearest(name, _names(tuple(classes)).known())}")
    if len(found) > 1:
        listed = ", ".join(f"#{each} {classes[each]}" for each in found)
        raise ExpressionError(f"class {name!r} is one of several: {listed}; name one by its number, like #{found[0]}")
    return found[0]
