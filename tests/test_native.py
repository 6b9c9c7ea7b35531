"""The native kernel: every variant against float64, threads, its cache of weights, and how it is built."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from viscnn.engine import native
from viscnn.engine.geometry import EdgeProducts, Geometry
from viscnn.engine.native import build
from viscnn.errors import ConfigError

HERE = Path(build.__file__).parent
TOLERANCE = 1e-5

needs_library = pytest.mark.skipif(not native.describe()[0], reason=native.describe()[1])


@pytest.fixture(params=native.variants() or ["none"])
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VISCNN_NATIVE_VARIANT", request.param)
    return str(request.param)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _expected(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """absolute, signed, map_absolute in float64: one convolution per input channel of a group."""
    x, weight, gradient = F.pad(x.double(), geometry.padding), weight.double(), gradient.double()
    filters, inputs = weight.shape[0] // geometry.groups, weight.shape[1]
    results = torch.zeros(3, weight.shape[0], inputs, dtype=torch.float64)
    for group in range(geometry.groups):
        own = slice(group * filters, (group + 1) * filters)
        for i in range(inputs):
            channel = group * inputs + i
            edge = F.conv2d(
                x[:, channel : channel + 1], weight[own, i : i + 1], None, geometry.stride, 0, geometry.dilation
            )
            product = edge * gradient[:, own]
            by_image = product.sum(dim=(2, 3))
            results[:, own, i] = torch.stack(
                [product.abs().sum(dim=(0, 2, 3)), by_image.sum(dim=0), by_image.abs().sum(dim=0)]
            )
    return results[0], results[1], results[2]


def _size(geometry: Geometry, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    left, right, top, bottom = geometry.padding
    (height, width), (sy, sx), (dy, dx) = size, geometry.stride, geometry.dilation
    return (height + top + bottom - dy * (kernel[0] - 1) - 1) // sy + 1, (
        width + left + right - dx * (kernel[1] - 1) - 1
    ) // sx + 1


def _problem(
    channels: int,
    filters: int,
    kernel: tuple[int, int],
    geometry: Geometry,
    *,
    images: int = 2,
    size: tuple[int, int] = (19, 23),
    density: float = 0.3,
) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight, and a gradient of which so large a part is not zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, channels, *size, generator=generator)
    weight = torch.randn(filters, channels // geometry.groups, *kernel, generator=generator)
    shape = (images, filters, *_size(geometry, size, kernel))
    gradient = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < density)
    return x, weight, gradient


def _assert_right(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> None:
    absolute, signed, map_absolute = _expected(x, weight, gradient, geometry)
    found = native.products(x, weight, gradient, geometry, signed=True)
    alone = native.products(x, weight, gradient, geometry, signed=False)
    assert alone.signed is None
    assert alone.map_absolute is None
    assert found.signed is not None
    assert found.map_absolute is not None
    room = TOLERANCE * absolute + 1e-30  # what cancels in the sums is measured by what was summed up
    for value, wanted in (
        (found.absolute, absolute),
        (alone.absolute, absolute),
        (found.signed, signed),
        (found.map_absolute, map_absolute),
    ):
        assert value.dtype == torch.float32
        assert value.shape == wanted.shape
        assert bool(((value - wanted).abs() <= room).all())


GEOMETRIES = {
    "plain": Geometry(),
    "padded": Geometry(padding=(1, 1, 1, 1)),
    "lopsided padding": Geometry(padding=(0, 3, 2, 1)),
    "stride": Geometry(stride=(2, 3), padding=(2, 2, 1, 1)),
    "dilation": Geometry(dilation=(2, 1), padding=(1, 1, 2, 2)),
    "dilated columns": Geometry(dilation=(1, 2), padding=(1, 2, 0, 1)),
    "all": Geometry(stride=(3, 2), dilation=(1, 2), padding=(2, 0, 1, 3)),
}
KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (11, 11), (1, 7), (4, 4), (2, 5)]


@needs_library
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_every_geometry_and_kernel(variant: str, kernel: tuple[int, int], geometry: Geometry) -> None:
    for channels, density in ((33, 0.3), (3, 0.05), (3, 0.9)):
        _assert_right(*_problem(channels, 5, kernel, geometry, density=density, size=(25, 27)), geometry)


@needs_library
@pytest.mark.parametrize("channels", [1, 3, 5, 16, 17, 33])
@pytest.mark.parametrize("filters", [1, 2, 7, 35])
def test_every_number_of_channels_and_filters(variant: str, channels: int, filters: int) -> None:
    geometry = Geometry(padding=(1, 1, 1, 1))
    for images in (1, 5):
        _assert_right(*_problem(channels, filters, (3, 3), geometry, images=images, size=(9, 40)), geometry)


@needs_library
@pytest.mark.parametrize(("channels", "filters", "groups"), [(6, 9, 3), (40, 6, 2), (8, 8, 8), (10, 30, 5)])
def test_groups(variant: str, threads: int, channels: int, filters: int, groups: int) -> None:
    for stride in (1, 2):
        geometry = Geometry(stride=(stride, stride), padding=(2, 2, 2, 2), groups=groups)
        _assert_right(*_problem(channels, filters, (5, 5), geometry), geometry)


@needs_library
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("channels", [2, 20])
def test_every_density_of_the_gradient(variant: str, threads: int, density: float, channels: int) -> None:
    geometry = Geometry(padding=(1, 1, 1, 1))
    x, weight, gradient = _problem(channels, 12, (3, 3), geometry, density=density, size=(40, 70))
    _assert_right(x, weight, gradient, geometry)
    one = torch.zeros_like(gradient)
    one[0, 3, 39, 69] = -2.5
    _assert_right(x, weight, one, geometry)


@needs_library
@pytest.mark.parametrize("channels", [3, 24])
def test_gradients_in_any_strides(variant: str, channels: int) -> None:
    geometry = Geometry(padding=(1, 1, 1, 1))
    x, weight, gradient = _problem(channels, 8, (3, 3), geometry, images=3)
    _assert_right(x, weight, gradient.transpose(2, 3).contiguous().transpose(2, 3), geometry)
    _assert_right(x, weight, gradient.to(memory_format=torch.channels_last), geometry)
    _assert_right(x, weight, torch.tensor(0.25).expand(gradient.shape), geometry)
    _assert_right(x, weight, gradient[:, :, :, :1].expand(gradient.shape), geometry)
    _assert_right(x.flip(0).transpose(2, 3).contiguous().transpose(2, 3), weight, gradient, geometry)


@needs_library
def test_long_sums_stay_exact(variant: str, threads: int) -> None:
    for channels, images, size in ((3, 66, (64, 64)), (16, 66, (32, 32)), (16, 1, (260, 250))):
        geometry = Geometry(padding=(1, 1, 1, 1))
        x, weight, gradient = _problem(channels, 4, (3, 3), geometry, images=images, size=size, density=0.8)
        _assert_right(x.abs(), weight.abs(), gradient.abs(), geometry)


@needs_library
def test_nan_gradients_are_not_lost(variant: str) -> None:
    geometry = Geometry()
    x, weight, gradient = _problem(20, 4, (3, 3), geometry)
    gradient[0, 2, 1, 1] = torch.nan
    found = native.products(x, weight, gradient, geometry, signed=False).absolute
    assert bool(found[2].isnan().all())
    assert bool(found[[0, 1, 3]].isfinite().all())


@needs_library
def test_the_same_call_gives_the_same_bits(threads: int) -> None:
    geometry = Geometry(padding=(1, 1, 1, 1))
    problem = _problem(20, 3, (3, 3), geometry, images=7)
    first, second = (native.products(*problem, geometry, signed=True) for _ in range(2))
    assert torch.equal(first.absolute, second.absolute)
    assert first.signed is not None
    assert second.signed is not None
    assert torch.equal(first.signed, second.signed)


@needs_library
def test_weights_changed_in_place_are_noticed() -> None:
    geometry = Geometry()
    x, weight, gradient = _problem(20, 6, (3, 3), geometry)
    _assert_right(x, weight, gradient, geometry)
    weight.mul_(2)
    _assert_right(x, weight, gradient, geometry)
    parameter = torch.nn.Parameter(weight)
    _assert_right(x, parameter, gradient, geometry)
    parameter.data = torch.randn_like(parameter)
    _assert_right(x, parameter.detach(), gradient, geometry)
    with torch.inference_mode():
        weight = torch.randn(6, 20, 3, 3)
        _assert_right(x, weight, gradient, geometry)


@needs_library
def test_several_python_threads_at_once() -> None:
    geometry = Geometry(padding=(1, 1, 1, 1))
    problems = [_problem(channels, 12, (3, 3), geometry, images=channels % 4 + 1) for channels in (3, 17, 32, 40)]
    expected = [_expected(*problem, geometry)[0] for problem in problems]
    worst: list[float] = []

    def compute(number: int) -> None:
        for _ in range(20):
            found: EdgeProducts = native.products(*problems[number], geometry, signed=False)
            worst.append(float(((found.absolute - expected[number]).abs() / expected[number]).max()))

    workers = [threading.Thread(target=compute, args=(number,)) for number in range(len(problems))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(worst) == 80
    assert max(worst) <= TOLERANCE


FORKED = """
import os, sys, torch
from viscnn.engine import native
from viscnn.engine.geometry import Geometry
torch.set_num_threads(2)
torch.manual_seed(0)
x, weight, gradient = torch.randn(2, 20, 9, 9), torch.randn(8, 20, 3, 3), torch.randn(2, 8, 7, 7)
def total():
    return native.products(x, weight, gradient, Geometry(), signed=False).absolute.flatten().tolist()
before = total()
children = [os.fork() for _ in range(1)]
if children[0] == 0:
    os._exit(0 if total() == before else 1)
status = [os.waitpid(child, 0)[1] for child in children]
print(status == [0] and total() == before)
"""


@needs_library
def test_a_forked_process_computes_the_same() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "True", done.stderr


@needs_library
def test_a_variant_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_NATIVE_VARIANT", "altivec")
    with pytest.raises(ConfigError, match="altivec"):
        native.load()


@needs_library
def test_it_says_what_runs(variant: str) -> None:
    usable, line = native.describe()
    assert usable
    assert line.startswith(f"{variant}, ")
    assert native.fma_peak(1, seconds=0.01) > 1e8


# --- building ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, without a library."""
    folder = tmp_path / "native"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return folder


def _build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "build.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_without_a_compiler_there_is_a_message_and_no_library(sources: Path, tmp_path: Path) -> None:
    before = sorted(sources.iterdir())
    done = _build(sources, PATH=str(tmp_path), CXX="")
    assert done.returncode == 1
    assert "install g++" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(sources.iterdir()) == before


def test_a_compiler_that_fails_leaves_nothing_half_written(sources: Path) -> None:
    before = sorted(sources.iterdir())
    done = _build(sources, CXX="false")
    assert done.returncode == 1
    assert "was not built" in done.stderr
    assert sorted(sources.iterdir()) == before


def test_a_library_of_other_sources_is_refused(sources: Path) -> None:
    path = build.library_path(sources)
    path.write_bytes(b"")
    (sources / "plan.cpp").write_text("// other\n")
    assert build.library_path(sources) != path
    assert build.why_missing(sources).startswith("stale: ")


@needs_library
def test_the_library_is_small(sources: Path) -> None:
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler")
    done = _build(sources)
    assert done.returncode == 0, done.stderr
    made = Path(done.stdout.strip())
    assert made == build.library_path(sources)
    assert made.stat().st_size < 170_000
    assert [path for path in sources.iterdir() if path.name.startswith(".")] == []
