"""All that the page knows: calls of the public API, cached.

One VISCNN session serves the whole process and is replaced after a failed connection. Tables are cached by a model's
stamp (see `VISCNN.stamp`) and a query's uid, which names its content.

Visitors look at maps of one model at once: nothing in a run of it changes the model, or anything else that they share.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from viscnn.api import VISCNN
from viscnn.config import environment_connection
from viscnn.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

    from viscnn.comparison import Comparison
    from viscnn.engine.circuit import CircuitReport
    from viscnn.engine.one_image import KernelMaps, Picture, Response
    from viscnn.engine.receptive import LayerFields
    from viscnn.engine.run import QueryReport
    from viscnn.graph import Table
    from viscnn.ingest.load import LoadReport
    from viscnn.subgraph import Subgraph

__all__ = [
    "LIMIT",
    "Drawing",
    "Kept",
    "activate",
    "activation",
    "begun_activation",
    "circuit_drawing",
    "circuit_properties",
    "class_profile",
    "comparison",
    "decoded",
    "ends",
    "filter_scores",
    "forget_activation",
    "image",
    "image_paths",
    "image_sets",
    "incoming",
    "ingest",
    "input_channel",
    "intervene",
    "kernel_maps",
    "layers",
    "models",
    "outgoing",
    "places",
    "projections",
    "properties",
    "receptive_fields",
    "reconnect",
    "remembering",
    "run_circuit",
    "run_named",
    "run_query",
    "run_text",
    "session",
    "similar_filters",
    "stamp",
    "stored_places",
    "subgraph",
    "unscored",
]

LIMIT = 20_000
_EVERYTHING = 1_000_000
_TO_ACTIVATE, _ACTIVATION = "viscnn_to_activate", "viscnn_activation"
# scores take all cores, and for a large model most of the memory: those of one visitor at a time
_SCORING = threading.RLock()


@dataclass(frozen=True)
class Drawing:
    """What the 3-D view draws: the frames of a `Subgraph`, and the query that their scores belong to, if any."""

    query: str | None
    filters: pd.DataFrame
    kernels: pd.DataFrame
    identities: pd.DataFrame


class Kept(NamedTuple):
    """How much of a query's scores is drawn: a share of all kernels, or else of the total score."""

    keep: float
    share: float | None = None


def session() -> VISCNN:
    """The process's session; raises ConnectionFailed."""
    return _session(_address())


def _address() -> tuple[str, str, str | None] | None:
    connection = environment_connection()
    return (connection.uri, connection.username, connection.database) if connection else None


@st.cache_resource(show_spinner="Connecting to Neo4j", on_release=VISCNN.close)
def _session(address: tuple[str, str, str | None] | None) -> VISCNN:
    return VISCNN()


def remembering(on: bool = True) -> AbstractContextManager[None]:
    """See `VISCNN.remembering`; needs no connection."""
    return VISCNN.remembering(on)


def reconnect() -> None:
    """Forget the session, so that the next call opens a new one."""
    _session.clear()


# -- models ------------------------------------------------------------------------------------------------------------


def models() -> list[dict[str, Any]]:
    """All stored models, never cached: another program may add one."""
    return session().models()


def stamp(model: str) -> str:
    """What caches of a complete model's tables and pictures are keyed by; raises NotInGraph."""
    return session().stamp(model)


@st.cache_data(show_spinner=False, max_entries=32)
def properties(stamp: str, model: str) -> dict[str, Any]:
    """The properties of a model."""
    return session().model(model)


@st.cache_data(show_spinner=False, max_entries=32)
def layers(stamp: str, model: str) -> pd.DataFrame:
    """The layers of a model in the order of execution, by name."""
    return pd.DataFrame(session().layers(model)).set_index("name", drop=False)


@st.cache_data(show_spinner=False, max_entries=32)
def ends(stamp: str, model: str) -> pd.DataFrame:
    """The layers that a model ends in: the logits where they are filters, else what nothing reads (gates apart)."""
    found = layers(stamp, model)
    if found["logits"].any():
        return found[found["logits"]]
    feeds = session().cypher("read/feeds", {"model": model}, limit=_EVERYTHING)
    read = {row[feeds.columns.index("source")] for row in feeds.rows}
    return found[~found["name"].isin(read) & ~found["gate"]]


@st.cache_data(show_spinner=False, max_entries=32)
def input_channel(stamp: str, model: str) -> str:
    """Uid of the first input channel of a model."""
    found = session().cypher("read/filters", {"model": model}, limit=1)
    return str(found.rows[0][found.columns.index("uid")])


def projections(model: str) -> list[dict[str, Any]]:
    """The complete projections of a model, by method; never cached: one may be made or activated elsewhere."""
    return session().projections(model)


@st.cache_data(show_spinner=False, max_entries=16)
def places(stamp: str, projection: str, made: str) -> pd.DataFrame:
    """Where a projection that was made then puts each filter: `u`, `v` by uid."""
    rows = session().places(projection)
    return pd.DataFrame(rows, columns=["uid", "u", "v"]).set_index("uid")


def stored_places(model: str) -> pd.DataFrame:
    """Where the graph has each filter: `u`, `v` by uid; never cached: anyone may move them by Cypher."""
    found = session().cypher("read/filters", {"model": model}, limit=_EVERYTHING)
    return pd.DataFrame(found.rows, columns=list(found.columns)).set_index("uid")[["u", "v"]]


def image_sets(model: str) -> list[str]:
    """Names of the stored image sets, `overall` first."""
    return [str(each["name"]) for each in session().image_sets(model)]


# -- queries -----------------------------------------------------------------------------------------------------------


def run_query(
    text: str, *, model: str, output: str | None, criterion: str, max_images: int, progress: Progress
) -> "QueryReport":
    """Score and store a query; it is activated when the page has drawn it (see `begun_activation`)."""
    with _SCORING:
        report = session().query(
            text,
            model=model,
            output=output,
            criterion=criterion,
            max_images=max_images,
            activate=False,
            progress=progress,
        )
    st.session_state[_TO_ACTIVATE] = report.uid
    return report


def begun_activation() -> "Future[dict[str, Any]] | None":
    """The activation of the query that this visitor ran last: begun at the first call, None once it was looked at.

    It runs beside the page, which has its scores from SCORED and need not wait.
    """
    uid = st.session_state.pop(_TO_ACTIVATE, None)
    if uid is not None:
        st.session_state[_ACTIVATION] = _beside().submit(session().activate, uid)
    return st.session_state.get(_ACTIVATION)


def activate(uid: str) -> dict[str, Any]:
    """Activate a query now, instead of the one that was run last if that was not begun yet."""
    st.session_state.pop(_TO_ACTIVATE, None)
    return session().activate(uid)


def forget_activation() -> None:
    """The activation has been looked at."""
    st.session_state.pop(_ACTIVATION, None)


@st.cache_resource(show_spinner=False)
def _beside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4, thread_name_prefix="viscnn-activate")


@st.cache_resource(show_spinner="Pulling the subgraph", max_entries=32)
def subgraph(stamp: str, query: str, kept: Kept) -> "Subgraph":
    """The scored subgraph of a query, at most LIMIT kernels; read only: copies would take as long as drawing it."""
    return session().subgraph(query, keep=kept.keep, share=kept.share, limit=LIMIT)


@st.cache_data(show_spinner="Comparing", max_entries=16)
def comparison(stamp: str, first: str, second: str, kept: Kept) -> "Comparison":
    """Two queries at one kept fraction or share, at most LIMIT kernels of each drawn; all are counted."""
    return session().compare(first, second, keep=kept.keep, share=kept.share, limit=LIMIT)


@st.cache_data(show_spinner="Pulling the filters", max_entries=8)
def unscored(stamp: str, model: str) -> Drawing:
    """All filters of a model that has no query yet, without scores and kernels."""
    found = session().cypher("read/filters", {"model": model}, limit=_EVERYTHING)
    filters = pd.DataFrame(found.rows, columns=list(found.columns)).assign(score=np.nan, shown=0.0)
    none = pd.DataFrame(np.empty((0, 4), dtype=np.int64), columns=["source", "target", "sign", "shown"])
    return Drawing(None, filters, none, none)


@st.cache_data(show_spinner=False, max_entries=256)
def incoming(stamp: str, filter_uid: str, query: str | None) -> pd.DataFrame:
    """All kernels into a filter (of a sum its addends) with their weights, by a query's scores, else by l1."""
    columns = ["source", "input", "score", "l1", "l2", "signRatio", "sign", "weights"]
    return pd.DataFrame(session().incoming_kernels(filter_uid, query=query, limit=_EVERYTHING), columns=columns)


@st.cache_data(show_spinner=False, max_entries=256)
def outgoing(stamp: str, filter_uid: str, query: str | None) -> pd.DataFrame:
    """All kernels from a filter with their weights, by a query's scores, else by l1."""
    columns = ["target", "input", "score", "l1", "l2", "signRatio", "sign", "weights"]
    return pd.DataFrame(session().outgoing_kernels(filter_uid, query=query, limit=_EVERYTHING), columns=columns)


# -- filters ----------------------------------------------------------------------------------------------------------


def filter_scores(stamp: str, filter_uid: str) -> list[dict[str, Any]]:
    """Score and rank of a filter under every saved query; never cached: a query may have been run."""
    return session().filter_scores(filter_uid)


def class_profile(stamp: str, filter_uid: str) -> dict[str, Any] | None:
    """The class profile of a filter; never cached: `viscnn project` may have made it."""
    return session().class_profile(filter_uid)


def similar_filters(stamp: str, filter_uid: str) -> list[dict[str, Any]]:
    """Filters with a class profile like this one's."""
    return session().similar_filters(filter_uid)


# -- circuits ----------------------------------------------------------------------------------------------------------


def run_circuit(target: str, *, model: str, progress: Progress, **settings: Any) -> "CircuitReport":
    """Extract, verify and store a circuit."""
    with _SCORING:
        return session().circuit(target, model=model, progress=progress, **settings)


def circuit_properties(uid: str) -> dict[str, Any] | None:
    """All properties of a stored circuit; None when there is none of this uid."""
    rows = session().cypher("read/circuit", {"uid": uid}).rows
    return dict(rows[0][0]) if rows else None


@st.cache_data(show_spinner="Pulling the circuit", max_entries=16)
def circuit_drawing(stamp: str, uid: str) -> Drawing:
    """A circuit's kernels with the scores of the query that chose them, highest scaled score first."""
    found = session().circuit_subgraph(uid)
    return Drawing(found.query, found.filters, found.kernels, found.identities)


# -- images ------------------------------------------------------------------------------------------------------------


def image_paths(stamp: str, model: str, image_set: str) -> list[str]:
    """Paths of some images of a set, which may be another one of this name than a moment ago."""
    found = (str(each["hash"]) for each in session().image_sets(model) if each["name"] == image_set)
    return _image_paths(stamp, model, image_set, next(found, None))


@st.cache_data(show_spinner=False, max_entries=64)
def _image_paths(stamp: str, model: str, image_set: str, images_hash: str | None) -> list[str]:
    return session().image_paths(model, image_set)


@st.cache_data(show_spinner=False, max_entries=256)
def image(stamp: str, model: str, picture: "Picture") -> NDArray[np.uint8]:
    """An image as the model sees it: of its source by path, or any pixels."""
    return session().image(model, picture)


def decoded(file: BinaryIO, name: str) -> "Image":
    """An uploaded picture; raises ImagesError."""
    return session().decoded(file, name)


@st.cache_data(show_spinner=False, max_entries=512)
def activation(stamp: str, filter_uid: str, picture: "Picture") -> NDArray[np.float32]:
    """The pre-activation map of a filter on an image."""
    return session().activation(filter_uid, picture)


@st.cache_data(show_spinner=False, max_entries=512)
def kernel_maps(stamp: str, kernels: tuple[tuple[str, str], ...], picture: "Picture") -> "list[KernelMaps]":
    """The input map and the edge map of each kernel (source, target) on an image."""
    return session().kernel_maps(kernels, picture)


@st.cache_data(show_spinner=False, max_entries=32)
def intervene(
    stamp: str,
    model: str,
    picture: "Picture",
    factors: Mapping[str, float],
    *,
    output: str | None,
    watch: tuple[str, ...],
) -> "Response":
    """An image's logits, target and watched maps, as they are and with scaled filters and kernels."""
    return session().intervene(model, picture, factors, output=output, watch=watch)


@st.cache_data(show_spinner=False, max_entries=128)
def receptive_fields(stamp: str, model: str, layer: str, channel: int) -> "LayerFields":
    """The receptive fields of all units of a filter, in the image."""
    return session().receptive_fields(model, layer, channel=channel)


# -- Cypher ------------------------------------------------------------------------------------------------------------


def run_named(name: str, parameters: Mapping[str, Any], *, limit: int) -> "Table":
    """Run a read query of the catalogue."""
    return session().cypher(name, dict(parameters), limit=limit)


def run_text(text: str, *, limit: int) -> "Table":
    """Run ad-hoc Cypher behind the read-only guard."""
    return session().cypher_text(text, limit=limit)


def ingest(name: str, progress: Progress) -> "LoadReport":
    """Ingest a model of the zoo."""
    return session().ingest(name, progress=progress)
