// kvlab compare: the main job.
#include <chrono>

#include <fmt/format.h>

#include "base/error.h"
#include "cache/unused_defaults.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_match.h"
#include "cli/shared_plots.h"
#include "evals/compare.h"
#include "reports/heatmap.h"
#include "reports/table.h"
#include "results/comparison_json.h"
#include "results/environment.h"
#include "results/hash.h"

namespace kvlab {

namespace {

// The methods of a run that names none.
constexpr const char* kDefaultMethods =
    "random streaming_llm expected_attention kvzap observed_attention h2o snapkv knorm tova "
    "random_validation";

struct Flags {
  ModelFlags model;
  std::string data_path, text_field, tokens_field, mask_field, margin, output_dir = "kvlab_results",
                                                                       kvzap_scorer_model;
  std::string match, thresholds, densities, bos, protocol = "stream", sort = "given", format = "text";
  std::vector<std::string> methods;
  std::optional<double> threshold;
  double compression_ratio = 0.5;
  std::optional<int64_t> sinks, window;
  std::optional<int64_t> chunk_size;
  int64_t max_samples = 0, max_length = 0, context = 0, num_gpus = 0, seed = 0, match_documents = 0;
  bool controls = false, no_heatmaps = false, no_plots = false, no_long_range = false, token_nll = false;
  bool beyond_context = false, quiet = false;
};

void declare(CLI::App& app, Flags& f) {
  f.model.declare(app);
  app.add_option("--data_path", f.data_path, "JSONL (a document a line) or plain text [the built-in corpus]");
  app.add_option("--methods", f.methods,
                 fmt::format("names or recipes, separated by blanks or commas [{}]", kDefaultMethods));
  app.add_option("--compression_ratio", f.compression_ratio,
                 "fraction evicted, for methods without a budget of their own: keep = 1 - ratio")
      ->capture_default_str();
  app.add_option("--threshold", f.threshold,
                 "kvzap's threshold: entries scored below it go (higher evicts more) [none: kvzap keeps a "
                 "fraction as others do]");
  app.add_option(
      "--thresholds", f.thresholds,
      "by method, '{\"kvzap\": -5, \"random\": 0.85}', or a sweep of one method, \"-6,-7,-8\" [none]");
  app.add_option("--densities", f.densities,
                 "fraction of the unprotected entries to keep, by method: '{\"h2o\": 0.15}' [none]");
  app.add_option(
      "--match", f.match,
      "bytes_seen=F: find each method's budget (keep, size, free_density or threshold, whichever its "
      "recipe has) at which its queries see F of the bytes dense attention reads, on calibration "
      "documents that are then left out; adds the controls [not matched]");
  app.add_option("--match_documents", f.match_documents,
                 "calibration documents of --match; 0: an eighth, at least one")
      ->capture_default_str();
  app.add_flag("--controls", f.controls,
               "add an oracle that knows the future, recency and a sliding window to measure methods by");
  app.add_option("--chunk_size", f.chunk_size,
                 "tokens between two actions of a method; 1 is exact [1; 128 for periodic methods]");
  app.add_option("--sinks", f.sinks,
                 "protected first tokens, for recipes that do not say [as the method says: kvlab list]");
  app.add_option("--sliding_window_size", f.window,
                 "protected newest tokens, for recipes that do not say [as the method says: kvlab list]; and "
                 "the window of density_outside_window [128]");
  app.add_option("--kvzap_scorer_model", f.kvzap_scorer_model,
                 "folder of a KVzap scorer (config.json, model.safetensors) [none: kvzap is SKIPPED]");
  app.add_option("--max_samples", f.max_samples, "documents to read; 0: all")->capture_default_str();
  app.add_option("--max_length", f.max_length, "tokens per document; 0: all")->capture_default_str();
  app.add_flag("--beyond_context", f.beyond_context, "allow documents longer than the model's context");
  app.add_option("--text_field", f.text_field, "JSONL field with the text [text, else content]");
  app.add_option("--tokens_field", f.tokens_field, "JSONL field with token ids, instead of text [none]");
  app.add_option("--mask_field", f.mask_field,
                 "JSONL field with a mask: 1 scores the token [none: all are scored]");
  app.add_option("--bos", f.bos, "yes or no: begin documents with BOS [as the tokenizer says]");
  app.add_option("--protocol", f.protocol, "stream: score every token; prefix: score those after --context")
      ->capture_default_str();
  app.add_option("--context", f.context, "tokens of context under --protocol prefix [needed there]");
  app.add_option("--seed", f.seed, "first seed of random methods")->capture_default_str();
  app.add_option("--output_dir", f.output_dir, "where JSON and pictures go")->capture_default_str();
  app.add_flag("--no_heatmaps", f.no_heatmaps, "draw nothing: no pictures of what is kept, no plots");
  app.add_flag("--no_plots", f.no_plots, "draw no plots of quality; pictures of what is kept stay");
  app.add_flag("--no_long_range", f.no_long_range,
               "leave out the loss on long-range tokens, whose choice costs about one row more");
  app.add_flag("--token_nll", f.token_nll, "write every token's loss into detailed_results.json");
  app.add_option("--margin", f.margin,
                 "how much higher PPL may be, \"1%\" or \"0.01\": says PASS, FAIL or INCONCLUSIVE by the 95% "
                 "interval [no verdict]");
  app.add_option("--sort", f.sort, "given or nll: order of the table")->capture_default_str();
  app.add_option("--format", f.format, "text, markdown or csv: the printed table")->capture_default_str();
  app.add_option("--num_gpus", f.num_gpus, "kvlab runs on the CPU; more than 0 is refused")
      ->capture_default_str();
  app.add_flag("--quiet", f.quiet, "no progress");
}

bool is_sweep(const std::string& thresholds) {
  return !thresholds.empty() && thresholds.find('{') == std::string::npos;
}

void check(const Flags& f) {
  if (f.num_gpus > 0)
    throw UserError(fmt::format("--num_gpus {}: kvlab is CPU only now; leave it out or give 0", f.num_gpus));
  at_least("--num_gpus", f.num_gpus, 0);
  at_least("--chunk_size", f.chunk_size.value_or(1), 1);
  at_least("--max_samples", f.max_samples, 0);
  at_least("--max_length", f.max_length, 0);
  at_least("--sinks", f.sinks.value_or(0), 0);
  at_least("--sliding_window_size", f.window.value_or(0), 0);
  at_least("--seed", f.seed, 0);
  if (!(f.compression_ratio >= 0 && f.compression_ratio <= 1)) {
    throw UserError(
        fmt::format("--compression_ratio {} is out of range (expected 0..1, the fraction that is evicted)",
                    f.compression_ratio));
  }
  if (f.protocol != "stream" && f.protocol != "prefix") {
    throw UserError("--protocol " + f.protocol + " is not known (expected stream or prefix)");
  }
  if (f.protocol == "stream" && f.context != 0) throw UserError("--context needs --protocol prefix");
  if (f.protocol == "prefix") at_least("--context (needed by --protocol prefix)", f.context, 1);
  if (f.sort != "given" && f.sort != "nll")
    throw UserError("--sort " + f.sort + " is not known (expected given or nll)");
  if (!f.mask_field.empty() && f.tokens_field.empty()) throw UserError("--mask_field needs --tokens_field");
  at_least("--match_documents", f.match_documents, 0);
  if (f.match_documents > 0 && f.match.empty())
    throw UserError("--match_documents needs --match bytes_seen=F");
  if (parse_match(f.match) && is_sweep(f.thresholds))
    throw UserError("--match finds the thresholds itself; leave the sweep of --thresholds out");
  parse_table_format(f.format);
  parse_margin("--margin", f.margin);
}

// '{"kvzap": -5}' as pairs of scorer name and value; `budget` is what the values mean, and gives their range.
std::vector<std::pair<std::string, double>> by_method(const std::string& flag, const std::string& budget,
                                                      const std::string& text) {
  std::vector<std::pair<std::string, double>> values;
  if (text.empty()) return values;
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception&) {
    throw UserError(flag + " '" + text + "' is not JSON (expected {\"method\": number})");
  }
  if (!json.is_object())
    throw UserError(flag + " '" + text + "' is not a JSON object (expected {\"method\": number})");
  for (const auto& [name, value] : json.items()) {
    if (!value.is_number()) throw UserError(flag + ": the value of '" + name + "' is not a number");
    const MethodSpec spec = resolve_recipe(name, {});  // throws for unknown names, with the nearest one
    if (spec.dense()) throw UserError(flag + ": '" + name + "' compresses nothing");
    for (const NamedInfo* named : registry_named()) {
      // A name that stands for a recipe would be taken for its scorer, whose other rows it would change too.
      if (named->name != name) continue;
      throw UserError(flag + ": '" + name + "' is a named recipe; give its scorer, '" + spec.scorer->name +
                      "'");
    }
    resolve_recipe(fmt::format("{}({}={})", spec.scorer->name, budget, value.get<double>()),
                   {});  // checks the range
    values.emplace_back(spec.scorer->name, value.get<double>());
  }
  return values;
}

std::vector<MethodSpec> resolve_methods(const Flags& f) {
  RecipeDefaults defaults;
  defaults.keep = 1 - f.compression_ratio;
  defaults.kvzap_threshold = f.threshold;
  defaults.sinks = f.sinks;
  defaults.window = f.window;
  defaults.every = f.chunk_size;
  // A learned score is made for thresholds; where --match starts from does not matter.
  if (!f.match.empty() && !f.threshold) defaults.kvzap_threshold = 0;
  defaults.seed = static_cast<uint64_t>(f.seed);
  defaults.scorer_model = f.kvzap_scorer_model;
  defaults.densities = by_method("--densities", "free_density", f.densities);
  if (!is_sweep(f.thresholds)) defaults.thresholds = by_method("--thresholds", "threshold", f.thresholds);
  std::string joined;
  for (const std::string& text : f.methods) joined += text + " ";
  std::vector<std::string> recipes = split_recipes(f.methods.empty() ? kDefaultMethods : joined);
  if (recipes.empty())
    throw UserError("--methods names no method (`kvlab list` shows all; `none` runs the baseline alone)");
  if (is_sweep(f.thresholds)) {
    if (f.methods.empty() || recipes.size() != 1)
      throw UserError("--thresholds \"" + f.thresholds +
                      "\" sweeps one method: give exactly one in --methods");
    const Recipe base = parse_recipe(recipes[0]);
    recipes.clear();
    for (const std::string& value : split_recipes(f.thresholds)) {
      Recipe swept = base;
      swept.parts[0].arguments.emplace_back("threshold", value);
      recipes.push_back(print_recipe(swept));
    }
  }
  std::vector<MethodSpec> specs;
  for (const std::string& recipe : recipes) specs.push_back(resolve_recipe(recipe, defaults));
  RecipeDefaults given = defaults;
  given.kvzap_threshold = f.threshold;
  for (const std::string& line : unused_defaults(specs, given)) fmt::print(stderr, "warning: {}\n", line);
  if (f.controls || !f.match.empty()) {
    for (MethodSpec& control : control_methods(defaults, !f.match.empty()))
      specs.push_back(std::move(control));
  }
  return specs;
}

std::vector<TokenDocument> read_tokens(const Flags& f, const std::string& path, const ModelFiles& files) {
  DocumentOptions read{f.text_field, f.tokens_field, f.mask_field, f.max_samples};
  TokenOptions options{parse_yes_no("--bos", f.bos), f.max_length, f.beyond_context};
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<TokenDocument> documents;
  DocumentReader reader(path, read);
  while (auto document = reader.next()) {
    if (!tokenizer && document->ids.empty()) tokenizer = open_tokenizer_of(files);
    documents.push_back(tokenize_document(*document, tokenizer.get(), files.config, options));
    if (f.protocol == "prefix") leave_out_context(documents.back(), f.context);
  }
  if (documents.empty()) throw UserError(path + ": no documents");
  return documents;
}

// A file about a document's tokens fits neither half of it.
void refuse_halves(const std::vector<MethodSpec>& specs, bool halves) {
  for (const MethodSpec& spec : specs) {
    for (const MethodSpec* phase : spec.phases()) {
      if (!halves || !phase->scorer->by_document) continue;
      throw UserError("--match cuts a single document in two, and " + spec.display +
                      " is about the whole of it; give two documents");
    }
  }
}

// Null for a model in several files: their index says nothing of the weights.
nlohmann::ordered_json model_hash(const std::string& path) {
  const bool one_file = std::filesystem::is_regular_file(path) && !path.ends_with(".json");
  return one_file ? nlohmann::ordered_json(hash_file(path)) : nullptr;
}

nlohmann::ordered_json config_json(const Flags& f, const std::string& data, const ModelFiles& files,
                                   const std::vector<MethodSpec>& specs,
                                   const std::vector<TokenDocument>& documents) {
  nlohmann::ordered_json json;
  json["model"] = files.config.name;
  json["model_path"] = files.weights->path();
  json["model_hash"] = model_hash(files.weights->path());
  json["data_path"] = data;
  json["documents"] = documents.size();
  json["token_set"] = token_set_hash(documents);
  json["dtype"] = dtype_name(f.model.weight_type());
  json["kv_dtype"] = dtype_name(f.model.cache_type());
  json["compression_ratio"] = f.compression_ratio;
  json["chunk_size"] = f.chunk_size.value_or(1);
  json["max_length"] = f.max_length ? nlohmann::ordered_json(f.max_length) : nullptr;
  json["max_samples"] = f.max_samples ? nlohmann::ordered_json(f.max_samples) : nullptr;
  json["sliding_window_size"] = f.window.value_or(128);
  json["protocol"] = f.protocol;
  json["context"] = f.protocol == "prefix" ? nlohmann::ordered_json(f.context) : nullptr;
  json["seed"] = f.seed;
  const std::optional<double> margin = parse_margin("--margin", f.margin);
  json["margin"] = margin ? nlohmann::ordered_json(*margin) : nullptr;
  json["match"] = f.match.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(f.match);
  json["recipes"] = nlohmann::ordered_json::array();
  for (const MethodSpec& spec : specs) json["recipes"].push_back(spec.recipe);
  return json;
}

KeptMap kept_map(const KeptRecord& record, const std::string& model) {
  KeptMap map;
  map.title = {model};
  map.name = record.name;
  map.recipe = record.recipe;
  map.tokens = std::min<int64_t>(1024, record.tokens);
  map.layers = record.shape.layers;
  map.heads = record.shape.kv_heads;
  for (int layer = 0; layer < record.shape.layers; ++layer) {
    for (int head = 0; head < record.shape.kv_heads; ++head) {
      for (int64_t t = 0; t < map.tokens; ++t)
        map.kept.push_back(record.lifetimes.kept(layer, head, t, map.tokens));
    }
  }
  for (int64_t t = 0; t < map.tokens; ++t)
    map.protected_token.push_back(record.policy.is_protected(t, map.tokens));
  map.sinks = std::min(record.policy.sinks, map.tokens);
  map.window = std::min(record.policy.window_at(map.tokens), map.tokens);
  return map;
}

void draw_pictures(const Comparison& comparison, const std::filesystem::path& folder,
                   const std::string& model, std::FILE* out) {
  fmt::print(out, "\nWhat is kept of the first document (Baseline keeps everything and has no picture):\n");
  for (const KeptRecord& record : comparison.kept) {
    const KeptMap map = kept_map(record, model);
    const auto path = folder / heatmap_file_name(record.name);
    write_heatmap(map, path);
    fmt::print(out, "{}: {}\n", record.name, path.string());
    for (const std::string& line : kept_statistics(map)) fmt::print(out, "  {}\n", line);
  }
}

int run(const Flags& f) {
  check(f);
  std::vector<MethodSpec> specs = resolve_methods(f);
  const std::string data = f.data_path.empty() ? default_corpus_path().string() : f.data_path;
  if (data.empty()) throw UserError("the built-in corpus is not installed; give --data_path FILE");
  const ModelFiles files = f.model.open();
  std::vector<TokenDocument> documents = read_tokens(f, data, files), slice;
  const std::optional<double> match = parse_match(f.match);
  if (match) {
    refuse_halves(specs, documents.size() == 1 && f.match_documents == 0);
    CalibrationSplit split = split_for_calibration(std::move(documents), f.match_documents);
    documents = std::move(split.rest);
    slice = std::move(split.slice);
  }
  for (const MethodSpec& spec : specs) {  // what cannot run is said before any work
    if (!spec.dense() && !spec.lacks_model()) make_method(spec, shape_of(files.config));
  }
  CompareOptions options;
  options.run.protocol = {f.protocol == "prefix" ? Protocol::Kind::kPrefix : Protocol::Kind::kStream,
                          f.context};
  options.run.kv_type = f.model.cache_type();
  options.run.common_window = f.window.value_or(128);
  options.every = f.chunk_size.value_or(1);
  options.token_nll = f.token_nll;
  options.record_first = !f.no_heatmaps;
  options.long_range = !f.no_long_range;
  if (f.protocol == "prefix") {
    for (const TokenDocument& document : documents) {
      if (static_cast<int64_t>(document.tokens.size()) <= f.context) {
        throw UserError(fmt::format("--context {} leaves nothing to score of document '{}' with {} tokens",
                                    f.context, document.id, document.tokens.size()));
      }
    }
  }

  const std::filesystem::path folder = f.output_dir;
  prepare_folder(folder);
  const auto progress = terminal_progress(f.quiet);
  const std::optional<double> margin = parse_margin("--margin", f.margin);
  const auto environment = environment_json();
  const auto model = load_model(files, {f.model.weight_type()}, *progress);
  if (match) options.matches = match_methods(model, specs, slice, {*match, 0.01, options.run}, *progress);
  const auto config = config_json(f, data, files, specs, documents);
  const auto save = [&](ComparisonResult result) {
    result.config = config;
    result.margin = margin;
    result.config["documents_finished"] = result.methods[0].documents.size();
    result.environment = environment;
    write_comparison(result, folder);
  };
  // The first document at once, then now and then: at most every 20 seconds, and never more than a twentieth
  // of the time, since what is written grows with the documents.
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> next_save;
  const auto save_sometimes = [&](const std::function<ComparisonResult()>& so_far) {
    const auto start = Clock::now();
    if (next_save && start < *next_save) return;
    save(so_far());
    const auto end = Clock::now();
    next_save = end + std::max<Clock::duration>(std::chrono::seconds(20), 20 * (end - start));
  };
  Comparison comparison = compare(model, specs, documents, options, *progress, save_sometimes);
  comparison.result.config = config;
  comparison.result.margin = margin;
  comparison.result.environment = environment;
  const size_t finished = comparison.result.methods[0].documents.size();
  if (finished == 0) {
    fmt::print(stderr, "interrupted before the first document was finished; nothing was written\n");
    return kExitInterrupted;
  }
  save(comparison.result);

  const TableFormat format = parse_table_format(f.format);
  std::FILE* words = format == TableFormat::kCsv ? stderr : stdout;  // standard output then is a CSV file
  fmt::print(words, "{}: {} document{}, {} weights, {} cache, token set {}\n\n", files.config.name, finished,
             finished == 1 ? "" : "s", dtype_name(f.model.weight_type()), dtype_name(f.model.cache_type()),
             config["token_set"].get<std::string>());
  const bool sweep = is_sweep(f.thresholds), plots = !f.no_heatmaps && !f.no_plots;
  // A CSV file holds one table; that of a sweep has its figures.
  if (!sweep || format != TableFormat::kCsv)
    fmt::print("{}", render_table(comparison.result, {format, terminal_width(), f.sort == "nll", false}));
  if (sweep) report_sweep(comparison.result, specs, format, folder, plots, words);
  if (!f.no_heatmaps) draw_pictures(comparison, folder, files.config.name, words);
  if (plots) draw_quality(comparison.result, folder, words);
  fmt::print(words, "\nResults: {0}/comparison_summary.json, {0}/detailed_results.json\n", folder.string());
  return comparison.result.interrupted ? kExitInterrupted : 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_compare;
const CommandInfo kCommandInfo_compare = {
    "compare", "run several methods on the same documents and print what each costs and saves",
    "  kvlab compare --max_length 1024\n"
    "  kvlab compare --model llama.gguf --data_path books.jsonl --methods knorm,h2o --compression_ratio "
    "0.75\n"
    "  kvlab compare --methods 'streaming_llm(sinks=4,window=128) random_validation' --max_samples 1\n"
    "  kvlab compare --methods knorm --thresholds \"-14,-16,-18\"\n"
    "  kvlab compare --methods 'knorm h2o snapkv' --match bytes_seen=0.5\n",
    [](CLI::App& app) -> std::function<int()> {
      auto flags = std::make_shared<Flags>();
      declare(app, *flags);
      return [flags] { return run(*flags); };
    }};

}  // namespace kvlab
