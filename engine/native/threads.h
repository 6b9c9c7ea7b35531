// Numbered tasks on several threads.
#pragma once

namespace viscnn {

// GOMP_parallel of an OpenMP runtime that the process uses already, or null. Its threads are awake between two
// parallel regions, and spin; threads of our own would share their processors with them.
void use_openmp(void *gomp_parallel);

using EachTask = void (*)(void *data, int task, int worker);

// Calls `each` once for every task; a worker (below `threads`) does one task at a time.
void run_tasks(int tasks, int threads, EachTask each, void *data);

// The same for a function object (task, worker).
template <typename Function>
void run_tasks(int tasks, int threads, Function function) {
    run_tasks(tasks, threads, [](void *data, int task, int worker) { (*static_cast<Function *>(data))(task, worker); },
              &function);
}

}  // namespace viscnn
