"""Circuits on a real Neo4j: the evidence against literal masked networks, and the stored circuit against the report."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests import nets, oracles, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine import streaming
from viscnn.engine.circuit import CircuitReport, filter_uids, layer_network, target_numbers
from viscnn.engine.connectivity import Mask
from viscnn.engine.controls import magnitude_control, random_control, size_gaps, worst_control
from viscnn.engine.output import parse_output
from viscnn.engine.run import read_scores
from viscnn.engine.target import resolve
from viscnn.engine.verify import masked
from viscnn.errors import ExpressionError, ImagesError, InputError, NotInGraph
from viscnn.graph import Graph
from viscnn.ingest.architecture import read_architecture

MODEL = "circuit-toy"
TARGET = f"filter:{MODEL}/conv2/1"
OPTIONS: dict[str, Any] = {"model": MODEL, "input": "cat", "check_images": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("circuit"), score=5, check=11)


@pytest.fixture(scope="module")
def v(server: Connection, folder: Path) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, folder, importance=False) as opened:
        yield opened


@pytest.mark.parametrize(
    ("output", "numbers"),
    [
        ("loss", [5, 6, 7]),
        ("class:bee + layer:conv1", [1, 2, 3, 4, 5, 6, 7]),
        ("layer:conv1@post", [1, 2, 3, 4]),
        ("filter:toy/conv2/1@max", [6]),
        ("direction:conv2[2:1, 0:-1] - filter:toy/conv1/1", [2, 5, 7]),
        ("filter:toy/conv1/3 - 2*filter:toy/conv1/0@post", [1, 4]),
    ],
)
def test_the_filters_that_a_circuit_must_reach(output: str, numbers: list[int]) -> None:
    """Number 0 is the input channel, 1 to 4 are the filters of conv1, 5 to 7 those of conv2."""
    architecture = read_architecture(toy.toy_network(), toy.SHAPE)
    target = resolve(parse_output(output), model="toy", architecture=architecture, classes=toy.CLASSES)
    assert target_numbers(architecture, target).tolist() == numbers


# --- literal masked networks -------------------------------------------------------------------------------------


def pictures(folder: Path, part: str) -> tuple[Tensor, list[int]]:
    paths = sorted((folder / part).glob("*/*.png"))
    return torch.stack([toy.pixels(path) for path in paths]), [toy.CLASSES.index(path.parent.name) for path in paths]


def literal_masked(images: Tensor, mask: Mask, replacements: dict[str, Tensor] | None) -> oracles.Run:
    """The toy network with some kernels reading other maps (None: nothing), one kernel at a time."""
    kept = dict(zip(("conv1", "conv2"), mask, strict=True))

    def convolve(name: str, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        assert convolution.bias is not None
        maps = []
        for o in range(convolution.out_channels):
            z = convolution.bias[o] + torch.zeros(len(x), *x.shape[2:], dtype=x.dtype)  # 3x3, padding 1
            for i in range(convolution.in_channels):
                source = x if kept[name][o, i] else None if replacements is None else replacements[name]
                if source is not None:
                    weight = convolution.weight[o : o + 1, i : i + 1]
                    z = z + torch.nn.functional.conv2d(source[:, i : i + 1], weight, padding=1)[:, 0]
            maps.append(z)
        return torch.stack(maps, dim=1)

    return oracles.run(toy.toy_network(), images, swap=convolve)


def replaced(folder: Path, ablation: str) -> dict[str, Tensor] | None:
    """What removed kernels read, by layer, for all check pictures of the folder in order."""
    if ablation == "zero":
        return None
    if ablation == "mean":
        means = oracles.run(toy.toy_network(), pictures(folder, "score")[0]).x
        return {name: x.detach().mean(dim=0, keepdim=True).expand(33, -1, -1, -1) for name, x in means.items()}
    own = oracles.run(toy.toy_network(), pictures(folder, "check")[0]).x
    return {name: x.detach()[[*range(-1, len(x) - 1)]] for name, x in own.items()}


def correlation(folder: Path, mask: Mask, ablation: str, response: Callable[[oracles.Run], Tensor]) -> float:
    images, _ = pictures(folder, "check")
    whole = response(oracles.run(toy.toy_network(), images)).detach().numpy().ravel()
    part = response(literal_masked(images, mask, replaced(folder, ablation))).detach().numpy().ravel()
    return float(np.corrcoef(whole, part)[0, 1])


RESPONSES: dict[str, Callable[[list[int]], Callable[[oracles.Run], Tensor]]] = {
    TARGET: lambda labels: lambda of: of.z["conv2"][:, 1],
    "class:bee": lambda labels: oracles.logit(0).values,
    "loss": lambda labels: oracles.loss(labels).values,
    "layer:conv2": lambda labels: oracles.layer_mean("conv2").values,
    f"{TARGET}@post": lambda labels: lambda of: of.a["conv2"][:, 1],
    "direction:conv2[0:2, 2:-1]@max": lambda labels: lambda of: 2 * of.z["conv2"][:, 0] - of.z["conv2"][:, 2],
    f"class:bee - 0.5*filter:{MODEL}/conv1/3@1,2@post": lambda labels: (
        lambda of: of.logits[:, 0] - 0.5 * of.a["conv1"][:, 3, 1, 2]
    ),
    f"layer:conv1 + {TARGET}@3,0": lambda labels: (
        lambda of: of.z["conv1"].mean(dim=(1, 2, 3)) + of.z["conv2"][:, 1, 3, 0]
    ),
}
MAPS = (TARGET, f"{TARGET}@post", "direction:conv2[0:2, 2:-1]@max")
"""Targets whose response is a whole map of conv2, 4x4."""


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("target", RESPONSES)
def test_the_evidence_is_that_of_a_literal_masked_network(v: VISCNN, folder: Path, target: str, ablation: str) -> None:
    report = v.circuit(target, keep=0.5, ablation=ablation, **OPTIONS)
    response = RESPONSES[target](pictures(folder, "check")[1])
    assert report.evidence.pearson == pytest.approx(
        correlation(folder, report.selection.mask, ablation, response), abs=1e-5
    )
    assert (report.evidence.images, report.evidence.image_sets) == (33, "overall")  # fewer than 30 of `cat` alone
    assert report.evidence.positions == 33 * (16 if target in MAPS else 1)
    assert 0 < report.selection.kernels < report.selection.upstream_kernels


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_the_evidence_does_not_depend_on_batches(v: VISCNN, ablation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = v.circuit(TARGET, keep=0.4, ablation=ablation, **OPTIONS)
    for floats in (1, 2000):
        monkeypatch.setattr(streaming, "BATCH_FLOATS", floats)
        again = v.circuit(TARGET, keep=0.4, ablation=ablation, **OPTIONS)
        assert again.evidence.pearson == pytest.approx(whole.evidence.pearson, abs=1e-5)
        assert again.evidence.spearman == pytest.approx(whole.evidence.spearman, abs=1e-4)


def network_of(v: VISCNN, graph: Graph, report: CircuitReport) -> Any:
    architecture = v.bundle(MODEL).architecture
    kernels, _ = read_scores(graph, report.query, [layer.filters for layer in architecture.layers])
    return layer_network(MODEL, architecture, kernels)


def test_controls_have_the_circuits_size_and_their_own_literal_evidence(v: VISCNN, graph: Graph, folder: Path) -> None:
    report = v.circuit(TARGET, keep=0.5, **OPTIONS)
    network, sources, targets = network_of(v, graph, report), [0], [1 + 4 + 1]
    weights = [v.bundle(MODEL).architecture.convolution(layer).weight for layer in v.bundle(MODEL).architecture.layers]
    magnitudes = tuple(each.abs().mean(dim=(2, 3)).double().numpy() for each in weights)
    random = [random_control(report.selection, network, targets, sources, seed=seed) for seed in range(3)]
    worst = worst_control(report.selection, network, targets, sources)
    magnitude = magnitude_control(report.selection, network, magnitudes, targets, sources)
    response = RESPONSES[TARGET]([])
    for control in (*random, worst, magnitude):
        assert size_gaps(network, report.selection.mask, control) == {}
        assert [int(each.sum()) for each in control] == [int(each.sum()) for each in report.selection.mask]
    found = report.evidence
    rs = [correlation(folder, control, "zero", response) for control in random]
    assert found.pearson_random == pytest.approx(float(np.mean(rs)), abs=1e-5)
    assert found.pearson_worst == pytest.approx(correlation(folder, worst, "zero", response), abs=1e-5)
    assert found.pearson_magnitude == pytest.approx(correlation(folder, magnitude, "zero", response), abs=1e-5)
    assert found.nan_count == 0


def test_a_circuit_that_keeps_everything_is_the_network(v: VISCNN) -> None:
    """`keep` = 1 keeps every upstream kernel of positive score; where all are positive nothing is removed."""
    report = v.circuit(TARGET, keep=1.0, **OPTIONS)
    assert report.selection.kept_fraction == 1.0
    assert report.selection.kernels == 4 + 4  # into all of conv1, and into the one target
    assert report.evidence.pearson == pytest.approx(1.0, abs=1e-6)
    assert report.evidence.spearman == pytest.approx(1.0, abs=1e-6)


def test_an_intervention_is_literal_and_leaves_the_convolution_alone() -> None:
    convolution = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    x, other = torch.randn(2, 3, 5, 5), torch.randn(1, 3, 5, 5)
    mask: NDArray[np.bool_] = np.random.default_rng(0).random((4, 3)) < 0.5
    before = convolution.weight.clone()
    keep = torch.from_numpy(mask)[:, :, None, None]
    with torch.no_grad():
        kept, removed = (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect") for _ in range(2))
        kept.weight.copy_(torch.where(keep, before, 0))
        removed.weight.copy_(torch.where(keep, 0, before))
        assert removed.bias is not None
        assert kept.bias is not None
        assert convolution.bias is not None
        kept.bias.copy_(convolution.bias)
        removed.bias.zero_()
        torch.testing.assert_close(masked(mask, None)(x, convolution), kept(x))
        expected = kept(x) + removed(other.expand(2, -1, -1, -1))
        torch.testing.assert_close(masked(mask, other)(x, convolution), expected)
    assert torch.equal(convolution.weight, before)


# --- what is stored ----------------------------------------------------------------------------------------------


def kept_kernels(report: CircuitReport) -> set[tuple[str, str, int]]:
    """Kernels of the report's mask by source, target and input."""
    found = set()
    before = [f"{MODEL}/input/gray"]
    for name, kept in zip(("conv1", "conv2"), report.selection.mask, strict=True):
        own = [f"{MODEL}/{name}/{channel}" for channel in range(len(kept))]
        found |= {(before[i], own[o], int(i)) for o, i in np.argwhere(kept)}
        before = own
    return found


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("target", [TARGET, "loss"])
def test_what_is_stored_is_the_mask(v: VISCNN, graph: Graph, target: str, keep: float) -> None:
    report = v.circuit(target, keep=keep, **OPTIONS)
    expected = kept_kernels(report)
    found = {(row["source"], row["target"], row["input"]) for row in graph.read("read/circuit_kernels", uid=report.uid)}
    assert found == expected
    assert len(expected) == report.selection.kernels
    walked = set()
    paths = graph.read("read/circuit_paths", uid=report.uid, limit=1000)
    for row in paths:
        uids = [node["properties"]["uid"] for node in row["path"]["nodes"]]
        inputs = [edge["properties"]["input"] for edge in row["path"]["relationships"]]
        walked |= set(zip(uids, uids[1:], inputs, strict=False))
        assert uids[0] == f"{MODEL}/input/gray"
        assert uids[-1].startswith(f"{MODEL}/conv2/")
    assert walked == expected  # every kept kernel is on a path, and every path is of kept kernels


def test_the_stored_properties_are_those_of_the_report(v: VISCNN, graph: Graph) -> None:
    report = v.circuit("class:ant", keep=0.4, scale="layer-l2", ablation="mean", **OPTIONS)
    (row,) = graph.read("read/circuit", uid=report.uid)
    stored, evidence, selection = row["circuit"], report.evidence, report.selection
    assert {key: stored[key] for key in ("model", "target", "query", "scale", "keep", "ablation", "collapsed")} == {
        "model": MODEL,
        "target": "class:ant",
        "query": report.query,
        "scale": "layer-l2",
        "keep": 0.4,
        "ablation": "mean",
        "collapsed": selection.collapsed,
    }
    assert (stored["kernels"], stored["filters"]) == (selection.kernels, len(report.inputs))
    assert (stored["askedKernels"], stored["upstreamKernels"]) == (selection.asked_kernels, selection.upstream_kernels)
    assert stored["keptFraction"] == selection.kept_fraction == selection.kernels / selection.upstream_kernels
    numbers = ("pearson", "pearsonRandom", "pearsonWorst", "pearsonMagnitude", "spearman")
    own = (
        evidence.pearson,
        evidence.pearson_random,
        evidence.pearson_worst,
        evidence.pearson_magnitude,
        evidence.spearman,
    )
    assert [stored.get(key) for key in numbers] == [None if np.isnan(each) else each for each in own]
    assert (stored["nanCount"], stored["checkImages"], stored["checkSets"]) == (evidence.nan_count, 33, "overall")
    assert json.dumps(stored)


def test_the_same_circuit_is_stored_once_and_another_beside_it(v: VISCNN) -> None:
    uids = [v.circuit(TARGET, keep=keep, **OPTIONS).uid for keep in (0.35, 0.35, 0.36)]
    assert uids[0] == uids[1] != uids[2]
    listed = [row["uid"] for row in v.circuits(MODEL)]
    assert listed.count(uids[0]) == listed.count(uids[2]) == 1


def test_a_circuit_of_one_path(v: VISCNN, graph: Graph) -> None:
    report = v.circuit(TARGET, keep=0.01, **OPTIONS)
    assert report.selection.asked_kernels == 1
    assert (report.selection.kernels, report.selection.collapsed) == (2, True)
    assert len(graph.read("read/circuit_kernels", uid=report.uid)) == 2


def test_signed_scores_select_by_size_or_by_value(v: VISCNN, graph: Graph) -> None:
    sizes = v.circuit(TARGET, keep=0.5, criterion="taylor-signed", **OPTIONS)
    values = v.circuit(TARGET, keep=0.5, criterion="taylor-signed", excitatory=True, **OPTIONS)
    scores, _ = read_scores(graph, values.query, [4, 3])
    for kept, layer in zip(values.selection.mask, scores, strict=True):
        assert (layer[kept] > 0).all()
    assert any((layer[kept] < 0).any() for kept, layer in zip(sizes.selection.mask, scores, strict=True))


def test_scores_without_a_sign_are_not_excitatory(v: VISCNN) -> None:
    with pytest.raises(ExpressionError, match=r"'taylor' have no sign to be excitatory by; use one of .*taylor-signed"):
        v.circuit(TARGET, keep=0.5, excitatory=True, **OPTIONS)


def test_filters_are_numbered_inputs_first(v: VISCNN) -> None:
    uids = filter_uids(MODEL, v.bundle(MODEL).architecture)
    assert uids[:2] == [f"{MODEL}/input/gray", f"{MODEL}/conv1/0"]
    assert uids[-1] == f"{MODEL}/conv2/2"
    assert len(uids) == 8


def test_kernels_of_a_group_read_the_filters_of_their_group() -> None:
    architecture = read_architecture(nets.make("grouped"), nets.INPUT)  # 2 groups: 2 -> 4 -> 6 filters
    scores = [np.zeros((layer.filters, layer.inputs)) for layer in architecture.layers]
    uids, network = filter_uids("m", architecture), layer_network("m", architecture, scores)
    read = [[[uids[number] for number in row] for row in layer.source_of.tolist()] for layer in network]
    assert read[0] == [["m/input/c0"], ["m/input/c0"], ["m/input/c1"], ["m/input/c1"]]
    assert read[1] == [["m/conv1/0", "m/conv1/1"]] * 3 + [["m/conv1/2", "m/conv1/3"]] * 3
    assert [uids[number] for number in network[1].target_of] == [f"m/conv2/{channel}" for channel in range(6)]
    assert [layer.positions for layer in network] == [42, 42]


BAD: dict[str, tuple[str, dict[str, Any], type[InputError], str]] = {
    "keep 0": (TARGET, {"keep": 0.0}, ExpressionError, "kept fraction 0.0"),
    "keep 2": (TARGET, {"keep": 2.0}, ExpressionError, "kept fraction 2.0"),
    "keep nan": (TARGET, {"keep": float("nan")}, ExpressionError, "kept fraction nan"),
    "scale": (TARGET, {"scale": "summ"}, ExpressionError, "did you mean sum"),
    "ablation": (TARGET, {"ablation": "none"}, ExpressionError, "unknown ablation 'none'"),
    "filter": (f"filter:{MODEL}/conv2/7", {}, NotInGraph, "filters 0 to 2"),
    "bare uid": (f"{MODEL}/conv2/7", {}, NotInGraph, "filters 0 to 2"),
    "class": ("class:yak", {}, ExpressionError, "no class 'yak'"),
    "input": (TARGET, {"input": "yak"}, ExpressionError, "no image set or image is called 'yak'"),
    "check images": (TARGET, {"check_images": -1}, ImagesError, "at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_circuit_changes_nothing(v: VISCNN, graph: Graph, name: str) -> None:
    target, settings, kind, message = BAD[name]
    before = toy.snapshot(graph)
    with pytest.raises(kind, match=message) as caught:
        v.circuit(target, **({"criterion": "gradient"} | OPTIONS | settings))
    assert "\n" not in str(caught.value)
    assert toy.snapshot(graph) == before


def test_without_check_images_nothing_is_stored(v: VISCNN, graph: Graph, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path, counts={"score/cat": 3, "score/bee": 3})
    before = toy.snapshot(graph)
    with pytest.raises(ImagesError, match="no check images"):
        v.circuit(TARGET, model=MODEL, input="cat", images=str(pictures))
    assert toy.snapshot(graph) == before


def test_exchanging_images_needs_two(v: VISCNN, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path, counts={"score/cat": 3, "check/cat": 1})
    with pytest.raises(ImagesError, match="needs two of them"):
        v.circuit(TARGET, model=MODEL, input="cat", images=str(pictures), ablation="resample")


def test_images_that_cannot_be_decoded_do_not_count(v: VISCNN, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path, counts={"score/cat": 3, "check/cat": 4})
    whole = tmp_path / "check" / "cat" / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(whole, quality=95)
    (tmp_path / "check" / "cat" / "cut.jpg").write_bytes(whole.read_bytes()[:2000])
    found = v.circuit(TARGET, model=MODEL, input="cat", images=str(pictures)).evidence
    assert found.images == 5
    assert found.positions % 5 == 0


# --- the bundled network -----------------------------------------------------------------------------------------


def test_circuits_of_the_bundled_network(v: VISCNN, graph: Graph) -> None:
    """More kernels preserve more, far above controls of the same size; everything that scores preserves all."""
    v.ingest("mnist", name="circuit-mnist", importance=False)
    try:
        settings: dict[str, Any] = {"model": "circuit-mnist", "input": "three", "max_images": 60, "check_images": 60}
        found = {
            keep: v.circuit("filter:circuit-mnist/conv4/7", keep=keep, **settings) for keep in (0.1, 0.3, 0.6, 1.0)
        }
        for keep, report in found.items():
            assert report.selection.kept_fraction <= keep + 1e-9
            assert len(graph.read("read/circuit_kernels", uid=report.uid)) == report.selection.kernels
        assert found[0.3].evidence.pearson > found[0.1].evidence.pearson_random
        assert found[0.3].evidence.pearson > found[0.3].evidence.pearson_worst
        assert found[0.6].evidence.pearson > 0.9
        whole = found[1.0]
        scores, _ = read_scores(graph, whole.query, [16, 24, 32, 32])
        positive = sum(int((layer > 0).sum()) for layer in (*scores[:3], scores[3][7:8]))
        assert whole.selection.kernels == positive  # 16 + 384 + 768 + 32, less those of filters that never fire
        assert whole.selection.upstream_kernels == 1200
        assert whole.evidence.pearson == pytest.approx(1.0, abs=1e-6 if positive == 1200 else 0.02)
    finally:
        v.drop("circuit-mnist")


def test_the_map_of_a_filter_on_an_image_is_the_literal_one(v: VISCNN, folder: Path) -> None:
    path = v.image_paths(MODEL, "cat", limit=1)[0]
    found = v.activation(f"{MODEL}/conv2/2", path)
    of = oracles.run(toy.toy_network(), toy.pixels(folder / path)[None])
    np.testing.assert_allclose(found, of.z["conv2"][0, 2].detach().numpy(), rtol=1e-5, atol=1e-6)
