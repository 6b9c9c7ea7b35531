"""Class profiles of a stored model: read from the graph where they are of these images, else computed and stored."""

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.bundle import Bundle
from viscnn.engine.profiles import class_profiles, profiles_key
from viscnn.engine.projections.vectors import unit_rows
from viscnn.engine.scoring import Running
from viscnn.graph import Graph
from viscnn.graph_projections import read_profiles, save_profiles
from viscnn.progress import Progress, silent

__all__ = ["stored_profiles"]


def stored_profiles(
    graph: Graph, bundle: Bundle, indices: tuple[int, ...], *, progress: Progress = silent
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Per layer (filters, classes) of unit length, or zero: a filter's `taylor` score for each class (paper, 2.3).

    Also what is to be said of them: images that were left out, or that fewer are used than before.

    Args:
        indices: images by their position in the bundle's collection; those without a class of the model are left out.

    Raises:
        ExpressionError: the model has no logits.
        ImagesError: no image has a label that is a class of the model.
    """
    key = profiles_key(bundle, indices)
    uids = [f"{bundle.name}/{layer.name}" for layer in bundle.architecture.layers]
    found = read_profiles(graph, bundle.name, uids, profiles=key)
    if found is not None:
        return found, []
    before = graph.read("read/model", model=bundle.name)[0]["profileImages"] or 0
    profiles = class_profiles(bundle, indices, running=Running(progress=progress))
    units = [_normalised(each) for each in profiles.filters]
    images = int(profiles.images.sum())
    layers = list(zip(uids, units, strict=True))
    seen = profiles.images > 0
    save_profiles(graph, bundle.name, layers, bundle.classes, profiles=key, images=images, seen=seen, progress=progress)
    notes = [f"class profiles of {images:,} images replace those of {before:,}"] * (images < before)
    notes += [f"{len(profiles.skipped):,} images cannot be decoded and were left out"] * bool(profiles.skipped)
    notes += [f"{profiles.unlabelled:,} images are of no class of the model"] * bool(profiles.unlabelled)
    notes += [f"{int((~seen).sum()):,} of {len(seen):,} classes have no image"] * bool((~seen).any())
    return units, notes


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of unit length; rows of zeros, and those with a NaN or infinity, are zero."""
    rows = unit_rows(values)
    found = np.zeros_like(values)
    found[~rows.dead] = rows.unit
    return found
