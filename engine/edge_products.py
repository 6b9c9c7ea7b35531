"""Products of edge maps and gradients, summed: what `taylor` and its relatives are made of, without storing edge maps.

For a convolution with input maps x_i, kernels W_oi and gradient G_o = dT/dZ_o this sums A_oi G_o, A_oi = W_oi * x_i,
over positions and images in the ways of `EdgeProducts`. Three shapes have closed forms: a 1x1 kernel's edge map is
its input map times one number, a depthwise convolution's is its output map without the bias, and a map of one
position is one number. All others go to the first of these tiers that can run here:

    native   C++ built at installation, CPU, float32
    triton   CUDA, float32
    numba    compiled on first use, CPU, float32
    torch    edge maps a few at a time; any device and type
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from viscnn.engine.geometry import EdgeProducts, Geometry, MapProducts
from viscnn.engine.padding import padded
from viscnn.errors import InputError, nearest

__all__ = ["Tier", "addend_products", "edge_products", "map_products", "tier_of", "tiers"]

_MODULES = {"native": "native", "triton": "triton_products", "numba": "numba_products", "torch": "edge_maps"}
_OF_DEVICE = {"cpu": ("native", "numba"), "cuda": ("triton",)}


@dataclass(frozen=True)
class Tier:
    """One way to compute the products; `chosen` on its device, `detail` says what it is or why it cannot run."""

    name: str
    device: str
    available: bool
    detail: str
    chosen: bool


def edge_products(
    x: Tensor, convolution: nn.Conv2d, gradient: Tensor, *, signed: bool = False, tier: str | None = None
) -> EdgeProducts:
    """Sums over images and positions of edge map times gradient for every kernel of a convolution.

    Args:
        x: input maps (N, C, H, W), not padded.
        gradient: dT/dZ, (N, O, P, Q); positions where it is exactly zero cost next to nothing.
        signed: the signed sums as well.
        tier: `native`, `triton`, `numba` or `torch` instead of the best one; closed forms are used all the same.
    """
    if convolution.padding_mode == "zeros":
        geometry = Geometry.of(convolution)
    else:
        x, geometry = padded(x, convolution), Geometry.of(convolution, padded=True)
    weight = convolution.weight
    if weight.shape[2:] == (1, 1):
        return _pointwise(x, weight, gradient, geometry, signed)
    if weight.shape[1] == 1:
        return _depthwise(x, weight, gradient, geometry, signed)
    if gradient.shape[2:] == (1, 1):
        return _one_position(x, weight, gradient, geometry, signed)
    found: EdgeProducts = _module(tier or tier_of(x)).products(
        x.contiguous(), weight, gradient, geometry, signed=signed
    )
    return found


def map_products(maps: Tensor, gradient: Tensor) -> MapProducts:
    """Sums over positions of map times gradient, (N, O) from (N, O, P, Q) each."""
    if tier_of(maps) == "native":
        return MapProducts(*_module("native").map_products(maps, gradient))
    products = (maps * gradient).flatten(2)
    return MapProducts(torch.linalg.vector_norm(products, ord=1, dim=2), products.sum(dim=2))


def addend_products(addends: Sequence[Tensor], gradient: Tensor, *, signed: bool = False) -> EdgeProducts:
    """What `edge_products` returns for the identities of a sum, whose edge maps are its addends (N, O, P, Q)."""
    each = [map_products(addend, gradient) for addend in addends]
    absolute = torch.stack([of.absolute.sum(dim=0) for of in each], dim=1)
    if not signed:
        return EdgeProducts(absolute)
    plain = torch.stack([of.signed.sum(dim=0) for of in each], dim=1)
    return EdgeProducts(absolute, plain, torch.stack([of.signed.abs().sum(dim=0) for of in each], dim=1))


def tier_of(x: Tensor) -> str:
    """The tier that runs for maps like x: the best of their device and type, or what VISCNN_TIER names.

    Raises:
        InputError: VISCNN_TIER names no tier, or one that cannot run here.
    """
    wanted = os.environ.get("VISCNN_TIER", "").strip().lower()
    if wanted and wanted not in _MODULES:
        known = tuple(_MODULES)
        raise InputError(f"VISCNN_TIER={wanted!r} is no tier{nearest(wanted, known)} (one of {', '.join(known)})")
    if x.dtype != torch.float32 or wanted == "torch":
        return "torch"
    of_device = _OF_DEVICE.get(x.device.type, ())
    if wanted and wanted not in of_device:
        raise InputError(
            f"VISCNN_TIER={wanted} does not run on {x.device.type}; use {' or '.join(of_device)}, or torch"
        )
    if wanted and not _runs(wanted):
        raise InputError(f"VISCNN_TIER={wanted} cannot run here: {_describe(wanted)[1]}")
    if wanted:
        return wanted
    return next((name for name in of_device if _runs(name)), "torch")


@lru_cache
def _runs(name: str) -> bool:
    """Whether a tier can run here; asked for every layer of every batch, so it is looked up once."""
    return _describe(name)[0]


def tiers() -> tuple[Tier, ...]:
    """Every tier, whether it can run here, and which one does on each device."""
    cpu = tier_of(torch.empty(0))
    forced = os.environ.get("VISCNN_TIER", "").strip().lower() == "torch"
    return (
        *(Tier(name, "cpu", *_describe(name), chosen=name == cpu) for name in ("native", "numba", "torch")),
        Tier("triton", "cuda", *_describe("triton"), chosen=_describe("triton")[0] and not forced),
    )


def _describe(name: str) -> tuple[bool, str]:
    if name == "torch":
        return True, "edge maps a few at a time"
    found: tuple[bool, str] = _module(name).describe()
    return found


def _module(name: str) -> ModuleType:
    """The module of a tier, imported when it is first asked for: numba and triton take a second each."""
    return importlib.import_module(f"viscnn.engine.{_MODULES[name]}")


def _pointwise(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, signed: bool) -> EdgeProducts:
    """1x1 kernels: sum_p |A_oi G_o| = |W_oi| (|G| |X|^T)_oi, one matrix product per image and group."""
    rows, columns = gradient.shape[2:]
    x = geometry.padded(x)[:, :, :: geometry.stride[0], :: geometry.stride[1]][:, :, :rows, :columns].flatten(2)
    x = _grouped(x, 1, geometry)  # (N, groups, I, positions)
    gradient = _grouped(gradient.flatten(2), 1, geometry)  # (N, groups, O per group, positions)
    kernels = _grouped(weight[:, :, 0, 0], 0, geometry)  # (groups, O per group, I)
    sums = _Sums(kernels, signed)
    for image, slopes in zip(x, gradient, strict=True):
        sums.absolute.baddbmm_(slopes.abs(), image.abs().mT)
        if signed:
            sums.add_signed(torch.bmm(slopes, image.mT))
    return sums.result(kernels, weight.shape[:2])


def _depthwise(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, signed: bool) -> EdgeProducts:
    """One input per filter: the edge map is the whole output map without its bias."""
    maps = F.conv2d(geometry.padded(x), weight, None, geometry.stride, 0, geometry.dilation, geometry.groups)
    products = maps.mul_(gradient).flatten(2)
    absolute = torch.linalg.vector_norm(products, ord=1, dim=2).sum(dim=0).unsqueeze(1)
    if not signed:
        return EdgeProducts(absolute)
    each = products.sum(dim=2)  # (N, O)
    return EdgeProducts(absolute, each.sum(dim=0).unsqueeze(1), each.abs().sum(dim=0).unsqueeze(1))


def _one_position(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, signed: bool) -> EdgeProducts:
    """Maps of one position: the edge map is one number, the kernel times the patch it lies on."""
    rows, columns = weight.shape[2:]
    patch = geometry.padded(x)[:, :, :: geometry.dilation[0], :: geometry.dilation[1]]
    patch = _grouped(patch[:, :, :rows, :columns].flatten(2), 1, geometry)  # (N, groups, I, entries)
    kernels = _grouped(weight.flatten(2), 0, geometry)  # (groups, O per group, I, entries)
    gradient = _grouped(gradient.flatten(1), 1, geometry)  # (N, groups, O per group)
    sums = _Sums(kernels[..., 0], signed)
    for image, slopes in zip(patch, gradient, strict=True):
        products = torch.einsum("goie,gie->goi", kernels, image) * slopes.unsqueeze(2)
        sums.absolute += products.abs()
        if signed:
            sums.add_signed(products)
    return sums.result(None, weight.shape[:2])


def _grouped(channels: Tensor, dim: int, geometry: Geometry) -> Tensor:
    """The same with dimension `dim` split into (groups, channels per group)."""
    shape = channels.shape
    return channels.reshape(*shape[:dim], geometry.groups, shape[dim] // geometry.groups, *shape[dim + 1 :])


class _Sums:
    """Running sums over images, (groups, filters per group, inputs) each."""

    def __init__(self, like: Tensor, signed: bool) -> None:
        self.absolute = torch.zeros_like(like, memory_format=torch.contiguous_format)
        self.signed = torch.zeros_like(self.absolute) if signed else None
        self.map_absolute = torch.zeros_like(self.absolute) if signed else None

    def add_signed(self, products: Tensor) -> None:
        assert self.signed is not None
        assert self.map_absolute is not None
        self.signed += products
        self.map_absolute += products.abs()

    def result(self, kernels: Tensor | None, shape: torch.Size) -> EdgeProducts:
        """The sums as (filters, inputs), multiplied by the kernels' single entries where these were left out."""
        sums = [self.absolute, self.signed, self.map_absolute]
        if kernels is not None:
            sizes = kernels.abs()
            factors = [sizes, kernels, sizes]
            sums = [each if each is None else each.mul_(by) for each, by in zip(sums, factors, strict=True)]
        absolute, signed, map_absolute = (each if each is None else each.reshape(shape) for each in sums)
        assert absolute is not None
        return EdgeProducts(absolute, signed, map_absolute)
