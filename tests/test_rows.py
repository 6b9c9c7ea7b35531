"""Rows for the loader: every kernel once, in its place, every layer and filter with what it is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests import built, nets
from viscnn.ingest import kernels
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.kernels import Extent
from viscnn.ingest.rows import (
    channel_names,
    class_rows,
    feed_rows,
    filter_rows,
    identity_batches,
    kernel_batches,
    layer_rows,
)
from viscnn.ingest.structure import Architecture


@pytest.fixture(scope="module")
def grouped() -> Architecture:
    return read_architecture(nets.make("grouped"), nets.INPUT)


@pytest.fixture(scope="module")
def branching() -> Architecture:
    return built.branching()


KEYS = {"left": 11, "right": 12, "block.add": 13, "mixed": 14, "grouped": 15, "head": 16}


@pytest.mark.parametrize(
    ("channels", "names"),
    [(1, ("gray",)), (3, ("r", "g", "b")), (2, ("c0", "c1")), (5, ("c0", "c1", "c2", "c3", "c4"))],
)
def test_input_channels_have_names(channels: int, names: tuple[str, ...]) -> None:
    assert channel_names(channels) == names


def unpacked(model: str, architecture: Architecture, batch: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Source, target and input of the relationships that a batch makes, as the query does it."""
    width = {"input": architecture.input_shape[0]} | {layer.name: layer.filters for layer in architecture.layers}
    first = {1: ["gray"], 2: ["c0", "c1"]}[architecture.input_shape[0]]
    read = [
        f"{layer}/{first[channel] if layer.endswith('/input') else channel}"
        for layer in batch["layers"]
        for channel in range(width[layer.removeprefix(f"{model}/")])
    ]
    sources = [None if place is None else read[place] for place in batch["places"]]
    found = []
    for row in batch["rows"]:
        every = architecture.layer(row["uid"].split("/")[1]).inputs
        for i in range(every) if row["inputs"] is None else row["inputs"]:
            source = sources[row["start"] + i]
            assert source is not None
            found.append((source, row["uid"], i))
    return found


def test_every_kernel_is_sent_once_in_its_place(grouped: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "KERNELS_PER_BLOCK", 5)
    sent = {}
    for batch in kernel_batches("m", grouped, {"conv1": 7, "conv2": 8}):
        assert sum(len(row["weights"]) for row in batch["rows"]) <= 5
        places = iter(unpacked("m", grouped, batch))
        for row in batch["rows"]:
            for n, entries in enumerate(row["weights"]):
                key = (*next(places), batch["key"])
                assert key not in sent
                sent[key] = (entries, row["l1"][n], row["l2"][n], row["signRatio"][n], row["sign"][n])
    expected = 0
    for number, source in enumerate(("m/input/c", "m/conv1/")):
        layer = grouped.layers[number]
        weight = grouped.convolution(layer).weight
        for o in range(layer.filters):
            for i in range(layer.inputs):
                start = (o // (layer.filters // 2)) * layer.inputs
                key = (f"{source}{start + i}", f"m/{layer.name}/{o}", i, 7 + number)
                entries, l1, l2, ratio, sign = sent[key]
                kernel = weight[o, i]
                assert entries == [kernel[r, s].item() for r in range(3) for s in range(3)]
                assert l1 == pytest.approx(kernel.abs().sum().item(), rel=1e-5)
                assert l2 == pytest.approx(kernel.norm().item(), rel=1e-5)
                assert ratio == pytest.approx((kernel.sum() / kernel.abs().sum()).item(), rel=1e-4, abs=1e-6)
                assert sign == ("excitatory" if ratio > 1 / 3 else "inhibitory" if ratio < -1 / 3 else "mixed")
                expected += 1
    assert len(sent) == expected == grouped.kernels == 4 + 12


def test_kernels_of_several_sources_and_identities(branching: Architecture) -> None:
    kernel_edges = [edge for batch in kernel_batches("m", branching, KEYS) for edge in unpacked("m", branching, batch)]
    assert len(kernel_edges) == branching.kernels
    assert set(kernel_edges) == built.branching_kernels("m")
    (batch,) = identity_batches("m", branching, KEYS)
    assert batch["key"] == 13
    edges = unpacked("m", branching, batch)
    assert len(edges) == 7
    assert set(edges) == built.branching_identities("m")


def test_what_is_left_out_is_in_no_row(branching: Architecture) -> None:
    extent = Extent(weights=False, top=9)
    batches = list(kernel_batches("m", branching, KEYS, extent))
    edges = [edge for batch in batches for edge in unpacked("m", branching, batch)]
    assert len(edges) == len(set(edges)) == 9
    assert set(edges) < built.branching_kernels("m")
    assert all("weights" not in row and row["l1"] for batch in batches for row in batch["rows"])


def test_layer_rows(grouped: Architecture) -> None:
    first, one, two = layer_rows("m", grouped, row=-5.2)
    assert first == {
        "uid": "m/input",
        "name": "input",
        "index": 0,
        "kind": "input",
        "depth": 0,
        "branch": 0,
        "gate": False,
        "logits": False,
        "filters": 2,
        "positions": 42,
        "model": "m",
        "x": 0.0,
        "y": -5.2,
    }
    assert (one["uid"], one["index"], one["kind"], one["groups"]) == ("m/conv1", 1, "convolution", 2)
    assert (one["kernelSize"], one["stride"], one["padding"], one["dilation"]) == ([3, 3], [1, 1], [1, 1], [1, 1])
    assert (one["outputSize"], one["positions"], one["activation"]) == ([7, 6], 42, "relu")
    assert two["x"] > one["x"] > first["x"]
    assert (two["filters"], two["inputs"], two["depth"], two["branch"]) == (6, 2, 2, 0)


def test_layers_of_all_kinds(branching: Architecture) -> None:
    rows = {row["name"]: row for row in layer_rows("m", branching, row=0.0)}
    assert [row["index"] for row in rows.values()] == [0, 1, 2, 3, 4, 5, 6]
    assert [rows[name]["kind"] for name in ("left", "block.add", "head")] == ["convolution", "sum", "linear"]
    assert [name for name, row in rows.items() if row["logits"]] == ["head"]
    assert (rows["block.add"]["inputs"], rows["block.add"]["filters"], rows["mixed"]["inputs"]) == (2, 4, 7)
    assert [(rows[name]["x"], rows[name]["y"]) for name in ("left", "right", "block.add", "mixed")] == [
        (2.6, 1.3),
        (2.6, -1.3),
        (5.2, 0.0),
        (pytest.approx(7.8), 0.0),
    ]


def test_filter_rows(grouped: Architecture) -> None:
    by_layer = {part.layer: part.rows for part in filter_rows("m", grouped, row=3.0)}
    assert list(by_layer) == ["m/input", "m/conv1", "m/conv2"]
    assert [row["uid"] for row in by_layer["m/input"]] == ["m/input/c0", "m/input/c1"]
    assert [row["bias"] for row in by_layer["m/input"]] == [None, None]
    bias = grouped.convolution(grouped.layers[1]).bias
    assert bias is not None
    for channel, row in enumerate(by_layer["m/conv2"]):
        uid = f"m/conv2/{channel}"
        assert (row["uid"], row["channel"], row["layer"], row["layerIndex"]) == (uid, channel, "conv2", 2)
        assert row["bias"] == bias[channel].item()
        assert row["z"] == 2.0
        assert row["x"] - row["u"] == pytest.approx(2 * 2.6)
        assert row["y"] - row["v"] == pytest.approx(3.0)
        assert all(type(row[key]) is float for key in ("u", "v", "x", "y", "z", "bias"))


def test_sums_logits_and_inputs_have_their_labels_and_no_bias_where_there_is_none(branching: Architecture) -> None:
    parts = {part.layer: part for part in filter_rows("m", branching, row=0.0)}
    assert {name.removeprefix("m/"): part.labels for name, part in parts.items()} == {
        "input": ["InputChannel"],
        "left": [],
        "right": [],
        "block.add": ["Sum"],
        "mixed": [],
        "grouped": [],
        "head": ["Logit"],
    }
    assert [row["bias"] for row in parts["m/block.add"].rows] == [None] * 4
    assert all(type(row["bias"]) is float for row in parts["m/head"].rows)
    assert [row["z"] for row in parts["m/head"].rows] == [5.0] * 3
    assert [(row["u"], row["v"]) for row in parts["m/block.add"].rows] == [
        (row["u"], row["v"]) for row in parts["m/left"].rows
    ]


def test_classes_of_logits(branching: Architecture, grouped: Architecture) -> None:
    assert class_rows("m", branching, ("ant", "bee", "cat"))[1] == {
        "filter": "m/head/1",
        "properties": {"uid": "m/class/1", "model": "m", "name": "bee", "index": 1},
    }
    assert len(class_rows("m", branching, ("ant", "bee", "cat"))) == 3
    assert class_rows("m", grouped, ("ant", "bee", "cat")) == []


def test_feeds_have_lists_only_where_channels_are_no_neighbours(branching: Architecture) -> None:
    rows = {(row["source"], row["target"]): row["properties"] for row in feed_rows("m", branching)}
    assert len(rows) == 8
    assert rows["m/right", "m/block.add"] == {
        "position": 1,
        "addend": 1,
        "sourceStart": 0,
        "targetStart": 1,
        "channels": 3,
        "sourceChannels": None,
        "targetChannels": None,
        "operations": [],
    }
    assert rows["m/mixed", "m/grouped"]["sourceChannels"] == [5, 4, 3, 2, 1, 0]
    assert rows["m/block.add", "m/mixed"]["operations"] == ['{"op": "relu"}']


def test_a_missing_bias_is_zero() -> None:
    architecture = read_architecture(nn.Sequential(nn.Conv2d(1, 3, 1, bias=False)), (1, 4, 4))
    _, part = filter_rows("m", architecture, row=0.0)
    assert [row["bias"] for row in part.rows] == [0.0, 0.0, 0.0]


def test_even_a_one_filter_layer_of_zeros_has_rows() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for part in filter_rows("m", read_architecture(model, (1, 4, 4)), row=0.0):
        assert np.isfinite([[row["u"], row["v"], row["x"], row["y"]] for row in part.rows]).all()
