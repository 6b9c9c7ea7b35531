"""The forward pass rebuilt from the rows that the loader would send, without a database."""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.replay_proof import calibrated, drawn_anew, output_error, pictures
from tests import families, nets
from viscnn.engine.replay_rows import replay_rows
from viscnn.errors import StoredDataError
from viscnn.ingest import rows
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.zoo import Recipe, build

BUILDERS = ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5", "resnet18"]


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_of_torchvision_is_exact(name: str) -> None:
    module = build(Recipe(name, weights="random")).module
    drawn_anew(module)
    images = pictures(64, 4)
    calibrated(module, images)
    architecture = read_architecture(module, (3, 64, 64))
    report = replay_rows(architecture, images)
    assert list(report.errors) == [layer.name for layer in architecture.layers]
    assert report.worst <= 1e-4
    found = output_error(module, architecture.module, images)
    assert found.get("outputDoubleError", found["outputError"]) <= 1e-4


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_is_exact(name: str, heads: bool) -> None:
    architecture = read_architecture(families.family(name), families.SHAPE, heads=heads)
    assert any(layer.logits for layer in architecture.layers) == heads
    report = replay_rows(architecture, nets.images(3, shape=families.SHAPE))
    assert list(report.errors) == [layer.name for layer in architecture.layers]
    assert report.exact
    assert report.worst <= 1e-5


def test_double_precision_leaves_no_rounding() -> None:
    """DenseNet's sums over concatenations are added up in another order: the difference is rounding alone."""
    architecture = read_architecture(families.family("densenet"), families.SHAPE)
    images = nets.images(3, shape=families.SHAPE)
    double = dataclasses.replace(architecture, module=copy.deepcopy(architecture.module).double())
    single = replay_rows(architecture, images).worst
    assert 0 < single <= 1e-5
    assert replay_rows(double, images.double()).worst <= single * 1e-6


# --- it is the rows that are read --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def residual() -> Architecture:
    def forward(own: Any, x: torch.Tensor) -> Any:
        z = own.a(x)
        return own.c(own.b(z) + z)

    model = nets.custom(forward, a=nets.conv(2, 4, padding=1), b=nets.conv(4, 4, padding=1), c=nets.conv(4, 3))
    return read_architecture(model, nets.INPUT)


def _altered(name: str, change: Callable[[Any], None]) -> Callable[..., Iterator[Any]]:
    """A generator of rows of which each batch goes through `change`."""
    made = getattr(rows, name)

    def batches(*arguments: Any, **settings: Any) -> Iterator[Any]:
        for each in made(*arguments, **settings):
            change(each)
            yield each

    return batches


def _weight(batch: Any) -> None:
    for row in batch["rows"]:
        if row["uid"] == "replay/b/3":
            row["weights"][1] = [each + 0.5 for each in row["weights"][1]]


def _bias(filters: Any) -> None:
    for row in filters.rows:
        if row["uid"] == "replay/b/3":
            row["bias"] += 1


@pytest.mark.parametrize(("name", "change"), [("kernel_batches", _weight), ("filter_rows", _bias)])
def test_a_change_of_the_rows_is_an_error(
    residual: Architecture, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], None]
) -> None:
    monkeypatch.setattr(rows, name, _altered(name, change))
    report = replay_rows(residual, nets.images(2))
    assert {layer: error > 1e-2 for layer, error in report.errors.items()} == {
        "a": False,
        "b": True,
        "add": True,
        "c": True,
    }


def test_a_change_of_an_operation_is_an_error(residual: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows.feed_rows

    def feeds(*arguments: Any) -> Any:
        found = made(*arguments)
        found[-1]["properties"]["operations"] = ['{"op": "relu"}']
        return found

    monkeypatch.setattr(rows, "feed_rows", feeds)
    errors = replay_rows(residual, nets.images(2)).errors
    assert {layer: error > 1e-2 for layer, error in errors.items()} == {"a": False, "b": False, "add": False, "c": True}


def _exchanged(batch: Any) -> None:
    if batch["rows"][0]["uid"].startswith("replay/b/"):
        batch["places"][0], batch["places"][1] = batch["places"][1], batch["places"][0]


def _short(batch: Any) -> None:
    if batch["rows"][0]["uid"].startswith("replay/b/"):
        batch["rows"].pop()


def _without_one(batch: Any) -> None:
    for row in batch["rows"]:
        row["inputs"] = [0]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("kernel_batches", _exchanged, "a kernel of filter replay/b/0 starts at another filter than FEEDS says"),
        ("kernel_batches", _short, "the rows of layer replay/b lack 4 kernels or identities"),
        ("identity_batches", _without_one, "the rows of layer replay/add lack 4 kernels or identities"),
    ],
)
def test_wrong_rows_are_refused(
    residual: Architecture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[[Any], None],
    message: str,
) -> None:
    monkeypatch.setattr(rows, name, _altered(name, change))
    with pytest.raises(StoredDataError, match=message):
        replay_rows(residual, nets.images(2))


def test_rows_are_made_layer_by_layer(residual: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer is computed before the rows of the layer but one after it are made."""
    made: list[str] = []
    monkeypatch.setattr(
        rows, "kernel_batches", _altered("kernel_batches", lambda batch: made.append(batch["rows"][0]["uid"]))
    )
    seen: list[list[str]] = []
    for node in residual.layers:
        own = residual.convolution(node)
        own.register_forward_hook(lambda *_: seen.append(list(made)))
    try:
        replay_rows(residual, nets.images(2))
    finally:
        for node in residual.layers:
            residual.convolution(node)._forward_hooks.clear()
    assert len(made) == 3
    assert [len(each) for each in itertools.islice(seen, 2)] == [1, 2]


def test_maps_that_are_all_zero_are_exact() -> None:
    dead = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1, bias=False))
    nn.init.constant_(dead.get_parameter("0.bias"), -1000.0)
    report = replay_rows(read_architecture(dead, nets.INPUT), nets.images(2))
    assert report.errors == {"0": 0.0, "2": 0.0}


def test_maps_without_end_are_refused() -> None:
    huge = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 1))
    architecture = read_architecture(huge, nets.INPUT)
    with pytest.raises(StoredDataError, match="the maps of layer 0 hold NaN or infinity"):
        replay_rows(architecture, nets.images(2) * torch.inf)
