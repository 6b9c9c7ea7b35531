"""Receptive fields of every unit of every awkward network, against NaN that is put into one pixel."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import poison
from tests.awkward import Net
from tests.awkward_blocks import BLOCKS
from tests.awkward_joins import JOINS
from tests.awkward_steps import STEPS
from viscnn.engine.receptive import ReceptiveFields
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.forward import forward

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

EVERY: dict[str, Net] = {**BLOCKS, **JOINS, **STEPS}
SMOOTH = {"upsampled_with_a_skip", "interpolated"}
"""They interpolate with weights that may be zero; NaN times zero is NaN, so it cannot tell."""


@pytest.mark.parametrize("name", sorted(set(EVERY) - SMOOTH))
def test_an_awkward_network_is_exact(name: str) -> None:
    net = EVERY[name]
    assert poison.check(read_architecture(net.build(), net.shape, heads=net.heads), arrays=True) > 0


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_an_interpolating_network_is_exact(name: str) -> None:
    """A unit reads a pixel if and only if some change of it changes the unit: six images, each pixel changed alone."""
    architecture = read_architecture(EVERY[name].build(), EVERY[name].shape)
    changes = [nudged(architecture, seed) for seed in range(6)]
    fields = ReceptiveFields(architecture)
    for layer in architecture.layers:
        reached = np.any([each[layer.name] for each in changes], axis=0)
        for channel, *position in np.ndindex(reached.shape[:3]):
            found = fields.unit(layer.name, channel, (position[0], position[1]))
            places = reached[channel, *position]
            assert (poison.box(found), found.pixels) == (poison.box_of(places), places.sum()), found


def nudged(architecture: Architecture, seed: int) -> dict[str, NDArray[np.bool_]]:
    """By layer, (filters, rows, columns, rows and columns of the image): whether a changed pixel changes a unit."""
    generator = torch.Generator().manual_seed(seed)
    channels, rows, columns = architecture.input_shape
    places = torch.arange(rows * columns)
    images = torch.randn(1, channels, rows * columns, generator=generator).repeat(len(places) + 1, 1, 1)
    images[places, :, places] += 10 * torch.randn(len(places), channels, generator=generator)
    with torch.no_grad():
        maps = forward(architecture, images.view(-1, channels, rows, columns))
    found = {}
    for name, each in maps.items():
        changed = (each[:-1] != each[-1:]).permute(1, 2, 3, 0)
        found[name] = changed.reshape(*each.shape[1:], rows, columns).numpy()
    return found
