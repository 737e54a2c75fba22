// kvlab_roofline peaks: what the machine can do.
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/peaks.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  int threads = 0;
  Report report{"peaks"};
};

int run(Flags& f) {
  if (f.threads > 0) set_thread_count(f.threads);
  measure_peaks(thread_count(), f.report);
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kPeaksCommand = {
    "peaks", "bf16 and f32 operations and read bandwidth of this machine", "  kvlab_roofline peaks\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      app.add_option("--threads", f->threads, "threads [all cores]")->check(CLI::Range(1, 1024));
      f->report.declare(app);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
