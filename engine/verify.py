"""Does a circuit predict? The masked network, run on images that no score was computed from.

A removed kernel contributes conv(W (1 - M), x') instead of conv(W (1 - M), x), with x' nothing (`zero`), the mean
input map over scoring images (`mean`), or another image's input map (`resample`), taken from the unmasked network;
biases stay. Kernels on no path to the target were never in question and stay as well: those of gates, which run whole
on the masked network's maps. An identity of a sum that no kept path needs is removed like a kernel. The target's
response, signed and (but for `@post`) before its activation, is correlated over all check images and positions with
that of the whole network. Beside the circuit stand controls of the same size in every layer.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viscnn.engine.batch import label_tensor
from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import Intervention, Recording, convolve, record
from viscnn.engine.connectivity import Mask, Network, upstream
from viscnn.engine.controls import magnitude_control, random_control, worst_control
from viscnn.engine.expression import parse
from viscnn.engine.preservation import PearsonSums, spearman, summarise
from viscnn.engine.run import QueryReport
from viscnn.engine.selection import Selection
from viscnn.engine.streaming import image_batches
from viscnn.engine.target import Target
from viscnn.errors import ImagesError

__all__ = ["ABLATIONS", "Evidence", "VerifySpec", "check_images", "masked", "verify"]

ABLATIONS = ("zero", "mean", "resample")
FEWEST_CHECK_IMAGES = 30
MEAN_MAP_IMAGES = 200


@dataclass(frozen=True)
class VerifySpec:
    """How to check: what replaces removed kernels' inputs, how many check images at most (0: all), random controls."""

    ablation: str = "zero"
    max_images: int = 200
    random_controls: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Evidence:
    """Pearson r of the target's response, circuit and controls; NaN (a constant response) is counted, not dropped.

    `pearson_random` is the mean over the random controls whose r is defined, NaN when none is.
    """

    pearson: float
    spearman: float
    pearson_random: float
    pearson_worst: float
    pearson_magnitude: float
    nan_count: int
    images: int
    positions: int
    image_sets: str
    ablation: str

    def properties(self) -> dict[str, Any]:
        """As stored on a Circuit; an undefined r is null."""
        numbers = {
            "pearson": self.pearson,
            "spearman": self.spearman,
            "pearsonRandom": self.pearson_random,
            "pearsonWorst": self.pearson_worst,
            "pearsonMagnitude": self.pearson_magnitude,
        }
        return {name: None if np.isnan(value) else float(value) for name, value in numbers.items()} | {
            "nanCount": self.nan_count,
            "checkImages": self.images,
            "checkPositions": self.positions,
            "checkSets": self.image_sets,
        }


def verify(
    bundle: Bundle,
    query: QueryReport,
    target: Target,
    network: Network,
    selection: Selection,
    targets: NDArray[np.int64],
    sources: NDArray[np.int64],
    spec: VerifySpec,
) -> Evidence:
    """Run the circuit and its controls on `check` images of the query's image sets.

    Raises:
        ImagesError: there are no check images at all.
    """
    indices, sets = check_images(bundle, query.input, spec.max_images)
    magnitudes = tuple(
        bundle.architecture.convolution(layer).weight.abs().mean(dim=(2, 3)).double().numpy()
        for layer in bundle.architecture.layers
    )
    masks = [selection.mask]
    masks += [
        random_control(selection, network, targets, sources, seed=spec.seed + n) for n in range(spec.random_controls)
    ]
    masks.append(worst_control(selection, network, targets, sources))
    masks.append(magnitude_control(selection, network, magnitudes, targets, sources))
    in_question = upstream(network, targets, sources)
    masks = [tuple(kept | ~may for kept, may in zip(mask, in_question, strict=True)) for mask in masks]
    means = _mean_inputs(bundle, target) if spec.ablation == "mean" else {}
    skipped: list[str] = []
    sums, responses = _run(bundle, target, masks, indices, means, spec, skipped)
    r = [each.r for each in sums]
    return Evidence(
        pearson=r[0],
        spearman=spearman(*responses),
        pearson_random=summarise(r[1:-2]).mean,
        pearson_worst=r[-2],
        pearson_magnitude=r[-1],
        nan_count=summarise(r).nan_count,
        images=len(indices) - len(skipped),
        positions=responses[0].size,
        image_sets=sets,
        ablation=spec.ablation,
    )


def check_images(bundle: Bundle, text: str, limit: int) -> tuple[tuple[int, ...], str]:
    """Check images of the sets that an input expression names, and a name for them.

    Fewer than 30 of them: those of `overall` instead.
    """
    found_sets = [bundle.collection.find(name) for name in parse(text).names]
    names = [found.name for found in found_sets if not found.single]
    found = sorted({index for name in names for index in bundle.collection.select(name, "check", limit or None)})
    sets = ", ".join(names)
    if len(found) < FEWEST_CHECK_IMAGES:
        found = sorted(bundle.collection.select("overall", "check", limit or None))
        sets = "overall"
    if not found:
        raise ImagesError(f"model {bundle.name!r} has no check images, so no circuit can be verified; add more images")
    return tuple(found), sets


def masked(mask: NDArray[np.bool_], replacement: Tensor | None) -> Intervention:
    """A convolution (or sum) whose removed kernels read `replacement` (maps that broadcast to x); None is zero."""
    keep = torch.from_numpy(mask.astype(np.float32))[:, :, None, None]  # (O, I, 1, 1)

    def run(x: Tensor, convolution: nn.Conv2d) -> Tensor:
        z = convolve(x, convolution, convolution.weight * keep, convolution.bias)
        if replacement is not None:
            z = z + convolve(replacement.expand_as(x), convolution, convolution.weight * (1 - keep), None)
        return z

    return run


def _run(
    bundle: Bundle,
    target: Target,
    masks: list[Mask],
    indices: tuple[int, ...],
    means: Mapping[str, Tensor],
    spec: VerifySpec,
    skipped: list[str],
) -> tuple[list[PearsonSums], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Correlation sums of every mask, and the whole responses of the network and of the first mask.

    All that a mask leaves out is removed.
    Paths of images that cannot be decoded are added to `skipped`.
    """
    sums: list[PearsonSums | None] = [None] * len(masks)
    whole: list[NDArray[np.float64]] = []
    first: list[NDArray[np.float64]] = []
    others = _last_inputs(bundle, target, indices) if spec.ablation == "resample" else {}
    for images, numbers in image_batches(bundle, indices, skipped):
        recording = _recorded(bundle, target, images)
        labels = label_tensor(numbers, recording.output)
        expected = target.response(recording, labels).double().numpy().ravel()
        whole.append(expected)
        replacements = means
        if others:  # each image reads the maps of the one before it, over the borders of batches
            replacements = {name: torch.cat([others[name], x[:-1]]) for name, x in recording.inputs.items()}
            others = {name: x[-1:].clone() for name, x in recording.inputs.items()}
        for number, mask in enumerate(masks):
            interventions = _interventions(bundle, mask, recording, replacements)
            run = _recorded(bundle, target, images, interventions)
            found = target.response(run, labels).double().numpy().ravel()
            part = PearsonSums.of(expected, found)
            before = sums[number]
            sums[number] = part if before is None else before + part
            if number == 0:
                first.append(found)
    if not whole:
        raise ImagesError("none of the check images could be decoded")
    return [each for each in sums if each is not None], (np.concatenate(whole), np.concatenate(first))


def _recorded(
    bundle: Bundle, target: Target, images: Tensor, interventions: Mapping[str, Intervention] | None = None
) -> Recording:
    """One pass as far as the target reads."""
    return record(
        bundle.architecture,
        images,
        last=target.last,
        last_activated=target.last_activated,
        gradients=False,
        interventions=interventions,
        sparing=[layer.name for layer in target.layers],
    )


def _interventions(
    bundle: Bundle, mask: Mask, recording: Recording, replacements: Mapping[str, Tensor]
) -> dict[str, Intervention]:
    return {
        layer.name: masked(kept, replacements.get(layer.name))
        for layer, kept in zip(bundle.architecture.layers, mask, strict=True)
        if layer.name in recording.inputs and not kept.all()
    }


def _last_inputs(bundle: Bundle, target: Target, indices: tuple[int, ...]) -> Mapping[str, Tensor]:
    """The input maps (1, C, H, W) of the last image: what the first one reads when images are exchanged."""
    for index in reversed(indices[1:]):
        with contextlib.suppress(ImagesError):
            images, _ = next(image_batches(bundle, (index,), []))
            return _recorded(bundle, target, images).inputs
    raise ImagesError("resample ablation exchanges check images and needs two of them; add images, or use zero or mean")


def _mean_inputs(bundle: Bundle, target: Target) -> dict[str, Tensor]:
    """The mean input map (1, C, H, W) of each layer over scoring images of `overall`."""
    indices = bundle.collection.select("overall", "score", MEAN_MAP_IMAGES)
    totals: dict[str, Tensor] = {}
    count = 0
    for images, _ in image_batches(bundle, indices, []):
        recording = _recorded(bundle, target, images)
        count += len(images)
        for name, x in recording.inputs.items():
            totals[name] = totals.get(name, torch.zeros(1)) + x.sum(dim=0, keepdim=True)
    return {name: total / count for name, total in totals.items()}
