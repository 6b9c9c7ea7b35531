"""Weights files: every format gives the same tensors, nothing in a file is ever run, broken files are named."""

import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests import nets
from viscnn.errors import ModelError
from viscnn.ingest.weights import load_weights, read_weights

State = dict[str, Tensor]


def _npz(state: State, path: Path) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state.items()}
    np.savez(path, **arrays)


def _behind(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def _compressed(state: State, path: Path) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state.items()}
    np.savez_compressed(path, **arrays)


WRITERS: dict[str, tuple[str, Callable[[State, Path], Any]]] = {
    "safetensors": (".safetensors", lambda state, path: save_file(state, path)),
    "npz": (".npz", _npz),
    "compressed npz": (".npz", _compressed),
    "pt": (".pt", lambda state, path: torch.save(state, path)),
    "pth": (".pth", lambda state, path: torch.save(state, path)),
    "checkpoint": (".pt", lambda state, path: torch.save({"state_dict": state}, path)),
    "legacy pt": (".pt", lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False)),
    "model": (".pth", lambda state, path: torch.save({"epoch": 3, "model": state, "optimizer": {"lr": 0.1}}, path)),
    "nested": (".pt", lambda state, path: torch.save({"model": {"state_dict": state}, "best": 0.5}, path)),
    "data parallel": (".pt", lambda state, path: torch.save(_behind("module.", state), path)),
    "lightning": (".ckpt", lambda state, path: torch.save({"state_dict": _behind("model.", state)}, path)),
    "two wrappers": (".safetensors", lambda state, path: save_file(_behind("module._orig_mod.", state), path)),
    "data parallel npz": (".npz", lambda state, path: _npz(_behind("module.", state), path)),
}


def written(kind: str, folder: Path, state: State) -> Path:
    suffix, write = WRITERS[kind]
    path = folder / f"weights{suffix}"
    write(state, path)
    return path


def state_of(network: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_states_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("kind", WRITERS)
def test_weights_are_read_and_put_into_the_model(kind: str, tmp_path: Path) -> None:
    trained = nets.with_statistics(nets.seeded(nets.every_operation, seed=5))
    fresh = nets.seeded(nets.every_operation)
    load_weights(fresh, read_weights(written(kind, tmp_path, state_of(trained))), "file")
    assert_states_equal(state_of(fresh), state_of(trained))


def test_weights_without_counters_fit(tmp_path: Path) -> None:
    trained = nets.with_statistics(nets.seeded(nets.every_operation, seed=5))
    state = {name: tensor for name, tensor in state_of(trained).items() if not name.endswith("num_batches_tracked")}
    fresh = nets.seeded(nets.every_operation)
    load_weights(fresh, read_weights(written("npz", tmp_path, state)), "file")
    assert torch.equal(fresh.get_parameter("conv1.weight"), trained.get_parameter("conv1.weight"))


def test_a_model_whose_one_part_is_called_module_keeps_its_names(tmp_path: Path) -> None:
    def wrapped(seed: int) -> nn.Module:
        outer = nn.Module()
        outer.module = nets.seeded(nets.NETS["plain"], seed=seed)
        return outer

    trained, fresh = wrapped(5), wrapped(6)
    load_weights(fresh, read_weights(written("pt", tmp_path, state_of(trained))), "file")
    assert_states_equal(state_of(fresh), state_of(trained))


def test_a_wrapper_is_taken_off_only_where_all_names_have_it(tmp_path: Path) -> None:
    network = nets.make("plain")
    mixed = {f"{'module' if 'conv1' in name else 'ema'}.{name}": each for name, each in state_of(network).items()}
    with pytest.raises(ModelError, match=r"file lacks conv1.bias, conv1.weight, conv2.bias"):
        load_weights(network, read_weights(written("pt", tmp_path, mixed)), "file")


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_precisions_are_converted(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    network = nets.make("plain")
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()  # values that every precision holds
    state = {name: tensor.to(dtype) for name, tensor in state_of(network).items()}
    fresh = nets.seeded(nets.NETS["plain"], seed=8)
    load_weights(fresh, read_weights(written(kind, tmp_path, state)), "file")
    assert {each.dtype for each in fresh.parameters()} == {torch.float32}
    assert_states_equal(state_of(fresh), state_of(network))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"conv1.weight": s["conv1.weight"][:, :1]}, "conv1.weight has shape 4x1x3x3, .* needs 4x2x3x3"),
        (lambda s: s | {"conv1.bias": s["conv1.bias"].view(2, 2)}, "conv1.bias has shape 2x2, .* needs 4"),
        (lambda s: {k: v for k, v in s.items() if k != "conv2.bias"}, "lacks conv2.bias"),
        (lambda s: s | {"conv3.weight": torch.zeros(1)}, "has the unknown conv3.weight"),
        (lambda s: {}, "lacks conv1.bias, conv1.weight, conv2.bias \\.\\.\\."),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change: Callable[[State], State], message: str) -> None:
    network = nets.make("plain")
    before = state_of(network)
    with pytest.raises(ModelError, match=f"mine.pt.*{message}"):
        load_weights(network, change({name: tensor + 1 for name, tensor in before.items()}), "mine.pt")
    assert_states_equal(state_of(network), before)


class Malicious:
    """An object whose unpickling touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_the_malicious_object_is_malicious(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / "touched")))  # noqa: S301 - the danger that the others test
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz", ".safetensors"])
@pytest.mark.parametrize("how", ["pickle", "torch", "torch legacy", "npz"])
def test_a_malicious_pickle_is_refused_and_never_run(suffix: str, how: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    content = {"conv1.weight": Malicious(touched)}
    path = tmp_path / f"evil{suffix}"
    with path.open("wb") as stream:
        if how == "pickle":
            pickle.dump(content, stream)
        elif how == "npz":
            arrays: dict[str, Any] = {"conv1.weight": np.array([Malicious(touched)], dtype=object)}
            np.savez(stream, **arrays)
        else:
            torch.save(content, stream, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not touched.exists()


def test_a_refused_pickle_says_why(tmp_path: Path) -> None:
    torch.save({"a": Malicious(tmp_path / "touched")}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match=r"more than tensors .it could run code. and was refused.*safetensors"):
        read_weights(tmp_path / "evil.pt")


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nets.make("plain"), tmp_path / "module.pt")
    with pytest.raises(ModelError, match="save the state_dict"):
        read_weights(tmp_path / "module.pt")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"a": {"b": torch.zeros(1)}}, torch.zeros(2)], ids=str)
def test_a_torch_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no state_dict"):
        read_weights(tmp_path / "other.pt")


def test_a_checkpoint_whose_weights_have_another_name_is_refused_with_the_names_it_has(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "generator": {"conv.weight": torch.zeros(1)}}, tmp_path / "gan.pt")
    with pytest.raises(ModelError, match=r"gan.pt holds no state_dict .*as state_dict or .*its keys: epoch, generator"):
        read_weights(tmp_path / "gan.pt")


def test_a_torchscript_file_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    with pytest.raises(ModelError, match=r"script.pt is not a torch weights file"):
        read_weights(tmp_path / "script.pt")


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([1 + 2j]), np.array([b"x"])], ids=["text", "complex", "bytes"]
)
def test_arrays_that_are_no_weights_are_refused(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"conv1.weight": array}
    np.savez(tmp_path / "w.npz", **arrays)
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(1, 1, 1, bias=False))
    with pytest.raises(ModelError):
        load_weights(network, read_weights(tmp_path / "w.npz"), "w.npz")


@pytest.mark.parametrize("kind", WRITERS)
def test_broken_files_are_named(kind: str, tmp_path: Path) -> None:
    """Cut anywhere, or with bytes changed: an error that names the file, or tensors, but no other exception."""
    path = written(kind, tmp_path, {"conv.weight": torch.arange(64.0).view(4, 4, 2, 2), "conv.bias": torch.zeros(4)})
    whole = path.read_bytes()
    generator = random.Random(0)
    broken = [whole[: len(whole) * part // 10] for part in range(10)]
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(len(whole))] = generator.randrange(256)
        broken.append(bytes(changed))
    messages: list[str] = []
    for content in broken:
        path.write_bytes(content)
        messages += refusal(path)
    assert len(messages) >= 9
    assert all(str(path) in message and "\n" not in message for message in messages)


def refusal(path: Path) -> list[str]:
    try:
        read_weights(path)
    except ModelError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("name", ["weights.bin", "weights", "weights.h5"])
def test_an_unknown_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"must end in .safetensors, .npz, .pt, .pth"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["absent.pt", "folder.pt"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ModelError, match=f"there is no weights file .*{name}"):
        read_weights(tmp_path / name)
