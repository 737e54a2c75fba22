// A team of threads that takes many short steps together, as decoding does: starting a parallel loop for each
// would cost more than the work.
#pragma once

#include <atomic>
#include <exception>
#include <thread>

#include "base/threads.h"

namespace kvlab {

class Team {
 public:
  // Runs body(member) on every thread of the team. Exceptions are passed on.
  template <typename Body>
  static void run(Body&& body);

  class Member {
   public:
    Member(Team& team, int thread) : team_(team), thread_(thread) {}
    int thread() const { return thread_; }
    int threads() const { return team_.threads_; }
    // Runs work() and waits until every member has run its own. After a failure the team only goes through
    // the motions.
    template <typename Work>
    void step(Work&& work) {
      team_.attempt(work);
      team_.wait();
    }
    // A member's share [first, last) of `count` things.
    int first_of(int count) const { return static_cast<int>(int64_t{count} * thread_ / threads()); }
    int last_of(int count) const { return static_cast<int>(int64_t{count} * (thread_ + 1) / threads()); }

   private:
    Team& team_;
    int thread_;
  };

 private:
  explicit Team(int threads) : threads_(threads) {}

  template <typename Work>
  void attempt(Work&& work) {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      work();
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }

  // Spins: the others are nearly there. Yields after a while, for machines with fewer cores than threads.
  void wait() {
    if (threads_ == 1) return;
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins > 4096) std::this_thread::yield();
    }
  }

  int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

template <typename Body>
void Team::run(Body&& body) {
  Team team(1);
#pragma omp parallel
  {
#pragma omp single
    team.threads_ = omp_get_num_threads();
    Member member(team, omp_get_thread_num());
    body(member);
  }
  if (team.error_) std::rethrow_exception(team.error_);
}

}  // namespace kvlab
