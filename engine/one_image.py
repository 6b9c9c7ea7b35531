"""What a network does with one image: the maps of its filters and kernels, and what changes when some are scaled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from viscnn.engine.batch import label_tensor
from viscnn.engine.bundle import Bundle
from viscnn.engine.capture import Intervention, Recording, convolve, record
from viscnn.engine.output import parse_output
from viscnn.engine.padding import padded
from viscnn.engine.target import Target, resolve
from viscnn.engine.visualize.settings import Visualization
from viscnn.engine.wiring import filter_uids, sources_of
from viscnn.errors import ImagesError, InputError, NotInGraph, nearest
from viscnn.ingest.structure import LayerSpec

__all__ = [
    "KernelMaps",
    "Picture",
    "Response",
    "activation_map",
    "as_picture",
    "intervened",
    "kernel_maps",
    "label_of",
    "opened",
    "parse_kernel",
    "pixels",
]

ARROW = "->"
Maps = NDArray[np.float32]
Picture = str | Image.Image | NDArray[np.uint8] | Visualization
"""A path of the model's image source, a picture of any mode, pixels (rows, columns) or (rows, columns, 3), or a
rendered feature visualisation, which is neither resized nor cropped."""
Filter = tuple[LayerSpec, int]
"""A filter: its layer and channel."""


@dataclass(frozen=True)
class KernelMaps:
    """What a kernel reads and gives on one image: the maps x_i and A_oi = W_oi * x_i, (rows, columns) each."""

    input: Maps
    edge: Maps


@dataclass(frozen=True)
class Response:
    """What one image does to the network as it is, and with some filters and kernels scaled.

    Attributes:
        target: text of the output T; where it depends on the image's class, with that.
        before, after: T of the image.
        logits: (2, classes) before and after; None where the model has no logits.
        classes: their names.
        maps: by uid the watched maps Z, (2, rows, columns), before and after.
        label: name of the image's class where T depends on it.
        predicted: whether that is the unchanged model's own prediction.
    """

    target: str
    before: float
    after: float
    logits: NDArray[np.float64] | None
    classes: tuple[str, ...]
    maps: Mapping[str, Maps]
    label: str | None = None
    predicted: bool = False


def opened(bundle: Bundle, image: Picture) -> Tensor:
    """The image (1, C, H, W) as the model reads it; raises what `pixels` raises."""
    return bundle.preprocess.normalise(torch.from_numpy(pixels(bundle, image))).unsqueeze(0)


def pixels(bundle: Bundle, image: Picture) -> NDArray[np.uint8]:
    """The image (H, W, C) as the model sees it, before scaling.

    Raises:
        ImagesError: a visualisation that the model does not take; else what `as_picture` raises.
    """
    if not isinstance(image, Visualization):
        return bundle.preprocess.pixels(as_picture(bundle, image))
    channels, rows, columns = bundle.architecture.input_shape
    if channels != bundle.preprocess.channels:
        raise ImagesError(f"model {bundle.name!r} has {channels} input channels, and pictures have 1 or 3")
    if image.image.shape != (rows, columns, channels):
        shape, own = ("x".join(map(str, each)) for each in (image.image.shape, (rows, columns, channels)))
        raise ImagesError(f"the visualisation of {image.target} has {shape} pixels, model {bundle.name!r} takes {own}")
    return image.image.copy()


def as_picture(bundle: Bundle, image: str | Image.Image | NDArray[np.uint8]) -> Image.Image:
    """The image before preprocessing.

    Raises:
        ImagesError, ExpressionError: there is no such image, it cannot be read, or these are no pixels.
    """
    if isinstance(image, str):
        return bundle.collection.read(_index(bundle, image))
    if isinstance(image, Image.Image):
        return image
    if image.dtype != np.uint8 or image.ndim not in {2, 3} or (image.ndim == 3 and image.shape[2] != 3):
        raise ImagesError(f"pixels of {image.dtype} and shape {image.shape}; use uint8, rows x columns (x 3)")
    return Image.fromarray(image)


def _index(bundle: Bundle, path: str) -> int:
    """Where an image stands in the model's collection."""
    (index,) = bundle.collection.select(path, None, 1)
    return index


def label_of(bundle: Bundle, image: Picture) -> int | None:
    """Number of the class that an image of the model's source is labelled with; None of other pictures, and of none."""
    return bundle.class_numbers()[_index(bundle, image)] if isinstance(image, str) else None


def activation_map(bundle: Bundle, uid: str, image: Tensor) -> Maps:
    """The pre-activation map Z (rows, columns) of a filter on an image (1, C, H, W)."""
    layer, channel = _filter(bundle, uid)
    found = record(bundle.architecture, image, last=layer, gradients=False, sparing=[layer.name])
    return found.maps[layer.name][0, channel].numpy()


def kernel_maps(bundle: Bundle, kernels: Sequence[tuple[str, str]], image: Tensor) -> list[KernelMaps]:
    """The input map and the edge map of each kernel (source, target), in one pass; of several between two the first.

    Raises:
        NotInGraph: there is no such filter, or no kernel between the two.
    """
    uids = filter_uids(bundle.name, bundle.architecture)
    found = [(*(end := _filter(bundle, target)), _inputs(bundle, uids, source, *end)[0]) for source, target in kernels]
    if not found:
        return []
    last = max((layer for layer, *_ in found), key=lambda layer: layer.index)
    recording = record(bundle.architecture, image, last=last, gradients=False, sparing=[])
    return [_maps_of(bundle, recording, *each) for each in found]


def _maps_of(bundle: Bundle, recording: Recording, layer: LayerSpec, channel: int, number: int) -> KernelMaps:
    """Those of the kernel from input `number` (within the group) into filter `channel`."""
    first = channel // (layer.filters // layer.groups) * layer.inputs
    x = recording.inputs[layer.name][:, first + number].unsqueeze(1)
    read: Maps = x[0, 0].numpy()
    if layer.is_sum:  # an identity adds the map as it is
        return KernelMaps(read, read)
    convolution = bundle.architecture.convolution(layer)
    kernel = convolution.weight.detach()[channel, number][None, None]
    edge = F.conv2d(padded(x, convolution), kernel, None, convolution.stride, 0, convolution.dilation)
    return KernelMaps(read, edge[0, 0].numpy())


def parse_kernel(text: str) -> tuple[str, str] | None:
    """The two uids of `SOURCE -> TARGET`; None where the text is that of a filter."""
    source, arrow, target = (part.strip() for part in text.partition(ARROW))
    return (source, target) if arrow else None


def intervened(
    bundle: Bundle,
    image: Tensor,
    factors: Mapping[str, float],
    *,
    output: str | None = None,
    label: int | None = None,
    watch: Sequence[str] = (),
) -> Response:
    """Run an image (1, C, H, W) through the network as it is, and with maps scaled; the model itself stays.

    Args:
        factors: by uid of a filter what its pre-activation map Z is multiplied by, and by `SOURCE -> TARGET` the edge
            map of the kernel between two filters; 0 ablates.
        output: what T is; the loss by default, or the last layer where the model has no logits.
        label: number of the image's class, for the loss; by default what the unchanged model predicts.
        watch: uids of filters whose maps are returned.

    Raises:
        NotInGraph: there is no such filter or kernel.
        InputError: a factor is not finite.
        ExpressionError: the model has no such output.
    """
    architecture = bundle.architecture
    watched = {uid: _filter(bundle, uid) for uid in watch}
    target = _target(bundle, output)
    interventions = _interventions(bundle, factors)
    keep = sorted({layer.name for layer, _ in watched.values()} | {layer.name for layer in target.layers})
    runs = [
        record(architecture, image, gradients=False, interventions=each, sparing=keep) for each in ({}, interventions)
    ]
    labels = label_tensor([label], runs[0].output)
    before, after = (float(target.values(run, labels)[0]) for run in runs)
    named = _class(bundle, int(labels[0])) if target.needs_labels else None
    return Response(
        target=_told(target.text, named, predicted=label is None),
        before=before,
        after=after,
        logits=_logits(bundle, runs),
        classes=bundle.classes,
        maps={
            uid: np.stack([run.maps[layer.name][0, channel].numpy() for run in runs])
            for uid, (layer, channel) in watched.items()
        },
        label=named,
        predicted=named is not None and label is None,
    )


def _class(bundle: Bundle, number: int) -> str:
    return bundle.classes[number] if number < len(bundle.classes) else f"#{number}"


def _told(output: str, label: str | None, *, predicted: bool) -> str:
    """An output with the class that it depends on: `loss (class three)`, `loss (predicted class three)`."""
    return output if label is None else f"{output} ({'predicted ' if predicted else ''}class {label})"


def _target(bundle: Bundle, output: str | None) -> Target:
    text = output or ("loss" if bundle.architecture.logits else "layer:LAST")
    return resolve(parse_output(text), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)


def _logits(bundle: Bundle, runs: Iterable[Recording]) -> NDArray[np.float64] | None:
    if not bundle.architecture.logits:
        return None
    found = [run.output for run in runs]
    return np.stack([each[0].double().numpy() for each in found if each is not None])


# --- filters and kernels by name -----------------------------------------------------------------------------------


def _filter(bundle: Bundle, uid: str) -> Filter:
    """The filter of this uid; it has a map of its own, so it is no input channel."""
    name, _, channel = uid.removeprefix(f"{bundle.name}/").rpartition("/")
    layers = {layer.name: layer for layer in bundle.architecture.layers}
    if not uid.startswith(f"{bundle.name}/") or name not in layers:
        near = nearest(name, list(layers))
        raise NotInGraph(f"model {bundle.name!r} has no filter {uid!r} with a map{near} (uids look like mnist/conv2/5)")
    count = layers[name].filters
    if not channel.isdecimal() or int(channel) >= count:
        raise NotInGraph(f"layer {name} of model {bundle.name!r} has filters 0 to {count - 1}, and no {channel!r}")
    return layers[name], int(channel)


def _inputs(bundle: Bundle, uids: list[str], source: str, layer: LayerSpec, channel: int) -> list[int]:
    """The inputs (within the group) of a filter that are a source's map; of a sum its addends.

    Args:
        uids: those of all filters, as `filter_uids` has them.
    """
    sources = sources_of(bundle.architecture, layer)[channel]
    found = [number for number, each in enumerate(sources) if each >= 0 and uids[each] == source]
    if not found:
        if source not in uids:
            raise NotInGraph(f"model {bundle.name!r} has no filter {source!r} (uids look like mnist/conv2/5)")
        raise NotInGraph(f"no kernel leads from {source} to {bundle.name}/{layer.name}/{channel}")
    return found


def _interventions(bundle: Bundle, factors: Mapping[str, float]) -> dict[str, Intervention]:
    uids = filter_uids(bundle.name, bundle.architecture)
    filters: dict[str, dict[int, float]] = defaultdict(dict)
    kernels: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for name, factor in factors.items():
        if not np.isfinite(factor):
            raise InputError(f"factor {factor} of {name}: use a finite number (0 ablates, 1 changes nothing)")
        ends = parse_kernel(name)
        layer, channel = _filter(bundle, name if ends is None else ends[1])
        if ends is None:
            filters[layer.name][channel] = factor
        else:
            kernels[layer.name] |= {(channel, each): factor for each in _inputs(bundle, uids, ends[0], layer, channel)}
    return {name: _scaled(filters[name], kernels[name]) for name in [*filters, *kernels]}


def _scaled(filters: Mapping[int, float], kernels: Mapping[tuple[int, int], float]) -> Intervention:
    """A convolution (or sum) with some edge maps scaled, then some of its maps."""
    filters, kernels = dict(filters), dict(kernels)

    def run(x: Tensor, convolution: nn.Conv2d) -> Tensor:
        weight = convolution.weight.clone()
        for place, factor in kernels.items():
            weight[place] *= factor
        z = convolve(x, convolution, weight, convolution.bias)
        for channel, factor in filters.items():
            z[:, channel] *= factor
        return z

    return run
