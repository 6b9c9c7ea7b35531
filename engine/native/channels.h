// Over input channels: a packed map is [position][channel], a kernel's entries are one vector each.
//
// Per filter, block of LANES channels and tile: the kernel's vectors stay in registers while the list of non-zero
// gradients is gone through; each entry is one multiply-add per kernel entry, then |A g| and A g are added up.
#pragma once

#include "lists.h"

namespace viscnn::VARIANT {
namespace {

struct Steps {
    int32_t row, column;    // floats between neighbouring entries of a kernel in a packed map
    int32_t height, width;  // of the kernel
};

struct Sums {
    Vector absolute, sum;

    template <bool SIGNED>
    INLINE void add(Vector edge, float gradient) {
        const Vector product = edge * gradient;
        absolute += size(product);
        if constexpr (SIGNED) sum += product;
    }
};

// sums: 2 vectors (absolute, sum), added to.
using AddList = void (*)(const float *map, const List &list, const float *weight, const Steps &steps, float *sums);

template <int HEIGHT, int WIDTH>
INLINE Vector edge_at(const float *from, const Vector *weight, int32_t row) {
    Vector edge = weight[0] * load(from);
#pragma GCC unroll 32
    for (int k = 1; k < HEIGHT * WIDTH; k++) edge += weight[k] * load(from + (k / WIDTH) * row + (k % WIDTH) * LANES);
    return edge;
}

// Whether pairs are worth the registers.
template <int HEIGHT>
constexpr bool PAIRED = HEIGHT == 3;

// Those of `from` and of its right neighbour: each vector of x serves both kernels where they overlap.
template <int HEIGHT, int WIDTH>
INLINE void edges_at(const float *from, const Vector *weight, int32_t row, Vector &left, Vector &right) {
    left = right = Vector{};
#pragma GCC unroll 8
    for (int y = 0; y < HEIGHT; y++) {
#pragma GCC unroll 16
        for (int x = 0; x <= WIDTH; x++) {
            Vector value = load(from + y * row + x * LANES);
            keep_in_register(value);
            if (x < WIDTH) left += weight[y * WIDTH + x] * value;
            if (x > 0) right += weight[y * WIDTH + x - 1] * value;
        }
    }
}

template <int HEIGHT, int WIDTH, bool SIGNED>
void add_list(const float *map, const List &list, const float *packed, const Steps &steps, float *sums) {
    Vector weight[HEIGHT * WIDTH];
#pragma GCC unroll 32
    for (int k = 0; k < HEIGHT * WIDTH; k++) weight[k] = load(packed + k * LANES);
    Sums total = {load(sums), load(sums + LANES)};
    for (int32_t i = 0; i < list.count; i++)
        total.add<SIGNED>(edge_at<HEIGHT, WIDTH>(map + list.places[i], weight, steps.row), list.gradients[i]);
    for (int32_t i = 0; PAIRED<HEIGHT> && i < list.pairs; i++) {
        Vector left, right;
        edges_at<HEIGHT, WIDTH>(map + list.pair_places[i], weight, steps.row, left, right);
        total.add<SIGNED>(left, list.left[i]);
        total.add<SIGNED>(right, list.right[i]);
    }
    store(sums, total.absolute);
    store(sums + LANES, total.sum);
}

// Any kernel: COUNT entries of the list share each load of a weight.
template <int COUNT, bool SIGNED>
INLINE void add_some(const float *map, const List &list, int32_t first, const float *weight, const Steps &steps,
                     Sums &total) {
    const float *from[COUNT];
    Vector edges[COUNT];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
        from[i] = map + list.places[first + i];
        edges[i] = Vector{};
    }
    for (int32_t y = 0; y < steps.height; y++) {
        for (int32_t x = 0; x < steps.width; x++, weight += LANES) {
            const Vector value = load(weight);
            const int64_t place = (int64_t)y * steps.row + (int64_t)x * steps.column;
#pragma GCC unroll 8
            for (int i = 0; i < COUNT; i++) edges[i] += value * load(from[i] + place);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) total.add<SIGNED>(edges[i], list.gradients[first + i]);
}

template <bool SIGNED>
void add_list_of_any_kernel(const float *map, const List &list, const float *weight, const Steps &steps, float *sums) {
    Sums total = {load(sums), load(sums + LANES)};
    int32_t i = 0;
    for (; i + 8 <= list.count; i += 8) add_some<8, SIGNED>(map, list, i, weight, steps, total);
    for (; i + 2 <= list.count; i += 2) add_some<2, SIGNED>(map, list, i, weight, steps, total);
    for (; i < list.count; i++) add_some<1, SIGNED>(map, list, i, weight, steps, total);
    store(sums, total.absolute);
    store(sums + LANES, total.sum);
}

// Kernels whose vectors fit in the registers.
INLINE bool in_registers(const Problem &problem) {
    if (problem.dilation_x != 1 || problem.kernel_height != problem.kernel_width) return false;
    return problem.kernel_height == 3 || (problem.kernel_height == 5 && REGISTERS == 32);
}

template <bool SIGNED>
AddList add_list_of(const Problem &problem) {
    if (!in_registers(problem)) return add_list_of_any_kernel<SIGNED>;
#if REGISTERS == 32
    if (problem.kernel_height == 5) return add_list<5, 5, SIGNED>;
#endif
    return add_list<3, 3, SIGNED>;
}

// sums [filter][block][2][LANES] of one image, added to `task`'s results and cleared.
void hand_over_channels(const Problem &problem, const Task &task, float *sums) {
    for (int32_t filter = task.first_filter; filter < task.last_filter; filter++) {
        const int64_t row = ((int64_t)task.group * problem.filters + filter) * problem.inputs;
        for (int32_t channel = 0; channel < problem.inputs; channel += LANES, sums += 2 * LANES) {
            for (int j = 0; j < least(LANES, problem.inputs - channel); j++) {
                task.absolute[row + channel + j] += sums[j];
                if (!task.sum) continue;
                task.sum[row + channel + j] += sums[LANES + j];
                task.map_absolute[row + channel + j] += __builtin_fabsf(sums[LANES + j]);
            }
            memset(sums, 0, sizeof(float) * 2 * LANES);
        }
    }
}

void add_channels(const Problem &problem, const Plan &plan, const Task &task) {
    const AddList add = task.sum ? add_list_of<true>(problem) : add_list_of<false>(problem);
    const int32_t entries = problem.kernel_height * problem.kernel_width;
    const int32_t filters = task.last_filter - task.first_filter;
    const Steps steps = {problem.dilation_y * plan.map_width * LANES, problem.dilation_x * LANES, problem.kernel_height,
                         problem.kernel_width};
    const int32_t tiles = tiles_of(problem, plan);
    float *sums = (float *)task.memory;
    List *lists = (List *)(sums + plan.sums);
    const List list = first_list(plan, (char *)(lists + plan.filters_per_task * tiles));
    Band band = {0, 0, problem.stride_y * plan.map_width * LANES, problem.stride_x * LANES,
                 in_registers(problem) && problem.stride_x == 1 && problem.kernel_height == 3, false};
    memset(sums, 0, sizeof(float) * plan.sums);
    for (int32_t image = task.first_image; image < task.last_image; image++) {
        const int64_t first_block = ((int64_t)(image - task.chunk_start) * problem.groups + task.group) * plan.blocks;
        for (band.first_row = 0; band.first_row < problem.rows; band.first_row = band.last_row) {
            band.last_row = least(band.first_row + plan.tile_rows, problem.rows);
            build_lists(problem, plan, task, image, band, list, lists);
            for (int32_t block = 0; block < plan.blocks; block++) {
                const float *map = task.maps + (first_block + block) * plan.block_size;
                const int64_t first_kernel =
                    ((int64_t)task.group * plan.blocks + block) * problem.filters + task.first_filter;
                const float *weight = problem.packed_weight + first_kernel * entries * LANES;
                for (int32_t tile = 0; tile < tiles; tile++)
                    for (int32_t f = 0; f < filters; f++) {
                        const List &each = lists[f * tiles + tile];
                        if (each.count + each.pairs == 0) continue;
                        float *to = sums + ((int64_t)f * plan.blocks + block) * 2 * LANES;
                        prefetch<3>(weight + (int64_t)(f + 1) * entries * LANES, entries * LANES);
                        add(map, each, weight + (int64_t)f * entries * LANES, steps, to);
                    }
            }
        }
        hand_over_channels(problem, task, sums);
    }
}

// Block `block` of all groups' blocks: [filter][entry][lane], zeros beyond the last input.
void pack_weight(const Problem &problem, int32_t block, float *packed) {
    const int32_t blocks = (problem.inputs + LANES - 1) / LANES, entries = problem.kernel_height * problem.kernel_width;
    const int32_t group = block / blocks, channel = block % blocks * LANES;
    float *to = packed + (int64_t)block * problem.filters * entries * LANES;
    for (int32_t f = 0; f < problem.filters; f++) {
        const int64_t kernel = ((int64_t)group * problem.filters + f) * problem.inputs + channel;
        const float *from = problem.weight + kernel * entries;
        for (int32_t k = 0; k < entries; k++, to += LANES)
            for (int32_t j = 0; j < LANES; j++) to[j] = channel + j < problem.inputs ? from[j * entries + k] : 0;
    }
}

// One position after another of a map without padding, and where it lies in the packed one.
struct Cursor {
    int32_t width, skip;  // skip: floats from the end of one row to the start of the next
    int32_t column;
    float *to;

    INLINE void put(Vector value) {
        store(to, value);
        to += LANES;
        if (++column == width) {
            column = 0;
            to += skip;
        }
    }
};

INLINE void clear(float *to, int64_t positions) { memset(to, 0, sizeof(float) * LANES * positions); }

void clear_padding(const Problem &problem, const Plan &plan, float *to) {
    const int32_t last = plan.map_width - problem.pad_right;
    clear(to, (int64_t)problem.pad_top * plan.map_width);
    to += (int64_t)problem.pad_top * plan.map_width * LANES;
    for (int32_t row = 0; row < problem.height; row++, to += plan.map_width * LANES) {
        clear(to, problem.pad_left);
        clear(to + (int64_t)last * LANES, problem.pad_right);
    }
    clear(to, (int64_t)problem.pad_bottom * plan.map_width);
}

// One image's LANES channels, [padded row][padded column][lane].
void pack_channels(const Problem &problem, const Plan &plan, int32_t image, int32_t block, float *packed) {
    const int32_t group = block / plan.blocks, channel = block % plan.blocks * LANES;
    const int32_t size = problem.height * problem.width, channels = least(LANES, problem.inputs - channel);
    const float *from =
        problem.x + (((int64_t)image * problem.groups + group) * problem.inputs + channel) * (int64_t)size;
    clear_padding(problem, plan, packed);
    float *first = packed + ((int64_t)problem.pad_top * plan.map_width + problem.pad_left) * LANES;
    Cursor cursor = {problem.width, (problem.pad_left + problem.pad_right) * LANES, 0, first};
    int32_t position = 0;
    for (; position + LANES <= size; position += LANES) {
        Vector rows[LANES] = {};
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++)
            if (j < channels) rows[j] = load_unaligned(from + (int64_t)j * size + position);
        transpose(rows);
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) cursor.put(rows[j]);
    }
    for (; position < size; position++) {
        Vector value = {};
        for (int j = 0; j < channels; j++) value[j] = from[(int64_t)j * size + position];
        cursor.put(value);
    }
}

}  // namespace
}  // namespace viscnn::VARIANT
