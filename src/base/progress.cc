#include "base/progress.h"

#include <atomic>

namespace kvlab {

namespace {
class Silent : public Progress {
 public:
  void begin(const std::string&, int64_t) override {}
  void step(int64_t, const std::string&) override {}
  void end() override {}
};
std::atomic<bool> stop{false};
}  // namespace

Progress& silent_progress() {
  static Silent silent;
  return silent;
}

bool stop_requested() {
  return stop.load(std::memory_order_relaxed);
}
void request_stop() {
  stop.store(true, std::memory_order_relaxed);
}
void clear_stop() {
  stop.store(false, std::memory_order_relaxed);
}

}  // namespace kvlab
