"""Rows for the loader: every kernel's facts by literal sums, every kernel once, in its place."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests import nets
from viscnn.ingest import rows
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.rows import channel_names, filter_rows, kernel_batches, kernel_facts, layer_rows


@pytest.fixture(scope="module")
def grouped() -> Architecture:
    return read_architecture(nets.make("grouped"), nets.INPUT)


def test_facts_are_literal_sums() -> None:
    weights = nets.images(3, shape=(2, 3, 5)).numpy()
    weights[0, 0] = np.abs(weights[0, 0])
    weights[0, 1] = -np.abs(weights[0, 1])
    weights[1, 0] = 0.0
    facts = kernel_facts(weights)
    for o in range(3):
        for i in range(2):
            entries = [float(value) for row in weights[o, i] for value in row]
            l1, total = sum(abs(value) for value in entries), sum(entries)
            assert facts.l1[o, i] == pytest.approx(l1)
            assert facts.l2[o, i] == pytest.approx(math.sqrt(sum(value**2 for value in entries)))
            assert facts.sign_ratio[o, i] == pytest.approx(total / l1 if l1 else 0.0)
            ratio = total / l1 if l1 else 0.0
            assert facts.sign[o, i] == (1 if ratio > 1 / 3 else -1 if ratio < -1 / 3 else 0)
    assert facts.sign_ratio[0].tolist() == [1.0, -1.0]
    assert (facts.sign_ratio[1, 0], facts.sign[1, 0]) == (0.0, 0)


@pytest.mark.parametrize(
    ("kernel", "sign"), [([2.0, -1.0], 0), ([2.01, -1.0], 1), ([-2.01, 1.0], -1), ([1.0, -1.0], 0)]
)
def test_a_kernel_is_mixed_up_to_two_thirds_of_either_sign(kernel: list[float], sign: int) -> None:
    assert kernel_facts(np.array(kernel, dtype=np.float32).reshape(1, 1, 1, 2)).sign[0, 0] == sign


@pytest.mark.parametrize(
    ("channels", "names"),
    [(1, ("gray",)), (3, ("r", "g", "b")), (2, ("c0", "c1")), (5, ("c0", "c1", "c2", "c3", "c4"))],
)
def test_input_channels_have_names(channels: int, names: tuple[str, ...]) -> None:
    assert channel_names(channels) == names


def test_every_kernel_is_sent_once_in_its_place(grouped: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "KERNELS_PER_BATCH", 5)
    sent = {}
    for batch in kernel_batches("m", grouped, {"conv1": 7, "conv2": 8}):
        assert sum(len(row["weights"]) for row in batch["rows"]) <= 5
        for row in batch["rows"]:
            for i, entries in enumerate(row["weights"]):
                key = (batch["source"], batch["key"], row["uid"], i)
                assert key not in sent
                sent[key] = (entries, row["start"], row["l1"][i], row["l2"][i], row["signRatio"][i], row["sign"][i])
    expected = 0
    for number, source in enumerate(("m/input", "m/conv1")):
        layer = grouped.layers[number]
        weight = grouped.convolution(layer).weight
        for o in range(layer.filters):
            for i in range(layer.inputs):
                entries, start, l1, l2, ratio, sign = sent[(source, 7 + number, f"m/{layer.name}/{o}", i)]
                kernel = weight[o, i]
                assert entries == [kernel[r, s].item() for r in range(3) for s in range(3)]
                assert start == (o // (layer.filters // 2)) * layer.inputs
                assert l1 == pytest.approx(kernel.abs().sum().item(), rel=1e-5)
                assert l2 == pytest.approx(kernel.norm().item(), rel=1e-5)
                assert ratio == pytest.approx((kernel.sum() / kernel.abs().sum()).item(), rel=1e-4, abs=1e-6)
                assert sign == ("excitatory" if ratio > 1 / 3 else "inhibitory" if ratio < -1 / 3 else "mixed")
                expected += 1
    assert len(sent) == expected == grouped.kernels == 4 + 12


def test_layer_rows(grouped: Architecture) -> None:
    first, one, two = layer_rows("m", grouped, row=-5.2)
    assert first == {
        "uid": "m/input",
        "name": "input",
        "index": 0,
        "kind": "input",
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
    assert two["filters"] == 6


def test_filter_rows(grouped: Architecture) -> None:
    by_layer = dict(filter_rows("m", grouped, row=3.0))
    assert list(by_layer) == ["m/input", "m/conv1", "m/conv2"]
    assert [row["uid"] for row in by_layer["m/input"]] == ["m/input/c0", "m/input/c1"]
    assert [row["bias"] for row in by_layer["m/input"]] == [None, None]
    bias = grouped.convolution(grouped.layers[1]).bias
    assert bias is not None
    for channel, row in enumerate(by_layer["m/conv2"]):
        assert (row["uid"], row["channel"], row["layer"], row["layerIndex"]) == (
            f"m/conv2/{channel}",
            channel,
            "conv2",
            2,
        )
        assert row["bias"] == bias[channel].item()
        assert row["z"] == 2.0
        assert row["x"] - row["u"] == pytest.approx(2 * 2.6)
        assert row["y"] - row["v"] == pytest.approx(3.0)
        assert all(type(row[key]) is float for key in ("u", "v", "x", "y", "z", "bias"))


def test_a_missing_bias_is_zero() -> None:
    architecture = read_architecture(nn.Sequential(nn.Conv2d(1, 3, 1, bias=False)), (1, 4, 4))
    assert [row["bias"] for row in dict(filter_rows("m", architecture, row=0.0))["m/0"]] == [0.0, 0.0, 0.0]


def test_even_a_one_filter_layer_of_zeros_has_rows() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    architecture = read_architecture(model, (1, 4, 4))
    for filters in dict(filter_rows("m", architecture, row=0.0)).values():
        assert np.isfinite([[row["u"], row["v"], row["x"], row["y"]] for row in filters]).all()
