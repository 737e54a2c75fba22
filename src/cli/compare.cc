// kvlab compare: the main job.
#include <chrono>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_budgets.h"
#include "cli/shared_compare_flags.h"
#include "cli/shared_match.h"
#include "cli/shared_plots.h"
#include "cli/shared_row_facts.h"
#include "evals/compare.h"
#include "reports/heatmap.h"
#include "reports/table.h"
#include "results/comparison_json.h"
#include "results/environment.h"
#include "results/hash.h"

namespace kvlab {

namespace {

struct TokenData {
  std::vector<TokenDocument> documents;
  std::vector<int64_t> vocabularies;
};

TokenData read_tokens(const CompareFlags& f, const std::string& path, const ModelFiles& files) {
  TokenOptions options{parse_yes_no("--bos", f.data.bos), f.max_length, f.beyond_context};
  TokenReader reader = token_reader(open_text_data(path, f.data.options(f.max_samples)), files, options);
  TokenData data{reader.rest(), vocabularies_of(files.config, reader.tokenizer().get())};
  if (f.protocol == "prefix") {
    for (TokenDocument& document : data.documents) leave_out_context(document, f.context);
  }
  return data;
}

// A file about a document's tokens fits neither half of it.
void refuse_halves(const std::vector<ChosenMethod>& methods, bool halves) {
  for (const ChosenMethod& method : methods) {
    if (method.by_all) continue;  // nobody gave it a file
    for (const MethodSpec* phase : method.spec.phases()) {
      if (!halves || !phase->scorer->by_document) continue;
      throw UserError("--match cuts a single document in two, and " + method.spec.display +
                      " is about the whole of it; give two documents");
    }
  }
}

// What cannot run is said before any work.
void check_runnable(const CompareFlags& f, const ModelFiles& files, std::vector<ChosenMethod>& chosen,
                    const std::vector<TokenDocument>& documents, const std::vector<TokenDocument>& slice) {
  const auto methods = check_methods(chosen, shape_of(files.config));
  if (f.protocol == "prefix") {
    for (const TokenDocument& document : documents) {
      if (static_cast<int64_t>(document.tokens.size()) <= f.context) {
        throw UserError(fmt::format("--context {} leaves nothing to score of document '{}' with {} tokens",
                                    f.context, document.id, document.tokens.size()));
      }
    }
  }
  if (f.memory) {
    const MemoryNeeds needs = memory_needs(methods, f.model.cache_type());
    for (const auto* list : {&documents, &slice})
      check_memory(*list, files.config, needs, f.memory_bytes(), f.context);
  }
}

// Null for a model in several files: their index says nothing of the weights.
nlohmann::ordered_json model_hash(const std::string& path) {
  const bool one_file = std::filesystem::is_regular_file(path) && !path.ends_with(".json");
  return one_file ? nlohmann::ordered_json(hash_file(path)) : nullptr;
}

nlohmann::ordered_json config_json(const CompareFlags& f, const std::string& data, const ModelFiles& files,
                                   const std::vector<MethodSpec>& specs,
                                   const std::vector<TokenDocument>& documents) {
  nlohmann::ordered_json json;
  json["model"] = files.config.name;
  json["model_path"] = files.weights->path();
  json["model_hash"] = model_hash(files.weights->path());
  json["data_path"] = data;
  f.data.record(json);
  json["documents"] = documents.size();
  json["token_set"] = token_set_hash(documents);
  json["dtype"] = dtype_name(f.model.weight_type());
  json["kv_dtype"] = dtype_name(f.model.cache_type());
  json["compression_ratio"] = f.compression_ratio;
  json["chunk_size"] = f.chunk_size.value_or(1);
  json["max_length"] = f.max_length ? nlohmann::ordered_json(f.max_length) : nullptr;
  json["max_samples"] = f.max_samples ? nlohmann::ordered_json(f.max_samples) : nullptr;
  json["sliding_window_size"] = f.window.value_or(128);
  json["memory"] = f.memory_bytes();
  json["protocol"] = f.protocol;
  json["context"] = f.protocol == "prefix" ? nlohmann::ordered_json(f.context) : nullptr;
  json["seed"] = f.seed;
  const std::optional<double> margin = parse_margin("--margin", f.margin);
  json["margin"] = margin ? nlohmann::ordered_json(*margin) : nullptr;
  json["match"] = f.match.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(f.match);
  // What the values found were calibrated on.
  json["matched_on"] = f.match.empty() ? nlohmann::ordered_json(nullptr) : kMatchedOnFile;
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

// Finds equal budgets, which it puts into `methods`, and writes down on which text.
std::vector<std::optional<MatchRecord>> match_budgets(const std::shared_ptr<const Model>& model,
                                                      std::vector<ChosenMethod>& methods,
                                                      const std::vector<TokenDocument>& slice,
                                                      const MatchOptions& options, const TrainedOn& record,
                                                      const std::filesystem::path& folder,
                                                      Progress& progress) {
  auto matches = match_methods(model, methods, slice, options, progress);
  record.write((folder / kMatchedOnFile).string());
  return matches;
}

// Everything that is shown of a finished comparison.
void report(const CompareFlags& f, const Comparison& comparison, const std::vector<MethodSpec>& specs,
            const ModelConfig& model, const TrainedOn& evaluated, std::FILE* words) {
  const std::filesystem::path folder = f.output_dir;
  const TableFormat format = parse_table_format(f.format);
  const bool sweep = f.is_sweep(), plots = !f.no_heatmaps && !f.no_plots;
  // A CSV file holds one table; that of a sweep has its figures.
  if (!sweep || format != TableFormat::kCsv)
    fmt::print("{}", render_table(comparison.result, {format, terminal_width(), f.sort == "nll", false}));
  if (sweep) report_sweep(comparison.result, specs, format, folder, plots, words);
  if (!f.no_heatmaps) {
    draw_pictures(comparison, folder, model.name, words);
    write_head_budgets(comparison.result, model.layers, evaluated, folder, words);
  }
  if (plots) draw_quality(comparison.result, folder, words);
  fmt::print(words, "\nResults: {0}/comparison_summary.json, {0}/detailed_results.json\n", folder.string());
}

std::vector<MethodSpec> specs_of(const std::vector<ChosenMethod>& methods) {
  std::vector<MethodSpec> specs;
  for (const ChosenMethod& method : methods) specs.push_back(method.spec);
  return specs;
}

int run(const CompareFlags& f) {
  f.check();
  std::vector<ChosenMethod> methods = f.resolve_methods();
  const std::optional<TrainedOn> matched_on = read_matched_on(f.matched_on);
  const std::string data = f.data.path_or_corpus();
  const ModelFiles files = f.model.open();
  TokenData text = read_tokens(f, data, files);
  std::vector<TokenDocument> documents = std::move(text.documents), slice;
  const std::optional<double> match = parse_match(f.match);
  if (match) {
    refuse_halves(methods, documents.size() == 1 && f.match_documents == 0);
    CalibrationSplit split = split_for_calibration(std::move(documents), f.match_documents);
    documents = std::move(split.rest);
    slice = std::move(split.slice);
  }
  check_runnable(f, files, methods, documents, slice);
  Contamination contamination(ids_of(documents), text.vocabularies);
  row_facts(methods, {}, nullptr, nullptr, contamination);  // damaged records are said before any work
  CompareOptions options;
  options.run.protocol = {f.protocol == "prefix" ? Protocol::Kind::kPrefix : Protocol::Kind::kStream,
                          f.context};
  options.run.kv_type = f.model.cache_type();
  options.run.common_window = f.window.value_or(128);
  options.run.prompts = prompts_for(specs_of(methods), files);
  options.every = f.chunk_size.value_or(1);
  options.token_nll = f.token_nll;
  options.record_first = !f.no_heatmaps;
  options.long_range = !f.no_long_range;
  options.memory = f.memory_bytes();

  const std::filesystem::path folder = f.output_dir;
  prepare_folder(folder);
  const auto progress = terminal_progress(f.quiet);
  const std::optional<double> margin = parse_margin("--margin", f.margin);
  const auto environment = environment_json();
  const auto model = f.model.load(files, *progress);
  std::vector<std::optional<MatchRecord>> matches;
  const TrainedOn calibration = record_of(slice, text.vocabularies[0]);
  if (match)
    matches =
        match_budgets(model, methods, slice, {*match, 0.01, options.run}, calibration, folder, *progress);
  options.facts =
      row_facts(methods, matches, &calibration, matched_on ? &*matched_on : nullptr, contamination);
  const std::vector<MethodSpec> specs = specs_of(methods);
  const auto config = config_json(f, data, files, specs, documents);
  const auto save = [&](ComparisonResult result) {
    result.config = config;
    result.margin = margin;
    result.config["documents_finished"] = result.methods[0].documents.size();
    result.environment = environment;
    write_comparison(result, folder);
  };
  // The first batch at once, then now and then: at most every 20 seconds, and never more than a twentieth
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

  // Standard output is a CSV file under --format csv.
  std::FILE* words = parse_table_format(f.format) == TableFormat::kCsv ? stderr : stdout;
  fmt::print(words, "{}: {} document{}, {} weights, {} cache, token set {}\n\n", files.config.name, finished,
             finished == 1 ? "" : "s", dtype_name(f.model.weight_type()), dtype_name(f.model.cache_type()),
             config["token_set"].get<std::string>());
  report(f, comparison, specs, files.config, record_of(documents, text.vocabularies[0]), words);
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
    "  kvlab compare --data_path c4/ --dataset_config en --split validation --max_samples 64 --max_length "
    "1024\n"
    "  kvlab compare --methods knorm --thresholds \"-14,-16,-18\"\n"
    "  kvlab compare --methods 'knorm h2o snapkv' --match bytes_seen=0.5\n",
    [](CLI::App& app) -> std::function<int()> {
      auto flags = std::make_shared<CompareFlags>();
      flags->declare(app);
      return [flags] { return run(*flags); };
    }};

}  // namespace kvlab
