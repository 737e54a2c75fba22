#include "results/perplexity_record.h"

#include <bit>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "results/atomic_file.h"
#include "results/perplexity_csv.h"
#include "results/perplexity_statistics.h"
#include "results/summary.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json bucket_json(const LossBucket& bucket) {
  return {{"from", bucket.from},
          {"to", bucket.to},
          {"count", bucket.count},
          {"nll", bucket.count ? Json(bucket.nll_sum / static_cast<double>(bucket.count)) : Json(nullptr)}};
}

// Ids come from outside and may hold bytes that are not UTF-8; they cost one odd character, not the results.
std::string text_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json or_null(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->low, interval->high}) : Json(nullptr);
}

// Counts are whole numbers, but for a mean over seeds that is not.
Json count_json(const std::optional<double>& count) {
  if (!count) return nullptr;
  const auto whole = static_cast<int64_t>(*count);
  return static_cast<double>(whole) == *count ? Json(whole) : Json(*count);
}

Json step_json(const RatioStep& step) {
  return {{"method", step.method},
          {"from", step.from},
          {"to", step.to},
          {"delta_nll", step.delta_nll},
          {"ci95", or_null(step.interval ? std::optional(step.interval->delta_nll.ci95) : std::nullopt)},
          {"ci_method", step.interval ? Json(step.interval->method) : Json(nullptr)}};
}

double mean_over_windows(const PerplexityRow& row, double (*figure)(const WindowRun&)) {
  double sum = 0;
  for (const WindowRun& window : row.windows) sum += figure(window);
  return sum / static_cast<double>(runs_of(row).size());
}

}  // namespace

void add_loss(std::vector<LossBucket>& buckets, int64_t distance, double nll) {
  KVLAB_CHECK(distance >= 1);
  const auto index = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(distance)) - 1);
  while (buckets.size() <= index) {
    const int64_t from = int64_t{1} << buckets.size();
    buckets.push_back({from, 2 * from - 1, 0, 0});
  }
  ++buckets[index].count;
  buckets[index].nll_sum += nll;
}

std::span<const MethodResult> runs_of(const PerplexityRow& row) {
  if (row.result.seed_results.empty()) return {&row.result, 1};
  return row.result.seed_results;
}

double prefill_seconds(const PerplexityRow& row) {
  return mean_over_windows(row, [](const WindowRun& window) { return window.prefill_seconds; });
}

double runtime_seconds(const PerplexityRow& row) {
  double sum = 0;
  for (const MethodResult& run : runs_of(row)) {
    for (const DocumentResult& window : run.documents) sum += window.seconds;
  }
  return sum / static_cast<double>(runs_of(row).size());
}

double tokens_differing(const PerplexityRow& row) {
  return mean_over_windows(row, [](const WindowRun& w) { return static_cast<double>(w.tokens_differing); });
}

double touched_differing(const PerplexityRow& row) {
  return mean_over_windows(row, [](const WindowRun& w) { return static_cast<double>(w.touched_differing); });
}

bool has_run(const PerplexityRow& row) {
  return !row.windows.empty();
}

Json perplexity_row_json(const PerplexityRow& row) {
  const MethodSummary s = summarise(row.result);
  const std::optional<WindowIntervals> interval = window_intervals(row);
  const size_t seeds = row.result.seed_results.size();
  const auto if_run = [&](double value) { return has_run(row) ? std::optional(value) : std::nullopt; };
  Json json = {{"method", row.method},
               {"name", row.result.name},
               {"recipe", row.result.recipe},
               {"compression_ratio", or_null(row.ratio)},
               {"status", status_name(row.result.status)},
               {"reason", row.result.reason.empty() ? Json(nullptr) : Json(row.result.reason)},
               {"seeds", seeds ? Json(seeds) : Json(nullptr)},
               {"ppl", or_null(s.ppl)},
               {"ppl_spread", or_null(s.ppl_spread)},
               {"nll", or_null(s.nll)},
               {"delta_nll", or_null(s.delta_nll)},
               {"delta_nll_spread", or_null(s.delta_nll_spread)},
               {"delta_nll_ci95", or_null(interval ? std::optional(interval->delta_nll.ci95) : std::nullopt)},
               {"ci_method", interval ? Json(interval->method) : Json(nullptr)},
               {"delta_ppl", or_null(s.delta_ppl)},
               {"delta_ppl_percent", or_null(s.delta_ppl_percent)},
               {"windows", runs_of(row)[0].documents.size()},
               {"tokens_scored", count_json(s.tokens_scored)},
               {"tokens_touched", count_json(s.tokens_touched)},
               {"tokens_differing", count_json(if_run(tokens_differing(row)))},
               {"touched_differing", count_json(if_run(touched_differing(row)))},
               {"density", or_null(s.density)},
               {"density_seen", or_null(s.density_seen)},
               {"kv_bytes", or_null(s.kv_bytes)},
               {"kv_bytes_peak", or_null(s.kv_bytes_peak)},
               {"kv_bytes_baseline", or_null(s.kv_bytes_baseline)},
               {"prefill_seconds", or_null(if_run(prefill_seconds(row)))},
               {"runtime_sec", or_null(if_run(runtime_seconds(row)))},
               {"total_runtime_sec", or_null(if_run(row.setup_seconds + runtime_seconds(row)))},
               {"tokens_per_second", or_null(s.tokens_per_second)},
               {"equal_to_baseline", row.equal_to_baseline ? Json(*row.equal_to_baseline) : Json(nullptr)}};
  set_trained_on(json, row.result.trained_on_this);
  json["notes"] = row.result.notes;
  json["loss_by_position"] = Json::array();
  for (LossBucket bucket : row.buckets) {
    const auto runs = static_cast<int64_t>(runs_of(row).size());  // all have the same tokens
    bucket.count /= runs;
    bucket.nll_sum /= static_cast<double>(runs);
    json["loss_by_position"].push_back(bucket_json(bucket));
  }
  return json;
}

Json perplexity_summary_json(const PerplexityResult& result) {
  Json json = {
      {"config", result.config}, {"environment", result.environment}, {"interrupted", result.interrupted}};
  json["methods"] = Json::array();
  for (const PerplexityRow& row : result.rows) json["methods"].push_back(perplexity_row_json(row));
  json["ratio_steps"] = Json::array();
  for (const RatioStep& step : ratio_steps(result)) json["ratio_steps"].push_back(step_json(step));
  return json;
}

std::string folder_part(const std::string& name) {
  constexpr size_t kLongest = 60;  // three of them fit a file system's 255 bytes
  std::string part;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '+';
    if (plain) {
      part += c;
    } else if (!part.empty() && part.back() != '_') {
      part += '_';
    }
  }
  part.erase(0, part.find_first_not_of("._"));  // no hidden folders, no ".."
  if (part.size() > kLongest) part.resize(kLongest);
  while (part.ends_with('_')) part.pop_back();
  return part.empty() ? "unnamed" : part;
}

std::string row_folder(const std::string& dataset, const std::string& model, const PerplexityRow& row) {
  return folder_part(dataset) + "__" + folder_part(model) + "__" + folder_part(row.method) + "__" +
         (row.ratio ? fmt::format("{}", *row.ratio) : "own");
}

void write_perplexity_row(const PerplexityRow& row, const Json& config, const Json& environment,
                          const std::filesystem::path& folder) {
  const Json json = {{"config", config}, {"environment", environment}, {"summary", perplexity_row_json(row)}};
  write_atomically(folder / "ppl.csv", perplexity_csv(row));
  write_atomically(folder / "ppl.json", text_of(json));
}

void write_perplexity_summary(const PerplexityResult& result, const std::filesystem::path& folder) {
  write_atomically(folder / "ppl_summary.csv", perplexity_summary_csv(result));
  write_atomically(folder / "ratio_steps.csv", ratio_steps_csv(result));
  write_atomically(folder / "ppl_summary.json", text_of(perplexity_summary_json(result)));
}

}  // namespace kvlab
