"""Scores of one image set: a streaming mean over its images, cached on disk by content.

1. read images in batches small enough that the recorded maps stay near 64 MB (streaming.py);
2. record one forward pass for all targets, and for each target one `torch.autograd.grad` for all layers at once;
3. add each layer's kernel and filter scores in float64; keep one total per image (sums.py).

One pass serves any number of criteria and targets; an iterative criterion (FORCE) makes passes of its own. The cache
key is made of everything that a score depends on: the network, the preprocessing, the images, their labels (for the
loss), the output and the criterion with its parameters. So an edited folder or another checkpoint is never confused.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.config import cache_folder
from viscnn.engine.baseline import baseline_hash, mean_image
from viscnn.engine.batch import Batch, together
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import Criterion
from viscnn.engine.device import device, on_device
from viscnn.engine.streaming import Alone, Group, run_through
from viscnn.engine.sums import SetScores, Sums, read_scores, write_scores
from viscnn.engine.target import Logit, Target
from viscnn.engine.wiring import upstream_of
from viscnn.ingest.architecture import Architecture
from viscnn.progress import Progress, silent

__all__ = ["Job", "Running", "score_images", "score_jobs", "score_key"]

CACHE_VERSION = 5


@dataclass(frozen=True)
class Job:
    """One thing to score images by."""

    target: Target
    criterion: Criterion


@dataclass(frozen=True)
class Running:
    """How the images are run: who shares them, who is told, and how many processes decode."""

    group: Group | None = None
    progress: Progress = silent
    workers: int | None = None


def score_images(
    bundle: Bundle,
    indices: tuple[int, ...],
    target: Target,
    criterion: Criterion,
    *,
    progress: Progress = silent,
) -> SetScores:
    """Scores of the images `indices` of the bundle's collection, from the cache when they are there.

    Raises:
        ImagesError: none of the images can be decoded.
        StoredDataError: NaN or infinity in a layer's maps.
    """
    return score_jobs(bundle, indices, [Job(target, criterion)], running=Running(progress=progress))[0]


def score_jobs(
    bundle: Bundle, indices: tuple[int, ...], jobs: Sequence[Job], *, running: Running | None = None
) -> tuple[SetScores, ...]:
    """Scores of the images by each of the jobs: one pass for all of them, but for iterative criteria and cached ones.

    Raises:
        ImagesError: none of the images can be decoded.
        StoredDataError: NaN or infinity in a layer's maps.
    """
    running = running or Running()
    sharing: Group = running.group or Alone()
    keys = [score_key(bundle, indices, job.target, job.criterion) for job in jobs]
    stored = {key: scores for key in keys if (scores := read_scores(_file(key), bundle.architecture)) is not None}
    known = sharing.common(stored)  # what a process lacks, all score again: each has a part of the images
    found: dict[str, SetScores] = {key: stored[key] for key in known}
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
    plain = {key: job for key, job in missing.items() if job.criterion.rounds == 1}
    if plain:
        found |= _one_pass(bundle, indices, plain, running)
    for key, job in missing.items():
        if key not in plain:
            found[key] = _rounds(bundle, indices, key, job, running)
    for key in missing:
        if sharing.keeps:
            write_scores(_file(key), found[key])
    return tuple(replace(found[key], key=key) for key in keys)


def _one_pass(
    bundle: Bundle, indices: tuple[int, ...], jobs: Mapping[str, Job], running: Running
) -> dict[str, SetScores]:
    accumulator = _Jobs(bundle, list(jobs.values()))
    skipped = run_through(bundle, indices, accumulator, key=" ".join(jobs), **vars(running))
    hashes = _hashes(bundle, indices, skipped)
    return {key: sums.result(hashes, skipped) for key, sums in zip(jobs, accumulator.sums, strict=True)}


def _hashes(bundle: Bundle, indices: tuple[int, ...], skipped: tuple[str, ...]) -> tuple[str, ...]:
    left_out = set(skipped)
    items = [bundle.collection.items[index] for index in indices]
    return tuple(item.image_hash for item in items if item.path not in left_out)


def _rounds(bundle: Bundle, indices: tuple[int, ...], key: str, job: Job, running: Running) -> SetScores:
    """The scores of the last round of an iterative criterion."""
    criterion, masks = job.criterion, dict[str, Tensor]()
    rivals = _rivals(bundle.architecture, job.target)
    for done in range(1, criterion.rounds + 1):
        accumulator = _Jobs(bundle, [job], masks)
        skipped = run_through(
            bundle,
            indices,
            accumulator,
            key=f"{key} {done}",
            step=f"images, round {done} of {criterion.rounds}",
            **vars(running),
        )
        result = accumulator.sums[0].result(_hashes(bundle, indices, skipped), skipped)
        if done < criterion.rounds:
            masks = _pruned(criterion, rivals, accumulator.sums[0].kernels, done)
    return result


def _rivals(architecture: Architecture, target: Target) -> dict[str, tuple[int, Tensor]]:
    """What rounds choose from: number and upstream kernels (filters, inputs) of the layers that have some.

    All others stay: the identities of sums, and the kernels of gates.
    """
    numbered = enumerate(zip(architecture.layers, upstream_of(architecture, target), strict=True))
    return {
        layer.name: (number, torch.from_numpy(upstream))
        for number, (layer, upstream) in numbered
        if upstream.any() and not layer.is_sum
    }


def _pruned(
    criterion: Criterion, rivals: Mapping[str, tuple[int, Tensor]], kernels: Sequence[Tensor], done: int
) -> dict[str, Tensor]:
    """Masks of the layers that have kernels upstream of the target; kernels that are not upstream stay."""
    if criterion.prune is None or not rivals:
        return {}
    of = {name: kernels[number][upstream] for name, (number, upstream) in rivals.items()}
    kept = criterion.prune(of, done, **criterion.parameters)
    masks = {}
    for name, (number, upstream) in rivals.items():
        masks[name] = torch.ones_like(kernels[number])
        masks[name][upstream] = kept[name]
    return masks


class _Jobs:
    """An accumulator of several jobs; jobs towards one target share its gradients."""

    def __init__(self, bundle: Bundle, jobs: list[Job], masks: Mapping[str, Tensor] | None = None) -> None:
        self._bundle = bundle
        self._masks = masks or {}
        self.sums = [Sums(bundle.architecture, job.criterion) for job in jobs]
        self._criteria = [job.criterion for job in jobs]
        self._of_target: dict[str, list[int]] = {}
        self._targets: list[Target] = []
        for number, job in enumerate(jobs):
            if job.target.text not in self._of_target:
                self._targets.append(job.target)
            self._of_target.setdefault(job.target.text, []).append(number)

    @cached_property
    def _baseline(self) -> Tensor | None:
        return mean_image(self._bundle) if any(each.baseline for each in self._criteria) else None

    def scored(self, images: Tensor, labels: list[int | None]) -> Callable[[], None]:
        batches = [self._batch(target, images, labels) for target in self._targets]
        adds: list[Callable[[], None]] = []
        with torch.no_grad():
            for batch in together(batches):
                adds += [self.sums[number].scored(batch) for number in self._of_target[batch.target.text]]

        def add() -> None:
            for each in adds:
                each()

        return add

    def _batch(self, target: Target, images: Tensor, labels: list[int | None]) -> Batch:
        criteria = [self._criteria[number] for number in self._of_target[target.text]]
        return Batch(
            on_device(self._bundle.architecture, device()),
            images,
            target,
            labels=labels,
            gradients=any(each.gradients for each in criteria),
            signed=any(each.products for each in criteria),
            masks=self._masks,
            baseline=None if self._baseline is None else self._baseline.to(images.device),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        return {f"{n}/{key}": array for n, sums in enumerate(self.sums) for key, array in sums.state().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for n, sums in enumerate(self.sums):
            start = f"{n}/"
            sums.restore({key.removeprefix(start): each for key, each in state.items() if key.startswith(start)})


def score_key(bundle: Bundle, indices: tuple[int, ...], target: Target, criterion: Criterion) -> str:
    """SHA-256 over everything that the scores of these images depend on."""
    numbers = bundle.class_numbers() if target.needs_labels else []
    images = [
        [bundle.collection.items[index].image_hash, numbers[index] if target.needs_labels else None]
        for index in indices
    ]
    key = {
        "version": CACHE_VERSION,
        "weights": bundle.weights_hash,
        "architecture": bundle.architecture.digest,
        "preprocess": bundle.preprocess.to_json(),
        "images": sorted(images, key=str),
        "output": [target.text, [term.reads.number for term in target.terms if isinstance(term.reads, Logit)]],
        "criterion": criterion.text,
        "baseline": baseline_hash(bundle) if criterion.baseline else None,
    }
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _file(key: str) -> Path:
    return cache_folder() / "scores" / f"{key}.npz"
