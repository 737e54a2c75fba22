// kvlab_roofline kernels: matrix products, attention and the rest, each alone.
#include <fmt/format.h>

#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/kernel_rates.h"
#include "bench/roofline/product_rates.h"
#include "cli/common.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  ModelFlags model;
  Report report{"kernels"};
};

int run(Flags& f) {
  const ModelConfig config = f.model.open().config;
  const DType type = f.model.weight_type();
  const int threads = thread_count();
  const Peaks peaks = measure_peaks(threads, f.report);
  std::vector<Json> rows = product_rates(config, type, threads, peaks);
  for (Json& row : attention_rates(config, f.model.cache_type(), threads, peaks))
    rows.push_back(std::move(row));
  for (Json& row : row_rates(config, threads, peaks)) rows.push_back(std::move(row));
  f.report.table(
      "kernels",
      fmt::format("Kernels at the sizes of {}, {}, {} threads", config.name, dtype_name(type), threads),
      rate_columns(), rows);
  f.report.note(
      "Every thread has rows of its own. Products are compared with the peak of their type, the attention of "
      "one query with that of f32. What is counted in GB/s works in the processor's caches, as it does in "
      "the "
      "model, and may exceed the bandwidth of memory.");
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kKernelsCommand = {"kernels",
                                     "matrix products, attention, norms: rates and shares of the peaks",
                                     "  kvlab_roofline kernels\n  kvlab_roofline kernels --dtype f32\n",
                                     [](CLI::App& app) -> std::function<int()> {
                                       auto f = std::make_shared<Flags>();
                                       f->model.declare(app);
                                       f->report.declare(app);
                                       return [f] { return run(*f); };
                                     }};

}  // namespace kvlab::roofline
