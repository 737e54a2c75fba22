// Wall time and processor time of a piece of work.
#pragma once

#include <chrono>
#include <ctime>

namespace kvlab {

// Seconds; cpu is that of all threads of the process together.
struct Timing {
  double wall = 0, cpu = 0;
};

class Stopwatch {
 public:
  Stopwatch() : wall_(Clock::now()), cpu_(cpu_seconds()) {}
  Timing read() const {
    return {std::chrono::duration<double>(Clock::now() - wall_).count(), cpu_seconds() - cpu_};
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  Clock::time_point wall_;
  double cpu_;
};

template <typename Work>
Timing timed(Work&& work) {
  const Stopwatch watch;
  work();
  return watch.read();
}

}  // namespace kvlab
