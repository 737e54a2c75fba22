// kvlab bench: time and memory of prefills, of models by their shape or of a model's file.
#include <unistd.h>

#include <fmt/format.h>

#include "base/byte_size.h"
#include "base/error.h"
#include "base/threads.h"
#include "cache/recipe.h"
#include "cli/command.h"
#include "cli/common.h"
#include "evals/prefill_bench.h"
#include "models/model_shapes.h"
#include "models/random_model.h"
#include "reports/bench_table.h"
#include "results/atomic_file.h"
#include "results/bench_json.h"
#include "results/environment.h"

namespace kvlab {

namespace {

constexpr const char* kDefaultMethods = "none streaming_llm(size=1024) h2o(size=1024)";
constexpr int64_t kMostTokens = int64_t{1} << 24;

struct Flags {
  ModelFlags model;
  std::string shape, memory, out, format = "text";
  std::vector<std::string> methods;
  std::vector<int64_t> lengths{32768};
  std::optional<int64_t> layers;
  int64_t seed = 0;
  bool quiet = false;
};

void declare(CLI::App& app, Flags& f) {
  app.add_option("--shape", f.shape,
                 fmt::format("a model's shape with random weights: {} [none: --model]", model_shape_names()));
  f.model.declare(app);
  app.add_option("--layers", f.layers, "run the first so many layers only [all]");
  app.add_option("--length", f.lengths, "tokens of a prefill; several with commas: 2048,32768")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--methods", f.methods,
                 fmt::format("names or recipes, separated by blanks or commas [{}]", kDefaultMethods));
  app.add_option("--memory", f.memory,
                 "what the program may take, as 512MiB, 16GiB or bytes: says what stays inside [this "
                 "machine's memory]");
  app.add_option("--seed", f.seed, "of weights, tokens and random methods")->capture_default_str();
  app.add_option("--out", f.out, "write all figures to this JSON file [none]");
  app.add_option("--format", f.format, "text or markdown: the printed tables")->capture_default_str();
  app.add_flag("--quiet", f.quiet, "no progress");
}

void check(const Flags& f) {
  if (!f.shape.empty() && !f.model.model.empty())
    throw UserError("give either --shape NAME or --model PATH, not both");
  for (const int64_t length : f.lengths) {
    if (length >= 1 && length <= kMostTokens) continue;
    throw UserError(fmt::format("--length {} is out of range (expected 1 to {})", length, kMostTokens));
  }
  at_least("--seed", f.seed, 0);
  if (f.format != "text" && f.format != "markdown")
    throw UserError("--format " + f.format + " is not known (expected text or markdown)");
  std::error_code error;
  if (std::filesystem::is_directory(f.out, error)) throw UserError("--out " + f.out + " is a folder");
}

int64_t memory_bytes(const Flags& f) {
  if (!f.memory.empty()) return parse_byte_size("--memory", f.memory);
  return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
}

// The model whose layers run; `all_layers` receives how many it has in whole.
ModelFiles open_files(const Flags& f, int& all_layers) {
  if (f.shape.empty()) {
    ModelFiles files = f.model.open();
    all_layers = files.config.layers;
    files.config = first_layers(std::move(files.config), f.layers.value_or(all_layers));
    return files;
  }
  if (f.model.threads > 0) set_thread_count(f.model.threads);
  const ModelConfig config = model_shape(f.shape);
  all_layers = config.layers;
  return random_model(first_layers(config, f.layers.value_or(all_layers)), static_cast<uint64_t>(f.seed));
}

std::vector<std::shared_ptr<const Method>> make_methods(const Flags& f, const ModelConfig& config) {
  std::string joined;
  for (const std::string& text : f.methods) joined += text + " ";
  RecipeDefaults defaults;
  defaults.seed = static_cast<uint64_t>(f.seed);
  std::vector<std::shared_ptr<const Method>> methods;
  for (const std::string& recipe : split_recipes(f.methods.empty() ? kDefaultMethods : joined))
    methods.push_back(make_method(resolve_recipe(recipe, defaults), shape_of(config)));
  if (methods.empty()) throw UserError("--methods names no method");
  return methods;
}

nlohmann::ordered_json config_json(const Flags& f, const ModelFiles& files,
                                   const std::vector<std::shared_ptr<const Method>>& methods) {
  nlohmann::ordered_json json;
  json[f.shape.empty() ? "model" : "shape"] = f.shape.empty() ? files.weights->path() : f.shape;
  json["layers"] = files.config.layers;
  json["lengths"] = f.lengths;
  json["seed"] = f.seed;
  for (const auto& method : methods) json["methods"].push_back(method->spec.recipe);
  return json;
}

int run(const Flags& f) {
  check(f);
  BenchOptions options;
  options.memory = memory_bytes(f);
  const ModelFiles files = open_files(f, options.layers);
  options.lengths = f.lengths;
  options.type = f.model.weight_type();
  options.kv_type = f.model.cache_type();
  options.seed = static_cast<uint64_t>(f.seed);
  const auto methods = make_methods(f, files.config);
  BenchResult result = bench_prefills(files, methods, options, *terminal_progress(f.quiet));
  result.config = config_json(f, files, methods);
  result.environment = environment_json();
  if (result.rows.empty()) {
    fmt::print(stderr, "interrupted before the first method was finished; nothing was written\n");
    return kExitInterrupted;
  }
  fmt::print("{}", render_bench(result, f.format == "markdown", terminal_width()));
  if (!f.out.empty()) write_atomically(f.out, bench_json(result).dump(2) + "\n");
  return result.interrupted ? kExitInterrupted : 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_bench;
const CommandInfo kCommandInfo_bench = {
    "bench", "measure time and memory of prefills, also of large models by their shape",
    "  kvlab bench --shape llama-3.1-8b --layers 4 --length 2048 --memory 16GiB\n"
    "  kvlab bench --shape qwen2.5-7b --layers 2 --length 2048,8192 --methods 'none knorm(keep=0.25)'\n"
    "  kvlab bench --model path/to/model.gguf --length 4096 --methods 'none h2o(size=512)' --out "
    "bench.json\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      declare(app, *f);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab
