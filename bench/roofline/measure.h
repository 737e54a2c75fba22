// Timing of work on a number of threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"
#include "bench/roofline/figures.h"

namespace kvlab::roofline {

// How often a piece of work was done, by all threads together, in each sample.
struct Rate {
  Samples samples;
  double calls = 0;
  double best_per_second() const { return calls / samples.best_seconds(); }
  double median_per_second() const { return calls / samples.median_seconds(); }
};

// Runs body(thread) on all threads over and over, at least 50 ms a sample, so that entering the parallel
// region does not count.
template <typename Body>
Rate repeat_on_threads(int threads, Body&& body, int samples = 5) {
  const auto run = [&](int64_t times) {
    return timed([&] {
#pragma omp parallel num_threads(threads)
      for (int64_t i = 0; i < times; ++i) body(omp_get_thread_num());
    });
  };
  run(1);  // warms caches up and makes what is made once
  int64_t times = 1;
  for (double wall = run(times).wall; wall < 0.05; wall = run(times).wall) {
    times = std::max<int64_t>(
        times + 1, std::llround(static_cast<double>(times) * std::min(10.0, 0.06 / std::max(wall, 1e-7))));
  }
  Rate rate{{threads, {}}, static_cast<double>(times) * threads};
  for (int i = 0; i < samples; ++i) rate.samples.runs.push_back(run(times));
  return rate;
}

// Keeps the compiler from leaving out what computed x.
inline void keep(float x) {
  asm volatile("" : : "m"(x) : "memory");
}

}  // namespace kvlab::roofline
