"""Exemplars: the images that every filter of a model responds to most and least, found and stored.

They decide nothing, so that images of both parts are looked at, score and check.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from viscnn.engine.bundle import Bundle
from viscnn.engine.expression import parse
from viscnn.engine.extremes import Extremes, extremes
from viscnn.engine.images import OVERALL, skipped_note
from viscnn.engine.scoring import Running
from viscnn.errors import InputError
from viscnn.graph import Graph
from viscnn.graph_exemplars import Exemplars, FilterRow, ImageRow, image_uid, save_exemplars

__all__ = ["COUNT", "MOST", "ExemplarReport", "find_exemplars"]

COUNT = 9
MOST = 100
"""Images of each kind that a filter may have; memory and graph grow with it."""
_VERSION = 1


@dataclass(frozen=True)
class ExemplarReport:
    """What was found and stored.

    Attributes:
        input: the input expression whose image sets were looked at.
        count: images of each kind that a filter has: as many as were asked for, or all there are.
        images: how many images were looked at.
        filters: how many filters have exemplars.
        hash: names the images, the network and the count: `Model.exemplars`.
        undecoded: paths of images that could not be decoded.
        not_finite: paths of images whose maps hold NaN or infinity.
    """

    model: str
    input: str
    count: int
    images: int
    filters: int
    hash: str
    seconds: float
    undecoded: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_exemplars(
    graph: Graph,
    bundle: Bundle,
    *,
    count: int = COUNT,
    input: str = OVERALL,  # noqa: A002 - the name that a query has it by
    max_images: int = 0,
    running: Running | None = None,
) -> ExemplarReport:
    """Find the exemplars of every filter in one pass over the images, and store them in place of earlier ones.

    Args:
        count: so many images of largest, and so many of smallest pre-activation.
        input: the images of all sets and images that this expression names; their weights make no difference.
        max_images: at most so many images of each set, the same ones each time; 0 for all.

    Raises:
        InputError: `count` is not in 1..100.
        ExpressionError, ImagesError: the images cannot be had.
        StoredDataError: NaN or infinity in the maps of every image; the model was changed, or other exemplars of it
            are being stored.
    """
    began = time.monotonic()
    running = running or Running()
    if not 1 <= count <= MOST:
        raise InputError(f"count is {count}; a filter can have 1 to {MOST} exemplars of each kind")
    expression = parse(input).renamed(lambda name: bundle.collection.find(name).name)
    indices = _chosen(bundle, expression.names, max_images)
    key = _key(bundle, indices, count)
    found = extremes(bundle, indices, count, key=key, running=running)
    stored = _stored(bundle, found, key, count)
    save_exemplars(graph, bundle.name, stored, progress=running.progress)
    return ExemplarReport(
        model=bundle.name,
        input=str(expression),
        count=stored.count,
        images=found.images,
        filters=stored.filters,
        hash=key,
        seconds=time.monotonic() - began,
        undecoded=found.undecoded,
        not_finite=found.not_finite,
        notes=_notes(bundle, found, count),
    )


def _chosen(bundle: Bundle, names: tuple[str, ...], max_images: int) -> tuple[int, ...]:
    """The images of some sets, each once, in the order of the collection: of equal values the first counts."""
    select, limit = bundle.collection.select, max_images or None
    return tuple(sorted({index for name in names for index in select(name, None, limit, required=True)}))


def _key(bundle: Bundle, indices: tuple[int, ...], count: int) -> str:
    """SHA-256 over all that the exemplars depend on."""
    items = [bundle.collection.items[index] for index in indices]
    key = {
        "version": _VERSION,
        "weights": bundle.weights_hash,
        "architecture": bundle.architecture.digest,
        "preprocess": bundle.preprocess.to_json(),
        "count": count,
        "images": [[item.image_hash, item.path, item.label] for item in items],
    }
    return hashlib.sha256(f"exemplars {json.dumps(key)}".encode()).hexdigest()


def _stored(bundle: Bundle, found: Extremes, key: str, count: int) -> Exemplars:
    """What is stored."""
    return Exemplars(
        key=key,
        looked_at=found.images,
        count=min(count, found.images),
        filters=sum(layer.filters for layer in bundle.architecture.layers),
        images=_images(bundle, found),
        rows=_rows(bundle, found),
    )


def _images(bundle: Bundle, found: Extremes) -> list[ImageRow]:
    """The images that are an exemplar of some filter."""
    used = np.unique(np.concatenate([layer.image.ravel() for layer in found.layers]))
    items = [bundle.collection.items[index] for index in used.tolist()]
    return [
        {"uid": image_uid(bundle.name, each.path), "path": each.path, "label": each.label, "hash": each.image_hash}
        for each in items
    ]


def _rows(bundle: Bundle, found: Extremes) -> Iterator[FilterRow]:
    uids = [image_uid(bundle.name, item.path) for item in bundle.collection.items]
    for layer, of in zip(bundle.architecture.layers, found.layers, strict=True):
        for channel in range(layer.filters):
            yield {
                "uid": f"{bundle.name}/{layer.name}/{channel}",
                "images": [uids[index] for index in of.image[:, channel].ravel().tolist()],
                "activations": of.activation[:, channel].ravel().tolist(),
                "rows": of.row[:, channel].ravel().tolist(),
                "columns": of.column[:, channel].ravel().tolist(),
            }


def _notes(bundle: Bundle, found: Extremes, count: int) -> tuple[str, ...]:
    """What should be said: images that were left out, and that there were too few."""
    notes = list(skipped_note(bundle.collection))
    for paths, why in (
        (found.undecoded, "could not be decoded"),
        (found.not_finite, "give maps with NaN or infinity"),
    ):
        if paths:
            notes.append(f"{len(paths)} images {why} and were left out, such as {paths[0]}")
    if found.images < count:
        notes.append(f"there are only {found.images} images, so each filter has that many of each kind")
    return tuple(notes)
