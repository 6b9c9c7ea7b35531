// Few input channels and wide kernels, at non-zero gradients only: over the taps of a kernel's row.
#pragma once

#include "planes.h"

namespace viscnn::VARIANT {
namespace {

struct Taps {
    int32_t rows, vectors;  // of a kernel; vectors per row
    int32_t step;           // floats between the kernel's rows in a plane
};

// The vectors of COUNT entries of a list, not yet summed over lanes.
template <int COUNT>
INLINE void edges_of(const float *plane, const int32_t *places, const float *weight, const Taps &taps, Vector *edges) {
#pragma GCC unroll 4
    for (int i = 0; i < COUNT; i++) edges[i] = Vector{};
    for (int32_t y = 0; y < taps.rows; y++)
        for (int32_t v = 0; v < taps.vectors; v++, weight += LANES) {
            const Vector value = load(weight);
            const float *from = plane + y * taps.step + v * LANES;
#pragma GCC unroll 4
            for (int i = 0; i < COUNT; i++) edges[i] += value * load_unaligned(from + places[i]);
        }
}

// sums: absolute, sum. The list is whole vectors.
template <bool SIGNED>
void add_taps(const float *plane, const List &list, const float *weight, const Taps &taps, float *sums) {
    Vector absolute = {}, sum = {};
    for (int32_t i = 0; i < list.count; i += LANES) {
        Vector edges[LANES];
#pragma GCC unroll 4
        for (int j = 0; j < LANES; j += 4) edges_of<4>(plane, list.places + i + j, weight, taps, edges + j);
        const Vector product = sums_of(edges) * load_unaligned(list.gradients + i);
        absolute += size(product);
        if constexpr (SIGNED) sum += product;
    }
    sums[0] += sum_of(absolute);
    if constexpr (SIGNED) sums[1] += sum_of(sum);
}

// [filter of the task][input][kernel row][vector], zeros beyond the last tap.
void pack_taps(const Problem &problem, const Task &task, const Taps &taps, float *packed) {
    const int64_t first = (int64_t)task.group * problem.filters + task.first_filter;
    const int32_t width = taps.vectors * LANES;
    const int64_t rows = (int64_t)(task.last_filter - task.first_filter) * problem.inputs * taps.rows;
    const float *from = problem.weight + first * problem.inputs * taps.rows * problem.kernel_width;
    memset(packed, 0, sizeof(float) * rows * width);
    for (int64_t row = 0; row < rows; row++)
        memcpy(packed + row * width, from + row * problem.kernel_width, sizeof(float) * problem.kernel_width);
}

void add_taps_of(const Problem &problem, const Plan &plan, const Task &task) {
    const Taps taps = {problem.kernel_height, (problem.kernel_width + LANES - 1) / LANES,
                       problem.dilation_y * plan.map_width};
    float *sums = (float *)task.memory, *weight = sums + plan.sums;
    List *lists = (List *)(weight + plan.weights);
    const List list = first_list(plan, (char *)(lists + plan.filters_per_task));
    Band band = {0, 0, problem.stride_y * plan.map_width, problem.stride_x, false, true};
    const auto add = task.sum ? add_taps<true> : add_taps<false>;
    const int32_t filters = task.last_filter - task.first_filter, size = taps.rows * taps.vectors * LANES;
    memset(sums, 0, sizeof(float) * plan.sums);
    pack_taps(problem, task, taps, weight);
    for (int32_t image = task.first_image; image < task.last_image; image++) {
        const float *maps = planes_of(problem, plan, task, image);
        for (band.first_row = 0; band.first_row < problem.rows; band.first_row = band.last_row) {
            band.last_row = least(band.first_row + plan.tile_rows, problem.rows);
            build_lists(problem, plan, task, image, band, list, lists);
            for (int32_t i = 0; i < filters * problem.inputs; i++)
                add(maps + i % problem.inputs * plan.block_size, lists[i / problem.inputs], weight + (int64_t)i * size,
                    taps, sums + 2 * i);
        }
        hand_over_planes(problem, task, sums);
    }
}

}  // namespace
}  // namespace viscnn::VARIANT
