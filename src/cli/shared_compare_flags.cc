#include "cli/shared_compare_flags.h"

#include <fmt/format.h>

#include "base/byte_size.h"
#include "base/error.h"
#include "cache/unused_defaults.h"
#include "cli/shared_match.h"
#include "evals/batches.h"
#include "reports/table.h"

namespace kvlab {

namespace {

// The methods of a run that names none.
constexpr const char* kDefaultMethods =
    "random streaming_llm expected_attention kvzap observed_attention h2o snapkv knorm tova "
    "random_validation";

constexpr const char* kAllMethods = "all";

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

}  // namespace

void CompareFlags::declare(CLI::App& app) {
  model.declare(app);
  data.declare(app);
  app.add_option(
      "--methods", methods,
      fmt::format("names or recipes, separated by blanks or commas; all: every one there is, SKIPPED "
                  "with the reason where it cannot run [{}]",
                  kDefaultMethods));
  app.add_option("--compression_ratio", compression_ratio,
                 "fraction evicted, for methods without a budget of their own: keep = 1 - ratio")
      ->capture_default_str();
  app.add_option("--threshold", threshold,
                 "kvzap's threshold: entries scored below it go (higher evicts more) [none: kvzap keeps a "
                 "fraction as others do]");
  app.add_option(
      "--thresholds", thresholds,
      "by method, '{\"kvzap\": -5, \"random\": 0.85}', or a sweep of one method, \"-6,-7,-8\" [none]");
  app.add_option("--densities", densities,
                 "fraction of the unprotected entries to keep, by method: '{\"h2o\": 0.15}' [none]");
  app.add_option(
      "--match", match,
      "bytes_seen=F: find each method's budget (keep, size, free_density or threshold, whichever its "
      "recipe has) at which its queries see F of the bytes dense attention reads, on calibration "
      "documents that are then left out; adds the controls [not matched]");
  app.add_option("--match_documents", match_documents,
                 "calibration documents of --match; 0: an eighth, at least one")
      ->capture_default_str();
  app.add_option(
      "--matched_on", matched_on,
      "results of an earlier --match (folder or matched_on.json) that the recipes' budgets are from: "
      "rows are marked TRAINED-ON-THIS when its calibration documents are among those compared [none]");
  app.add_flag(
         "--controls", controls,
         "add an oracle that knows the future, recency and a sliding window to measure methods by [with "
         "--match alone]")
      ->excludes(
          app.add_flag("--no_controls", no_controls, "add no controls though --match is given [added]"));
  app.add_option("--leave_out", leave_out,
                 "names left out of 'all', as 'oracle cam' when time is short [none]")
      ->type_name("NAME");
  app.add_option("--chunk_size", chunk_size,
                 "tokens between two actions of a method; 1 is exact [1; 128 for periodic methods]");
  app.add_option("--sinks", sinks,
                 "protected first tokens, for recipes that do not say [as the method says: kvlab list]");
  app.add_option("--sliding_window_size", window,
                 "protected newest tokens, for recipes that do not say [as the method says: kvlab list]; and "
                 "the window of density_outside_window [128]");
  app.add_option("--kvzap_scorer_model", kvzap_scorer_model, kScorerHelp);
  app.add_option("--max_samples", max_samples, "documents to read; 0: all")->capture_default_str();
  app.add_option("--max_length", max_length, "tokens per document; 0: all")->capture_default_str();
  app.add_flag("--beyond_context", beyond_context, "allow documents longer than the model's context");
  app.add_option(
      "--memory", memory,
      "what documents run together may take beside the weights, as 512MiB, 2GiB or bytes; when given, "
      "also what one document may [2GiB, and a larger document runs alone]");
  app.add_option("--protocol", protocol, "stream: score every token; prefix: score those after --context")
      ->capture_default_str();
  app.add_option("--context", context, "tokens of context under --protocol prefix [needed there]");
  app.add_option("--seed", seed, "first seed of random methods")->capture_default_str();
  app.add_option("--output_dir", output_dir, "where JSON and pictures go")->capture_default_str();
  app.add_flag("--no_heatmaps", no_heatmaps, "draw nothing: no pictures of what is kept, no plots");
  app.add_flag("--no_plots", no_plots, "draw no plots of quality; pictures of what is kept stay");
  app.add_flag("--no_long_range", no_long_range,
               "leave out the loss on long-range tokens, whose choice costs about one row more");
  app.add_flag("--token_nll", token_nll, "write every token's loss into detailed_results.json");
  app.add_option("--margin", margin,
                 "how much higher PPL may be, \"1%\" or \"0.01\": says PASS, FAIL or INCONCLUSIVE by the 95% "
                 "interval [no verdict]");
  app.add_option("--sort", sort, "given or nll: order of the table")->capture_default_str();
  app.add_option("--format", format, "text, markdown or csv: the printed table")->capture_default_str();
  app.add_option("--num_gpus", num_gpus, "kvlab runs on the CPU; more than 0 is refused")
      ->capture_default_str();
  app.add_flag("--quiet", quiet, "no progress");
}

bool CompareFlags::is_sweep() const {
  return !thresholds.empty() && thresholds.find('{') == std::string::npos;
}

int64_t CompareFlags::memory_bytes() const {
  return memory ? parse_byte_size("--memory", *memory) : kDefaultMemory;
}

void CompareFlags::check() const {
  if (num_gpus > 0)
    throw UserError(fmt::format("--num_gpus {}: kvlab is CPU only now; leave it out or give 0", num_gpus));
  at_least("--num_gpus", num_gpus, 0);
  at_least("--chunk_size", chunk_size.value_or(1), 1);
  at_least("--max_samples", max_samples, 0);
  at_least("--max_length", max_length, 0);
  at_least("--sinks", sinks.value_or(0), 0);
  at_least("--sliding_window_size", window.value_or(0), 0);
  at_least("--seed", seed, 0);
  if (!(compression_ratio >= 0 && compression_ratio <= 1)) {
    throw UserError(
        fmt::format("--compression_ratio {} is out of range (expected 0..1, the fraction that is evicted)",
                    compression_ratio));
  }
  if (protocol != "stream" && protocol != "prefix") {
    throw UserError("--protocol " + protocol + " is not known (expected stream or prefix)");
  }
  if (protocol == "stream" && context != 0) throw UserError("--context needs --protocol prefix");
  if (protocol == "prefix") at_least("--context (needed by --protocol prefix)", context, 1);
  if (sort != "given" && sort != "nll")
    throw UserError("--sort " + sort + " is not known (expected given or nll)");
  if (!data.mask_field.empty() && data.tokens_field.empty())
    throw UserError("--mask_field needs --tokens_field");
  at_least("--match_documents", match_documents, 0);
  if (match_documents > 0 && match.empty()) throw UserError("--match_documents needs --match bytes_seen=F");
  if (parse_match(match) && is_sweep())
    throw UserError("--match finds the thresholds itself; leave the sweep of --thresholds out");
  parse_join(data.join);
  memory_bytes();  // throws where it is no size
  parse_table_format(format);
  parse_margin("--margin", margin);
}

std::vector<ChosenMethod> CompareFlags::resolve_methods() const {
  RecipeDefaults defaults;
  defaults.keep = 1 - compression_ratio;
  defaults.kvzap_threshold = threshold;
  defaults.sinks = sinks;
  defaults.window = window;
  defaults.every = chunk_size;
  // A learned score is made for thresholds; where --match starts from does not matter.
  if (!match.empty() && !threshold) defaults.kvzap_threshold = 0;
  defaults.seed = static_cast<uint64_t>(seed);
  defaults.scorer_model = model.scorer_folder(kvzap_scorer_model);
  defaults.densities = by_method("--densities", "free_density", densities);
  if (!is_sweep()) defaults.thresholds = by_method("--thresholds", "threshold", thresholds);
  std::string joined;
  for (const std::string& text : methods) joined += text + " ";
  std::vector<std::string> recipes = split_recipes(methods.empty() ? kDefaultMethods : joined);
  if (recipes.empty())
    throw UserError("--methods names no method (`kvlab list` shows all; `none` runs the baseline alone)");
  if (is_sweep()) {
    if (methods.empty() || recipes.size() != 1 || recipes[0] == kAllMethods)
      throw UserError("--thresholds \"" + thresholds + "\" sweeps one method: give exactly one in --methods");
    const Recipe base = parse_recipe(recipes[0]);
    recipes.clear();
    for (const std::string& value : split_recipes(thresholds)) {
      Recipe swept = base;
      swept.parts[0].arguments.emplace_back("threshold", value);
      recipes.push_back(print_recipe(swept));
    }
  }
  std::string left_out;
  for (const std::string& text : leave_out) left_out += text + " ";
  std::vector<ChosenMethod> chosen;
  for (const std::string& recipe : recipes) {
    if (recipe != kAllMethods) {
      chosen.push_back({resolve_recipe(recipe, defaults)});
      continue;
    }
    for (ChosenMethod& method : every_method(defaults, split_recipes(left_out)))
      chosen.push_back(std::move(method));
  }
  std::vector<MethodSpec> specs;
  for (const ChosenMethod& method : chosen) {
    if (method.skip.empty()) specs.push_back(method.spec);
  }
  RecipeDefaults given = defaults;
  given.kvzap_threshold = threshold;
  given.scorer_model = kvzap_scorer_model == "none" ? "" : kvzap_scorer_model;
  for (const std::string& line : unused_defaults(specs, given)) fmt::print(stderr, "warning: {}\n", line);
  if ((controls || !match.empty()) && !no_controls) {
    for (MethodSpec& control : control_methods(defaults, !match.empty()))
      chosen.push_back({std::move(control), false, true});
  }
  return chosen;
}

}  // namespace kvlab
