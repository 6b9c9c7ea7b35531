"""Receptive fields against literal oracles: NaN put into one pixel, gradients, larger images, known figures."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import nets, poison
from viscnn.engine.receptive import ReceptiveField, ReceptiveFields
from viscnn.engine.spatial import rule_of
from viscnn.errors import InputError
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.operations import PLAIN, Operation

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

Bools = NDArray[np.bool_]


# --- exactly what NaN reaches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_are_exact(seed: int) -> None:
    """Convolutions of any geometry, concatenations, sums, every operation that joins or moves maps, nested gates."""
    drawn = poison.draw(seed)
    assert poison.check(drawn) > 0
    poison.check(drawn, towards=drawn.layers[1].name)


@pytest.mark.parametrize("name", nets.NETS)
def test_chains_are_exact(name: str) -> None:
    assert poison.check(read_architecture(nets.make(name), nets.INPUT), arrays=True) > 0


def test_everything_between_convolutions_is_exact() -> None:
    network = nets.with_statistics(nets.seeded(nets.every_operation))
    assert poison.check(read_architecture(network, (1, 24, 24)), arrays=True) > 0


def test_a_depthwise_filter_reads_its_own_branch_only() -> None:
    """Two branches of different reach, shuffled, then a depthwise convolution: its filters see different boxes."""

    def forward(self: Any, x: Tensor) -> Tensor:
        both = torch.stack([self.near(x), self.far(x)], dim=2).flatten(1, 2)
        shuffled: Tensor = self.each(both)
        return shuffled

    network = nets.custom(
        forward,
        near=nets.conv(1, 2, 1),
        far=nets.conv(1, 2, 5, padding=2),
        each=nets.conv(4, 4, 3, groups=4, padding=1),
    )
    architecture = read_architecture(network, (1, 9, 9))
    assert poison.check(architecture, arrays=True) > 0
    fields = ReceptiveFields(architecture)
    assert [fields.unit("each", channel, (4, 4)).rows for channel in range(4)] == [(3, 5), (1, 7), (3, 5), (1, 7)]
    assert fields.layer("each").rows[4].tolist() == [1, 7]
    with pytest.raises(InputError, match="each does not depend on far"):
        fields.unit("each", 0, (4, 4), towards="far")


def test_lrn_of_even_size_reads_the_channel_before() -> None:
    """torch pads channels with the larger half in front: of size 2, channel c reads c - 1 and c."""
    network = nets.custom(
        lambda self, x: self.each(self.norm(torch.stack([self.near(x), self.far(x)], dim=2).flatten(1, 2))),
        near=nets.conv(1, 2, 1),
        far=nets.conv(1, 2, 5, padding=2),
        norm=lambda: nn.LocalResponseNorm(2),
        each=nets.conv(4, 4, 1, groups=4),
    )
    architecture = read_architecture(network, (1, 9, 9))
    assert poison.check(architecture, arrays=True) > 0
    fields = ReceptiveFields(architecture)
    assert [fields.unit("each", channel, (4, 4)).rows for channel in range(4)] == [(4, 4), (2, 6), (2, 6), (2, 6)]


def test_a_cross_has_a_box_that_it_does_not_fill() -> None:
    network = nets.custom(
        lambda self, x: self.wide(x) + self.high(x),
        wide=lambda: nn.Conv2d(1, 1, (1, 3), padding=(0, 1)),
        high=lambda: nn.Conv2d(1, 1, (3, 1), padding=(1, 0)),
    )
    architecture = read_architecture(network, (1, 6, 6))
    poison.check(architecture, arrays=True)
    found = ReceptiveFields(architecture).unit(architecture.layers[-1].name, 0, (2, 3))
    assert (poison.box(found), found.pixels, found.full) == (((1, 3), (2, 4)), 5, False)


def test_a_unit_that_reads_padding_only_has_no_box() -> None:
    architecture = read_architecture(nets.chain(nets.conv(1, 1, 1, padding=1)(), shape=(1, 4, 5)), (1, 4, 5))
    poison.check(architecture)
    fields = ReceptiveFields(architecture)
    corner = fields.unit("conv1", 0, (0, 6))
    assert (poison.box(corner), corner.pixels, corner.full, corner.padding) == (None, 0, False, (1, 0, 0, 1))
    assert fields.layer("conv1").rows.tolist() == [[0, -1], [0, 0], [1, 1], [2, 2], [3, 3], [0, -1]]


# --- interpolation, by its gradient: weights may be zero, and NaN cannot tell ----------------------------------------


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(16, 9), (5, 14), (8, 7), (1, 3), (24, 5)], ids=str)
@pytest.mark.parametrize("corners", [False, True])
def test_interpolation_reads_what_has_a_gradient(
    mode: str, size: tuple[int, int], corners: bool, antialias: bool
) -> None:
    settings = {"size": list(size), "scale": None, "mode": mode, "alignCorners": corners, "recomputeScale": None}
    operation = Operation("interpolate", (*settings.items(), ("antialias", antialias)))
    image = torch.rand(1, 1, 8, 7, requires_grad=True)
    maps = PLAIN["interpolate"](image, dict(operation.settings))
    steps = [rule_of(operation).space(dict(operation.settings), axis, (8, 7)) for axis in (0, 1)]
    reads = [step[0].reads.toarray() if step else np.eye(7) for step in steps]
    for row, column in np.ndindex(size):
        (gradient,) = torch.autograd.grad(maps[0, 0, row, column], image, retain_graph=True)
        assert np.array_equal(gradient[0, 0].numpy() != 0, np.outer(reads[0][row], reads[1][column]))
    for (step,), own in zip(steps, (8, 7), strict=True):
        low, high = step.unbounded(np.arange(step.results), np.arange(step.results))
        for place, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            found = np.flatnonzero(step.reads.toarray()[place])
            assert first <= found[0]
            assert last >= found[-1]
            # a window that hits a position ends in zero weights, and so may an antialiased one
            above = place * (own - 1) if corners else (2 * place + 1) * own - step.results
            between = above % (max(step.results - 1, 1) if corners else 2 * step.results) != 0
            if first >= 0 and last < own and not antialias and between:
                assert (first, last) == (found[0], found[-1])


# --- without borders -------------------------------------------------------------------------------------------------


class Skipping(nn.Module):
    """Strides, a dilation, ceil mode, a strided skip and a concatenation; one position stands for four pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 5, stride=2, padding=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.side = nn.Conv2d(2, 2, 1)
        self.main = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        self.last = nn.Conv2d(4, 2, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Maps."""
        pooled = self.pool(self.stem(x))
        total = self.main(pooled) + self.side(pooled)
        maps: Tensor = self.last(torch.cat([total, pooled], dim=1))
        return maps


def test_unclipped_boxes_are_those_of_a_larger_image() -> None:
    """With 12 more rows of positions around the image (48 pixels) no field reaches a border any more."""
    small, large = (ReceptiveFields(read_architecture(Skipping().eval(), (1, n, n - 4))) for n in (21, 21 + 96))
    found, wanted = small.layer("last"), large.layer("last")
    inner = slice(12, -12)
    assert found.unclipped_rows.tolist() == (wanted.rows[inner] - 48).tolist()
    assert found.unclipped_columns.tolist() == (wanted.columns[inner] - 48).tolist()
    for position in np.ndindex(len(found.rows), len(found.columns)):
        unit = small.unit("last", 0, position)
        assert unit.unclipped_rows == tuple(found.unclipped_rows[position[0]].tolist())
        assert unit.unclipped_columns == tuple(found.unclipped_columns[position[1]].tolist())
    corner = small.unit("last", 0, (0, 0))
    assert corner.padding == (-corner.unclipped_rows[0], 0, -corner.unclipped_columns[0], 0)
    assert corner.padding[0] > corner.padding[2] > 0


FEATURES: dict[str, Callable[[], nn.Module]] = {
    "alexnet": lambda: torchvision.models.alexnet().features,
    "vgg16": lambda: torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"]),
    "resnet18": torchvision.models.resnet18,
}


@pytest.mark.parametrize(
    ("name", "layer", "size", "stride"),
    [("alexnet", "10", 163, 16), ("vgg16", "28", 196, 16), ("resnet18", "layer4.1.add", 435, 32)],
)
def test_the_known_figures(name: str, layer: str, size: int, stride: int) -> None:
    """Size and stride as Araujo, Norris and Sim, Computing Receptive Fields (Distill, 2019), compute them."""
    architecture = read_architecture(nets.seeded(FEATURES[name]).eval(), (3, 96, 96))
    found = ReceptiveFields(architecture).layer(layer)
    for spans in (found.unclipped_rows, found.unclipped_columns):
        assert set((spans[:, 1] - spans[:, 0] + 1).tolist()) == {size}
        assert set(np.diff(spans[:, 0]).tolist()) == {stride}


# --- torchvision's own forward ---------------------------------------------------------------------------------------


class Watched:
    """A model in float64 with all weights positive, that hands out the maps of its modules by the names of layers.

    With `average` its max poolings are average poolings of the same windows, which pass every gradient.
    """

    def __init__(self, build: Callable[[], nn.Module], images: Tensor, *, average: bool = False) -> None:
        network = nets.seeded(build).eval().double()
        for name, module in list(network.named_modules()):
            if average and isinstance(module, nn.MaxPool2d):
                pool = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
                network.set_submodule(name, pool)
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.abs()
                if module.bias is not None:
                    module.bias.data.zero_()
        self.architecture = read_architecture(network, (3, *images.shape[2:]))
        self.images = images.requires_grad_()
        self.maps: dict[str, Tensor] = {}
        for name, module in network.named_modules():
            module.register_forward_hook(lambda _, __, maps, name=name: self.maps.update({name: maps}))
        network(self.images)

    def units(self, count: int, *, seed: int) -> Iterator[tuple[ReceptiveField, Tensor]]:
        """Random units with their receptive fields, and their values (images,); a sum is its block's output."""
        dice, fields = random.Random(seed), ReceptiveFields(self.architecture)
        for layer in dice.sample(sorted(self.architecture.layers, key=lambda each: each.name), count):
            position = dice.randrange(layer.output_size[0]), dice.randrange(layer.output_size[1])
            channel = dice.randrange(layer.filters)
            maps = self.maps[layer.name.removesuffix(".add")]
            assert maps.shape[1:] == (layer.filters, *layer.output_size)
            yield fields.unit(layer.name, channel, position), maps[:, channel, *position]


def inside(found: ReceptiveField) -> Bools:
    """Which pixels lie in the box."""
    mask = np.zeros(found.size, dtype=np.bool_)
    assert found.rows is not None
    assert found.columns is not None
    mask[poison.within((found.rows, found.columns))] = True
    return mask


WATCHED: dict[str, Callable[[], nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False, aux_logits=False),
    "mobilenet_v3_small": torchvision.models.mobilenetv3.mobilenet_v3_small,
    "shufflenet_v2_x0_5": torchvision.models.shufflenet_v2_x0_5,
}


@pytest.mark.parametrize("average", [False, True], ids=["max", "average"])
@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_the_gradient_is_zero_outside_and_reaches_every_edge(name: str, average: bool) -> None:
    """All weights and pixels are positive, so ReLU passes every gradient; max pooling passes that of its maximum."""
    images = torch.rand(1, 3, 160, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    watched, partial = Watched(WATCHED[name], images, average=average), 0
    for found, values in watched.units(8, seed=2):
        (gradient,) = torch.autograd.grad(values.sum(), watched.images, retain_graph=True)
        reached = (gradient[0] != 0).any(dim=0).numpy()
        assert reached.any()
        assert not reached[~inside(found)].any(), found
        assert not average or poison.box_of(reached) == poison.box(found), found
        partial += not inside(found).all()
    assert partial >= 2  # the others' boxes are the whole image


@pytest.mark.parametrize("name", WATCHED)
def test_nan_outside_the_box_never_arrives_and_in_its_corners_does(name: str) -> None:
    """Per unit an image with NaN outside its box, and four with NaN in one corner pixel of it each."""
    plain = torch.rand(1, 3, 96, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = Watched(WATCHED[name], plain)
    fields = [found for found, _ in first.units(6, seed=3)]
    images = plain.detach().repeat(5 * len(fields), 1, 1, 1)
    for number, found in enumerate(fields):
        images[5 * number, :, torch.from_numpy(~inside(found))] = float("nan")
        assert found.rows is not None
        assert found.columns is not None
        for corner, (row, column) in enumerate([(r, c) for r in found.rows for c in found.columns]):
            images[5 * number + 1 + corner, :, row, column] = float("nan")
    second = Watched(WATCHED[name], images)
    for number, (found, values) in enumerate(second.units(6, seed=3)):
        assert found == fields[number]
        wanted = [False, True, True, True, True]
        assert values[5 * number : 5 * number + 5].isnan().tolist() == wanted, found
