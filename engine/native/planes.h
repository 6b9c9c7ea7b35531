// Few input channels: x stays in planes, [channel][row][column] with zero padding.
//
// Dense, over positions (PLANES): LANES adjacent positions of a row at once, for several filters. With a stride along
// the row, a plane is split by column modulo the stride, so that neighbouring positions read neighbouring floats.
//
// At non-zero gradients, over the taps of a kernel's row (TAPS): the products of LANES entries of a list are summed
// over the taps together.
#pragma once

#include "lists.h"

namespace viscnn::VARIANT {
namespace {

constexpr int FILTERS = 4;                             // that share each load of x
constexpr int VECTORS = REGISTERS == 32 ? 4 : 2;       // of adjacent positions that share each weight

// One image's channel, [phase][padded row][column of the phase].
void pack_plane(const Problem &problem, const Plan &plan, int32_t image, int32_t channel, float *packed) {
    const int64_t map = (int64_t)image * problem.groups * problem.inputs + channel;
    const float *from = problem.x + map * problem.height * problem.width;
    const int64_t phase_size = (int64_t)plan.map_rows * plan.map_width;
    memset(packed, 0, sizeof(float) * plan.block_size);
    for (int32_t row = 0; row < problem.height; row++, from += problem.width) {
        float *to = packed + (int64_t)(row + problem.pad_top) * plan.map_width;
        if (plan.phases == 1) {
            memcpy(to + problem.pad_left, from, sizeof(float) * problem.width);
            continue;
        }
        for (int32_t column = 0; column < problem.width; column++) {
            const int32_t padded = column + problem.pad_left;
            to[padded % plan.phases * phase_size + padded / plan.phases] = from[column];
        }
    }
}

// The packed planes of an image's group.
INLINE const float *planes_of(const Problem &problem, const Plan &plan, const Task &task, int32_t image) {
    const int64_t group = (int64_t)(image - task.chunk_start) * problem.groups + task.group;
    return task.maps + group * problem.inputs * plan.block_size;
}

// sums [filter][input][2] of one image, added to `task`'s results and cleared.
void hand_over_planes(const Problem &problem, const Task &task, float *sums) {
    const int64_t first = ((int64_t)task.group * problem.filters + task.first_filter) * problem.inputs;
    const int64_t count = (int64_t)(task.last_filter - task.first_filter) * problem.inputs;
    for (int64_t i = 0; i < count; i++) {
        task.absolute[first + i] += sums[2 * i];
        if (!task.sum) continue;
        task.sum[first + i] += sums[2 * i + 1];
        task.map_absolute[first + i] += __builtin_fabsf(sums[2 * i + 1]);
    }
    memset(sums, 0, sizeof(float) * 2 * count);
}

// A row of the gradients of some filters, [filter][column], zeros beyond the last column and filter.
struct GradientRows {
    float *values;
    int32_t width;  // whole vectors
};

void copy_gradients(const Problem &problem, const float *from, int32_t filters, const GradientRows &rows) {
    memset(rows.values, 0, sizeof(float) * FILTERS * rows.width);
    for (int32_t f = 0; f < filters; f++, from += problem.gradient_filter) {
        if (problem.gradient_column == 1) {
            prefetch<2>(from + problem.gradient_row, problem.columns);
            memcpy(rows.values + f * rows.width, from, sizeof(float) * problem.columns);
            continue;
        }
        for (int32_t column = 0; column < problem.columns; column++)
            rows.values[f * rows.width + column] = from[column * problem.gradient_column];
    }
}

INLINE bool all_zero(const GradientRows &rows, int32_t column, int32_t columns) {
    Integers found = {};
    for (int f = 0; f < FILTERS; f++)
        for (int32_t j = 0; j < columns; j += LANES)
            found |= (Integers)(load(rows.values + f * rows.width + column + j) != 0);
    int32_t any = 0;
    for (int j = 0; j < LANES; j++) any |= found[j];
    return any == 0;
}

// weight [entry][FILTERS]; sums FILTERS * 2 vectors, added to.
template <int COUNT, bool SIGNED>
INLINE void add_positions(const float *from, const float *weight, const int32_t *places, int32_t entries,
                          const GradientRows &rows, int32_t column, float *sums) {
    Vector edges[FILTERS][COUNT] = {};
    for (int32_t k = 0; k < entries; k++, weight += FILTERS) {
        Vector x[COUNT];
#pragma GCC unroll 4
        for (int j = 0; j < COUNT; j++) {
            x[j] = load_unaligned(from + places[k] + j * LANES);
            keep_in_register(x[j]);
        }
#pragma GCC unroll 4
        for (int f = 0; f < FILTERS; f++)
#pragma GCC unroll 4
            for (int j = 0; j < COUNT; j++) edges[f][j] += x[j] * weight[f];
    }
#pragma GCC unroll 4
    for (int f = 0; f < FILTERS; f++) {
        Vector absolute = load(sums + 2 * f * LANES), sum = load(sums + (2 * f + 1) * LANES);
#pragma GCC unroll 4
        for (int j = 0; j < COUNT; j++) {
            const Vector product = edges[f][j] * load(rows.values + f * rows.width + column + j * LANES);
            absolute += size(product);
            if constexpr (SIGNED) sum += product;
        }
        store(sums + 2 * f * LANES, absolute);
        store(sums + (2 * f + 1) * LANES, sum);
    }
}

struct PlanesMemory {
    float *sums;           // [filter][input][2]
    float *vectors;        // [input][FILTERS][2] vectors of a band
    float *weight;         // [input][entry][FILTERS]
    int32_t *places;       // [entry]
    GradientRows rows;
};

// Channels one by one over LANES * COUNT positions of a row; map is at the first of them.
template <int COUNT, bool SIGNED>
INLINE void add_block(const Problem &problem, const Plan &plan, const float *map, const PlanesMemory &memory,
                      int32_t column) {
    const int32_t entries = problem.kernel_height * problem.kernel_width;
    if (all_zero(memory.rows, column, COUNT * LANES)) return;
    for (int32_t c = 0; c < problem.inputs; c++)
        add_positions<COUNT, SIGNED>(map + c * plan.block_size, memory.weight + (int64_t)c * entries * FILTERS,
                                     memory.places, entries, memory.rows, column,
                                     memory.vectors + c * 2 * FILTERS * LANES);
}

// Weights of FILTERS filters, [input][entry][FILTERS], zeros beyond the last filter.
void pack_filters(const Problem &problem, int32_t filter, int32_t filters, float *packed) {
    const int32_t size = problem.inputs * problem.kernel_height * problem.kernel_width;
    const float *from = problem.weight + (int64_t)filter * size;
    for (int32_t i = 0; i < size; i++)
        for (int32_t f = 0; f < FILTERS; f++) packed[i * FILTERS + f] = f < filters ? from[(int64_t)f * size + i] : 0;
}

PlanesMemory planes_memory(const Problem &problem, const Plan &plan, char *memory) {
    const int32_t entries = problem.kernel_height * problem.kernel_width;
    PlanesMemory found;
    found.sums = (float *)memory;
    found.vectors = found.sums + plan.sums;
    found.weight = found.vectors + (int64_t)problem.inputs * FILTERS * 2 * LANES;
    found.rows = {found.weight + ((int64_t)problem.inputs * entries * FILTERS + LANES - 1) / LANES * LANES,
                  (problem.columns + LANES - 1) / LANES * LANES};
    found.places = (int32_t *)(found.rows.values + FILTERS * found.rows.width);
    for (int32_t y = 0; y < problem.kernel_height; y++)
        for (int32_t x = 0; x < problem.kernel_width; x++) {
            const int32_t column = x * problem.dilation_x;
            found.places[y * problem.kernel_width + x] = column % plan.phases * plan.map_rows * plan.map_width +
                                                         y * problem.dilation_y * plan.map_width + column / plan.phases;
        }
    return found;
}

// FILTERS filters from `filter` on of one image.
template <bool SIGNED>
void add_filters(const Problem &problem, const Plan &plan, const Task &task, int32_t image, int32_t filter,
                 const PlanesMemory &memory) {
    const int32_t filters = least(FILTERS, task.last_filter - filter);
    const int32_t first = task.group * problem.filters + filter;
    const float *maps = planes_of(problem, plan, task, image);
    const float *gradient = problem.gradient + image * problem.gradient_image + first * problem.gradient_filter;
    float *sums = memory.sums + (int64_t)(filter - task.first_filter) * problem.inputs * 2;
    pack_filters(problem, first, filters, memory.weight);
    for (int32_t band = 0; band < problem.rows; band += plan.tile_rows) {
        memset(memory.vectors, 0, sizeof(float) * problem.inputs * FILTERS * 2 * LANES);
        for (int32_t row = band; row < least(band + plan.tile_rows, problem.rows); row++) {
            const float *map = maps + (int64_t)row * problem.stride_y * plan.map_width;
            copy_gradients(problem, gradient + row * problem.gradient_row, filters, memory.rows);
            int32_t column = 0;
            for (; column + VECTORS * LANES <= memory.rows.width; column += VECTORS * LANES)
                add_block<VECTORS, SIGNED>(problem, plan, map + column, memory, column);
            for (; column < memory.rows.width; column += LANES)
                add_block<1, SIGNED>(problem, plan, map + column, memory, column);
        }
        for (int32_t f = 0; f < filters; f++)
            for (int32_t c = 0; c < problem.inputs; c++)
                for (int part = 0; part < 2; part++) {
                    const float *vector = memory.vectors + ((c * FILTERS + f) * 2 + part) * LANES;
                    sums[(f * problem.inputs + c) * 2 + part] += sum_of(load(vector));
                }
    }
}

void add_planes(const Problem &problem, const Plan &plan, const Task &task) {
    const PlanesMemory memory = planes_memory(problem, plan, task.memory);
    memset(memory.sums, 0, sizeof(float) * plan.sums);
    for (int32_t image = task.first_image; image < task.last_image; image++) {
        for (int32_t filter = task.first_filter; filter < task.last_filter; filter += FILTERS) {
            if (task.sum) add_filters<true>(problem, plan, task, image, filter, memory);
            else add_filters<false>(problem, plan, task, image, filter, memory);
        }
        hand_over_planes(problem, task, memory.sums);
    }
}

}  // namespace
}  // namespace viscnn::VARIANT
