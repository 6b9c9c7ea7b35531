"""What can influence a unit, found by poisoning: NaN at one place of a layer's maps, and see which units turn NaN.

NaN passes through every operation (a zero weight times NaN is NaN, the maximum of NaN and a number is NaN), so one run
with as many images as there are places tells literally which units read which places. The networks are random layers
and feeds; every step is run while it is drawn, so that their sizes are torch's own.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viscnn.engine.receptive import Interval, ReceptiveField, ReceptiveFields
from viscnn.errors import InputError, StoredDataError
from viscnn.ingest.forward import addends
from viscnn.ingest.operations import Operation, apply
from viscnn.ingest.structure import INPUT, Feed, LayerSpec

__all__ = ["Box", "Drawn", "box", "box_of", "check", "draw", "poisoned", "within"]

Bools = NDArray[np.bool_]
Box = tuple[Interval, Interval]


@dataclass
class Drawn:
    """A network of layers and feeds with its convolutions and their maps on a random image."""

    input_shape: tuple[int, int, int]
    maps: dict[str, Tensor]
    layers: tuple[LayerSpec, ...] = ()
    feeds: tuple[Feed, ...] = ()
    convolutions: dict[str, nn.Conv2d] = field(default_factory=dict)

    def convolution(self, layer: LayerSpec) -> nn.Conv2d:
        """The convolution of a layer."""
        return self.convolutions[layer.name]


def poisoned(network: Any, *, towards: str = INPUT) -> dict[str, Bools]:
    """By layer, (filters, rows, columns, rows of `towards`, columns of `towards`): whether a unit reads a place."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, *network.input_shape, generator=generator, dtype=torch.float64)
    maps = _maps(network, image, {})
    poison = _poison(maps[towards])
    maps = _maps(network, image.repeat(len(poison), 1, 1, 1), {towards: poison})
    size = poison.shape[2:]
    return {
        name: each.isnan().permute(1, 2, 3, 0).reshape(*each.shape[1:], *size).numpy() for name, each in maps.items()
    }


def _maps(network: Any, images: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The maps of all layers; those `given` are not computed."""
    maps = {INPUT: images} | given
    for layer in network.layers:
        if layer.name in given:
            continue
        feeds = [feed for feed in network.feeds if feed.target == layer.name]
        with torch.no_grad():
            inputs = addends(layer, feeds, maps)
            total = sum(inputs[1:], inputs[0])
            maps[layer.name] = total if layer.is_sum else network.convolution(layer).double()(inputs[0])
    return maps


def _poison(maps: Tensor) -> Tensor:
    """(H W, C, H, W) from (1, C, H, W): image k has NaN in all channels at place k."""
    places = maps.shape[2] * maps.shape[3]
    found = maps.flatten(2).repeat(places, 1, 1)
    found[torch.arange(places), :, torch.arange(places)] = float("nan")
    return found.view(places, *maps.shape[1:])


# --- receptive fields held against it ---------------------------------------------------------------------------------


def box_of(places: Bools) -> Box | None:
    """The smallest box that holds all true places."""
    rows, columns = np.nonzero(places)
    if len(rows) == 0:
        return None
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))


def box(found: ReceptiveField) -> Box | None:
    """The box of a receptive field."""
    return None if found.rows is None or found.columns is None else (found.rows, found.columns)


def check(structure: Any, *, towards: str = INPUT, arrays: bool = False) -> int:
    """Every unit of every layer reads exactly what poison says; with `arrays` the boxes of `layer` are exact too."""
    truth, fields, units = poisoned(structure, towards=towards), ReceptiveFields(structure), 0
    names = [INPUT, *(layer.name for layer in structure.layers)]
    for name in names[names.index(towards) :]:
        for channel, reached in enumerate(truth[name]):
            try:
                boxes = fields.layer(name, channel=channel, towards=towards)
            except InputError:
                assert not reached.any()
                continue
            for position in np.ndindex(reached.shape[:2]):
                wanted, found = box_of(reached[position]), fields.unit(name, channel, position, towards=towards)
                own = tuple(boxes.rows[position[0]].tolist()), tuple(boxes.columns[position[1]].tolist())
                assert (box(found), found.pixels) == (wanted, reached[position].sum()), (name, channel, position)
                assert found.full == (wanted is not None and bool(reached[position][within(wanted)].all()))
                if wanted is not None:
                    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in zip(own, wanted, strict=True))
                    assert not arrays or own == wanted
                units += 1
    return units


def within(wanted: Box) -> tuple[slice, slice]:
    """The places of a box."""
    (top, bottom), (left, right) = wanted
    return slice(top, bottom + 1), slice(left, right + 1)


# --- random networks ---------------------------------------------------------------------------------------------


def draw(seed: int, *, layers: int = 5) -> Drawn:
    """A random network: convolutions of any geometry and sums over random feeds."""
    dice = random.Random(seed)
    shape = (dice.choice((1, 2, 4)), dice.randint(5, 9), dice.randint(5, 9))
    network = Drawn(shape, {INPUT: torch.rand(1, *shape, dtype=torch.float64)})
    while len(network.layers) < layers:
        try:
            (_draw_sum if dice.random() < 0.3 else _draw_convolution)(network, dice)
        except (StoredDataError, RuntimeError):  # torch cannot do it: a window larger than the maps, say
            continue
    return network


def _draw_convolution(network: Drawn, dice: random.Random) -> None:
    """One more convolution of one to three feeds side by side, their channels in any order."""
    size = _draw_size(network, dice)
    feeds, pieces, start = [], [], 0
    for position in range(dice.randint(1, 3)):
        source, operations, maps = _draw_path(network, dice, size)
        reads = dice.sample(range(maps.shape[1]), dice.randint(1, maps.shape[1]))
        pieces.append(maps[:, reads])
        feeds.append((source, operations, position, reads, range(start, start + len(reads))))
        start += len(reads)
    order = dice.sample(range(start), start)
    x = torch.cat(pieces, dim=1)[:, [order.index(slot) for slot in range(start)]]
    settings = _draw_geometry(dice, start)
    made = nn.Conv2d(start, settings["groups"] * dice.randint(1, 2), **settings).double()
    with torch.no_grad():
        result = made(x)
    name = f"conv{len(network.layers)}"
    network.convolutions[name] = made
    listed = [(*each[:4], tuple(order[slot] for slot in each[4]), 0) for each in feeds]
    _add(network, name, made, result, listed, kind="convolution")


def _draw_geometry(dice: random.Random, channels: int) -> dict[str, Any]:
    """Settings of a convolution; `same` padding only where torch takes it, without strides."""

    def two(*choices: int) -> tuple[int, int]:
        return dice.choice(choices), dice.choice(choices)

    same = dice.random() < 0.2
    return {
        "kernel_size": two(1, 2, 3, 3),
        "stride": 1 if same else two(1, 1, 2),
        "padding": "same" if same else two(0, 1, 1, 2),
        "padding_mode": dice.choice(("zeros", "zeros", "reflect", "replicate", "circular")),
        "dilation": two(1, 1, 2),
        "groups": dice.choice([each for each in range(1, channels + 1) if channels % each == 0]),
    }


def _draw_sum(network: Drawn, dice: random.Random) -> None:
    """One more addition of two or three addends, one of which may have fewer channels than the sum."""
    size = _draw_size(network, dice)
    paths = [_draw_path(network, dice, size) for _ in range(dice.randint(2, 3))]
    channels = max(maps.shape[1] for _, _, maps in paths)
    feeds, result = [], torch.zeros(1, channels, *paths[0][2].shape[2:], dtype=torch.float64)
    for number, (source, operations, maps) in enumerate(paths):
        reads = range(maps.shape[1])
        writes = dice.sample(range(channels), len(reads))
        result[:, writes] += maps
        feeds.append((source, operations, number, list(reads), tuple(writes), number))
    as_convolution = nn.Conv2d(channels * len(paths), channels, 1, groups=channels, bias=False)
    _add(network, f"sum{len(network.layers)}", as_convolution, result, feeds, kind="sum")


def _add(
    network: Drawn, name: str, made: nn.Conv2d, result: Tensor, feeds: Sequence[tuple[Any, ...]], *, kind: str
) -> None:
    """Add a layer with its feeds (source, operations, position, reads, writes, addend)."""
    if not result.isfinite().all():
        raise RuntimeError("a dilated max pooling has read padding only, which is minus infinity")
    layer = LayerSpec(
        name=name,
        node=name,
        index=len(network.layers) + 1,
        in_channels=made.in_channels,
        filters=made.out_channels,
        kernel_size=made.kernel_size,  # type: ignore[arg-type]
        stride=made.stride,  # type: ignore[arg-type]
        padding=made.padding,  # type: ignore[arg-type]
        padding_mode=made.padding_mode,
        dilation=made.dilation,  # type: ignore[arg-type]
        groups=made.groups,
        output_size=(result.shape[2], result.shape[3]),
        activation=None,
        activation_node=None,
        kind=kind,
    )
    network.maps[name] = result
    network.layers += (layer,)
    network.feeds += tuple(
        Feed(
            source=source,
            target=name,
            operations=operations,
            channels=len(reads),
            position=position,
            addend=addend,
            source_channels=tuple(reads),
            target_channels=writes,
        )
        for source, operations, position, reads, writes, addend in feeds
    )


def _draw_size(network: Drawn, dice: random.Random) -> tuple[int, int]:
    """The size that all feeds of a layer are brought to."""
    maps = dice.choice(list(network.maps.values()))
    return dice.randint(1, maps.shape[2]), dice.randint(1, maps.shape[3])


def _draw_path(network: Drawn, dice: random.Random, size: tuple[int, int]) -> tuple[str, tuple[Operation, ...], Tensor]:
    """A layer, mostly a late one, and operations that bring its maps to a size; and the maps."""
    names = list(network.maps)
    source = dice.choice(names[-2:] if dice.random() < 0.7 else names)
    maps, operations = network.maps[source], []
    for _ in range(dice.randint(0, 2)):
        operation = dice.choice(_OPERATIONS)(network, dice, maps)
        maps = apply(operation, maps, network.maps)
        operations.append(operation)
    if tuple(maps.shape[2:]) != size:
        fits = all(own >= wanted for own, wanted in zip(maps.shape[2:], size, strict=True))
        last = _crop(dice, maps, size) if fits and dice.random() < 0.5 else _op("adaptive_maxpool", size=list(size))
        maps = apply(last, maps)
        operations.append(last)
    return source, tuple(operations), maps


def _op(name: str, **settings: Any) -> Operation:
    return Operation(name, tuple(settings.items()))


def _crop(dice: random.Random, maps: Tensor, size: Sequence[int]) -> Operation:
    """Any crop to a size, in steps where there is room."""
    steps = [dice.randint(1, max(1, own // wanted)) for own, wanted in zip(maps.shape[2:], size, strict=True)]
    spans = [step * (wanted - 1) + 1 for step, wanted in zip(steps, size, strict=True)]
    start = [dice.randint(0, own - span) for own, span in zip(maps.shape[2:], spans, strict=True)]
    return _op("crop", start=start, step=steps, size=list(size))


def _pool(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    kernel = [dice.randint(1, 3), dice.randint(1, 3)]
    common = {
        "kernel": kernel,
        "stride": [dice.randint(1, 3), dice.randint(1, 3)],
        "padding": [dice.randint(0, each // 2) for each in kernel],
        "ceilMode": dice.random() < 0.5,
    }
    if dice.random() < 0.5:
        return _op("avgpool", **common, countIncludePad=dice.random() < 0.5, divisor=None)
    return _op("maxpool", **common, dilation=[dice.randint(1, 2), dice.randint(1, 2)])


def _pad(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    mode = dice.choice(("constant", "reflect", "replicate", "circular"))
    least = -1 if mode == "constant" else 0
    return _op("pad", amounts=[dice.randint(least, 2) for _ in range(4)], mode=mode, value=0.5)


def _adaptive(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    size = [dice.choice((None, 1, 2, 3, 5, 7)) for _ in range(2)]
    return _op(dice.choice(("adaptive_avgpool", "adaptive_maxpool")), size=size)


def _nearest(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    """Enlarging or shrinking that has no zero weights, which poison cannot tell from others."""
    mode = dice.choice(("nearest", "nearest-exact", "area"))
    wanted: dict[str, Any] = {"size": [dice.randint(1, 9), dice.randint(1, 9)], "scale": None}
    if dice.random() < 0.5:
        wanted = {"size": None, "scale": [dice.choice((0.5, 0.7, 1.5, 2.0)), dice.choice((0.5, 1.3, 3.0))]}
    recompute = dice.choice((None, True)) if wanted["scale"] else None
    return _op("interpolate", **wanted, mode=mode, alignCorners=None, recomputeScale=recompute, antialias=False)


def _alone(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    scale = torch.rand(maps.shape[1]).tolist()
    return dice.choice((_op("relu"), _op("affine", scale=scale, shift=0.5), _op("power", exponent=2.0)))


def _spread(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    if maps.shape[2:] != (1, 1):
        return _op("instancenorm", eps=1e-5)
    return _op("expand", size=[dice.randint(1, 5), dice.randint(1, 5)])


def _mixing(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    """A norm over all the maps of a layer, or over a concatenation of which they are a part."""
    of: dict[str, Any] = {}
    channels = maps.shape[1]
    if dice.random() < 0.5:
        of = {"of": _parts(network, dice, maps.shape[2:])}
        channels = sum(each["channels"] for each in of["of"])
        of["at"] = [dice.randrange(channels) for _ in range(maps.shape[1])]
    groups = dice.choice([each for each in range(1, channels + 1) if channels % each == 0])
    rest = {"weight": None, "bias": None, "eps": 1e-5}
    return dice.choice(
        (
            _op("lrn", size=dice.randint(1, 3), alpha=0.5, beta=0.75, k=1.0, **of),
            _op("layernorm", **rest, **of),
            _op("groupnorm", groups=groups, **rest, **of),
            _op("softmax", **of),
        )
    )


def _gate(network: Drawn, dice: random.Random, maps: Tensor) -> Operation:
    size = [dice.choice((1, each)) for each in maps.shape[2:]]
    by = _parts(network, dice, size)
    channels = sum(each["channels"] for each in by)
    return _op("gate", by=by, at=[dice.randrange(channels) for _ in range(maps.shape[1])], mixesChannels=True)


def _parts(network: Drawn, dice: random.Random, size: Sequence[int]) -> list[dict[str, Any]]:
    """One or two parts of other maps, brought to a size."""
    parts, start = [], 0
    for _ in range(dice.randint(1, 2)):
        source, operations, maps = _draw_path(network, dice, (size[0], size[1]))
        channels = dice.randint(1, maps.shape[1])
        parts.append(
            {
                "source": source,
                "operations": [each.to_dict() for each in operations],
                "sourceStart": maps.shape[1] - channels,
                "targetStart": start,
                "channels": channels,
            }
        )
        start += channels
    return parts


_Draw = Callable[[Drawn, random.Random, Tensor], Operation]
_OPERATIONS: tuple[_Draw, ...] = (_pool, _pad, _adaptive, _nearest, _alone, _spread, _mixing, _gate)
