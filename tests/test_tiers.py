"""The numba and Triton tiers of kernel scores against a float64 oracle; without a GPU, Triton's interpreter runs."""

import importlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from viscnn.engine import numba_products, triton_products
from viscnn.engine.geometry import EdgeProducts, Geometry

Array = NDArray[np.float64]

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
NAMES = ("absolute", "signed", "map_absolute")


PLAIN = Geometry()


@dataclass(frozen=True)
class Case:
    """A layer, a batch and a kind of gradient; `size` is that of the maps before padding."""

    kernel: tuple[int, int]
    size: tuple[int, int] = (7, 9)
    images: int = 2
    inputs: int = 5
    filters: int = 6
    geometry: Geometry = PLAIN
    gradient: str = "sparse"


CASES = {
    "3x3": Case((3, 3), geometry=Geometry(padding=(1, 1, 1, 1)), inputs=17, images=5),
    "3x3 dense, many filters": Case((3, 3), inputs=3, filters=35, images=1, gradient="dense"),
    "1x1": Case((1, 1), inputs=33, filters=3),
    "1x1 strided": Case((1, 1), geometry=Geometry(stride=(2, 3)), images=3),
    "5x5 strided, asymmetric padding": Case((5, 5), geometry=Geometry(stride=(2, 1), padding=(3, 0, 1, 4))),
    "7x7 strided": Case((7, 7), (15, 13), inputs=3, geometry=Geometry(stride=(2, 2), padding=(3, 3, 3, 3))),
    "11x11 strided": Case((11, 11), (23, 27), inputs=3, images=1, geometry=Geometry((4, 4), padding=(2, 2, 2, 2))),
    "1x7": Case((1, 7), geometry=Geometry(padding=(3, 3, 0, 0)), images=4),
    "2x5 dilated": Case((2, 5), (9, 14), geometry=Geometry((1, 2), (3, 2), (0, 1, 2, 0))),
    "dilated and strided": Case((3, 3), (11, 12), geometry=Geometry((2, 1), (2, 3), (2, 2, 2, 2))),
    "groups": Case((3, 3), inputs=12, filters=9, geometry=Geometry(padding=(1, 0, 1, 0), groups=3)),
    "groups beyond a block": Case((2, 2), inputs=38, filters=4, images=1, geometry=Geometry(groups=2)),
    "depthwise": Case((3, 3), inputs=5, filters=5, geometry=Geometry(padding=(1, 1, 1, 1), groups=5)),
    "depthwise, two filters each": Case((3, 3), inputs=4, filters=8, images=1, geometry=Geometry(groups=4)),
    "several tiles": Case((3, 3), (15, 17), inputs=3, filters=5, geometry=Geometry(padding=(1, 0, 0, 0))),
    "one position": Case((7, 9), images=3),
    "zero gradient": Case((3, 3), gradient="zero"),
    "one live position": Case((3, 3), geometry=Geometry(padding=(1, 1, 1, 1)), gradient="one"),
    "expanded gradient": Case((3, 3), gradient="expanded"),
    "gradient in channels-last order": Case((3, 3), gradient="channels last", images=3),
    "gradient every other column": Case((3, 3), gradient="sliced"),
}


def inputs(case: Case, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and gradient of a case, the same in every process and on every device."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(case.images, case.inputs, *case.size, generator=random)
    weight = torch.randn(case.filters, case.inputs // case.geometry.groups, *case.kernel, generator=random)
    shape = (case.images, case.filters, *output_size(case))
    dense = torch.randn(shape, generator=random)
    sparse = dense * (torch.rand(shape, generator=random) < 0.3)
    dense, sparse = dense.to(device), sparse.to(device)
    one = torch.zeros(shape, device=device)
    one[:, 1, shape[2] // 2, shape[3] // 2] = 1.5
    kinds: dict[str, Callable[[], Tensor]] = {
        "dense": lambda: dense,
        "sparse": lambda: sparse,
        "zero": lambda: torch.zeros(shape, device=device),
        "one": lambda: one,
        "expanded": lambda: dense[:, :, :1, :1].expand(shape),
        "channels last": lambda: sparse.contiguous(memory_format=torch.channels_last),
        "sliced": lambda: torch.stack([sparse, dense], dim=-1).flatten(3)[..., ::2],
    }
    return x.to(device), weight.to(device), kinds[case.gradient]()


def output_size(case: Case) -> tuple[int, int]:
    left, right, top, bottom = case.geometry.padding
    rows, columns = (
        (size + pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, kernel, dilation, stride in zip(
            case.size,
            (top + bottom, left + right),
            case.kernel,
            case.geometry.dilation,
            case.geometry.stride,
            strict=True,
        )
    )
    return rows, columns


def oracle(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> tuple[Array, Array, Array]:
    """Absolute, signed and map_absolute sums from all edge maps, built entry by entry in float64."""
    left, right, top, bottom = geometry.padding
    maps = np.pad(x.double().numpy(), ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernels, slopes = weight.double().numpy(), gradient.double().numpy()
    of_group, group_inputs = len(kernels) // geometry.groups, kernels.shape[1]
    edges = np.zeros((len(maps), *kernels.shape[:2], *slopes.shape[2:]))
    for o in range(len(kernels)):
        first = o // of_group * group_inputs
        for r in range(kernels.shape[2]):
            for s in range(kernels.shape[3]):
                seen = maps[:, first : first + group_inputs, r * geometry.dilation[0] :, s * geometry.dilation[1] :]
                seen = seen[:, :, :: geometry.stride[0], :: geometry.stride[1]]
                seen = seen[:, :, : slopes.shape[2], : slopes.shape[3]]
                edges[:, o] += kernels[o, :, r, s][:, None, None] * seen
    products = edges * slopes[:, :, None]
    of_image = products.sum(axis=(3, 4))
    return np.abs(products).sum(axis=(0, 3, 4)), of_image.sum(axis=0), np.abs(of_image).sum(axis=0)


def assert_right(got: EdgeProducts, want: tuple[Array, Array, Array]) -> None:
    """Within 1e-5 of the sum of sizes: a signed sum may cancel to nothing."""
    for name, expected in zip(NAMES, want, strict=True):
        value = getattr(got, name)
        assert value.dtype == torch.float32
        assert value.shape == expected.shape
        assert (np.abs(value.double().cpu().numpy() - expected) <= 1e-5 * want[0]).all(), name


def interpreted(case: Case, signed: bool, limits: dict[str, int]) -> EdgeProducts:
    """Run in a process of its own where TRITON_INTERPRET is set; `limits` replace constants of the module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(triton_products, name, value)
        return triton_products.products(*inputs(case), case.geometry, signed=signed)


Interpreter = Callable[..., Future[EdgeProducts]]


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    """Computes cases with the Triton tier on the CPU; a child, as the variable is read when the kernel is made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setitem(
            sys.modules, "__main__", ModuleType("__main__")
        )  # the child would run it: a page's, after its tests
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        pool.submit(int).result()  # the child starts now, with the variable
    with pool:
        yield lambda case, signed, **limits: pool.submit(interpreted, case, signed, limits)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_numba(case: Case) -> None:
    x, weight, gradient = inputs(case)
    got = numba_products.products(x, weight, gradient, case.geometry, signed=True)
    assert_right(got, oracle(x, weight, gradient, case.geometry))


@needs_triton
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_triton_interpreted(case: Case, interpreter: Interpreter) -> None:
    assert_right(interpreter(case, True).result(), oracle(*inputs(case), case.geometry))


@needs_triton
@pytest.mark.parametrize("limits", [{"PROGRAMS": 4}, {"PROGRAMS": 1}, {"PARTIAL_FLOATS": 1}], ids=str)
def test_triton_cuts_the_work_in_other_ways(limits: dict[str, int], interpreter: Interpreter) -> None:
    """Several tiles in a piece, an image in one piece, and an image at a time."""
    case = CASES["several tiles"]
    assert_right(interpreter(case, True, **limits).result(), oracle(*inputs(case), case.geometry))


@pytest.mark.gpu
@pytest.mark.skipif(not triton_products.describe()[0], reason=triton_products.describe()[1])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_triton_on_gpu(case: Case) -> None:
    got = triton_products.products(*inputs(case, "cuda"), case.geometry, signed=True)
    assert_right(got, oracle(*inputs(case), case.geometry))


@needs_triton
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("signed", [False, True])
def test_triton_compiles_for_an_h100(signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the interpreter does not see: types, layouts and the assembler; no GPU is needed for that."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    kernel = importlib.import_module("viscnn.engine.triton_kernels").products_kernel
    constants = {"SIGNED": signed, "ROWS": 3, "COLUMNS": 3, "INPUTS": 2, "FILTERS": 16, "POSITIONS": 64}
    pointers = {"x", "weight", "gradient", "absolute", "signed"}
    signature = {
        name: "*fp32" if name in pointers else "constexpr" if name in constants else "i32" for name in kernel.arg_names
    }
    source = compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    compiled = importlib.import_module("triton").compile(
        source, target=target, options={"num_warps": triton_products.WARPS, "enable_fp_fusion": True}
    )
    assert "fma.rn.f32" in compiled.asm["ptx"]
    assert len(compiled.asm["cubin"]) > 0


LARGE = Case((3, 3), (224, 224), 1, 3, 4, Geometry(padding=(1, 1, 1, 1)), "dense")


def test_numba_keeps_its_precision_on_large_maps() -> None:
    """50,176 positions: float32 alone would lose a digit."""
    x, weight, gradient = inputs(LARGE)
    got = numba_products.products(x, weight, gradient, LARGE.geometry, signed=True)
    want = oracle(x, weight, gradient, LARGE.geometry)
    assert np.abs(got.absolute.double().numpy() / want[0] - 1).max() < 2e-6
    assert_right(got, want)


@pytest.mark.gpu
@pytest.mark.skipif(not triton_products.describe()[0], reason=triton_products.describe()[1])
def test_triton_on_gpu_large_maps_twice_the_same() -> None:
    first, second = (triton_products.products(*inputs(LARGE, "cuda"), LARGE.geometry, signed=True) for _ in range(2))
    assert_right(first, oracle(*inputs(LARGE), LARGE.geometry))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in NAMES)


def test_without_signed_only_the_absolute_sums(interpreter: Interpreter) -> None:
    case = CASES["groups"]
    x, weight, gradient = inputs(case)
    found = [numba_products.products(x, weight, gradient, case.geometry, signed=False)]
    found += [interpreter(case, False).result()] if HAS_TRITON else []
    for got in found:
        assert got.signed is None
        assert got.map_absolute is None
        np.testing.assert_allclose(got.absolute, oracle(x, weight, gradient, case.geometry)[0], rtol=1e-5)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _same_as_alone(case: Case) -> bool:
    """Whether this process, now, finds what the oracle finds."""
    x, weight, gradient = inputs(case)
    assert_right(
        numba_products.products(x, weight, gradient, case.geometry, signed=True),
        oracle(x, weight, gradient, case.geometry),
    )
    return True


@pytest.mark.usefixtures("two_threads")
def test_numba_threads_change_nothing() -> None:
    x, weight, gradient = inputs(LARGE)
    both = numba_products.products(x, weight, gradient, LARGE.geometry, signed=True)
    torch.set_num_threads(1)
    alone = numba_products.products(x, weight, gradient, LARGE.geometry, signed=True)
    assert all(torch.equal(getattr(both, name), getattr(alone, name)) for name in NAMES)


@pytest.mark.usefixtures("two_threads")
def test_numba_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(_same_as_alone, list(CASES.values())[:8]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.usefixtures("two_threads")
def test_numba_in_a_forked_child() -> None:
    assert _same_as_alone(CASES["3x3"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork of a process with threads
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            assert pool.submit(_same_as_alone, CASES["3x3"]).result(timeout=60)


def test_numba_batches_that_fill_the_packed_maps_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_products, "PACKED_BYTES", 1)
    assert _same_as_alone(CASES["3x3"])


def test_compiled_code_is_kept_below_the_cache_folder(home: Path) -> None:
    numba = importlib.import_module("numba")
    before = numba.config.CACHE_DIR
    assert _same_as_alone(CASES["3x3"])
    assert before == numba.config.CACHE_DIR
    assert {path.name.split("-")[0] for path in (home / "cache" / "numba").rglob("*.nbi")} >= {
        "numba_kernels.pack",
        "numba_kernels.score",
    }


def test_import_does_not_load_numba_or_triton() -> None:
    code = (
        "import sys; import torch; own = set(sys.modules);"
        "import viscnn.engine.numba_products, viscnn.engine.triton_products;"
        "new = set(sys.modules) - own;"
        "assert not {name for name in new if name.split('.')[0] in {'numba', 'llvmlite', 'triton'}}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_descriptions_say_why_not() -> None:
    available, detail = numba_products.describe()
    assert available
    assert detail.startswith("numba ")
    if not torch.cuda.is_available():
        assert triton_products.describe() == (False, "no CUDA device")
