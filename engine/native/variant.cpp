// Everything numeric, compiled once per instruction set: with VARIANT (a namespace), LANES (floats per vector) and
// REGISTERS (vector registers) defined.
#include "channels.h"
#include "planes.h"
#include "problem.h"
#include "taps.h"

namespace viscnn {
namespace VARIANT {
namespace {

void pack_maps(const Problem &problem, const Plan &plan, int32_t image, int32_t block, float *packed) {
    if (problem.method == CHANNELS) pack_channels(problem, plan, image, block, packed);
    else pack_plane(problem, plan, image, block, packed);
}

void add(const Problem &problem, const Plan &plan, const Task &task) {
    if (problem.method == CHANNELS) add_channels(problem, plan, task);
    else if (problem.method == PLANES) add_planes(problem, plan, task);
    else add_taps_of(problem, plan, task);
}

// Sums of |map x gradient| and map x gradient over the positions of one map.
void map_products(const float *map, const float *gradient, int64_t positions, float *absolute, float *sum) {
    constexpr int CHAINS = 4;
    Vector sizes[CHAINS] = {}, plain[CHAINS] = {};
    int64_t i = 0;
    for (; i + CHAINS * LANES <= positions; i += CHAINS * LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < CHAINS; j++) {
            const Vector product = load_unaligned(map + i + j * LANES) * load_unaligned(gradient + i + j * LANES);
            sizes[j] += size(product);
            plain[j] += product;
        }
    }
    float total_size = sum_of((sizes[0] + sizes[1]) + (sizes[2] + sizes[3]));
    float total = sum_of((plain[0] + plain[1]) + (plain[2] + plain[3]));
    for (; i < positions; i++) {
        const float product = map[i] * gradient[i];
        total_size += __builtin_fabsf(product);
        total += product;
    }
    *absolute = total_size;
    *sum = total;
}

// Independent chains of multiply-adds in registers: what the processor can do at most.
double multiply_add(int64_t rounds) {
    constexpr int CHAINS = 12;
    Vector values[CHAINS] = {}, factor, small;
    for (int j = 0; j < LANES; j++) {
        factor[j] = 0.5f;
        small[j] = 1e-3f;
    }
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) values[j] = values[j] * factor + small;
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) keep_in_register(values[j]);
    }
    return 2.0 * CHAINS * LANES * rounds;
}

}  // namespace
}  // namespace VARIANT

#define JOIN_NAMES(a, b) a##b
#define JOIN(a, b) JOIN_NAMES(a, b)
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

const Variant JOIN(VARIANT, _variant) = {
    TEXT(VARIANT), LANES, VARIANT::pack_weight, VARIANT::pack_maps, VARIANT::add, VARIANT::map_products, VARIANT::multiply_add,
};

}  // namespace viscnn
