"""Edge products: closed forms and padding modes against literal edge maps in every tier, and which tier runs."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests import nets, oracles
from viscnn.engine import edge_products as chooser
from viscnn.engine.batch import Batch
from viscnn.engine.capture import Recording, record
from viscnn.engine.criteria import CRITERIA
from viscnn.engine.edge_products import edge_products, tier_of, tiers
from viscnn.engine.geometry import EdgeProducts
from viscnn.engine.output import parse_output
from viscnn.engine.target import resolve
from viscnn.errors import InputError, StoredDataError
from viscnn.ingest.architecture import read_architecture

Array = NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

HERE = [each.name for each in tiers() if each.available and each.device == "cpu"]
NAMES = ("absolute", "signed", "map_absolute")


@pytest.fixture(autouse=True)
def no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISCNN_TIER", raising=False)


@dataclass(frozen=True)
class Case:
    """A convolution without bias, and the size of the maps that it reads."""

    inputs: int
    filters: int
    size: tuple[int, int]
    settings: dict[str, Any]

    def convolution(self) -> nn.Conv2d:
        found = nets.seeded(lambda: nn.Conv2d(self.inputs, self.filters, **self.settings))
        assert isinstance(found, nn.Conv2d)
        return found


CLOSED = {
    "1x1": Case(5, 4, (4, 5), {"kernel_size": 1}),
    "1x1 strided": Case(3, 4, (7, 6), {"kernel_size": 1, "stride": (2, 3)}),
    "1x1 padded": Case(3, 2, (4, 3), {"kernel_size": 1, "padding": (2, 1)}),
    "1x1 strided and padded": Case(3, 2, (4, 5), {"kernel_size": 1, "stride": (3, 2), "padding": (1, 2)}),
    "1x1 grouped": Case(6, 4, (3, 4), {"kernel_size": 1, "groups": 2}),
    "1x1 grouped, strided, padded": Case(6, 9, (5, 4), {"kernel_size": 1, "groups": 3, "stride": 2, "padding": 1}),
    "1x1 reflect": Case(2, 3, (4, 4), {"kernel_size": 1, "padding": 1, "padding_mode": "reflect", "stride": 2}),
    "1x1 depthwise": Case(4, 8, (3, 3), {"kernel_size": 1, "groups": 4}),
    "1x1 of one position": Case(4, 3, (1, 1), {"kernel_size": 1}),
    "depthwise": Case(4, 4, (6, 5), {"kernel_size": 3, "groups": 4, "padding": 1}),
    "depthwise, three filters each": Case(2, 6, (6, 7), {"kernel_size": (3, 2), "groups": 2, "stride": (2, 1)}),
    "depthwise, dilated": Case(3, 6, (7, 8), {"kernel_size": 3, "groups": 3, "dilation": (2, 1), "padding": (2, 0)}),
    "depthwise, circular": Case(
        3, 3, (5, 5), {"kernel_size": 3, "groups": 3, "padding": 1, "padding_mode": "circular"}
    ),
    "depthwise, same": Case(2, 4, (5, 4), {"kernel_size": (2, 4), "groups": 2, "padding": "same"}),
    "one input": Case(1, 5, (5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "one position": Case(5, 4, (3, 4), {"kernel_size": (3, 4)}),
    "one position, dilated": Case(3, 4, (5, 7), {"kernel_size": 3, "dilation": (2, 3)}),
    "one position, padded": Case(3, 4, (2, 1), {"kernel_size": (4, 3), "padding": 1}),
    "one position, strided past the rest": Case(3, 2, (5, 6), {"kernel_size": 3, "stride": (3, 4)}),
    "one position, strided and dilated": Case(3, 2, (6, 6), {"kernel_size": 2, "stride": 4, "dilation": 3}),
    "one position, grouped": Case(6, 4, (3, 3), {"kernel_size": 3, "groups": 2}),
    "one position, padded, dilated, grouped": Case(
        4, 6, (3, 3), {"kernel_size": 3, "dilation": 2, "padding": 1, "groups": 2}
    ),
    "one position, replicate": Case(2, 3, (2, 2), {"kernel_size": 4, "padding": 1, "padding_mode": "replicate"}),
}
PADDINGS: tuple[tuple[int, int, dict[str, Any]], ...] = (
    (3, 4, {"kernel_size": 3, "padding": (2, 1)}),
    (4, 6, {"kernel_size": (4, 3), "padding": (1, 2), "stride": (2, 1), "dilation": (1, 2), "groups": 2}),
    (3, 2, {"kernel_size": (4, 2), "padding": "same"}),
)
PADDED = {
    f"{mode} {number}": Case(inputs, filters, (7, 6), {**settings, "padding_mode": mode})
    for mode in ("reflect", "circular", "replicate")
    for number, (inputs, filters, settings) in enumerate(PADDINGS)
}
ZEROS = {
    "same": Case(3, 4, (6, 7), {"kernel_size": (4, 3), "padding": "same", "dilation": (1, 2)}),
    "strided past the edge": Case(3, 4, (7, 6), {"kernel_size": 2, "stride": (3, 4)}),
    "asymmetric": Case(17, 3, (5, 9), {"kernel_size": (1, 5), "padding": (0, 2), "stride": (2, 1)}),
}


def maps_of(case: Case, *, images: int = 3) -> tuple[nn.Conv2d, Tensor, Tensor]:
    """The convolution, its input maps, and a gradient that is zero in half of the places."""
    convolution = case.convolution()
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(images, case.inputs, *case.size, generator=generator)
    with torch.no_grad():
        shape = convolution(x).shape
    gradient = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.5)
    return convolution, x, gradient


def literal(convolution: nn.Conv2d, x: Tensor, gradient: Tensor) -> dict[str, Array]:
    """The sums, over literal edge maps."""
    edges = oracles.edge_maps(x, convolution)  # (N, O, I, P, Q)
    products = edges * gradient.double().numpy()[:, :, None]
    of_maps = products.sum(axis=(3, 4))
    return {
        "absolute": np.abs(products).sum(axis=(0, 3, 4)),
        "signed": of_maps.sum(axis=0),
        "map_absolute": np.abs(of_maps).sum(axis=0),
    }


def assert_products(found: EdgeProducts, expected: dict[str, Array], *, rtol: float) -> None:
    for name in NAMES:
        ours, of_literal = getattr(found, name), expected[name]
        assert tuple(ours.shape) == of_literal.shape
        np.testing.assert_allclose(
            ours.double().numpy(), of_literal, rtol=rtol, atol=rtol * expected["absolute"].max(), err_msg=name
        )


@pytest.mark.parametrize("name", CLOSED | PADDED | ZEROS)
def test_products_are_those_of_literal_edge_maps(name: str) -> None:
    convolution, x, gradient = maps_of((CLOSED | PADDED | ZEROS)[name])
    expected = literal(convolution, x, gradient)
    with torch.no_grad():
        for tier in HERE:
            assert_products(edge_products(x, convolution, gradient, signed=True, tier=tier), expected, rtol=1e-5)
            alone = edge_products(x, convolution, gradient, tier=tier)
            assert (alone.signed, alone.map_absolute) == (None, None)
            np.testing.assert_allclose(alone.absolute, expected["absolute"], rtol=1e-5, atol=1e-6)
        convolution.double()
        found = edge_products(x.double(), convolution, gradient.double(), signed=True)
        assert found.absolute.dtype == torch.float64
        assert_products(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["1x1 grouped, strided, padded", "depthwise, dilated", "one position, grouped", "same"]
)
def test_maps_and_gradients_may_lie_in_memory_in_any_order(name: str) -> None:
    convolution, x, gradient = maps_of((CLOSED | ZEROS)[name])
    expected = literal(convolution, x, gradient)
    last = torch.channels_last
    with torch.no_grad():
        for tier in HERE:
            found = edge_products(
                x.to(memory_format=last), convolution, gradient.to(memory_format=last), signed=True, tier=tier
            )
            assert_products(found, expected, rtol=1e-5)
            same = gradient.new_full((), 2.0).expand(gradient.shape)
            found = edge_products(x, convolution, same, signed=True, tier=tier)
            assert_products(found, literal(convolution, x, same.contiguous()), rtol=1e-5)
    assert torch.equal(x, maps_of((CLOSED | ZEROS)[name])[1])  # and are not written to


def test_closed_forms_ask_no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    _listen(monkeypatch, asked)
    with torch.no_grad():
        for name, case in (CLOSED | ZEROS).items():
            asked.clear()
            edge_products(*_in_order(maps_of(case)), tier="torch")
            assert asked == ([] if name in CLOSED else ["torch"]), name


def _listen(monkeypatch: pytest.MonkeyPatch, called: list[str]) -> None:
    """Write down which tiers are asked, and go on."""
    real = chooser._module

    def module(name: str) -> ModuleType:
        called.append(name)
        return real(name)

    monkeypatch.setattr(chooser, "_module", module)


def _in_order(found: tuple[nn.Conv2d, Tensor, Tensor]) -> tuple[Tensor, nn.Conv2d, Tensor]:
    convolution, x, gradient = found
    return x, convolution, gradient


# --- which tier --------------------------------------------------------------------------------------------------


def test_the_best_tier_is_chosen_and_described() -> None:
    found = {each.name: each for each in tiers()}
    assert list(found) == ["native", "numba", "torch", "triton"]
    order = [name for name in ("native", "numba", "torch") if found[name].available]
    assert [name for name in ("native", "numba", "torch") if found[name].chosen] == order[:1]
    assert tier_of(torch.zeros(1)) == order[0]
    assert found["torch"].available
    assert all(each.detail and "\n" not in each.detail for each in found.values())
    assert found["triton"].available == found["triton"].chosen


@pytest.mark.parametrize("tier", HERE)
def test_viscnn_tier_names_the_one_that_runs(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_TIER", f" {tier.upper()} ")
    assert tier_of(torch.zeros(1)) == tier
    assert [each.name for each in tiers() if each.chosen and each.device == "cpu"] == [tier]
    called: list[str] = []
    _listen(monkeypatch, called)
    with torch.no_grad():
        edge_products(*_in_order(maps_of(ZEROS["same"])))
    assert set(called) == {tier}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_than_float32_go_to_torch(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tier_of(torch.zeros(1, dtype=dtype)) == "torch"
    monkeypatch.setenv("VISCNN_TIER", "numba")
    assert tier_of(torch.zeros(1, dtype=dtype)) == "torch"


def test_a_tier_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_TIER", "nativ")
    with pytest.raises(InputError, match="VISCNN_TIER='nativ' is no tier; did you mean native"):
        tier_of(torch.zeros(1))
    with pytest.raises(InputError, match="one of native, triton, numba, torch"):
        tiers()


def test_a_tier_that_cannot_run_is_refused_with_the_reason() -> None:
    code = """
        import torch
        from viscnn.engine.edge_products import tier_of
        from viscnn.errors import InputError
        try:
            tier_of(torch.zeros(1))
        except InputError as error:
            print(error)
    """
    found = _python(code, VISCNN_TIER="numba", NUMBA_DISABLE_JIT="1")
    assert found.strip() == "VISCNN_TIER=numba cannot run here: NUMBA_DISABLE_JIT is set"


def _python(code: str, **settings: str) -> str:
    """What a program of its own prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1x1 grouped", "depthwise", "one position", "asymmetric"])
def test_products_of_any_batch_are_the_sums_of_single_images(name: str) -> None:
    convolution, x, gradient = maps_of((CLOSED | ZEROS)[name], images=64)
    with torch.no_grad():
        single = [edge_products(x[k : k + 1], convolution, gradient[k : k + 1], signed=True) for k in range(64)]
        scale = torch.stack([each.absolute.double() for each in single]).cumsum(dim=0)  # signed sums cancel
        for of in NAMES:
            sums = torch.stack([getattr(each, of).double() for each in single]).cumsum(dim=0)
            for images in range(1, 65):
                found = edge_products(x[:images], convolution, gradient[:images], signed=True)
                error = (getattr(found, of).double() - sums[images - 1]).abs()
                assert (error <= 1e-6 * scale[images - 1]).all(), (of, images)


@pytest.mark.parametrize("name", ["plain", "grouped", "in-place"])
def test_scores_of_any_batch_are_those_of_single_images(name: str) -> None:
    """The whole pipeline in float32 with the best tier; T is per image, so nothing is divided by a batch's size."""
    architecture = read_architecture(nets.make(name), nets.INPUT)
    target = resolve(parse_output("loss"), model="net", architecture=architecture, classes=("ant", "bee", "cat"))
    images, labels = nets.images(64), [k % 3 for k in range(64)]
    criteria = [CRITERIA[each] for each in ("taylor", "taylor-signed", "taylor-map", "snip", "activation")]

    def kernels(size: int) -> list[Tensor]:
        sums: list[Tensor] = []
        for start in range(0, 64, size):
            batch = Batch(
                architecture, images[start : start + size], target, labels=labels[start : start + size], signed=True
            )
            with torch.no_grad():
                found = [scores.kernel.double() for each in criteria for scores in each.of(batch)]
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        return sums

    single = kernels(1)
    for size in (2, 3, 5, 8, 17, 32, 63, 64):
        for one, other in zip(single, kernels(size), strict=True):
            assert (one - other).abs().max() <= 1e-6 * one.abs().max(), size


def test_memory_does_not_grow_with_the_batch() -> None:
    """At 96 images, edge maps would take 1.2 GB and a copy of the maps 77 MB; numba packs 32 MB of maps at a time."""
    code = """
        import json, sys
        import torch
        from torch import nn
        from viscnn.engine.edge_products import edge_products
        def peak():
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
        convolution = nn.Conv2d(16, 16, 3, padding=1)
        x, gradient = torch.ones(96, 16, 112, 112), torch.ones(96, 16, 112, 112)
        gradient[:, :, ::2] = 0
        with torch.no_grad():
            for tier in sys.argv[1].split():
                edge_products(x[:1], convolution, gradient[:1], tier=tier)
                before = peak()
                edge_products(x, convolution, gradient, tier=tier)
                print(tier, peak() - before)
    """
    code = f"import sys; sys.argv = ['', {' '.join(HERE)!r}]\n" + textwrap.dedent(code)
    grown = {line.split()[0]: float(line.split()[1]) for line in _python(code).splitlines()}
    assert grown.keys() == set(HERE)
    for tier, megabytes in grown.items():
        assert megabytes < (40 if tier == "numba" else 16), grown


# --- not finite --------------------------------------------------------------------------------------------------


def _record(
    network: nn.Module, images: Tensor, output: str = "loss", *, spoilt: str = "", value: float = 0.0
) -> Recording:
    """Run it, with a value for the first entry of the parameter `spoilt` (what is so from the start is not read)."""
    architecture = read_architecture(network, nets.INPUT)
    if spoilt:
        architecture.module.get_parameter(spoilt).data.view(-1)[0] = value
    target = resolve(parse_output(output), model="net", architecture=architecture, classes=("ant", "bee", "cat"))
    return record(architecture, images, last=target.last)


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("of", ["weight", "bias"])
def test_a_weight_that_is_not_finite_is_an_error_that_names_the_layer(layer: str, value: float, of: str) -> None:
    with pytest.raises(StoredDataError, match=f"^the maps of layer {layer} hold NaN or infinity; check the weights"):
        _record(nets.make("in-place"), nets.images(2), spoilt=f"{layer}.{of}", value=value)


def test_an_image_that_is_not_finite_is_found_in_the_first_layer_whichever_it_is() -> None:
    for value in (float("nan"), float("inf")):
        images = nets.images(5)
        images[3, 1, 6, 5] = value
        with pytest.raises(StoredDataError, match="layer conv1 hold"):
            _record(nets.make("plain"), images)


def test_a_layer_that_only_overflows_is_named_and_those_before_are_not() -> None:
    network = nets.make("plain")
    for name in ("conv1.weight", "conv2.weight"):
        network.get_parameter(name).data *= 1e12
    images = nets.images(2) * 1e18
    with pytest.raises(StoredDataError, match="layer conv2 hold"):
        _record(network, images)
    _record(network, images, "filter:net/conv1/0")  # what the target does not need is not run


def test_an_overflow_behind_the_last_layer_is_the_outputs() -> None:
    with pytest.raises(StoredDataError, match=r"^the model's output holds NaN or infinity"):
        _record(nets.make("plain"), nets.images(2), spoilt="logits.weight", value=float("inf"))


def test_finite_maps_whose_sum_overflows_are_no_error() -> None:
    network = nets.chain(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 1))
    with torch.no_grad():
        network.get_parameter("conv1.weight").zero_()
        network.get_parameter("conv1.bias").fill_(2e38)
        network.get_parameter("conv2.weight").zero_()
    maps = _record(network, nets.images(2)).maps["conv1"]
    assert maps.isfinite().all()
    assert maps.sum().isinf()
