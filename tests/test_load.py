"""Models written into a real Neo4j: exactly what the network is, all or nothing, and gone when dropped."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests import nets, toy
from viscnn.errors import ConfigError, ModelError, NotInGraph, ViscnnError
from viscnn.graph import Graph
from viscnn.graph_scores import activate_scores
from viscnn.ingest import kernels as blocks
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import LoadReport, drop_model, load_model
from viscnn.queries import catalogue

NETS = {
    "grouped": nets.make("grouped"),
    "depthwise": nets.make("depthwise"),
    "no-bias": nets.make("no-bias"),
    "asymmetric": nets.make("asymmetric"),
    "every": nets.with_statistics(nets.seeded(nets.every_operation)),
}


def shape_of(name: str) -> tuple[int, int, int]:
    return (1, 24, 24) if name == "every" else nets.INPUT


def load(graph: Graph, name: str, network: nn.Module, shape: tuple[int, int, int], **settings: Any) -> LoadReport:
    return load_model(graph, name, toy.zoo_of(network, shape), read_architecture(network, shape), **settings)


def kernels(graph: Graph, model: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Properties of every stored kernel of a model by source, target and input."""
    table = graph.fetch(
        "MATCH (a:Filter)-[k:KERNEL]->(b:Filter {model: $model}) RETURN a.uid, b.uid, k.input, properties(k)",
        {"model": model},
        limit=100_000,
        timeout=30,
    )
    found = {(source, target, i): properties for source, target, i, properties in table.rows}
    assert len(found) == len(table.rows)
    return found


def literal_kernels(model: str, architecture: Architecture) -> dict[tuple[str, str, int], list[float]]:
    """Weights of every kernel by source, target and input, from the convolutions."""
    found = {}
    channels = architecture.input_shape[0]
    names = {1: ["gray"], 2: ["c0", "c1"]}[channels]
    before = [f"{model}/input/{name}" for name in names]
    for layer in architecture.layers:
        weight = architecture.convolution(layer).weight
        per_group = len(weight) // layer.groups
        for o in range(len(weight)):
            for i in range(weight.shape[1]):
                source = before[o // per_group * weight.shape[1] + i]
                found[source, f"{model}/{layer.name}/{o}", i] = weight[o, i].flatten().tolist()
        before = [f"{model}/{layer.name}/{o}" for o in range(len(weight))]
    return found


@pytest.mark.parametrize("name", NETS)
def test_what_is_stored_is_the_network(graph: Graph, name: str) -> None:
    with toy.stored(graph, f"load-{name}", NETS[name], shape_of(name)) as architecture:
        model = f"load-{name}"
        literal, found = literal_kernels(model, architecture), kernels(graph, model)
        assert {key: each["weights"] for key, each in found.items()} == literal
        layers = {row["name"]: row for row in graph.read("read/layers", model=model)}
        for (_, target, i), each in found.items():
            weights = each["weights"]
            l1, total = sum(map(abs, weights)), sum(weights)
            assert each["l1"] == pytest.approx(l1)
            assert each["l2"] == pytest.approx(sum(value**2 for value in weights) ** 0.5)
            assert each["signRatio"] == pytest.approx(total / l1)
            sign = "excitatory" if total / l1 > 1 / 3 else "inhibitory" if total / l1 < -1 / 3 else "mixed"
            assert (each["sign"], each["input"]) == (sign, i)
            assert each["layer"] == layers[target.split("/")[1]]["key"]
        _assert_filters(graph, model, architecture)
        _assert_layers(layers, architecture)
        assert graph.read("read/feeds", model=model) == [
            {
                "source": feed.source,
                "target": feed.target,
                "position": 0,
                "addend": 0,
                "sourceStart": 0,
                "targetStart": 0,
                "channels": feed.channels,
                "sourceChannels": None,
                "targetChannels": None,
                "operations": [operation.to_json() for operation in feed.operations],
            }
            for feed in architecture.feeds
        ]


def _assert_filters(graph: Graph, model: str, architecture: Architecture) -> None:
    found = {row["uid"]: row for row in graph.read("read/filters", model=model)}
    expected = 0
    for layer in architecture.layers:
        bias = architecture.convolution(layer).bias
        for channel in range(layer.filters):
            row = found[f"{model}/{layer.name}/{channel}"]
            assert (row["channel"], row["layer"], row["layerIndex"]) == (channel, layer.name, layer.index)
            assert row["bias"] == (0.0 if bias is None else bias[channel].item())
            assert (row["inputChannel"], row["score"], row["importance"]) == (False, None, None)
            expected += 1
    inputs = [row for row in found.values() if row["inputChannel"]]
    assert len(inputs) == architecture.input_shape[0]
    assert len(found) == expected + len(inputs)


def _assert_layers(found: dict[str, dict[str, Any]], architecture: Architecture) -> None:
    assert list(found) == ["input", *(layer.name for layer in architecture.layers)]
    for layer in architecture.layers:
        row, own = found[layer.name], architecture.convolution(layer)
        assert row["kernelSize"] == list(own.kernel_size)
        assert row["stride"] == list(own.stride)
        assert row["padding"] == (own.padding if isinstance(own.padding, str) else list(own.padding))
        assert (row["paddingMode"], row["dilation"], row["groups"]) == (
            own.padding_mode,
            list(own.dilation),
            own.groups,
        )
        assert (row["filters"], row["outputSize"]) == (own.out_channels, list(layer.output_size))
        assert (row["positions"], row["activation"]) == (layer.positions, layer.activation)


def test_the_model_node_says_what_it_is(graph: Graph) -> None:
    with toy.stored(graph, "load-node", NETS["every"], (1, 24, 24)):
        (row,) = graph.read("read/model", model="load-node")
        assert (row["status"], row["logits"], row["classes"]) == ("complete", 3, list(toy.CLASSES))
        assert (row["inputShape"], row["importanceOutput"], row["mixesChannels"]) == ([1, 24, 24], "loss", True)
        assert row["signCutoffs"] == [-1 / 3, 1 / 3]
        assert json.loads(row["preprocess"])["mean"] == [0.4]
        assert (row["activeQuery"], row["activeProjection"]) == (None, "load-node/projection/kernel-pca-disc")


def test_ingesting_again_changes_nothing(graph: Graph) -> None:
    with toy.stored(graph, "load-again", NETS["grouped"], nets.INPUT):
        before = toy.snapshot(graph)
        report = load(graph, "load-again", nets.make("grouped"), nets.INPUT)
        assert report.already_complete
        assert (report.layers, report.filters, report.kernels) == (2, 10, 16)
        assert toy.snapshot(graph) == before


def _changed(network: nn.Sequential) -> nn.Sequential:
    network.get_parameter("conv1.bias").data[0] += 1
    return network


def test_a_name_that_is_taken_is_refused_or_replaced(graph: Graph) -> None:
    other = _changed(nets.make("grouped"))
    with toy.stored(graph, "load-taken", NETS["grouped"], nets.INPUT) as architecture:
        toy.save_query(graph, "load-taken", architecture, "load-taken/query/one", seed=1)
        before = toy.snapshot(graph)
        with pytest.raises(ModelError, match="'load-taken' is stored with other weights"):
            load(graph, "load-taken", other, nets.INPUT)
        assert toy.snapshot(graph) == before
        assert not load(graph, "load-taken", other, nets.INPUT, replace=True).already_complete
        assert graph.read("read/queries", model="load-taken") == []
        assert kernels(graph, "load-taken").keys() == literal_kernels("load-taken", architecture).keys()
        bias = {row["uid"]: row["bias"] for row in graph.read("read/filters", model="load-taken")}
        assert bias["load-taken/conv1/0"] == other.get_parameter("conv1.bias")[0].item()


def test_another_input_size_is_another_model(graph: Graph) -> None:
    network = nets.seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1)))
    with toy.stored(graph, "load-size", network, (2, 7, 6)):
        with pytest.raises(ModelError, match="other weights or another input"):
            load(graph, "load-size", network, (2, 9, 9))
        assert load(graph, "load-size", network, (2, 7, 6)).already_complete


def test_the_same_weights_with_other_steps_are_another_model(graph: Graph) -> None:
    changed = nets.make("grouped")
    changed.relu1 = nn.GELU()
    with toy.stored(graph, "load-steps", NETS["grouped"], nets.INPUT):
        before = toy.snapshot(graph)
        with pytest.raises(ModelError, match="other layers or steps"):
            load(graph, "load-steps", changed, nets.INPUT)
        strided = nets.make("grouped")
        strided.conv1.padding_mode = "circular"  # type: ignore[union-attr]
        strided.conv1._reversed_padding_repeated_twice = [1, 1, 1, 1]  # type: ignore[union-attr]
        with pytest.raises(ModelError, match="other layers or steps"):
            load(graph, "load-steps", strided, nets.INPUT)
        assert toy.snapshot(graph) == before


@pytest.mark.parametrize("name", ["", "a/b", "naïve", "模型", "a b", "a\n", "a'b", "ａ", "a:b"])
def test_a_malformed_name_is_refused(graph: Graph, name: str) -> None:
    before = toy.snapshot(graph)
    with pytest.raises(ModelError, match=r"must be of letters, digits and _ . -"):
        load(graph, name, NETS["grouped"], nets.INPUT)
    assert toy.snapshot(graph) == before


def test_another_number_of_classes_than_logits_is_refused(graph: Graph) -> None:
    architecture = read_architecture(NETS["grouped"], nets.INPUT)
    zoo = toy.zoo_of(NETS["grouped"], nets.INPUT, classes=("one", "two"))
    before = toy.snapshot(graph)
    with pytest.raises(ModelError, match="2 class names are given, but the model has 3 logits"):
        load_model(graph, "load-classes", zoo, architecture)
    assert toy.snapshot(graph) == before


def test_a_home_that_cannot_be_made_is_named(graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match="set VISCNN_HOME to a writable folder"):
        load(graph, "load-home", NETS["grouped"], nets.INPUT)


# --- all or nothing ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """Raised by the tests inside an ingest."""


def _assert_whole(graph: Graph, model: str, architecture: Architecture) -> None:
    assert graph.read("read/model", model=model)[0]["status"] == "complete"
    (counts,) = graph.read("read/model_counts", model=model)
    assert (counts["layers"], counts["filters"], counts["inputChannels"], counts["kernels"]) == (2, 12, 2, 16)
    assert (counts["feeds"], counts["sums"], counts["identities"], counts["logits"]) == (2, 0, 0, 0)
    found = {key: each["weights"] for key, each in kernels(graph, model).items()}
    assert found == literal_kernels(model, architecture)
    assert len(graph.read("read/feeds", model=model)) == 2


@pytest.mark.parametrize("after", [0, 4, 12])
def test_a_stopped_ingest_is_never_complete_and_is_completed_by_the_next(
    graph: Graph, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "KERNELS_PER_BLOCK", 4)
    architecture = read_architecture(NETS["grouped"], nets.INPUT)
    before = toy.snapshot(graph)
    seen = []

    def stop(step: str, done: int, total: int) -> None:
        seen.append((done, total))
        (row,) = graph.read("read/model", model="load-stopped")
        assert row["status"] == "ingesting"
        if done >= after:
            raise Stopped

    with pytest.raises(Stopped):
        load(graph, "load-stopped", NETS["grouped"], nets.INPUT, progress=stop)
    try:
        assert seen[-1] == (after, 16)
        assert graph.read("read/model", model="load-stopped")[0]["status"] == "ingesting"
        report = load(graph, "load-stopped", NETS["grouped"], nets.INPUT)
        assert not report.already_complete
        _assert_whole(graph, "load-stopped", architecture)
    finally:
        drop_model(graph, "load-stopped", missing_ok=True)
    assert toy.snapshot(graph) == before


def test_fewer_rows_stored_than_sent_is_an_error(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that vanish before they are counted."""
    monkeypatch.setattr(blocks, "KERNELS_PER_BLOCK", 4)

    def vandal(step: str, done: int, total: int) -> None:
        if done == total:
            drop_one(graph)

    try:
        with pytest.raises(ViscnnError, match=r"were sent but .* are stored; run the ingest again"):
            load(graph, "load-short", NETS["grouped"], nets.INPUT, progress=vandal)
        assert graph.read("read/model", model="load-short")[0]["status"] == "ingesting"
    finally:
        drop_model(graph, "load-short", missing_ok=True)


def drop_one(graph: Graph) -> None:
    """Remove the kernels of the model that is being ingested."""
    graph.stream("write/drop_kernels", model="load-short")


# --- side by side ------------------------------------------------------------------------------------------------


def test_dropping_a_model_leaves_nothing_of_it_and_all_of_the_other(graph: Graph) -> None:
    before = toy.snapshot(graph)
    with toy.toy_graph(graph):
        alone = toy.snapshot(graph)
        with toy.stored(graph, "load-beside", NETS["every"], (1, 24, 24)) as architecture:
            toy.save_query(graph, "load-beside", architecture, "load-beside/query/one", seed=3)
            activate_scores(graph, "load-beside/query/one")
            sets = [{"name": "overall", "images": 1, "hash": "x"}]
            graph.write("write/save_image_sets", model="load-beside", rows=sets)
            circuit = {"model": "load-beside", "query": "load-beside/query/one"}
            included = [{"uid": "load-beside/conv1/0", "kernelInputs": [0]}]
            graph.write("write/save_circuit", uid="load-beside/circuit/1", properties=circuit, rows=included)
            keys = [row["key"] for name in ("toy", "load-beside") for row in graph.read("read/layers", model=name)]
            assert len(set(keys)) == len(keys) == 3 + 6
            heights = {
                name: {row["y"] for row in graph.read("read/filters", model=name)} for name in ("toy", "load-beside")
            }
            assert max(heights["load-beside"]) < min(heights["toy"])
        assert toy.snapshot(graph) == alone
    assert toy.snapshot(graph) == before


def test_dropping_what_is_not_there(graph: Graph) -> None:
    drop_model(graph, "load-absent", missing_ok=True)
    with pytest.raises(NotInGraph, match="no model 'load-absent' is stored"):
        drop_model(graph, "load-absent")


def test_models_can_be_ingested_at_the_same_time(graph: Graph) -> None:
    names = [f"load-at-once-{number}" for number in range(4)]
    failed: list[BaseException] = []

    def run(name: str) -> None:
        try:
            load(graph, name, NETS["grouped"], nets.INPUT)
        except ViscnnError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in [*names, names[0]]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert failed == []
        for name in names:
            _assert_whole(graph, name, read_architecture(NETS["grouped"], nets.INPUT))
        heights = {graph.read("read/filters", model=name)[0]["y"] for name in names}
        assert len(heights) == len(names)  # none is drawn over another
    finally:
        for name in names:
            drop_model(graph, name, missing_ok=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_made_as_they_are_sent(graph: Graph, workers: int) -> None:
    made = 0
    written: list[Any] = []

    def batches() -> Iterator[dict[str, Any]]:
        nonlocal made
        for _ in range(20):
            assert made - len(written) <= workers
            made += 1
            yield {"rows": []}

    assert graph.write_batches("write/load_feeds", batches(), workers=workers, on_batch=written.append) == 0
    assert written == [0] * 20


def test_the_schema_is_made_once(graph: Graph) -> None:
    with toy.stored(graph, "load-schema", NETS["grouped"], nets.INPUT):
        table = graph.fetch("SHOW INDEXES YIELD name RETURN name", {}, limit=100, timeout=10)
        names = {row[0] for row in table.rows}
        assert {query.name.removeprefix("schema/") for query in catalogue().values() if query.mode == "schema"} <= names
