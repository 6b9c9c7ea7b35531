#include "plan.h"

#include <algorithm>  // templates only

namespace viscnn {
namespace {

constexpr int64_t CACHE_LINE = 64;
constexpr int64_t LIST_BYTES = 64;  // of a list's bookkeeping, at most
constexpr int32_t TILE_BYTES = 24 * 1024;  // of x: half of a common first-level cache
constexpr int32_t TILE_COLUMNS = 16;
constexpr int64_t MOST_POSITIONS = 10'000;  // in one row of the gradients of a task
constexpr int32_t TAPS_BYTES = 64 * 1024;  // of one channel of x, read row by row
constexpr int32_t PLANES_BAND = 16;  // rows whose products are added up before they join the image's sums

int64_t up_to(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Share of non-zero gradients in about 250 rows of the first image.
double density(const Problem &p) {
    const int64_t rows = (int64_t)p.groups * p.filters * p.rows, step = std::max<int64_t>(1, rows / 250);
    int64_t found = 0, seen = 0;
    for (int64_t row = 0; row < rows; row += step) {
        const float *gradient = p.gradient + row / p.rows * p.gradient_filter + row % p.rows * p.gradient_row;
        for (int32_t column = 0; column < p.columns; column++) found += gradient[column * p.gradient_column] != 0;
        seen += p.columns;
    }
    return seen ? (double)found / seen : 0;
}

// Few filters per task keep many threads busy, and the lists of wide maps short; many share the reading of x.
int32_t filters_per_task(const Problem &p) {
    int32_t filters = 32;
    const auto tasks = [&] { return p.groups * ((p.filters + filters - 1) / filters); };
    while (filters > 4 && (tasks() < 2 * p.threads || (int64_t)filters * p.columns > MOST_POSITIONS)) filters /= 2;
    return std::min(filters, p.filters);
}

// Slices of the images where there are too few filters for the threads; their sums are kept apart.
int32_t slices_of(const Problem &p, int32_t filters) {
    const int32_t tasks = p.groups * ((p.filters + filters - 1) / filters);
    return std::clamp((2 * p.threads + tasks - 1) / tasks, 1, p.images);
}

void cut_tiles(const Problem &p, Plan &plan, int32_t columns, int64_t bytes_per_place, int64_t bytes) {
    const int64_t reach_x = (int64_t)(p.kernel_width - 1) * p.dilation_x;
    const int64_t reach_y = (int64_t)(p.kernel_height - 1) * p.dilation_y;
    plan.tile_columns = std::min(columns, p.columns);
    const int64_t row = ((plan.tile_columns - 1) * (int64_t)p.stride_x + reach_x + 1) * bytes_per_place;
    plan.tile_rows = (int32_t)std::clamp<int64_t>((bytes / row - reach_y - 1) / p.stride_y + 1, 1, p.rows);
    const int32_t bands = (p.rows + plan.tile_rows - 1) / plan.tile_rows;
    plan.tile_rows = (p.rows + bands - 1) / bands;
}

void plan_channels(const Problem &p, Plan &plan) {
    plan.blocks = (p.inputs + plan.lanes - 1) / plan.lanes;
    plan.block_size = (int64_t)plan.map_rows * plan.map_width * plan.lanes;
    const int32_t columns = p.columns <= 2 * TILE_COLUMNS ? p.columns : TILE_COLUMNS;
    cut_tiles(p, plan, columns, plan.lanes * sizeof(float), TILE_BYTES);
    plan.sums = (int64_t)plan.filters_per_task * plan.blocks * 2 * plan.lanes;
}

void plan_planes(const Problem &p, Plan &plan) {
    const int64_t reach = (int64_t)(p.kernel_width - 1) * p.dilation_x;
    plan.blocks = p.inputs;
    plan.phases = p.stride_x;
    const int64_t read = up_to(p.columns, plan.lanes) + reach / p.stride_x + 1;
    const int64_t width = (plan.map_width + p.stride_x - 1) / p.stride_x;
    plan.map_width = (int32_t)up_to(std::max(width, read), plan.lanes);
    plan.block_size = (int64_t)plan.phases * plan.map_rows * plan.map_width;
    plan.tile_rows = std::min(PLANES_BAND, p.rows);
    plan.sums = up_to((int64_t)plan.filters_per_task * p.inputs * 2, plan.lanes);
}

void plan_taps(const Problem &p, Plan &plan) {
    const int64_t row = up_to(p.kernel_width, plan.lanes);
    plan.blocks = p.inputs;
    const int64_t read = (int64_t)(p.columns - 1) * p.stride_x + row;
    plan.map_width = (int32_t)up_to(std::max<int64_t>(plan.map_width, read), plan.lanes);
    plan.block_size = (int64_t)plan.map_rows * plan.map_width;
    cut_tiles(p, plan, p.columns, sizeof(float), TAPS_BYTES);
    plan.sums = up_to((int64_t)plan.filters_per_task * p.inputs * 2, plan.lanes);
    plan.weights = (int64_t)plan.filters_per_task * p.inputs * p.kernel_height * row;
}

}  // namespace

// In multiply-adds of a vector, with what was measured for the rest of the inner loops.
Method choose_method(const Problem &p, int lanes) {
    if (p.inputs >= 4 * lanes) return CHANNELS;
    const double entries = p.kernel_height * p.kernel_width, found = density(p) * p.columns;
    const double blocks = (p.inputs + lanes - 1) / lanes, columns = (p.columns + lanes - 1) / lanes;
    const double channels = found * blocks * (1.2 * entries + 3);
    const double planes = columns * p.inputs * (entries + 4);
    const double taps = found * p.inputs * (1.7 * p.kernel_height * ((p.kernel_width + lanes - 1) / lanes) + 4);
    if (p.dilation_x == 1 && taps < std::min(channels, planes)) return TAPS;
    return planes < channels ? PLANES : CHANNELS;
}

Plan plan_of(const Problem &p, int lanes) {
    Plan plan = {};
    plan.lanes = lanes;
    plan.phases = 1;
    plan.map_rows = p.height + p.pad_top + p.pad_bottom;
    plan.map_width = p.width + p.pad_left + p.pad_right;
    plan.filters_per_task = filters_per_task(p);
    plan.slices = slices_of(p, plan.filters_per_task);
    if (p.method == CHANNELS) plan_channels(p, plan);
    else if (p.method == PLANES) plan_planes(p, plan);
    else plan_taps(p, plan);
    if (p.method != PLANES) {
        const int64_t tiles = (p.columns + plan.tile_columns - 1) / plan.tile_columns;
        const int64_t entries = (int64_t)plan.tile_rows * p.columns + tiles * lanes;
        plan.lists = up_to(plan.filters_per_task * entries + CACHE_LINE, 4);
    }
    return plan;
}

size_t memory_of(const Problem &p, const Plan &plan) {
    const int64_t floats = plan.sums + plan.weights;
    if (p.method == PLANES) {
        const int64_t entries = p.kernel_height * p.kernel_width;
        const int64_t vectors = (int64_t)p.inputs * 8 * plan.lanes, weights = up_to(p.inputs * entries * 4, plan.lanes);
        const int64_t gradients = 4 * up_to(p.columns, plan.lanes);
        return up_to(sizeof(float) * (floats + vectors + weights + gradients + entries), CACHE_LINE);
    }
    const int64_t tiles = (p.columns + plan.tile_columns - 1) / plan.tile_columns;
    return up_to(sizeof(float) * floats + LIST_BYTES * tiles * plan.filters_per_task + 5 * sizeof(float) * plan.lists,
                 CACHE_LINE);
}

int64_t image_size(const Problem &p, const Plan &plan) { return p.groups * plan.blocks * plan.block_size; }

}  // namespace viscnn
