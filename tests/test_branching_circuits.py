"""Circuits of networks that branch: what reads what, what a target reaches, and evidence against literal networks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests import branch_oracles, branches, oracles, toy
from tests.test_selection import covered, paths
from viscnn.engine.bundle import Bundle
from viscnn.engine.connectivity import Mask, Network, effective
from viscnn.engine.controls import random_control
from viscnn.engine.criteria import criterion_called
from viscnn.engine.criteria.force import kept_after
from viscnn.engine.output import parse_output
from viscnn.engine.run import QueryReport, QuerySpec, score_query
from viscnn.engine.scoring import score_images
from viscnn.engine.selection import Selection, select
from viscnn.engine.target import Target, resolve
from viscnn.engine.verify import VerifySpec, verify
from viscnn.engine.wiring import filter_uids, layer_network, source_numbers, target_numbers
from viscnn.ingest.architecture import read_architecture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.split_pictures(tmp_path_factory.mktemp("branches"), score=2, check=11, size=branches.SHAPE[1:])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VISCNN_WORKERS", "0")


def bundle_of(name: str, folder: Path) -> Bundle:
    return toy.bundle_of(branches.make(name), folder, name="net", shape=branches.SHAPE)


def resolved(bundle: Bundle, text: str) -> Target:
    return resolve(parse_output(text), model="net", architecture=bundle.architecture, classes=bundle.classes)


# --- what reads what ---------------------------------------------------------------------------------------------


READ: dict[str, dict[str, list[list[str]]]] = {
    "inception": {
        "left": [["one/0", "one/1", "three/0", "three/1", "three/2", "pooled/0", "pooled/1"]] * 3,
        "three": [["before/0", "before/1"]] * 3,
    },
    "shuffled": {
        "part": [["stem/2", "stem/3"]] * 4,
        "grouped": [["stem/0", "part/1", "stem/1"]] * 2 + [["part/2", "part/0", "part/3"]] * 2,
    },
    "gated": {
        "squeeze": [[f"inside/{channel}" for channel in range(6)]] * 2,
        "out": [[f"inside/{channel}" for channel in range(6)]] * 4,
        "plus.add": [[f"out/{channel}", f"stem/{channel}"] for channel in range(4)],
    },
    "sums": {
        "twice.add": [[f"first.add/{channel}", f"first.add/{channel}"] for channel in range(4)],
        "last.add#2": [[f"last.add/{channel}", f"three/{channel}"] for channel in range(4)],
    },
    "joined": {"three": [[*(f"stem/{c}" for c in range(4)), *(f"one/{c}" for c in range(3)), "two/0", "two/1"]] * 4},
    "twice": {"shared#2": [[f"shared/{channel}" for channel in range(4)]] * 4},
}


@pytest.mark.parametrize("name", READ)
def test_kernels_and_identities_read_what_the_network_reads(name: str) -> None:
    architecture = read_architecture(branches.make(name), branches.SHAPE)
    uids = filter_uids("net", architecture)
    network = {one.uid: one for one in layer_network("net", architecture)}
    assert sum(one.kernel.size for one in network.values() if not one.identity) == architecture.kernels
    for layer, expected in READ[name].items():
        one = network[f"net/{layer}"]
        assert one.identity == (".add" in layer)
        assert [[uids[number] for number in row] for row in one.source_of.tolist()] == [
            [f"net/{each}" for each in row] for row in expected
        ]
        assert [uids[number] for number in one.target_of] == [f"net/{layer}/{o}" for o in range(len(expected))]


@pytest.mark.parametrize(
    ("name", "heads", "text", "reached"),
    [
        ("inception", False, "loss", {"left": None, "right": None}),
        ("inception", False, "class:bee", {"left": None, "right": None}),
        ("residual", False, "class:bee - layer:plus1.add", {"plus1.add": None, "plus2.add": None}),
        ("sums", False, "filter:net/last.add#2/3@max + filter:net/one/0", {"one": (0,), "last.add#2": (3,)}),
        ("sums", False, "layer:LAST", {"last.add#2": None}),
        ("parallel", True, "loss", {"logits": None}),
        ("parallel", True, "class:ant - class:bee", {"logits": (0, 2)}),
        ("parallel", True, "layer:LAST", {"logits": None}),
        ("parallel", False, "layer:LAST", {"rightmost": None}),
        ("twice", False, 'filter:"net/shared#2/1"@0,1', {"shared#2": (1,)}),
    ],
)
def test_what_a_target_reaches(name: str, heads: bool, text: str, reached: dict[str, tuple[int, ...] | None]) -> None:
    architecture = read_architecture(branches.make(name), branches.SHAPE, heads=heads)
    target = resolve(parse_output(text), model="net", architecture=architecture, classes=toy.CLASSES)
    assert {layer.name: channels for layer, channels in target.filters} == reached
    uids = filter_uids("net", architecture)
    every = {layer.name: range(layer.filters) for layer in architecture.layers}
    expected = [f"net/{layer}/{o}" for layer, some in reached.items() for o in (every[layer] if some is None else some)]
    assert [uids[number] for number in target_numbers(architecture, target)] == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("residual", "filter:net/plus1.add/5"),
        ("residual", "direction:plus2.add[0:1, 3:-2]@1,1@post"),
        ("sums", "layer:last.add#2 - 0.5*filter:net/last.add#2/0@max"),
        ("twice", "filter:net/shared#2/1@2,2"),
        ("twice", "layer:shared#2"),
    ],
)
def test_sums_and_second_calls_are_named_like_any_layer(name: str, text: str) -> None:
    architecture = read_architecture(branches.make(name), branches.SHAPE)
    target = resolve(parse_output(text), model="net", architecture=architecture, classes=toy.CLASSES)
    assert target.text == str(parse_output(text)) == text
    quoted = text.replace("net/last.add#2/0", '"net/last.add#2/0"').replace("net/plus1.add/5", '"net/plus1.add/5"')
    assert resolve(parse_output(quoted), model="net", architecture=architecture, classes=toy.CLASSES) == target


# --- evidence ----------------------------------------------------------------------------------------------------


def pictures(folder: Path, part: str) -> tuple[Tensor, list[int]]:
    files = sorted((folder / part).glob("*/*.png"))
    return torch.stack([toy.pixels(file) for file in files]), [toy.CLASSES.index(file.parent.name) for file in files]


def literal_run(
    name: str, images: Tensor, removed: dict[str, NDArray[np.bool_]], others: branch_oracles.Run | None
) -> branch_oracles.Run:
    """A pass in which some kernels and identities read the maps of another pass, or nothing."""
    plain = branch_oracles.weights_of(name, branches.make(name))
    kept = {layer: plain[layer].detach() * ~torch.from_numpy(mask)[:, :, None, None] for layer, mask in removed.items()}

    def replaced(layer: str, parts: tuple[Tensor, ...], z: Tensor) -> Tensor:
        if others is None or layer not in removed:
            return z
        weight = plain[layer].detach() * torch.from_numpy(removed[layer])[:, :, None, None]
        if len(parts) > 1:
            return z + sum(weight[:, i] * each.detach() for i, each in enumerate(others.addends[layer]))
        found: Tensor = z + others.convolution[layer]._conv_forward(others.x[layer].detach(), weight, None)
        return found

    return branch_oracles.run(name, branches.make(name), images, weights=kept, swap=replaced)


def removed_by(network: Network, mask: Mask, targets: list[int], names: list[str]) -> dict[str, NDArray[np.bool_]]:
    """What lies on a path to the target and is not kept, by an enumeration of all paths."""
    every = tuple(np.ones(one.kernel.shape, dtype=np.bool_) for one in network)
    on_paths = covered(network, paths(network, every, targets, [0]))
    return {name: may & ~kept for name, may, kept in zip(names, on_paths, mask, strict=True)}


def reading(folder: Path, ablation: str, name: str) -> branch_oracles.Run | None:
    """What removed kernels read."""
    if ablation == "zero":
        return None
    images, _ = pictures(folder, "score" if ablation == "mean" else "check")
    found = branch_oracles.run(name, branches.make(name), images)
    for layer in found.z:
        moved = [
            part.detach().mean(dim=0, keepdim=True).expand(33, -1, -1, -1) if ablation == "mean" else part.roll(1, 0)
            for part in found.addends[layer]
        ]
        found.addends[layer], found.x[layer] = tuple(moved), moved[0]
    return found


class Extracted:
    """A circuit and its evidence, without a database."""

    def __init__(self, name: str, folder: Path, text: str, *, keep: float, ablation: str = "zero") -> None:
        self.bundle = bundle_of(name, folder)
        architecture = self.bundle.architecture
        self.names = [layer.name for layer in architecture.layers]
        query: QueryReport = score_query(self.bundle, QuerySpec("overall", output=text))
        target = resolved(self.bundle, text)
        self.network = layer_network("net", architecture, list(query.kernels))
        self.targets = target_numbers(architecture, target)
        sources = source_numbers(architecture)
        self.selection: Selection = select(self.network, self.targets, sources, keep=keep, scale="sum")
        spec = VerifySpec(ablation=ablation, max_images=0)
        self.evidence = verify(self.bundle, query, target, self.network, self.selection, self.targets, sources, spec)


RESPONSES: dict[str, tuple[str, Callable[[branch_oracles.Run], Tensor]]] = {
    "residual": ("filter:net/plus2.add/1", lambda of: of.z["plus2.add"][:, 1]),
    "inception": ("class:bee", lambda of: oracles.logit(0).values(of)),
    "shuffled": ("filter:net/grouped/2", lambda of: of.z["grouped"][:, 2]),
    "gated": ("filter:net/plus.add/2", lambda of: of.z["plus.add"][:, 2]),
    "sums": ("filter:net/last.add#2/0", lambda of: of.z["last.add#2"][:, 0]),
    "joined": ("filter:net/three/1", lambda of: of.z["three"][:, 1]),
    "twice": ("class:ant", lambda of: oracles.logit(2).values(of)),
    "parallel": ("class:cat", lambda of: oracles.logit(1).values(of)),
}


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("name", RESPONSES)
def test_the_evidence_is_that_of_a_literal_masked_network(name: str, folder: Path, ablation: str) -> None:
    text, response = RESPONSES[name]
    found = Extracted(name, folder, text, keep=0.5, ablation=ablation)
    assert 0 < found.selection.kernels < found.selection.upstream_kernels
    images, _ = pictures(folder, "check")
    others = reading(folder, ablation, name)

    def correlation(mask: Mask) -> float:
        removed = removed_by(found.network, mask, found.targets.tolist(), found.names)
        assert any(each.any() for each in removed.values())
        whole = response(branch_oracles.run(name, branches.make(name), images)).detach().numpy().ravel()
        part = response(literal_run(name, images, removed, others)).detach().numpy().ravel()
        return float(np.corrcoef(whole, part)[0, 1])

    assert found.evidence.images == len(images) == 33
    assert found.evidence.pearson == pytest.approx(correlation(found.selection.mask), abs=2e-5)
    controls = [random_control(found.selection, found.network, found.targets, [0], seed=seed) for seed in range(3)]
    assert found.evidence.pearson_random == pytest.approx(np.mean([correlation(each) for each in controls]), abs=2e-5)


def test_a_gate_belongs_to_no_circuit_and_is_never_masked(folder: Path) -> None:
    found = Extracted("gated", folder, "filter:net/plus.add/2", keep=0.4)
    masks = dict(zip(found.names, found.selection.mask, strict=True))
    assert not masks["squeeze"].any()
    assert not masks["excite"].any()
    assert found.network[found.names.index("squeeze")].kernel.any()  # it has scores all the same
    whole = Extracted("gated", folder, "filter:net/plus.add/2", keep=1.0)
    assert whole.selection.kept_fraction == 1
    assert whole.selection.upstream_kernels == 4 + 6 * 4 + 6  # stem, inside, and those of `out` into filter 2
    assert whole.evidence.pearson == pytest.approx(1, abs=1e-6)


def test_a_gate_can_be_the_target_of_a_circuit(folder: Path) -> None:
    """Then its kernels lie on paths like others."""
    found = Extracted("gated", folder, "filter:net/excite/3", keep=0.6)
    masks = dict(zip(found.names, found.selection.mask, strict=True))
    assert masks["squeeze"].any()
    assert masks["excite"][3].any()
    assert not masks["out"].any()
    removed = removed_by(found.network, found.selection.mask, found.targets.tolist(), found.names)
    images, _ = pictures(folder, "check")
    whole, part = (
        each.z["excite"][:, 3].detach().numpy().ravel()
        for each in (
            branch_oracles.run("gated", branches.make("gated"), images),
            literal_run("gated", images, removed, None),
        )
    )
    assert found.evidence.pearson == pytest.approx(float(np.corrcoef(whole, part)[0, 1]), abs=2e-5)


@pytest.mark.parametrize("name", ["residual", "sums", "gated"])
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.7])
def test_identities_are_those_between_kept_paths(name: str, folder: Path, keep: float) -> None:
    found = Extracted(name, folder, "loss", keep=keep)
    kernels = [
        np.ones_like(kept) if one.identity else kept
        for one, kept in zip(found.network, found.selection.mask, strict=True)
    ]
    free = effective(found.network, tuple(kernels), found.targets, [0])
    for mine, expected in zip(found.selection.mask, free, strict=True):
        if not found.selection.collapsed:
            np.testing.assert_array_equal(mine, expected)
    counted = sum(int(k.sum()) for one, k in zip(found.network, found.selection.mask, strict=True) if not one.identity)
    assert counted == found.selection.kernels <= max(found.selection.asked_kernels, counted * found.selection.collapsed)


# --- rounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"), [("residual", "loss"), ("gated", "loss"), ("sums", "filter:net/second.add/1")]
)
def test_force_chooses_among_kernels_on_paths_and_nothing_else(name: str, text: str, folder: Path) -> None:
    keep, rounds = 0.2, 3
    bundle = bundle_of(name, folder)
    target = resolved(bundle, text)
    network, targets = layer_network("net", bundle.architecture), target_numbers(bundle.architecture, target).tolist()
    every = tuple(np.ones(one.kernel.shape, dtype=np.bool_) for one in network)
    names = [layer.name for layer in bundle.architecture.layers]
    rivals = {
        layer: may
        for layer, may, one in zip(names, covered(network, paths(network, every, targets, [0])), network, strict=True)
        if not one.identity
    }
    images, labels = pictures(folder, "score")
    masks: dict[str, NDArray[np.float64]] = {}
    for done in range(1, rounds + 1):
        goals = [oracles.loss([label]) if text == "loss" else oracles.filter_mean("second.add", 1) for label in labels]
        snips = [
            branch_oracles.literal_snip(name, branches.make(name), image, goal, masks)
            for image, goal in zip(images, goals, strict=True)
        ]
        expected = branch_oracles.mean(snips)
        ranked = sorted(
            (-expected[layer][0][o, i], names.index(layer), o, i)
            for layer, may in rivals.items()
            for o, i in np.argwhere(may)
        )
        count = kept_after(done, len(ranked), keep, rounds)
        masks = {layer: (~may).astype(np.float64) for layer, may in rivals.items()}
        for _, number, o, i in ranked[:count]:
            masks[names[number]][o, i] = 1
    criterion = criterion_called(f"force(keep={keep},rounds={rounds})")
    found = score_images(bundle, bundle.collection.select("overall", "score"), target, criterion)
    for layer, kernels, filters in zip(names, found.kernels, found.filters, strict=True):
        for ours, literal in zip((kernels, filters), expected[layer], strict=True):
            np.testing.assert_allclose(
                ours, literal, rtol=1e-4, atol=2e-5 * np.abs(literal).max() + 1e-12, err_msg=layer
            )
