"""Branching models, heads and parts of models in a real Neo4j: every relationship where the feeds say, none besides."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from tests import built, nets, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.errors import ModelError
from viscnn.graph import Graph
from viscnn.ingest import kernels as blocks
from viscnn.ingest import load as loading
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import LoadReport, drop_model, load_model
from viscnn.ingest.structure import Architecture
from viscnn.ingest.zoo import ZooModel

CLASSES = ("ant", "bee", "cat")
Edge = tuple[str, str, int]


def load(graph: Graph, name: str, made: Architecture, **settings: Any) -> LoadReport:
    zoo = ZooModel(nn.Identity(), "built", made.input_shape, CLASSES if made.logits else (), {}, None, "hash")
    return load_model(graph, name, zoo, made, **settings)


@contextmanager
def loaded(graph: Graph, name: str, made: Architecture, **settings: Any) -> Iterator[LoadReport]:
    """A model in the graph, removed at the end, which leaves nothing."""
    before = toy.snapshot(graph)
    try:
        yield load(graph, name, made, **settings)
    finally:
        drop_model(graph, name, missing_ok=True)
    assert toy.snapshot(graph) == before


def edges(graph: Graph, model: str, kind: str) -> dict[Edge, dict[str, Any]]:
    """Properties of all relationships of a type by source, target and input."""
    table = graph.fetch(
        f"MATCH (a:Filter)-[k:{kind}]->(b:Filter {{model: $model}}) RETURN a.uid, b.uid, k.input, properties(k)",
        {"model": model},
        limit=200_000,
        timeout=60,
    )
    found = {(source, target, i): properties for source, target, i, properties in table.rows}
    assert len(found) == len(table.rows)
    return found


def test_every_kernel_and_identity_is_where_the_feeds_say(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "KERNELS_PER_BLOCK", 10)
    made = built.branching()
    with loaded(graph, "built", made, heads=True) as report:
        assert (report.layers, report.filters, report.kernels) == (5, 22, 86)
        assert (report.sums, report.identities, report.kernels_left_out) == (4, 7, 0)
        kernels, identities = edges(graph, "built", "KERNEL"), edges(graph, "built", "IDENTITY")
        assert kernels.keys() == built.branching_kernels("built")
        assert identities.keys() == built.branching_identities("built")
        keys = {row["name"]: row["key"] for row in graph.read("read/layers", model="built")}
        for (_, target, i), properties in kernels.items():
            _, layer, channel = target.split("/")
            weight = made.convolution(made.layer(layer)).weight[int(channel), i]
            assert properties["weights"] == weight.flatten().tolist()
            assert (properties["input"], properties["layer"]) == (i, keys[layer])
        for (_, _, i), properties in identities.items():
            assert properties == {"input": i, "layer": keys["block.add"]}


def test_sums_logits_and_classes_are_labelled_and_linked(graph: Graph) -> None:
    with loaded(graph, "built", built.branching(), heads=True):
        text = (
            "MATCH (f:Filter {model: 'built'}) OPTIONAL MATCH (f)-[:PREDICTS]->(c:Class) "
            "RETURN f.name, labels(f), f.bias IS NULL, c.name, c.index, c.uid"
        )
        found = {row[0]: row[1:] for row in graph.fetch(text, {}, limit=100, timeout=10).rows}
        assert found["head/1"] == (["Filter", "Logit"], False, "bee", 1, "built/class/1")
        assert found["block.add/3"] == (["Filter", "Sum"], True, None, None, None)
        assert found["mixed/5"] == (["Filter"], False, None, None, None)
        assert sorted(name for name, row in found.items() if row[2] is not None) == ["head/0", "head/1", "head/2"]
        (model,) = graph.read("read/model", model="built")
        assert (model["heads"], model["weights"], model["kernelsLeftOut"]) == (True, True, 0)
        (listed,) = [row for row in graph.read("read/models") if row["name"] == "built"]
        assert (listed["layers"], listed["filters"]) == (5, 22)


def test_a_branching_model_is_drawn_below_the_last_one(graph: Graph) -> None:
    with toy.toy_graph(graph), loaded(graph, "built", built.branching()), loaded(graph, "below", built.branching()):
        rows = {name: graph.read("read/filters", model=name) for name in ("toy", "built", "below")}
        for upper, lower in (("toy", "built"), ("built", "below")):
            assert max(row["y"] for row in rows[lower]) < min(row["y"] for row in rows[upper])
        discs: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for name, filters in rows.items():
            for row in filters:
                discs.setdefault((name, row["layer"]), []).append((row["x"], row["y"]))
        boxes = [
            (min(x for x, _ in disc), max(x for x, _ in disc), min(y for _, y in disc), max(y for _, y in disc))
            for disc in discs.values()
        ]
        for number, (left, right, low, high) in enumerate(boxes):
            for other in boxes[:number]:
                assert right < other[0] or left > other[1] or high < other[2] or low > other[3]


# --- read from modules -------------------------------------------------------------------------------------------


def _mobile() -> nn.Module:
    block = models.mobilenetv3.InvertedResidualConfig
    setting = [block(8, 3, 8, 8, True, "RE", 1, 1, 1.0), block(8, 5, 16, 12, True, "HS", 2, 1, 1.0)]
    made: nn.Module = models.mobilenetv3.MobileNetV3(setting, last_channel=16, num_classes=3)
    return made


def _resnext() -> nn.Module:
    block = models.resnet.Bottleneck
    way = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16))
    blocks = nn.Sequential(block(8, 4, 2, way, groups=2), block(16, 4, groups=2, dilation=2))
    return nn.Sequential(nn.Conv2d(3, 8, 3), blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))


NETWORKS = {
    "densenet": lambda: models.DenseNet(4, (2, 2, 1, 1), 8, num_classes=3),
    "shufflenet": lambda: models.ShuffleNetV2([1, 2, 1], [8, 16, 24, 32, 24], num_classes=3),
    "mobilenet": _mobile,
    "resnext": _resnext,
}


def _literal(model: str, made: Architecture) -> tuple[set[Edge], set[Edge]]:
    """Kernels and identities feed by feed, channel by channel."""
    kernels: set[Edge] = set()
    identities: set[Edge] = set()
    channels = {0: "r", 1: "g", 2: "b"}
    for feed in made.feeds:
        layer = made.layer(feed.target)
        for read, written in zip(feed.reads, feed.writes, strict=True):
            source = f"{model}/{feed.source}/{channels[read] if feed.source == 'input' else read}"
            if layer.is_sum:
                identities.add((source, f"{model}/{layer.name}/{written}", feed.addend))
                continue
            group, i = divmod(written, layer.in_channels // layer.groups)
            size = layer.filters // layer.groups
            kernels |= {(source, f"{model}/{layer.name}/{o}", i) for o in range(group * size, (group + 1) * size)}
    return kernels, identities


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_known_families(graph: Graph, name: str) -> None:
    network = nets.seeded(NETWORKS[name]).eval()
    made = read_architecture(network, (3, 32, 32), heads=True)
    with loaded(graph, name, made, heads=True) as report:
        kernels, identities = _literal(name, made)
        found = edges(graph, name, "KERNEL")
        assert found.keys() == kernels
        assert edges(graph, name, "IDENTITY").keys() == identities
        assert (report.kernels, report.identities) == (len(kernels), len(identities))
        assert report.kernels == made.kernels
        for (_, target, i), properties in list(found.items())[::7]:
            _, layer, channel = target.split("/")
            weight = made.convolution(made.layer(layer)).weight[int(channel), i]
            assert properties["weights"] == weight.flatten().tolist()
        assert load(graph, name, made, heads=True).already_complete


# --- parts of models ---------------------------------------------------------------------------------------------


def test_without_weights(graph: Graph) -> None:
    with loaded(graph, "built", built.branching(), extent=Extent(weights=False)) as report:
        found = edges(graph, "built", "KERNEL")
        assert found.keys() == built.branching_kernels("built")
        assert all("weights" not in each and each["l1"] > 0 for each in found.values())
        assert report.kernels_left_out == 0
        (model,) = graph.read("read/model", model="built")
        assert (model["weights"], model["heads"], model["kernelsAbove"], model["topKernels"]) == (
            False,
            False,
            None,
            None,
        )


@pytest.mark.parametrize("extent", [Extent(top=10), Extent(above=2.0), Extent(top=40, weights=False)])
def test_kernels_of_small_norm_are_left_out(graph: Graph, extent: Extent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "KERNELS_PER_BLOCK", 8)
    made = built.branching()
    with loaded(graph, "whole", made):
        norms = {edge: each["l1"] for edge, each in edges(graph, "whole", "KERNEL").items()}
    ranked = sorted(norms, key=lambda edge: -norms[edge])
    expected = ranked[: extent.top] if extent.top else [edge for edge in ranked if norms[edge] > 2.0]
    assert 0 < len(expected) < 86
    with loaded(graph, "part", made, extent=extent) as report:
        found = edges(graph, "part", "KERNEL")
        assert found.keys() == {
            (a.replace("whole", "part", 1), b.replace("whole", "part", 1), i) for a, b, i in expected
        }
        assert (report.kernels, report.kernels_left_out) == (len(expected), 86 - len(expected))
        assert edges(graph, "part", "IDENTITY").keys() == built.branching_identities("part")
        (model,) = graph.read("read/model", model="part")
        assert (model["kernelsAbove"], model["topKernels"]) == (extent.above, extent.top)
        assert model["kernelsLeftOut"] == 86 - len(expected)
        assert load(graph, "part", made, extent=extent).kernels_left_out == 86 - len(expected)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"extent": Extent(weights=False)}, "--no-weights"),
        ({"extent": Extent(above=0.5)}, "--kernels-above"),
        ({"extent": Extent(top=5)}, "--top-kernels"),
        ({"heads": True}, "--heads"),
    ],
)
def test_other_options_are_another_model(graph: Graph, settings: dict[str, Any], named: str) -> None:
    made = built.branching()
    with loaded(graph, "built", made):
        before = toy.snapshot(graph)
        with pytest.raises(ModelError, match=f"is stored with other {named}; --replace it, or choose a --name"):
            load(graph, "built", made, **settings)
        assert toy.snapshot(graph) == before
        assert not load(graph, "built", made, replace=True, **settings).already_complete
        assert load(graph, "built", made, **settings).already_complete


def test_scores_of_a_part_have_full_length(server: Connection, graph: Graph, tmp_path: Any) -> None:
    folder = toy.split_pictures(tmp_path / "pictures")
    with toy.ingested(server, "part", folder, top_kernels=6) as v:
        (found,) = graph.read("read/model_counts", model="part")
        assert found["kernels"] == 6
        (query,) = v.queries("part")
        rows = graph.read("read/query_scores", uid=query["uid"])
        assert [len(row["kernelScores"]) for row in rows] == [1] * 4 + [4] * 3
        stored = edges(graph, "part", "KERNEL")
        scores = {row["uid"]: row["kernelScores"] for row in rows}
        assert {edge: each["importance"] for edge, each in stored.items()} == {
            (source, target, i): scores[target][i] for source, target, i in stored
        }


# --- heads -------------------------------------------------------------------------------------------------------


def test_many_kernels_of_a_head_are_asked_for(
    server: Connection, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MANY_KERNELS", 20)
    settings: dict[str, Any] = {"name": "asked", "weights": "random", "input_shape": toy.SHAPE, "heads": True}
    before = toy.snapshot(graph)
    with VISCNN(server) as v:
        asked: list[int] = []

        def refuse(kernels: int) -> bool:
            asked.append(kernels)
            return False

        with pytest.raises(ModelError, match=r"'asked' would have 25 kernels, more than 20; store them with --yes"):
            v.ingest(toy.SOURCE, **settings)
        with pytest.raises(ModelError, match="--yes"):
            v.ingest(toy.SOURCE, confirm=refuse, **settings)
        assert asked == [25]
        assert toy.snapshot(graph) == before
        try:
            assert v.ingest(toy.SOURCE, top_kernels=20, **settings).kernels == 20
            report = v.ingest(toy.SOURCE, confirm=lambda kernels: True, replace=True, **settings)
            assert report.kernels == 16 + 3 * 3
            architecture = v.bundle("asked").architecture
            assert architecture.layers[-1].logits
            with torch.no_grad():
                assert architecture.module(torch.zeros(1, *toy.SHAPE)).shape == (1, 3)
        finally:
            v.drop("asked")
