"""The compiled library through ctypes: which variants this processor has, and one call per layer."""

import ctypes
import functools
import importlib
import os
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path

from viscnn.errors import ConfigError, ViscnnError

__all__ = ["CHANNELS", "NativeLibrary", "Problem", "describe", "fma_peak", "load", "variants"]

CHANNELS = 0
"""The method that reads packed weights; `Method` in problem.h."""

_POINTERS = ("x", "weight", "packed_weight", "gradient", "absolute", "sum", "map_absolute")
_STRIDES = ("gradient_image", "gradient_filter", "gradient_row", "gradient_column")
_SIZES = (
    *("images", "groups", "inputs", "filters", "height", "width", "rows", "columns"),
    *("kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y", "dilation_x"),
    *("pad_left", "pad_right", "pad_top", "pad_bottom", "threads", "method"),
)


class Problem(ctypes.Structure):
    """One layer and one batch: `Problem` in problem.h, field by field; pointers are addresses."""

    _fields_ = (
        *((name, c_void_p) for name in _POINTERS),
        *((name, c_int64) for name in _STRIDES),
        *((name, c_int32) for name in _SIZES),
    )


@dataclass(frozen=True)
class NativeLibrary:
    """The loaded library.

    Attributes:
        variants: what this processor can run, best first: avx512, avx2, baseline; neon.
        variant: the number of the one that runs.
    """

    functions: ctypes.CDLL
    path: Path
    variants: tuple[str, ...]
    variant: int

    @property
    def lanes(self) -> int:
        """Floats per vector."""
        return int(self.functions.viscnn_lanes(self.variant))

    def choose_method(self, problem: Problem) -> int:
        """How the products will be vectorised; to be set as `problem.method`."""
        return int(self.functions.viscnn_choose_method(ctypes.byref(problem), self.variant))

    def pack_weight(self, problem: Problem, packed: int) -> None:
        """Write the weights in the order of the inner loop to the address `packed`."""
        self.functions.viscnn_pack_weight(ctypes.byref(problem), self.variant, packed)

    def add_products(self, problem: Problem) -> None:
        """Add the products to the problem's results.

        Raises:
            ViscnnError: the packed maps of one image do not fit into memory.
        """
        if self.functions.viscnn_edge_products(ctypes.byref(problem), self.variant):
            raise ViscnnError("not enough memory for the packed maps of one image; set VISCNN_TIER=torch")

    def map_products(
        self, maps: int, gradients: int, count: int, positions: int, absolute: int, total: int, *, threads: int
    ) -> None:
        """Write the sums over the positions of each map to the addresses `absolute` and `total`."""
        self.functions.viscnn_map_products(self.variant, threads, maps, gradients, count, positions, absolute, total)


def load() -> NativeLibrary | None:
    """The library, or None where it was not built; `describe()` says why.

    Raises:
        ConfigError: VISCNN_NATIVE_VARIANT names a variant that this processor does not have.
    """
    functions = _functions()
    if functions is None:
        return None
    return _library(functions, os.environ.get("VISCNN_NATIVE_VARIANT", ""))


def variants() -> tuple[str, ...]:
    """Names of the variants that this processor can run, best first; none where the library was not built."""
    functions = _functions()
    return () if functions is None else _variants(functions)


def describe() -> tuple[bool, str]:
    """Whether the library can be used, and one line: what runs, or why not and the way out."""
    library = load()
    if library is None:
        return False, importlib.import_module("viscnn.engine.native.build").why_missing()
    size = round(library.path.stat().st_size / 1000)
    return True, f"{library.variants[library.variant]}, {size} KB, {library.functions.viscnn_compiler().decode()}"


def fma_peak(threads: int, *, seconds: float = 0.2) -> float:
    """Multiply-adds in registers on so many threads, in floating point operations per second (two each).

    Raises:
        ConfigError: the library was not built.
    """
    library = load()
    if library is None:
        raise ConfigError(describe()[1])
    return float(library.functions.viscnn_fma_peak(library.variant, threads, seconds))


@functools.lru_cache(maxsize=1)
def _functions() -> ctypes.CDLL | None:
    path = importlib.import_module("viscnn.engine.native.build").library_path()
    try:
        functions = ctypes.CDLL(str(path))
    except OSError:
        return None
    _declare(functions)
    _share_openmp(functions)
    return functions


@functools.lru_cache
def _variants(functions: ctypes.CDLL) -> tuple[str, ...]:
    found: list[str] = []
    while name := functions.viscnn_variant(len(found)):
        found.append(name.decode())
    return tuple(found)


@functools.lru_cache
def _library(functions: ctypes.CDLL, forced: str) -> NativeLibrary:
    names = _variants(functions)
    if forced and forced not in names:
        raise ConfigError(f"VISCNN_NATIVE_VARIANT={forced}: this processor has {', '.join(names)}")
    return NativeLibrary(functions, Path(functions._name), names, names.index(forced) if forced else 0)


def _declare(functions: ctypes.CDLL) -> None:
    functions.viscnn_variant.restype = functions.viscnn_compiler.restype = c_char_p
    functions.viscnn_fma_peak.restype = c_double
    functions.viscnn_fma_peak.argtypes = (c_int, c_int, c_double)
    functions.viscnn_map_products.restype = None
    functions.viscnn_map_products.argtypes = (c_int, c_int, c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_void_p)
    functions.viscnn_pack_weight.argtypes = (POINTER(Problem), c_int, c_void_p)
    functions.viscnn_use_openmp.argtypes = (c_void_p,)


def _share_openmp(functions: ctypes.CDLL) -> None:
    """Run on the threads of torch's OpenMP, where it is visible: they spin between its own operations."""
    try:
        shared = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return
    functions.viscnn_use_openmp(ctypes.cast(shared, c_void_p))
