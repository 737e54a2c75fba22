// Progress of long work. The library reports through this interface; only the command line draws.
#pragma once

#include <cstdint>
#include <string>

namespace kvlab {

class Progress {
 public:
  virtual ~Progress() = default;
  // A new piece of work of `total` steps (0: unknown) begins.
  virtual void begin(const std::string& what, int64_t total) = 0;
  virtual void step(int64_t done, const std::string& note = "") = 0;
  virtual void end() = 0;
};

// Says nothing; the default everywhere.
Progress& silent_progress();

// True once the user asked to stop (Ctrl-C); long loops check it between pieces of work and keep what is
// finished.
bool stop_requested();
void request_stop();
void clear_stop();

}  // namespace kvlab
