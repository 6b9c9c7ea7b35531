// A vector of LANES floats, by the vector extensions that GCC and Clang share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace viscnn::VARIANT {
namespace {

typedef float Vector __attribute__((vector_size(4 * LANES), may_alias));
typedef float UnalignedVector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(4 * LANES), may_alias));

#define INLINE inline __attribute__((always_inline))

INLINE Vector load(const float *from) { return *(const Vector *)from; }
INLINE Vector load_unaligned(const float *from) { return *(const UnalignedVector *)from; }
INLINE void store(float *to, Vector value) { *(Vector *)to = value; }
INLINE Vector size(Vector value) { return (Vector)((Integers)value & 0x7fffffff); }
INLINE int least(int a, int b) { return a < b ? a : b; }

// LEVEL 3: into the first-level cache, 2: into the second.
template <int LEVEL>
INLINE void prefetch(const float *from, int64_t floats) {
    for (int64_t i = 0; i < floats; i += 64 / sizeof(float)) __builtin_prefetch(from + i, 0, LEVEL);
}

// One load for several uses: compilers would rather repeat it as an operand of each.
INLINE void keep_in_register(Vector &value) {
#if defined(__x86_64__)
    asm volatile("" : "+v"(value));
#else
    asm volatile("" : "+w"(value));
#endif
}

// Lane j: index < LANES is taken from a, else from b.
template <int... INDEX>
INLINE Vector pick(Vector a, Vector b, std::integer_sequence<int, INDEX...>) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, INDEX...);
#else
    return __builtin_shuffle(a, b, Integers{INDEX...});
#endif
}

template <int STEP, int... J>
constexpr auto lower_indices(std::integer_sequence<int, J...>) {
    return std::integer_sequence<int, ((J & STEP) ? LANES + J - STEP : J)...>();
}

template <int STEP, int... J>
constexpr auto upper_indices(std::integer_sequence<int, J...>) {
    return std::integer_sequence<int, ((J & STEP) ? LANES + J : J + STEP)...>();
}

using Every = std::make_integer_sequence<int, LANES>;

template <int STEP>
INLINE Vector lower(Vector a, Vector b) {
    return pick(a, b, decltype(lower_indices<STEP>(Every())){});
}

template <int STEP>
INLINE Vector upper(Vector a, Vector b) {
    return pick(a, b, decltype(upper_indices<STEP>(Every())){});
}

// LANES vectors as a square matrix, transposed in place.
template <int STEP = 1>
INLINE void transpose(Vector *rows) {
    if constexpr (STEP < LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i & STEP) continue;
            const Vector a = rows[i], b = rows[i + STEP];
            rows[i] = lower<STEP>(a, b);
            rows[i + STEP] = upper<STEP>(a, b);
        }
        transpose<2 * STEP>(rows);
    }
}

// Lane j of the result is the sum over the lanes of vector j.
template <int STEP = 1>
INLINE Vector sums_of(Vector *rows) {
    if constexpr (STEP < LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i += 2 * STEP) {
            const Vector a = rows[i], b = rows[i + STEP];
            rows[i] = lower<STEP>(a, b) + upper<STEP>(a, b);
        }
        return sums_of<2 * STEP>(rows);
    }
    return rows[0];
}

INLINE float sum_of(Vector value) {
    float total = 0;
    for (int j = 0; j < LANES; j++) total += value[j];
    return total;
}

}  // namespace
}  // namespace viscnn::VARIANT
