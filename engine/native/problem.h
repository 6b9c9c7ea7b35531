// What the dispatcher and the variants (one per instruction set) share: plain data, no templates.
//
// The variants are compiled with other instruction sets than the dispatcher. Nothing with external linkage may be
// defined in a header here: the linker would keep one copy of it, perhaps one that this processor cannot run.
#pragma once

#include <cstddef>
#include <cstdint>

namespace viscnn {

// How the products are vectorised.
enum Method : int32_t {
    CHANNELS = 0,  // over input channels, at non-zero gradients only
    PLANES = 1,    // over positions, dense: few input channels
    TAPS = 2,      // over a kernel's row, at non-zero gradients only: few input channels, wide kernels
};

// One layer and one batch. Mirrored field by field by `_Problem` in library.py.
struct Problem {
    const float *x;              // (images, groups * inputs, height, width), contiguous
    const float *weight;         // (groups * filters, inputs, kernel_height, kernel_width), contiguous
    const float *packed_weight;  // by pack_weight; for CHANNELS only
    const float *gradient;       // (images, groups * filters, rows, columns), with the strides below, in floats
    float *absolute, *sum, *map_absolute;  // (groups * filters, inputs); added to; the last two together null or not
    int64_t gradient_image, gradient_filter, gradient_row, gradient_column;
    int32_t images, groups, inputs, filters;  // inputs and filters per group
    int32_t height, width, rows, columns;     // of a map, of a gradient
    int32_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
    int32_t pad_left, pad_right, pad_top, pad_bottom;
    int32_t threads, method;
};

// How the work is cut; see plan.cpp.
struct Plan {
    int32_t lanes;
    int32_t blocks;               // of `lanes` input channels (CHANNELS); input channels (PLANES, TAPS)
    int32_t phases;               // PLANES: x is split by column modulo stride_x, so that neighbours are adjacent
    int32_t map_rows, map_width;  // of a packed map
    int64_t block_size;           // floats of a packed map of one block
    int32_t tile_rows, tile_columns;      // of positions; what they read of a block stays in the first-level cache
    int32_t filters_per_task, slices;     // a task is some filters of a group and a slice of the images
    int64_t sums, lists, weights;         // floats, list entries and floats in a worker's memory
};

struct Task {
    const float *maps;          // packed; of image 0 of the chunk
    int32_t first_image, last_image;  // of the chunk, in the batch: gradient of image k, map of image k - chunk_start
    int32_t chunk_start;
    int32_t group, first_filter, last_filter;
    float *absolute, *sum, *map_absolute;  // (groups * filters, inputs)
    char *memory;               // the worker's own, as large as memory_of(plan) says
};

struct Variant {
    const char *name;
    int32_t lanes;
    void (*pack_weight)(const Problem &, int32_t block, float *packed);
    void (*pack_maps)(const Problem &, const Plan &, int32_t image, int32_t block, float *packed);
    void (*add)(const Problem &, const Plan &, const Task &);
    void (*map_products)(const float *map, const float *gradient, int64_t positions, float *absolute, float *sum);
    double (*multiply_add)(int64_t rounds);  // returns how many floating point operations it did
};

extern const Variant avx512_variant, avx2_variant, baseline_variant, neon_variant;

}  // namespace viscnn
