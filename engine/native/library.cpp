// The C functions that library.py calls. No part of the C++ runtime library is needed, so that the library runs
// wherever there is a C library.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>

#include "plan.h"
#include "problem.h"
#include "threads.h"

#if defined(__clang__)
#define COMPILER "built with Clang " __clang_version__
#else
#define COMPILER "built with GCC " __VERSION__
#endif

namespace viscnn {
namespace {

constexpr int64_t FLOATS_PER_TASK = 1 << 15;  // of maps times gradients: a task takes some microseconds
constexpr int64_t CHUNK_BYTES = 8 << 20;  // of packed maps, unless one image needs more
constexpr size_t KEPT_BYTES = 16 << 20, HUGE_PAGE = 2 << 20, CACHE_LINE = 64;

// A block of memory that is kept for the next call: fresh pages cost as much as a third of the work.
class Memory {
public:
    explicit Memory(size_t bytes) : block_(kept_.exchange(nullptr)) {
        if (block_ && block_->bytes >= bytes) return;
        free(block_);
        void *found = nullptr;
        if (posix_memalign(&found, bytes < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE, CACHE_LINE + bytes)) found = nullptr;
#if defined(MADV_HUGEPAGE)
        if (found && bytes >= HUGE_PAGE) madvise(found, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
        block_ = static_cast<Block *>(found);
        if (block_) block_->bytes = bytes;
    }
    ~Memory() {
        if (block_ && block_->bytes <= KEPT_BYTES) block_ = kept_.exchange(block_);
        free(block_);
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    // At a cache line; null where there is not enough memory.
    char *data() const { return block_ ? reinterpret_cast<char *>(block_) + CACHE_LINE : nullptr; }

private:
    struct Block {
        size_t bytes;
    };
    static std::atomic<Block *> kept_;
    Block *block_;
};

std::atomic<Memory::Block *> Memory::kept_{nullptr};

constexpr int MOST_VARIANTS = 3;

// Those that this processor can run, best first.
int usable_variants(const Variant **found) {
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        found[count++] = &avx512_variant;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found[count++] = &avx2_variant;
#endif
#if defined(__aarch64__)
    found[count++] = &neon_variant;
#else
    found[count++] = &baseline_variant;
#endif
    return count;
}

const Variant *variant_of(int number) {
    const Variant *found[MOST_VARIANTS];
    return number < usable_variants(found) ? found[number] : nullptr;
}

// A batch is worked through in chunks of images; the first slice adds to the results themselves, the others to sums
// of their own, which join the results in a fixed order: the same call gives the same bits.
struct Work {
    const Problem &problem;
    const Plan &plan;
    const Variant &variant;
    float *maps, *slices;
    char *workers;
    int32_t first, last;  // images of the chunk

    int64_t result_size() const { return (int64_t)problem.groups * problem.filters * problem.inputs; }
    int64_t results() const { return problem.sum ? 3 : 1; }
    int64_t slices_size() const { return (plan.slices - 1) * results() * result_size(); }
};

void point_to_results(const Work &work, int slice, Task &task) {
    const Problem &p = work.problem;
    const int64_t size = work.result_size();
    float *own = work.slices + (slice - 1) * work.results() * size;
    task.absolute = slice ? own : p.absolute;
    task.sum = !p.sum ? nullptr : slice ? own + size : p.sum;
    task.map_absolute = !p.sum ? nullptr : slice ? own + 2 * size : p.map_absolute;
}

void pack_chunk(const Work &work) {
    const int blocks = work.problem.groups * work.plan.blocks;
    run_tasks((work.last - work.first) * blocks, work.problem.threads, [&](int task, int) {
        work.variant.pack_maps(work.problem, work.plan, work.first + task / blocks, task % blocks,
                               work.maps + task * work.plan.block_size);
    });
}

void add_chunk(const Work &work) {
    const Problem &p = work.problem;
    const Plan &plan = work.plan;
    const int per_group = (p.filters + plan.filters_per_task - 1) / plan.filters_per_task;
    const int images = work.last - work.first;
    const size_t bytes = memory_of(p, plan);
    run_tasks(plan.slices * p.groups * per_group, p.threads, [&](int number, int worker) {
        const int slice = number % plan.slices, part = number / plan.slices;
        Task task = {};
        task.maps = work.maps;
        task.chunk_start = work.first;
        task.first_image = work.first + images * slice / plan.slices;
        task.last_image = work.first + images * (slice + 1) / plan.slices;
        task.group = part / per_group;
        task.first_filter = part % per_group * plan.filters_per_task;
        task.last_filter = task.first_filter + plan.filters_per_task;
        if (task.last_filter > p.filters) task.last_filter = p.filters;
        task.memory = work.workers + worker * bytes;
        point_to_results(work, slice, task);
        work.variant.add(p, plan, task);
    });
}

void add_slices(const Work &work) {
    float *results[] = {work.problem.absolute, work.problem.sum, work.problem.map_absolute};
    const int64_t size = work.result_size();
    for (int64_t i = 0; i < work.slices_size(); i++) results[i / size % work.results()][i % size] += work.slices[i];
}

size_t lines(int64_t floats) { return (sizeof(float) * floats + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE; }

bool add_products(const Problem &p, const Variant &variant) {
    const Plan plan = plan_of(p, variant.lanes);
    const int64_t size = image_size(p, plan), fitting = CHUNK_BYTES / (int64_t)sizeof(float) / size;
    const int32_t together = fitting < 1 ? 1 : fitting < p.images ? (int32_t)fitting : p.images;
    Work work = {p, plan, variant, nullptr, nullptr, nullptr, 0, 0};
    const size_t map_bytes = lines(size * together), slice_bytes = lines(work.slices_size());
    const Memory memory(map_bytes + slice_bytes + memory_of(p, plan) * p.threads);
    if (!memory.data()) return false;
    work.maps = reinterpret_cast<float *>(memory.data());
    work.slices = reinterpret_cast<float *>(memory.data() + map_bytes);
    work.workers = memory.data() + map_bytes + slice_bytes;
    memset(work.slices, 0, slice_bytes);
    for (; work.first < p.images; work.first = work.last) {
        work.last = work.first + together < p.images ? work.first + together : p.images;
        pack_chunk(work);
        add_chunk(work);
    }
    add_slices(work);
    return true;
}

double seconds_now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

}  // namespace
}  // namespace viscnn

using namespace viscnn;

#pragma GCC visibility push(default)
extern "C" {

// Name of the `number`th variant that this processor can run, best first; null beyond the last.
const char *viscnn_variant(int number) {
    const Variant *variant = variant_of(number);
    return variant ? variant->name : nullptr;
}

const char *viscnn_compiler() { return COMPILER; }

int viscnn_lanes(int variant) { return variant_of(variant)->lanes; }

void viscnn_use_openmp(void *gomp_parallel) { use_openmp(gomp_parallel); }

int viscnn_choose_method(const Problem *problem, int variant) {
    return choose_method(*problem, variant_of(variant)->lanes);
}

// packed: [group][block of lanes][filter][entry][lane].
void viscnn_pack_weight(const Problem *problem, int variant, float *packed) {
    const Variant *of = variant_of(variant);
    run_tasks(problem->groups * ((problem->inputs + of->lanes - 1) / of->lanes), problem->threads,
              [&](int block, int) { of->pack_weight(*problem, block, packed); });
}

// 0, or 1 when there is not enough memory.
int viscnn_edge_products(const Problem *problem, int variant) {
    return add_products(*problem, *variant_of(variant)) ? 0 : 1;
}

// absolute, sum: sums of |map x gradient| and map x gradient over the positions of each of `count` maps.
void viscnn_map_products(int variant, int threads, const float *maps, const float *gradients, int64_t count,
                         int64_t positions, float *absolute, float *sum) {
    const Variant *of = variant_of(variant);
    const int64_t together = 1 + FLOATS_PER_TASK / (positions + 1);
    run_tasks((int)((count + together - 1) / together), threads, [&](int task, int) {
        const int64_t first = task * together, last = first + together < count ? first + together : count;
        for (int64_t i = first; i < last; i++)
            of->map_products(maps + i * positions, gradients + i * positions, positions, absolute + i, sum + i);
    });
}

// Floating point operations per second of multiply-adds in registers on so many threads: the best of many rounds
// within about `seconds`.
double viscnn_fma_peak(int variant, int threads, double seconds) {
    const Variant *of = variant_of(variant);
    double best = 0;
    for (const double start = seconds_now(); seconds_now() - start < seconds;) {
        std::atomic<int64_t> done{0};
        const double begin = seconds_now();
        run_tasks(threads, threads, [&](int, int) { done += (int64_t)of->multiply_add(1 << 17); });
        const double rate = done / (seconds_now() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

}  // extern "C"
#pragma GCC visibility pop
