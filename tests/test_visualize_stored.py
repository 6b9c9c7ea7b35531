"""Visualisations of stored models: by the API, of circuits, as a projection, and by the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from tests import toy
from tests.servers import wait_until
from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import Connection, cache_folder
from viscnn.engine.capture import record
from viscnn.engine.projections.sources import visualization_vectors
from viscnn.engine.visualize import optimise
from viscnn.engine.visualize.circuits import stored_circuit
from viscnn.engine.visualize.objectives import objective_of
from viscnn.engine.visualize.render import Renderer
from viscnn.engine.visualize.settings import Settings
from viscnn.engine.visualize.views import Normalisation
from viscnn.errors import InputError, NotInGraph

MODEL = "drawn"
STEPS = 4


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    pictures = toy.split_pictures(tmp_path_factory.mktemp("drawn"))
    with toy.ingested(server, MODEL, pictures) as session:
        yield session


@pytest.fixture(scope="module")
def circuit(v: VISCNN) -> str:
    """It keeps half of the kernels, so that some are gone."""
    return v.circuit(f"{MODEL}/conv2/0", model=MODEL, keep=0.5).uid


def run(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["visualize", MODEL, *arguments])
    return found.exit_code, found.stdout, found.stderr


# --- the API -----------------------------------------------------------------------------------------------------


def test_a_filter_is_rendered_once_and_reaches_what_is_said(v: VISCNN) -> None:
    uid = f"{MODEL}/conv2/1"
    assert v.visualization(uid, steps=STEPS) is None
    told: list[tuple[str, int, int]] = []
    first = v.visualize(uid, steps=STEPS, progress=lambda *each: told.append(each))
    assert (first.target, first.objective, first.sign, first.cached) == (uid, "channel", 1, False)
    assert told[0][1:] == (0, STEPS)
    assert told[-1] == (f"rendering {uid}", STEPS, STEPS)
    again = v.visualization(uid, steps=STEPS)
    assert again is not None
    assert again.cached
    np.testing.assert_array_equal(again.image, first.image)
    x = torch.from_numpy((first.image[None, ..., 0] / 255 - 0.4) / 0.3)[None].float()
    maps = record(v.bundle(MODEL).architecture, x, gradients=False).maps["conv2"]
    assert first.activation == pytest.approx(float(maps[0, 1].mean()), abs=1e-5)


def test_kernels_classes_and_directions_have_theirs(v: VISCNN) -> None:
    kernel = v.visualize(f"{MODEL}/conv1/2 -> {MODEL}/conv2/1", steps=STEPS, objective="neuron", sign=-1)
    assert (kernel.target, kernel.objective, kernel.sign) == (f"{MODEL}/conv1/2 -> {MODEL}/conv2/1", "neuron", -1)
    for target in ("class:bee", "direction:conv1[0:1, 2:-1]"):
        found = v.visualize(target, model=MODEL, steps=STEPS)
        assert found.target == target
        assert v.visualizations([target, "class:ant"], model=MODEL, steps=STEPS).keys() == {target}
    with pytest.raises(InputError, match="does not tell its model"):
        v.visualize("class:bee")


def test_a_layer_is_rendered_and_resumed(v: VISCNN) -> None:
    v.visualize(f"{MODEL}/conv1/2", steps=STEPS, seed=7)
    found = list(v.visualize_layer(MODEL, "conv1", steps=STEPS, seed=7))
    assert {each.target: each.cached for each in found} == {
        f"{MODEL}/conv1/2": True,
        f"{MODEL}/conv1/0": False,
        f"{MODEL}/conv1/1": False,
        f"{MODEL}/conv1/3": False,
    }
    with pytest.raises(NotInGraph, match="no layer 'conv9'"):
        list(v.visualize_layer(MODEL, "conv9"))


# --- circuits ----------------------------------------------------------------------------------------------------


def kept_kernels(v: VISCNN, circuit: str) -> dict[str, NDArray[np.bool_]]:
    """Which kernels the stored circuit keeps, literally."""
    shapes = {"conv1": (4, 1), "conv2": (3, 4)}
    found = {name: np.zeros(shape, dtype=bool) for name, shape in shapes.items()}
    for row in v.cypher("read/circuit_kernels", {"uid": circuit}).rows:
        _, target, number = row[:3]
        _, layer, channel = target.split("/")
        found[layer][int(channel), number] = True
    return found


def masked_value(v: VISCNN, circuit: str, image: NDArray[np.uint8]) -> float:
    """The mean map of conv2/0 in the network whose removed kernels are zeroed in a copy of the weights."""
    network = toy.toy_network()
    kept = kept_kernels(v, circuit)
    state = v.bundle(MODEL).architecture
    with torch.no_grad():
        for name in ("conv1", "conv2"):
            own = state.convolution(state.layer(name))
            layer = network.get_submodule(name)
            assert isinstance(layer, torch.nn.Conv2d)
            assert layer.bias is not None
            assert own.bias is not None
            mask = torch.from_numpy(kept[name]).float()[:, :, None, None]
            if name == "conv2":  # kernels into its other filters lead nowhere near the target
                mask[1:] = 1
            layer.weight.copy_(own.weight * mask)
            layer.bias.copy_(own.bias)
        x = torch.from_numpy((image[None, ..., 0] / 255 - 0.4) / 0.3)[None].float()
        maps: dict[str, torch.Tensor] = {}
        network.get_submodule("conv2").register_forward_hook(lambda m, i, z: maps.update(conv2=z.clone()))
        network(x)
    return float(maps["conv2"][0, 0].mean())


def test_a_circuit_is_rendered_from_its_masked_network(v: VISCNN, circuit: str) -> None:
    uid = f"{MODEL}/conv2/0"
    kept = kept_kernels(v, circuit)
    assert 0 < kept["conv2"][0].sum() < 4, "some kernels are gone"
    whole, masked = v.visualize(uid, steps=STEPS), v.visualize(uid, steps=STEPS, circuit=circuit)
    assert masked.circuit == circuit
    assert not masked.cached
    assert (whole.image != masked.image).any()
    assert masked.activation == pytest.approx(masked_value(v, circuit, masked.image), abs=1e-5)
    assert masked.activation != pytest.approx(masked_value_whole(v, masked.image), abs=1e-4)


def masked_value_whole(v: VISCNN, image: NDArray[np.uint8]) -> float:
    x = torch.from_numpy((image[None, ..., 0] / 255 - 0.4) / 0.3)[None].float()
    return float(record(v.bundle(MODEL).architecture, x, gradients=False).maps["conv2"][0, 0].mean())


def test_no_gradient_flows_through_a_removed_kernel(v: VISCNN, circuit: str) -> None:
    """A source filter whose kernels are all removed could be anything."""
    kept = kept_kernels(v, circuit)
    (gone,) = np.flatnonzero(~kept["conv2"][0])[:1]
    bundle = v.bundle(MODEL)
    masks = stored_circuit(v._graph, bundle, circuit)
    how = Renderer(bundle, Settings(steps=STEPS), Normalisation.of(bundle.preprocess), masks)
    target = objective_of(f"{MODEL}/conv2/0", model=MODEL, architecture=bundle.architecture, classes=bundle.classes)
    problem = how._problem([target])
    before = optimise.climb(problem, [target], how.settings, tell=lambda done: None)
    own = bundle.architecture.convolution(bundle.architecture.layer("conv1"))
    was = own.weight.detach().clone()
    try:
        with torch.no_grad():
            own.weight[gone] += 5
        changed = how._problem([target])
        np.testing.assert_array_equal(optimise.climb(changed, [target], how.settings, tell=lambda done: None), before)
    finally:
        with torch.no_grad():
            own.weight.copy_(was)


def test_what_is_not_in_the_circuit_is_refused(v: VISCNN, circuit: str) -> None:
    kept = kept_kernels(v, circuit)
    (gone,) = np.flatnonzero(~kept["conv2"][0])[:1]
    with pytest.raises(InputError, match=f"{MODEL}/conv2/2 is not in circuit {circuit}"):
        v.visualize(f"{MODEL}/conv2/2", circuit=circuit)
    with pytest.raises(InputError, match="is not in circuit"):
        v.visualize(f"{MODEL}/conv1/{gone} -> {MODEL}/conv2/0", circuit=circuit)
    with pytest.raises(NotInGraph, match="no circuit 'drawn/circuit/none'"):
        v.visualize(f"{MODEL}/conv2/0", circuit="drawn/circuit/none")
    found = list(v.visualize_layer(MODEL, "conv2", circuit=circuit, steps=STEPS))
    assert [each.target for each in found] == [f"{MODEL}/conv2/0"]


# --- the projection ----------------------------------------------------------------------------------------------


def test_the_projection_needs_all_of_them_and_says_what_renders_them(v: VISCNN) -> None:
    shutil.rmtree(cache_folder() / "visualizations", ignore_errors=True)  # other tests render the same network
    with pytest.raises(InputError, match=rf"conv1.*viscnn visualize {MODEL} \(exemplar-umap|all layers"):
        v.project(MODEL, method="featureviz-umap")
    list(v.visualize_layer(MODEL, "conv1"))
    with pytest.raises(InputError, match=rf"some of conv2 are missing; .*: viscnn visualize {MODEL} --layer conv2 \("):
        v.project(MODEL, method="featureviz-umap")
    every = {each.target: each for each in v.visualize_layer(MODEL, "conv2")}
    report = v.project(MODEL, method="featureviz-umap")
    assert report.uid == f"{MODEL}/projection/featureviz-umap"
    bundle = v.bundle(MODEL)
    how = Renderer(bundle, Settings(), Normalisation.of(bundle.preprocess))
    found = visualization_vectors(how)[1]
    expected = np.zeros((3, 3))
    for j in range(3):  # literally: all filters where filter j is largest in its own visualisation
        image = every[f"{MODEL}/conv2/{j}"].image
        x = torch.from_numpy((image[None, ..., 0] / 255 - 0.4) / 0.3)[None].float()
        maps = record(bundle.architecture, x, gradients=False).maps["conv2"][0].numpy()
        row, column = np.unravel_index(np.argmax(maps[j]), maps[j].shape)
        expected[:, j] = maps[:, row, column]
    np.testing.assert_allclose(found, expected, atol=1e-4)


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_renders_layers_and_targets_into_a_folder(v: VISCNN, tmp_path: Path) -> None:
    settings = ["--steps", str(STEPS), "--seed", "3", "--json", "--out", str(tmp_path)]
    kernel = f"{MODEL}/conv1/0 -> {MODEL}/conv2/0"
    code, out, _ = run("--layer", "conv1", "--filter", f"{MODEL}/conv2/1", "--filter", kernel, *settings)
    assert code == 0
    found = json.loads(out)["visualizations"]
    assert [each["target"] for each in found] == [f"{MODEL}/conv1/{n}" for n in range(4)] + [f"{MODEL}/conv2/1", kernel]
    assert all(not each["cached"] and each["steps"] == STEPS and each["size"] == [8, 8] for each in found)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert files == [f"conv1/{n}.png" for n in range(4)] + ["conv2/1.png", f"{MODEL}_conv1_0_-_{MODEL}_conv2_0.png"]
    with Image.open(tmp_path / "conv2" / "1.png") as picture:
        one = v.visualize(f"{MODEL}/conv2/1", steps=STEPS, seed=3)
        np.testing.assert_array_equal(np.asarray(picture), one.image[..., 0])
    code, out, _ = run("--layer", "conv1", *settings)
    assert all(each["cached"] for each in json.loads(out)["visualizations"])
    code, out, _ = run("--filter", f"{MODEL}/conv2/1", "--negative", "--objective", "neuron", "--steps", "2")
    assert code == 0
    assert f"{MODEL}/conv2/1: activation" in out


def test_without_names_it_is_all_filters_or_those_of_a_circuit(v: VISCNN, circuit: str) -> None:
    _, out, _ = run("--steps", "1", "--json")
    found = [each["target"] for each in json.loads(out)["visualizations"]]
    assert found == [f"{MODEL}/conv1/{n}" for n in range(4)] + [f"{MODEL}/conv2/{n}" for n in range(3)]
    _, out, _ = run("--steps", "1", "--json", "--circuit", circuit)
    found = [each["target"] for each in json.loads(out)["visualizations"]]
    inputs = {row[0] for row in v.cypher("read/circuit_inputs", {"uid": circuit}).rows}
    assert set(found) == inputs
    _, out, _ = run("--steps", "1")
    assert out == f"7 visualisations of {MODEL}, 0 of them rendered now; in the cache (--out FOLDER copies them)\n"


MISTAKES: dict[str, tuple[list[str], str]] = {
    "layer": (["--layer", "conv7"], "no layer 'conv7'"),
    "filter": (["--filter", f"{MODEL}/conv1/77"], "filters 0 to 3"),
    "second filter": (["--layer", "conv1", "--steps", "99999", "--filter", f"{MODEL}/conv1/9"], "filters 0 to 3"),
    "objective": (["--layer", "conv1", "--objective", "channels"], "did you mean channel"),
    "steps": (["--steps", "0"], "0 steps"),
    "circuit": (["--circuit", "drawn/circuit/x"], "no circuit 'drawn/circuit/x'"),
    "out": (["--out", "/proc/none"], "--out '/proc/none'"),
    "backend": (["--layer", "conv1", "--backend", "lucid"], "did you mean lucent"),
    "size": (["--filter", "class:bee", "--size", "5"], "cannot be run on 5x5 pixels"),
    "loss": (["--filter", "loss"], "class:NAME"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(v: VISCNN, mistake: str) -> None:
    arguments, says = MISTAKES[mistake]
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("viscnn: ")
    assert err.count("\n") == 1
    assert says in err
    code, out, _ = run(*arguments, "--json")
    assert (code, json.loads(out)["exitCode"]) == (2, 2)


def test_a_stopped_command_goes_on_where_it_was(v: VISCNN) -> None:
    """Each filter of a tiny layer is a batch of its own, so that Ctrl-C comes between two."""
    steps = 1000
    code = (
        "import sys; from viscnn.engine.visualize import render; render.MOST_IMAGES = 1; "
        "from viscnn.cli import main; main()"
    )
    arguments = [sys.executable, "-c", code, "visualize", MODEL, "--layer", "conv1", "--steps", str(steps), "--json"]
    folder = cache_folder() / "visualizations"
    before = set(folder.rglob("*.png"))
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    wait_until(lambda: len(set(folder.rglob("*.png")) - before) >= 1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    done = set(folder.rglob("*.png")) - before
    assert child.returncode == 1, err
    assert json.loads(out) == {"error": "stopped", "exitCode": 1}
    assert 1 <= len(done) < 4
    assert list(folder.rglob("*.part")) == []
    settings: dict[str, Any] = {"steps": steps}
    cached = v.visualizations([f"{MODEL}/conv1/{n}" for n in range(4)], **settings)
    assert {each.file for each in cached.values()} == done
