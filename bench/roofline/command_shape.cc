// kvlab_roofline shape: layers of larger models, with random weights.
#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/inputs.h"
#include "bench/roofline/product_rates.h"
#include "models/layer_products.h"
#include "models/model_shapes.h"
#include "models/random_model.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  ModelFlags model;
  std::string shape = "llama-3.1-8b", recipe = "none";
  int layers = 4, length = 2048, repeats = 3;
  Report report{"shape"};
};

struct Extends {
  Samples samples;
  double flops = 0;  // of one
};

Extends extend_repeatedly(const std::shared_ptr<const Model>& model,
                          const std::shared_ptr<const Method>& method, const Flags& f) {
  const ModelConfig& config = model->config();
  std::vector<int32_t> tokens;
  for (int i = 0; i < f.length; ++i) tokens.push_back(static_cast<int32_t>(i * int64_t{7919} % config.vocab));
  CacheOptions options;
  options.type = f.model.cache_type();
  Extends extends{{thread_count(), {}}, 0};
  Session(model, method, options).extend(std::span(tokens).first(std::min(f.length, 128)));  // warms up
  for (int repeat = 0; repeat < f.repeats; ++repeat) {
    Session session(model, method, options);
    extends.samples.runs.push_back(timed([&] { session.extend(tokens); }));
    extends.flops = layer_flops(config) * f.length +
                    attention_flops(config, entries_seen(config, f.length, session.cache().evicted_at()));
  }
  return extends;
}

Json row_of(const Extends& extends, const Flags& f, const std::string& recipe, double peak) {
  const Samples& samples = extends.samples;
  const double tokens = f.length, seconds = samples.median_seconds();
  Json row = {{"shape", f.shape},
              {"layers", f.layers},
              {"tokens", f.length},
              {"recipe", recipe},
              {"tokens_per_second", tokens / seconds},
              {"slowest", tokens / samples.worst_seconds()},
              {"fastest", tokens / samples.best_seconds()},
              {"flops", extends.flops},
              {"gflops", extends.flops / seconds * 1e-9},
              {"share", extends.flops / seconds / peak}};
  add_cpu(row, samples);
  return row;
}

int run(Flags& f) {
  if (f.model.threads > 0) set_thread_count(f.model.threads);
  const ModelConfig config = first_layers(model_shape(f.shape), f.layers);
  const auto methods = make_methods(f.recipe, config);
  if (methods.size() != 1 || methods[0]->planned())
    throw UserError("--recipe " + f.recipe + ": expected one recipe that acts while tokens stream");
  const DType type = f.model.weight_type();
  const Peaks peaks = measure_peaks(thread_count(), f.report);
  f.report.table("kernels",
                 fmt::format("Products of {}, {}, {} threads", f.shape, dtype_name(type), thread_count()),
                 rate_columns(), product_rates(config, type, thread_count(), peaks));
  const auto model = load_model(random_model(config, 0), {type});
  const Extends extends = extend_repeatedly(model, methods[0], f);
  f.report.table("shape",
                 fmt::format("Layers of {} with random weights, {}, {} threads, median of {}", f.shape,
                             dtype_name(type), thread_count(), f.repeats),
                 with_cpu({{"shape", "shape"},
                           {"layers", "layers", Format::kCount},
                           {"tokens", "tokens", Format::kCount},
                           {"recipe", "recipe"},
                           {"tokens_per_second", "tokens/s", Format::kRate},
                           {"slowest", "slowest", Format::kRate},
                           {"fastest", "fastest", Format::kRate},
                           {"gflops", "GFLOPS", Format::kRate},
                           {"share", "of the peak", Format::kPercent}}),
                 {row_of(extends, f, methods[0]->spec.recipe, peaks.flops(type))});
  f.report.note("Time of extending a session by all tokens, without the output head.");
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kShapeCommand = {
    "shape", "layers of larger models with random weights: products alone and a session",
    "  kvlab_roofline shape --shape llama-3.1-8b --layers 4 --length 2048\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      app.add_option("--shape", f->shape, model_shape_names())->capture_default_str();
      app.add_option("--layers", f->layers, "layers to make")
          ->check(CLI::Range(1, 1000))
          ->capture_default_str();
      app.add_option("--length", f->length, "tokens")->check(CLI::Range(2, 1 << 20))->capture_default_str();
      app.add_option("--recipe", f->recipe, "the method")->capture_default_str();
      app.add_option("--repeats", f->repeats, "how often")->check(CLI::Range(1, 1000))->capture_default_str();
      app.add_option("--dtype", f->model.dtype, "f32 or bf16 [bf16 where the processor has it]");
      app.add_option("--threads", f->model.threads, "threads [all cores]")->check(CLI::Range(1, 1024));
      f->report.declare(app);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
