// kvlab_roofline run: whole texts under recipes, the model and the losses of all tokens.
#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "bench/roofline/commands.h"
#include "bench/roofline/inputs.h"
#include "bench/roofline/peaks.h"
#include "evals/document_run.h"
#include "models/layer_products.h"

namespace kvlab::roofline {

namespace {

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string lengths = "1024,4096";
  std::string recipes =
      "none streaming_llm(sinks=4,window=128) knorm(threshold=-17,window=128,sinks=0) h2o(keep=0.5)";
  int repeats = 5;
  Report report{"run"};
};

// One recipe at one length.
struct RecipeRuns {
  std::shared_ptr<const Method> method;
  Samples samples;
  double flops = 0, seen = 0;  // operations of a run; entries seen / entries there would be
};

struct Context {
  std::shared_ptr<const Model> model;
  DType kv_type = DType::kF32;
  int repeats = 1;
};

TokenDocument document_of(const std::vector<int32_t>& tokens, int64_t length) {
  TokenDocument document;
  document.id = "roofline";
  document.tokens.assign(tokens.begin(), tokens.begin() + length);
  document.scored.assign(length, 1);
  document.scored[0] = 0;
  return document;
}

void run_once(const Context& context, const TokenDocument& document, RecipeRuns& runs) {
  RunOptions options;
  options.kv_type = context.kv_type;
  const DocumentResult result = run_document(context.model, runs.method, document, options).result;
  const ModelConfig& config = context.model->config();
  runs.samples.runs.push_back({result.seconds, result.cpu_seconds});
  runs.flops = layer_flops(config) * static_cast<double>(result.tokens) +
               head_flops(config) * static_cast<double>(result.tokens_scored) +
               attention_flops(config, result.seen_visible);
  runs.seen = result.seen_visible / result.seen_dense;
}

Json row_of(const RecipeRuns& runs, const RecipeRuns& dense, int64_t length, double peak) {
  const auto tokens = static_cast<double>(length);
  const double seconds = runs.samples.median_seconds();
  Json row = {{"tokens", length},
              {"recipe", runs.method->spec.recipe},
              {"tokens_per_second", tokens / seconds},
              {"slowest", tokens / runs.samples.worst_seconds()},
              {"fastest", tokens / runs.samples.best_seconds()},
              {"flops", runs.flops},
              {"gflops", runs.flops / seconds * 1e-9},
              {"share", runs.flops / seconds / peak},
              {"of_none", dense.samples.median_seconds() / seconds},
              {"seen", runs.seen}};
  add_cpu(row, runs.samples);
  return row;
}

// Recipes take turns, so that a drift of the machine hits all alike.
std::vector<RecipeRuns> run_length(const Context& context,
                                   const std::vector<std::shared_ptr<const Method>>& methods,
                                   const std::vector<int32_t>& tokens, int64_t length) {
  std::vector<RecipeRuns> all;
  for (const auto& method : methods) {
    RecipeRuns runs{.method = method, .samples = {}};
    run_once(context, document_of(tokens, std::min<int64_t>(length, 256)), runs);  // warms up
    runs.samples = {thread_count(), {}};
    all.push_back(std::move(runs));
  }
  const TokenDocument document = document_of(tokens, length);
  for (int repeat = 0; repeat < context.repeats; ++repeat) {
    for (RecipeRuns& runs : all) run_once(context, document, runs);
  }
  return all;
}

std::vector<Column> columns() {
  return with_cpu({{"tokens", "tokens", Format::kCount},
                   {"recipe", "recipe"},
                   {"tokens_per_second", "tokens/s", Format::kRate},
                   {"slowest", "slowest", Format::kRate},
                   {"fastest", "fastest", Format::kRate},
                   {"gflops", "GFLOPS", Format::kRate},
                   {"share", "of the peak", Format::kPercent},
                   {"of_none", "of none", Format::kRatio},
                   {"seen", "seen", Format::kPercent}});
}

// `none` comes first, named or not: the others are compared with it.
std::vector<std::shared_ptr<const Method>> methods_of(const std::string& recipes, const ModelConfig& config) {
  auto methods = make_methods(recipes, config);
  const auto dense = std::find_if(methods.begin(), methods.end(), [](const auto& m) { return !m->scorer; });
  if (dense == methods.end()) {
    methods.insert(methods.begin(), make_method(no_compression(), shape_of(config)));
  } else {
    std::rotate(methods.begin(), dense, dense + 1);
  }
  return methods;
}

int run(Flags& f) {
  const auto lengths = parse_lengths("--lengths", f.lengths, 2);
  const ModelFiles files = f.model.open();
  const auto methods = methods_of(f.recipes, files.config);
  const auto tokens = f.data.tokens(files, *std::max_element(lengths.begin(), lengths.end()));
  const DType type = f.model.weight_type();
  const Peaks peaks = measure_peaks(thread_count(), f.report);
  const Context context{load_model(files, {type}), f.model.cache_type(), f.repeats};
  std::vector<Json> rows;
  for (const int64_t length : lengths) {
    const auto all = run_length(context, methods, tokens, length);
    for (const RecipeRuns& runs : all) rows.push_back(row_of(runs, all.front(), length, peaks.flops(type)));
  }
  f.report.table("run",
                 fmt::format("End to end: {}, {}, {} threads, median of {}", files.config.name,
                             dtype_name(type), thread_count(), f.repeats),
                 columns(), rows);
  f.report.note(fmt::format(
      "Time of extending a session by all tokens and of the losses of all. Counted are the products of all "
      "layers and of the head, and attention to the entries seen; the share is of the {} peak.",
      dtype_name(type)));
  f.report.save();
  return 0;
}

}  // namespace

const CommandInfo kRunCommand = {
    "run", "texts under recipes, end to end: tokens/s, share of the peak, ratio to no compression",
    "  kvlab_roofline run --lengths 1024 --recipes 'none h2o(size=256)' --repeats 3\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      f->model.declare(app);
      f->data.declare(app);
      app.add_option("--lengths", f->lengths, "tokens of a run, several with commas")->capture_default_str();
      app.add_option("--recipes", f->recipes, "recipes, with blanks between them; none is always run")
          ->capture_default_str();
      app.add_option("--repeats", f->repeats, "runs of every recipe and length")
          ->check(CLI::Range(1, 1000))
          ->capture_default_str();
      f->report.declare(app);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab::roofline
