"""All awkward nets, each read once, with its images and its recorded maps."""

from functools import cache

from torch import Tensor

from tests import nets
from tests.awkward import Net
from tests.awkward_blocks import BLOCKS
from tests.awkward_joins import JOINS
from tests.awkward_steps import STEPS
from viscnn.engine.capture import Recording, record
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.structure import Architecture

NETS: dict[str, Net] = {**JOINS, **STEPS, **BLOCKS}


@cache
def architecture_of(name: str) -> Architecture:
    """The net as it is read."""
    net = NETS[name]
    return read_architecture(net.build(), net.shape, heads=net.heads)


def images_of(name: str, count: int = 3) -> Tensor:
    """Random images in its shape."""
    return nets.images(count, shape=NETS[name].shape)


def recorded(name: str) -> Recording:
    """The maps of those images."""
    return record(architecture_of(name), images_of(name), gradients=False)


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
