// Where the gradient is not zero: per filter and tile of positions, places in a packed map and gradients there.
//
// Two neighbours in a row that are both not zero make a pair: their kernels overlap, so most vectors of x are read
// once for both. Reading x is what bounds the inner loop. (Four neighbours gain hardly more than two.)
#pragma once

#include <cstring>

#include "problem.h"
#include "vector.h"
#if LANES == 16
#include <immintrin.h>
#endif

namespace viscnn::VARIANT {
namespace {

// One tile and filter; places are in floats, of a kernel's first entry.
struct List {
    int32_t *places;
    float *gradients;
    int32_t *pair_places;  // of the left neighbour
    float *left, *right;
    int32_t count, pairs;
};

struct Row {
    const float *gradient;  // of the row's first column
    int64_t step;           // floats from one column to the next
    int32_t place, place_step;
};

#if LANES == 16

// Entries are written 16 at a time, so some past the end.
INLINE void append_chosen(uint32_t chosen, __m512i places, __m512 gradients, int32_t *to, float *to_gradients) {
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)chosen, places));
    _mm512_storeu_ps(to_gradients, _mm512_maskz_compress_ps((__mmask16)chosen, gradients));
}

// Up to 16 columns. Pairs start at even columns first, then at odd ones among what is left.
INLINE void append(List &list, const float *gradients, int32_t columns, int32_t place, int32_t step, bool pairs) {
    const __mmask16 inside = (__mmask16)((1u << columns) - 1);
    const __m512 values = _mm512_maskz_loadu_ps(inside, gradients);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i steps = _mm512_mullo_epi32(lane, _mm512_set1_epi32(step));
    const __m512i places = _mm512_add_epi32(_mm512_set1_epi32(place), steps);
    uint32_t found = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    if (pairs) {
        const uint32_t even = found & (found >> 1) & 0x5555;
        const uint32_t rest = found & ~(even * 3);
        const uint32_t odd = rest & (rest >> 1) & 0xaaaa;
        const uint32_t first = even | odd;
        append_chosen(first, places, values, list.pair_places + list.pairs, list.left + list.pairs);
        _mm512_storeu_ps(list.right + list.pairs, _mm512_maskz_compress_ps((__mmask16)(first << 1), values));
        list.pairs += __builtin_popcount(first);
        found = rest & ~(odd * 3);
    }
    append_chosen(found, places, values, list.places + list.count, list.gradients + list.count);
    list.count += __builtin_popcount(found);
}

#else

INLINE void append_one(List &list, float gradient, int32_t place, bool wanted) {
    list.places[list.count] = place;
    list.gradients[list.count] = gradient;
    list.count += wanted;
}

INLINE void append(List &list, const float *gradients, int32_t columns, int32_t place, int32_t step, bool pairs) {
    int32_t j = 0;
    for (; pairs && j + 2 <= columns; j += 2, place += 2 * step) {
        const bool left = gradients[j] != 0, right = gradients[j + 1] != 0;
        list.pair_places[list.pairs] = place;
        list.left[list.pairs] = gradients[j];
        list.right[list.pairs] = gradients[j + 1];
        list.pairs += left & right;
        append_one(list, gradients[j], place, left & !right);
        append_one(list, gradients[j + 1], place + step, right & !left);
    }
    for (; j < columns; j++, place += step) append_one(list, gradients[j], place, gradients[j] != 0);
}

#endif

// Columns [first, last) of one row of the gradient.
INLINE void append_row(List &list, const Row &row, int32_t first, int32_t last, bool pairs) {
    for (int32_t column = first; column < last; column += 16) {
        const int32_t columns = least(16, last - column);
        const float *from = row.gradient + column * row.step;
        float copy[16];
        if (row.step != 1) {
            for (int32_t j = 0; j < columns; j++) copy[j] = from[j * row.step];
            from = copy;
        }
        append(list, from, columns, row.place + column * row.place_step, row.place_step, pairs);
    }
}

// The lists of a band: the tiles side by side in some rows of positions, for the filters of a task.
struct Band {
    int32_t first_row, last_row;
    int32_t place_row, place_column;  // floats from one position to the next in a packed map
    bool pairs;
    bool whole_vectors;  // lists are filled up to a multiple of LANES by zero gradients
};

INLINE int32_t tiles_of(const Problem &problem, const Plan &plan) {
    return (problem.columns + plan.tile_columns - 1) / plan.tile_columns;
}

// An empty list in a worker's memory: five arrays of plan.lists entries.
INLINE List first_list(const Plan &plan, char *memory) {
    int32_t *places = (int32_t *)memory;
    float *gradients = (float *)(places + 2 * plan.lists);
    return {places, gradients, places + plan.lists, gradients + plan.lists, gradients + 2 * plan.lists, 0, 0};
}

INLINE List next_list(const List &list) {
    return {list.places + list.count,
            list.gradients + list.count,
            list.pair_places + list.pairs,
            list.left + list.pairs,
            list.right + list.pairs,
            0,
            0};
}

INLINE void fill_up(List &list) {
    for (; list.count % LANES; list.count++) {
        list.places[list.count] = 0;
        list.gradients[list.count] = 0;
    }
}

constexpr int AHEAD = 2;  // filters

// The rows of a band come from far away, and too few at once for the processor to guess what is next.
INLINE void prefetch_rows(const Problem &problem, const float *gradient, const Band &band) {
    const int64_t rows = band.last_row - band.first_row;
    prefetch<2>(gradient + band.first_row * problem.gradient_row, rows * problem.gradient_row);
}

// Writes lists[filter][tile] of one image for the filters of `task`.
inline void build_lists(const Problem &problem, const Plan &plan, const Task &task, int32_t image, const Band &band,
                        List list, List *lists) {
    for (int32_t filter = task.first_filter; filter < task.last_filter; filter++) {
        const float *gradient = problem.gradient + image * problem.gradient_image +
                                ((int64_t)task.group * problem.filters + filter) * problem.gradient_filter;
        prefetch_rows(problem, gradient + AHEAD * problem.gradient_filter, band);
        for (int32_t first = 0; first < problem.columns; first += plan.tile_columns) {
            const int32_t last = least(first + plan.tile_columns, problem.columns);
            for (int32_t row = band.first_row; row < band.last_row; row++) {
                const float *from = gradient + row * problem.gradient_row;
                append_row(list, {from, problem.gradient_column, row * band.place_row, band.place_column}, first, last,
                           band.pairs);
            }
            if (band.whole_vectors) fill_up(list);
            *lists++ = list;
            list = next_list(list);
        }
    }
}

}  // namespace
}  // namespace viscnn::VARIANT
