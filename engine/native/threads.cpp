#include "threads.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace viscnn {
namespace {

using GompParallel = void (*)(void (*body)(void *), void *data, unsigned threads, unsigned flags);

constexpr int MOST_THREADS = 256;

std::atomic<GompParallel> gomp_parallel{nullptr};
std::atomic<pid_t> gomp_process{0};

struct Region {
    const EachTask each;
    void *const data;
    const int tasks;
    std::atomic<int> next_task{0}, next_worker{0};
};

void work(void *data) {
    Region &region = *static_cast<Region *>(data);
    const int worker = region.next_worker++;
    for (int task; (task = region.next_task++) < region.tasks;) region.each(region.data, task, worker);
}

void *work_on_thread(void *data) {
    work(data);
    return nullptr;
}

// Where no more threads are to be had, the ones there are do it all.
void run_on_own_threads(Region &region, int threads) {
    pthread_t helpers[MOST_THREADS];
    int started = 0;
    while (started < threads - 1 && pthread_create(&helpers[started], nullptr, work_on_thread, &region) == 0) started++;
    work(&region);
    for (int i = 0; i < started; i++) pthread_join(helpers[i], nullptr);
}

}  // namespace

void use_openmp(void *function) {
    gomp_process = getpid();
    gomp_parallel = reinterpret_cast<GompParallel>(function);
}

void run_tasks(int tasks, int threads, EachTask each, void *data) {
    Region region{each, data, tasks};
    const int wanted = threads < tasks ? threads : tasks, used = wanted < MOST_THREADS ? wanted : MOST_THREADS;
    const GompParallel parallel = gomp_parallel;
    if (used <= 1) work(&region);
    else if (parallel && gomp_process == getpid()) parallel(work, &region, used, 0);  // a fork has none of its threads
    else run_on_own_threads(region, used);
}

}  // namespace viscnn
