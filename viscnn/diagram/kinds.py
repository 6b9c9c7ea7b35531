"""What a picture of a filter shows: its kind, in words, and how many of each there are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["KINDS", "FilterPicture", "counted"]

KINDS = {
    "kernels": "its own kernels",
    "circuit": "visualisation from the circuit",
    "network": "visualisation from the whole network",
    "exemplar": "patch that excites it most",
}
"""What a picture of each kind shows; the first that a filter has is drawn."""
_COUNTED = {
    "kernels": ("by its kernels", "by their kernels"),
    "circuit": ("by a visualisation from the circuit", "by visualisations from the circuit"),
    "network": ("by a visualisation from the whole network", "by visualisations from the whole network"),
    "exemplar": ("by a patch of an image", "by patches of images"),
    "": ("by another picture", "by other pictures"),
}


class FilterPicture(NamedTuple):
    """A small picture of a filter: a PNG or JPEG as a data address, and its kind, one of KINDS (or empty)."""

    address: str
    kind: str = ""


def counted(pictures: Mapping[str, FilterPicture], uids: Iterable[str]) -> str:
    """How many of these filters are drawn by pictures of each kind, in words; empty where none is."""
    kinds = Counter(pictures[uid].kind for uid in uids if uid in pictures)
    parts = [f"{kinds[kind]:,} {words[kinds[kind] > 1]}" for kind, words in _COUNTED.items() if kinds[kind]]
    return f"filters drawn: {', '.join(parts)}" if parts else ""
