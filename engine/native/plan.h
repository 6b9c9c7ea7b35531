// How a problem is cut into tasks and tiles.
#pragma once

#include <cstddef>

#include "problem.h"

namespace viscnn {

// The method with the least expected time, by the share of gradients that are not zero in a sample.
Method choose_method(const Problem &problem, int lanes);

Plan plan_of(const Problem &problem, int lanes);

// Bytes of a worker's memory, a multiple of a cache line.
size_t memory_of(const Problem &problem, const Plan &plan);

// Floats of one image's packed maps.
int64_t image_size(const Problem &problem, const Plan &plan);

}  // namespace viscnn
