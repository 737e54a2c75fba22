// kvlab ppl: perplexity by the published protocols, with sweeps over compression ratios.
#include <chrono>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_data_flags.h"
#include "cli/shared_plots.h"
#include "evals/contamination.h"
#include "evals/perplexity.h"
#include "reports/perplexity_table.h"
#include "results/environment.h"

namespace kvlab {

namespace {

constexpr const char* kDefaultMethods = "knorm streaming_llm";
constexpr int64_t kDefaultWindow = 1024;  // of the protocols that need one

struct Flags {
  ModelFlags model;
  DataFlags data;
  std::string kvzap_scorer_model, protocol = "stream", chunk_convention = "gptq",
                                  output_dir = "kvlab_results", format = "text";
  std::vector<std::string> methods, press_name, press_sequence;
  std::vector<double> ratios = {0.5};
  std::optional<int64_t> max_length, stride, sinks, window, chunk_size;
  int64_t max_samples = 0, max_tokens = 0, context = 0, seed = 0;
  bool no_plots = false, prefill_only = false, repeat_baseline = false, beyond_context = false, quiet = false;
};

void declare_methods(CLI::App& app, Flags& f) {
  app.add_option("--methods", f.methods,
                 "names or recipes, separated by blanks or commas [knorm streaming_llm]; the baseline is "
                 "always there");
  app.add_option("--press_name", f.press_name, "one method: the same as --methods [none]");
  app.add_option("--press_sequence", f.press_sequence, "several methods: the same as --methods [none]");
  app.add_option("--compression_ratio", f.ratios,
                 "fraction evicted, for methods without a budget of their own; several make a sweep")
      ->delimiter(',')
      ->capture_default_str();
  app.add_flag("--prefill_only", f.prefill_only,
               "methods without a schedule act once, at the end of the context (needs --protocol prefix to "
               "have an effect)");
  app.add_option("--chunk_size", f.chunk_size,
                 "tokens between two actions of a method; 1 is exact [1; 128 for periodic methods]");
  app.add_option("--sinks", f.sinks,
                 "protected first tokens, for recipes that do not say [as the method says: kvlab list]");
  app.add_option("--sliding_window_size", f.window,
                 "protected newest tokens, for recipes that do not say [as the method says: kvlab list]");
  app.add_option("--kvzap_scorer_model", f.kvzap_scorer_model, kScorerHelp);
  app.add_option("--seed", f.seed, "first of the five seeds of random methods")->capture_default_str();
  app.add_flag("--repeat_baseline", f.repeat_baseline,
               "run the baseline twice: its losses must be equal to the last bit");
}

void declare_protocol(CLI::App& app, Flags& f) {
  app.add_option("--protocol", f.protocol,
                 "stream: documents or pieces of --max_length, every token scored; prefix: the tokens after "
                 "--context; stride: overlapping windows; chunks: windows side by side over the whole text")
      ->capture_default_str();
  app.add_option("--max_length", f.max_length,
                 "tokens of a window [stride, chunks: 1024; stream, prefix: whole documents]");
  app.add_option("--stride", f.stride,
                 "tokens between windows under --protocol stride [half of --max_length]");
  app.add_option("--context", f.context, "tokens of context under --protocol prefix [needed there]");
  app.add_option("--chunk_convention", f.chunk_convention,
                 "gptq: all labels of a window; llamacpp: those of its second half")
      ->capture_default_str();
  app.add_option("--max_samples", f.max_samples, "windows to score; 0: all")->capture_default_str();
  app.add_option("--max_tokens", f.max_tokens,
                 "tokens to read, of each document (stream, prefix) or of the whole text; 0: all")
      ->capture_default_str();
  app.add_flag("--beyond_context", f.beyond_context, "allow windows longer than the model's context");
}

void declare(CLI::App& app, Flags& f) {
  f.model.declare(app);
  f.data.declare(app);
  declare_methods(app, f);
  declare_protocol(app, f);
  app.add_option("--output_dir", f.output_dir, "where the folders of results go")->capture_default_str();
  app.add_option("--format", f.format, "text or markdown: the printed table")->capture_default_str();
  app.add_flag("--no_plots", f.no_plots, "draw no plots over the ratios");
  app.add_flag("--quiet", f.quiet, "no progress");
}

WindowOptions window_options(const Flags& f) {
  WindowOptions o;
  o.protocol = parse_window_protocol(f.protocol);
  o.convention = parse_chunk_convention(f.chunk_convention);
  o.max_length = f.max_length.value_or(joins_documents(o.protocol) ? kDefaultWindow : 0);
  o.stride = f.stride.value_or(o.max_length / 2);
  o.context = f.context;
  o.max_samples = f.max_samples;
  if (f.stride && o.protocol != WindowProtocol::kStride) throw UserError("--stride needs --protocol stride");
  if (f.context != 0 && o.protocol != WindowProtocol::kPrefix)
    throw UserError("--context needs --protocol prefix");
  if (o.convention == ChunkConvention::kLlamaCpp && o.protocol != WindowProtocol::kChunks)
    throw UserError("--chunk_convention llamacpp needs --protocol chunks");
  check_window_options(o);
  return o;
}

void check(const Flags& f) {
  at_least("--max_tokens", f.max_tokens, 0);
  at_least("--chunk_size", f.chunk_size.value_or(1), 1);
  at_least("--sinks", f.sinks.value_or(0), 0);
  at_least("--sliding_window_size", f.window.value_or(0), 0);
  at_least("--seed", f.seed, 0);
  for (const double ratio : f.ratios) {
    if (ratio >= 0 && ratio <= 1) continue;
    throw UserError(fmt::format(
        "--compression_ratio {} is out of range (expected 0..1, the fraction that is evicted)", ratio));
  }
  if (!f.data.mask_field.empty() && f.data.tokens_field.empty())
    throw UserError("--mask_field needs --tokens_field");
  if (parse_table_format(f.format) == TableFormat::kCsv)
    throw UserError(
        "--format csv: the figures are in --output_dir as JSON and CSV (expected text or markdown)");
}

std::vector<SweepMethod> resolve_methods(const Flags& f) {
  std::string joined_names;
  for (const auto* list : {&f.methods, &f.press_name, &f.press_sequence}) {
    for (const std::string& text : *list) joined_names += text + " ";
  }
  const bool named = !(f.methods.empty() && f.press_name.empty() && f.press_sequence.empty());
  const auto recipes = split_recipes(named ? joined_names : kDefaultMethods);
  if (recipes.empty())
    throw UserError("--methods names no method (`kvlab list` shows all; `none` runs the baseline alone)");
  SweepOptions options;
  options.ratios = f.ratios;
  options.prefill_only = f.prefill_only;
  options.defaults.sinks = f.sinks;
  options.defaults.window = f.window;
  options.defaults.every = f.chunk_size;
  options.defaults.seed = static_cast<uint64_t>(f.seed);
  options.defaults.scorer_model = f.model.scorer_folder(f.kvzap_scorer_model);
  return sweep_ratios(recipes, options);
}

// Sets what only the tokenizer knows: of `options`, and the size of its vocabulary.
std::vector<Window> read_windows(const Flags& f, const std::string& data, const ModelFiles& files,
                                 WindowOptions& options, std::vector<int64_t>& vocabularies) {
  const bool whole = joins_documents(options.protocol);
  // Each document gives a window or more.
  auto pieces = open_text_data(data, f.data.options(whole ? 0 : f.max_samples));
  if (whole) pieces = join_documents(std::move(pieces));
  const std::optional<bool> bos = parse_yes_no("--bos", f.data.bos);
  // Windows are held against the model's context, not documents.
  TokenReader reader =
      token_reader(std::move(pieces), files, {bos, tokens_needed(options, f.max_tokens), true});
  const std::vector<TokenDocument> tokens = reader.rest();
  const auto& tokenizer = reader.tokenizer();
  if (tokenizer && tokenizer->bos() >= 0 && bos.value_or(tokenizer->add_bos()))
    options.chunk_bos = tokenizer->bos();
  vocabularies = vocabularies_of(files.config, tokenizer.get());
  std::vector<Window> windows = make_windows(tokens, options);
  for (const Window& window : windows) {
    const auto n = static_cast<int64_t>(window.tokens.tokens.size());
    if (files.config.context == 0 || n <= files.config.context || f.beyond_context) continue;
    throw UserError(
        fmt::format("a window of {} tokens of '{}' is longer than the {} the model was trained "
                    "for; give --max_length {} or --beyond_context",
                    n, window.tokens.id, files.config.context, files.config.context));
  }
  return windows;
}

std::vector<TrainedOnThis> trained_on(const std::vector<SweepMethod>& methods,
                                      const std::vector<Window>& windows,
                                      const std::vector<int64_t>& vocabularies) {
  std::vector<std::span<const int32_t>> texts;
  for (const Window& window : windows) texts.emplace_back(window.tokens.tokens);
  Contamination contamination(std::move(texts), vocabularies);
  std::vector<TrainedOnThis> rows;
  for (const SweepMethod& method : methods) rows.push_back(contamination.of(method.spec));
  return rows;
}

std::string set_hash(const std::vector<Window>& windows) {
  std::vector<TokenDocument> documents;
  for (const Window& window : windows) documents.push_back(window.tokens);
  return token_set_hash(documents);
}

nlohmann::ordered_json config_json(const Flags& f, const std::string& data, const ModelFiles& files,
                                   const WindowOptions& o, const std::vector<Window>& windows) {
  const auto used = [](bool is_used, const auto& value) {
    return is_used ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json;
  json["model"] = files.config.name;
  json["model_path"] = files.weights->path();
  json["dataset"] = f.data.name();
  json["data_path"] = data;
  f.data.record(json);
  json["protocol"] = f.protocol;
  json["max_length"] = used(o.max_length > 0, o.max_length);
  json["stride"] = used(o.protocol == WindowProtocol::kStride, o.stride);
  json["context"] = used(o.protocol == WindowProtocol::kPrefix, o.context);
  json["chunk_convention"] = used(o.protocol == WindowProtocol::kChunks, f.chunk_convention);
  json["max_samples"] = used(f.max_samples > 0, f.max_samples);
  json["max_tokens"] = used(f.max_tokens > 0, f.max_tokens);
  json["windows"] = windows.size();
  json["token_set"] = set_hash(windows);
  json["dtype"] = dtype_name(f.model.weight_type());
  json["kv_dtype"] = dtype_name(f.model.cache_type());
  json["compression_ratios"] = f.ratios;
  json["prefill_only"] = f.prefill_only;
  json["chunk_size"] = f.chunk_size.value_or(1);
  json["seed"] = f.seed;
  return json;
}

// Gives every row a folder of its own: recipes may differ where their sanitised names do not.
class Folders {
 public:
  Folders(std::filesystem::path root, std::string dataset, std::string model)
      : root_(std::move(root)), dataset_(std::move(dataset)), model_(std::move(model)) {}
  std::filesystem::path of(PerplexityRow row) {
    const std::string method = row.method;
    std::string name = row_folder(dataset_, model_, row);
    for (int copy = 2; !taken_.insert(name).second; ++copy) {
      row.method = method + "-" + std::to_string(copy);
      name = row_folder(dataset_, model_, row);
    }
    return root_ / name;
  }

 private:
  std::filesystem::path root_;
  std::string dataset_, model_;
  std::set<std::string> taken_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(const Flags& f) {
  const auto start = std::chrono::steady_clock::now();
  check(f);
  const std::vector<SweepMethod> methods = resolve_methods(f);
  WindowOptions window = window_options(f);
  const std::string data = f.data.path_or_corpus();
  const ModelFiles files = f.model.open();
  std::vector<int64_t> vocabularies;
  const std::vector<Window> windows = read_windows(f, data, files, window, vocabularies);
  for (const SweepMethod& method : methods) {  // what cannot run is said before any work
    if (!method.spec.dense() && !method.spec.lacks_model()) make_method(method.spec, shape_of(files.config));
  }
  PerplexityOptions options;
  options.trained_on_this = trained_on(methods, windows, vocabularies);
  const DType weight_type = f.model.weight_type(), cache_type = f.model.cache_type();
  prepare_folder(f.output_dir);
  const auto progress = terminal_progress(f.quiet);
  const auto model = f.model.load(files, *progress);

  options.run.protocol = session_protocol(window);
  options.run.kv_type = cache_type;
  options.run.common_window = f.window.value_or(128);
  std::vector<MethodSpec> specs;
  for (const SweepMethod& method : methods) specs.push_back(method.spec);
  options.run.prompts = prompts_for(specs, files);
  options.repeat_baseline = f.repeat_baseline;
  options.setup_seconds = seconds_since(start);
  const auto config = config_json(f, data, files, window, windows);
  const auto environment = environment_json();
  Folders folders(f.output_dir, f.data.name(), files.config.name);
  std::string written;
  PerplexityResult result =
      measure_perplexity(model, methods, windows, options, *progress, [&](const PerplexityRow& row) {
        const auto folder = folders.of(row);
        write_perplexity_row(row, config, environment, folder);
        written += fmt::format("  {}\n", folder.string());
      });
  result.config = config;
  result.environment = environment;
  if (result.rows.empty()) {
    fmt::print(stderr, "interrupted before the baseline was finished; nothing was written\n");
    return kExitInterrupted;
  }
  write_perplexity_summary(result, f.output_dir);
  fmt::print("{}: {}, {} window{}, {} weights, {} cache, token set {}\n\n", files.config.name, f.protocol,
             windows.size(), windows.size() == 1 ? "" : "s", dtype_name(weight_type), dtype_name(cache_type),
             config["token_set"].get<std::string>());
  const TableFormat format = parse_table_format(f.format);
  fmt::print("{}", render_perplexity(result, format, terminal_width()));
  const std::string steps = render_ratio_steps(result, format, terminal_width());
  if (!steps.empty()) fmt::print("\nNeighbouring ratios of a method, on the same tokens:\n\n{}", steps);
  if (!f.no_plots) fmt::print("\n");
  if (!f.no_plots) draw_ratios(result, f.output_dir, stdout);
  fmt::print(
      "\nResults (ppl.json and ppl.csv each; all together in {0}/ppl_summary.json and .csv, "
      "ratio_steps.csv):\n{1}",
      f.output_dir, written);
  return result.interrupted ? kExitInterrupted : 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_ppl;
const CommandInfo kCommandInfo_ppl = {
    "ppl", "measure perplexity by a published protocol, for several methods and compression ratios",
    "  kvlab ppl --data_path wiki.test.raw --join gptq --protocol chunks --max_length 2048\n"
    "  kvlab ppl --data_path wikitext/ --dataset_config wikitext-2-raw-v1 --split test --protocol stride "
    "--max_length 1024 --stride 512 --max_samples 64\n"
    "  kvlab ppl --press_sequence no_press,knorm,streaming_llm --compression_ratio 0,0.25,0.5,0.75\n"
    "  kvlab ppl --press_name knorm --prefill_only --protocol prefix --context 512 --max_length 1024\n"
    "  kvlab ppl --data_path books/ --max_tokens 8192 --methods 'h2o(size=512)' --repeat_baseline\n",
    [](CLI::App& app) -> std::function<int()> {
      auto flags = std::make_shared<Flags>();
      declare(app, *flags);
      return [flags] { return run(*flags); };
    }};

}  // namespace kvlab
