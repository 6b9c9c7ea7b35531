"""Models in awkward states are read on a copy or refused by name; the caller's model is always left as it was."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from tests import nets
from tests.nets import conv, custom
from tests.untouched import (
    LAYERS,
    SHAPE,
    assert_read,
    assert_refused,
    assert_same,
    names,
    plain,
    read_or_refused,
    untouched,
)
from viscnn.engine.capture import record
from viscnn.errors import UnsupportedModel
from viscnn.ingest.architecture import read_architecture

# --- states of a model -------------------------------------------------------------------------------------------


def test_a_model_in_train_mode_is_read_in_eval_mode() -> None:
    model = plain().train()
    assert names(assert_read(model)) == LAYERS
    assert all(module.training for module in model.modules())


def test_a_model_of_which_parts_are_in_train_mode() -> None:
    model = plain()
    model.get_submodule("norm").train()
    model.get_submodule("drop").train()
    assert_read(model)


def test_frozen_parameters_stay_frozen() -> None:
    model = plain().requires_grad_(False)
    model.get_parameter("conv1.weight").requires_grad_(True)
    model.get_parameter("head.bias").grad = torch.ones(3)
    assert_read(model)
    gradient = model.get_parameter("head.bias").grad
    assert gradient is not None
    assert gradient.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_gradient_mode(mode: Callable[[], Any]) -> None:
    model = plain()
    with mode():
        architecture = assert_read(model)
    recording = record(architecture, nets.images(2, shape=SHAPE))
    assert recording.output is not None
    found, _ = recording.gradients(recording.output[:, 1].sum())
    assert list(found) == LAYERS  # scores can be computed afterwards


def test_a_model_made_in_inference_mode() -> None:
    with torch.inference_mode():
        model = plain()
    architecture = assert_read(model)
    recording = record(architecture, nets.images(2, shape=SHAPE))
    assert recording.output is not None
    assert list(recording.gradients(recording.output[:, 1].sum())[0]) == LAYERS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_in_single(dtype: torch.dtype) -> None:
    architecture = assert_read(plain().to(dtype))
    assert {each.dtype for each in architecture.module.parameters()} == {torch.float32}


def test_a_model_of_two_precisions() -> None:
    model = plain()
    model.get_submodule("conv2").half()
    assert_read(model)


def test_another_default_precision() -> None:
    model = plain()
    torch.set_default_dtype(torch.float64)
    try:
        with untouched(model):
            architecture = read_architecture(model, SHAPE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {each.dtype for each in architecture.module.parameters()} == {torch.float32}
    assert_same(architecture, model)


def test_another_default_device() -> None:
    model = plain()
    with torch.device("meta"), untouched(model):
        architecture = read_architecture(model, SHAPE)
    assert {each.device.type for each in architecture.module.parameters()} == {"cpu"}
    assert_same(architecture, model)


def test_complex_weights_are_refused() -> None:
    model = plain()
    model.register_buffer("phase", torch.zeros(3, dtype=torch.complex64))
    assert_refused(model, "phase is complex", kind=UnsupportedModel)


def test_channels_last_in_memory() -> None:
    assert_read(plain().to(memory_format=torch.channels_last))


def test_a_model_without_values_is_refused() -> None:
    assert_refused(plain().to("meta"), "meta")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_another_device_is_read_on_the_cpu() -> None:
    model = plain().to("cuda")
    architecture = assert_read(model, like=copy.deepcopy(model).cpu())
    assert {each.device.type for each in architecture.module.parameters()} == {"cpu"}
    assert next(model.parameters()).is_cuda


def test_weights_of_a_model_are_not_shared_with_it() -> None:
    model = plain()
    architecture = read_architecture(model, SHAPE)
    before = architecture.convolution(architecture.layer("conv2")).weight.clone()
    model.get_parameter("conv2.weight").data.zero_()
    assert torch.equal(architecture.convolution(architecture.layer("conv2")).weight, before)


# --- hooks -------------------------------------------------------------------------------------------------------


def test_hooks_are_not_run_and_stay() -> None:
    model, calls = plain(), []
    module = model.get_submodule("conv1")
    module.register_forward_hook(lambda *_: calls.append("after"))
    module.register_forward_pre_hook(lambda *_: calls.append("before"))
    module.register_full_backward_hook(lambda *_: calls.append("backward"))
    module.register_full_backward_pre_hook(lambda *_: calls.append("before backward"))
    module.register_forward_hook(lambda *_, **__: calls.append("named"), with_kwargs=True)
    model.register_forward_hook(lambda *_: calls.append("whole"))
    module.register_state_dict_pre_hook(lambda *_: None)  # type: ignore[no-untyped-call]
    with pytest.warns(UserWarning, match="hooks are no part of a network, and are left out: those of Plain, conv1"):
        architecture = assert_read(model, like=plain())
    assert names(architecture) == LAYERS
    recording = record(architecture, nets.images(2, shape=SHAPE))
    assert recording.output is not None
    recording.gradients(recording.output.sum())
    assert calls == []
    model(nets.images(2, shape=SHAPE).requires_grad_()).sum().backward()
    assert set(calls) == {"after", "before", "backward", "before backward", "named", "whole"}


def test_hooks_that_change_maps_are_left_out() -> None:
    """A hook is no part of the network: circuits are found in what the modules compute."""
    model = plain()
    model.get_submodule("conv1").register_forward_hook(lambda module, given, maps: maps * 0)
    model.get_submodule("act").register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    with pytest.warns(UserWarning, match="left out: those of conv1, act"):
        assert_read(model, like=plain())


def test_hooks_for_all_modules_are_left_out() -> None:
    calls: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(lambda *_: calls.append("any"))
    try:
        architecture = read_architecture(plain(), SHAPE)
    finally:
        handle.remove()
    assert names(architecture) == LAYERS
    images = nets.images(2, shape=SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(architecture.module(images), plain()(images))


# --- weights that are shared or computed -------------------------------------------------------------------------


def test_a_parameter_of_two_modules() -> None:
    """One of them is folded with its norm; the other keeps the weight as it is."""

    def forward(own: Any, x: Tensor) -> Any:
        return own.b(F.relu(own.norm(own.a(x))))

    model = nets.with_statistics(custom(forward, a=conv(2, 2), norm=lambda: nn.BatchNorm2d(2), b=conv(2, 2)))
    model.get_submodule("b").weight = model.get_parameter("a.weight")
    architecture = assert_read(model)
    one, two = (architecture.convolution(layer).weight for layer in architecture.layers)
    assert torch.equal(two, model.get_parameter("a.weight"))
    assert not torch.equal(one, two)
    assert model.get_parameter("b.weight") is model.get_parameter("a.weight")


def test_the_weight_of_one_module_used_by_a_function() -> None:
    def forward(own: Any, x: Tensor) -> Any:
        return F.conv2d(F.relu(own.norm(own.a(x))), own.a.weight, padding=1)

    model = nets.with_statistics(custom(forward, a=conv(2, 2), norm=lambda: nn.BatchNorm2d(2)))
    architecture = assert_read(model)
    assert torch.equal(architecture.convolution(architecture.layers[1]).weight, model.get_parameter("a.weight"))


def test_parametrised_weights() -> None:
    model = plain()
    nn.utils.parametrizations.weight_norm(model.get_submodule("conv1"))
    nn.utils.parametrizations.spectral_norm(model.get_submodule("conv2"))
    nn.utils.parametrizations.orthogonal(model.get_submodule("head"))
    assert names(assert_read(model)) == LAYERS


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_weight_norm_of_old() -> None:
    """The weight is computed by a hook, from parameters that were changed since."""
    model = plain()
    nn.utils.weight_norm(model.get_submodule("conv2"))
    model.get_parameter("conv2.weight_g").data.mul_(1.5)
    read_or_refused(model, "remove")


def test_spectral_norm_of_old() -> None:
    """The weight has not been computed yet: as long as no forward was run it is not normalised."""
    model = plain()
    nn.utils.spectral_norm(model.get_submodule("conv2"))
    read_or_refused(model, "remove")


def test_pruned_weights() -> None:
    """The mask is applied by a hook: without it all kernels would be back."""
    model = plain()
    prune.ln_structured(model.get_submodule("conv2"), "weight", amount=0.5, n=1, dim=0)  # type: ignore[no-untyped-call]
    architecture = read_or_refused(model, "remove")
    if architecture is not None:
        weight = architecture.convolution(architecture.layer("conv2")).weight
        assert int((weight == 0).all(dim=3).all(dim=2).all(dim=1).sum()) == 2
