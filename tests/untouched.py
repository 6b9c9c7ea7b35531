"""Reading a model in an awkward state, and proof that the caller's model was left as it was."""

import copy
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import nets
from viscnn.errors import ModelError
from viscnn.ingest.architecture import Architecture, read_architecture

SHAPE = (2, 9, 8)


class Plain(nn.Module):
    """A small residual network with everything that can be changed by accident."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolution, norm, in-place activation, an addition, and a head."""
        z = self.act(self.norm(self.conv1(x)))
        z = F.relu(z + self.conv2(z), inplace=True)
        found: Tensor = self.head(self.drop(z.mean((2, 3))))
        return found


LAYERS = ["conv1", "conv2", "add"]


def plain() -> nn.Module:
    return nets.with_statistics(nets.seeded(Plain)).eval()


def names(architecture: Architecture) -> list[str]:
    return [layer.name for layer in architecture.layers]


# --- nothing changes ---------------------------------------------------------------------------------------------

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def _facts(model: nn.Module) -> dict[str, Any]:
    """Everything of a model that could be changed, by name."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        kept = {key: value for key, value in vars(module).items() if not isinstance(value, dict | Tensor | nn.Module)}
        found[path] = (id(module), type(module), {key: repr(value) for key, value in kept.items()}, list(vars(module)))
        for kind in HOOKS:
            found[f"{path} {kind}"] = dict(getattr(module, kind))
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                facts: list[Any] = [id(tensor), type(tensor), tensor.dtype, tensor.device, tensor.requires_grad]
                if not nn.parameter.is_lazy(tensor) and not tensor.is_inference():
                    facts.append(tensor._version)
                if not nn.parameter.is_lazy(tensor):
                    facts.append(tensor.stride())
                found[f"{path} {key}"] = facts
    return found


def _values(model: nn.Module) -> dict[str, Tensor]:
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {
        name: each.detach().clone() for name, each in tensors if not nn.parameter.is_lazy(each) and not each.is_meta
    }


def _surroundings() -> list[Any]:
    kind, keys, *others = np.random.get_state(legacy=True)
    return [
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        (kind, np.asarray(keys).tolist(), *others),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    ]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside: the model, the random state and torch's settings are afterwards what they were."""
    facts, values, surroundings = _facts(model), _values(model), _surroundings()
    try:
        yield
    finally:
        assert _surroundings() == surroundings
        assert _facts(model) == facts
        found = _values(model)
        assert list(found) == list(values)
        assert all(torch.equal(found[name].nan_to_num(), values[name].nan_to_num()) for name in values)


def assert_read(
    model: nn.Module, *, like: nn.Module | None = None, shape: tuple[int, int, int] = SHAPE
) -> Architecture:
    """It is read, computes what `like` computes (a copy of itself in eval mode), and is not changed."""
    like = copy.deepcopy(model) if like is None else like
    with untouched(model):
        architecture = read_architecture(model, shape)
    assert_same(architecture, like)
    return architecture


def assert_same(architecture: Architecture, like: nn.Module) -> None:
    """What was read computes what `like`, in single precision and eval mode, computes."""
    images = nets.images(3, shape=architecture.input_shape)
    with torch.no_grad():
        expected = copy.deepcopy(like).float().eval()(images.clone())
        torch.testing.assert_close(architecture.module(images), expected, rtol=1e-5, atol=1e-6)


def assert_refused(model: nn.Module, named: str, *, kind: type[ModelError] = ModelError) -> None:
    """It is refused in one line that names this, and is not changed."""
    with untouched(model), pytest.raises(kind, match=named) as caught:
        read_architecture(model, SHAPE)
    assert "\n" not in str(caught.value)


def read_or_refused(model: nn.Module, named: str) -> Architecture | None:
    """What the model computes in eval mode is read exactly, or it is refused by this name; it is not changed."""
    with untouched(model):
        try:
            architecture = read_architecture(model, SHAPE)
        except ModelError as error:
            refusal = str(error)
            architecture = None
    if architecture is None:
        assert re.search(named, refusal)
        return None
    images = nets.images(3, shape=SHAPE)
    with torch.no_grad():
        expected = model.eval()(images.clone())  # last of all: some weights are computed only when the model is run
        torch.testing.assert_close(architecture.module(images), expected, rtol=1e-5, atol=1e-6)
    return architecture
