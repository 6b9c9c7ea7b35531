"""Criteria of one ordinary pass: products and means of the maps and gradients of each layer (DESIGN section 4).

The identities of a sum are scored like kernels, by the same formulas: A_oi is the map o of addend i.
"""

from collections.abc import Iterator

from torch import Tensor

from viscnn.engine.batch import Batch, LayerMaps
from viscnn.engine.criteria.registry import Scores, criterion

__all__ = ["activation", "gradient", "taylor", "taylor_filters", "taylor_map", "taylor_signed"]


@criterion("taylor", "mean over images and positions of |map x gradient|")
def taylor(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k mean_p |A_oi G_o|; filter: mean_k mean_p |a_o dT/da_o|. Hamblin & Alvarez 2021, eq. 4."""
    for maps in batch.layers:
        products = maps.products
        kernel = maps.no_kernels() if products is None else products.absolute / maps.layer.positions
        yield Scores(kernel, taylor_filters(maps))


def taylor_filters(maps: LayerMaps) -> Tensor:
    """mean_p |a_o dT/da_o| per image, (N, O)."""
    if maps.map_products is None:
        return maps.no_filters()
    return maps.map_products.absolute / maps.layer.positions


@criterion("taylor-signed", "sum over positions of map x gradient", signed=True, products=True)
def taylor_signed(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k sum_p A_oi G_o, which is mean_k <W_oi, dT_k/dW_oi>; filter: mean_k sum_p a_o dT/da_o."""
    for maps in batch.layers:
        kernel = maps.no_kernels() if maps.products is None else maps.products.signed
        assert kernel is not None
        yield Scores(kernel, maps.no_filters() if maps.map_products is None else maps.map_products.signed)


@criterion("taylor-map", "mean over images of |mean over positions of map x gradient|", products=True)
def taylor_map(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k |mean_p A_oi G_o|; filter: mean_k |mean_p a_o dT/da_o|. Molchanov et al. 2017, eq. 8."""
    for maps in batch.layers:
        products, of_filters = maps.products, maps.map_products
        if products is None or of_filters is None:
            yield Scores(maps.no_kernels(), maps.no_filters())
        else:
            assert products.map_absolute is not None
            positions = maps.layer.positions
            yield Scores(products.map_absolute / positions, of_filters.signed.abs() / positions)


@criterion("activation", "mean size of the map", gradients=False)
def activation(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k mean_p |A_oi|; filter: mean_k mean_p a_o."""
    for maps in batch.layers:
        everywhere = maps.a.new_ones(()).expand(maps.a.shape)
        sums = maps.products_with(everywhere, signed=False)
        yield Scores(sums.absolute / maps.layer.positions, maps.a.mean(dim=(2, 3)))


@criterion("gradient", "mean |gradient|; equal for all kernels into a filter")
def gradient(batch: Batch) -> Iterator[Scores]:
    """Kernel and filter: mean_k mean_p |G_o|; Z_o is a sum of edge maps, so it cannot rank the kernels into o."""
    for maps in batch.layers:
        sizes = maps.no_filters() if maps.gradient is None else maps.gradient.abs().mean(dim=(2, 3))
        yield Scores(sizes.sum(dim=0).unsqueeze(1).expand(-1, maps.layer.inputs), sizes)
