"""Edge products by a small native library: a C++ kernel for the processor's vectors, reached through ctypes."""

from viscnn.engine.native.library import NativeLibrary, describe, fma_peak, load, variants
from viscnn.engine.native.products import map_products, products

__all__ = ["NativeLibrary", "describe", "fma_peak", "load", "map_products", "products", "variants"]
