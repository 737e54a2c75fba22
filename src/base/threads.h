// The one thread pool is OpenMP's (the same that oneDNN uses).
#pragma once

#include <omp.h>

#include <exception>

namespace kvlab {

inline int thread_count() {
  return omp_get_max_threads();
}
inline void set_thread_count(int threads) {
  omp_set_num_threads(threads);
}

// Runs body(task, thread) for every task of [0, tasks), handed out one at a time. Exceptions are passed on.
template <typename Body>
void parallel_tasks(int tasks, Body&& body) {
  std::exception_ptr error;
#pragma omp parallel if (tasks > 1)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < tasks; ++task) {
      try {
        body(task, thread);
      } catch (...) {
#pragma omp critical(kvlab_parallel_error)
        if (!error) error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace kvlab
