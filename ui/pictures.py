"""Small pictures of filters: what stands for a filter wherever it is drawn."""

from collections.abc import Sequence
from contextlib import nullcontext

import streamlit as st

from viscnn.api_diagram import PICTURE_KINDS, FilterPicture, PictureKind
from viscnn.ui import data

__all__ = ["pictures"]

_Key = tuple[PictureKind, str | None]
FORGOTTEN_S = 600
MOST_PICTURES = 20_000
FEW = 50


def pictures(stamp: str, model: str, uids: Sequence[str], *, circuit: str | None = None) -> dict[str, FilterPicture]:
    """PNG data addresses with their kind, by uid; who has no picture is left out. Nothing is rendered.

    In the order of `PICTURE_KINDS`, which is that of files too. Visualisations that are rendered meanwhile are found
    at the next call; what was found is remembered, and that a filter has no exemplar for FORGOTTEN_S.
    """
    known = _known(stamp)
    if len(known) > MOST_PICTURES:
        known.clear()
    found: dict[str, FilterPicture] = {}
    for kind in PICTURE_KINDS:
        key = (kind, _source(kind, model, circuit))
        missing = [uid for uid in uids if uid not in found]
        new = [uid for uid in missing if (key, uid) not in known]
        if new and key != ("circuit", None):
            _look(known, key, model, new, circuit)
        found |= {uid: FilterPicture(picture, kind) for uid in missing if (picture := known.get((key, uid)))}
    return found


def _source(kind: PictureKind, model: str, circuit: str | None) -> str | None:
    """What pictures of a kind depend on beside the model; with it they are looked for anew."""
    if kind == "exemplar":
        found = data.session().model(model).get("exemplars")
        return None if found is None else str(found)
    return circuit if kind == "circuit" else None


def _look(known: dict[tuple[_Key, str], str], key: _Key, model: str, uids: list[str], circuit: str | None) -> None:
    """Ask the API for pictures of one kind, and remember them."""
    slow = key[0] == "exemplar" and len(uids) > FEW
    with st.spinner("Looking for pictures of the filters") if slow else nullcontext():
        found = data.session().filter_pictures(model, uids, circuit=circuit, kinds=(key[0],))
    known |= {(key, uid): picture.address for uid, picture in found.items()}
    if key[0] in {"exemplar", "kernels"}:  # they do not come while the page runs, or under another key
        known |= {(key, uid): "" for uid in uids if uid not in found}


@st.cache_resource(show_spinner=False, max_entries=8, ttl=FORGOTTEN_S)
def _known(stamp: str) -> dict[tuple[_Key, str], str]:
    """Pictures by what they depend on and uid, shared by all visitors; an empty text is none."""
    return {}
