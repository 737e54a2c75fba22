#include "results/comparison_json.h"

#include <charconv>
#include <cmath>

#include "results/atomic_file.h"
#include "results/summary.h"

namespace kvlab {

namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->low, interval->high}) : Json(nullptr);
}

// Counts are written without a decimal point; means over seeds may have one.
Json count_or_null(const std::optional<double>& value) {
  if (!value) return nullptr;
  const bool whole = std::floor(*value) == *value && std::fabs(*value) < 9e15;
  return whole ? Json(static_cast<int64_t>(*value)) : Json(*value);
}

// The double that prints as short as the float: 0.1, not 0.10000000149011612.
double shortest(float value) {
  char text[32];
  const char* end = std::to_chars(text, text + sizeof text, value).ptr;
  double back = value;
  std::from_chars(text, end, back);
  return back;
}

Json to_json(const EntryCount& count) {
  return {{"kept", count.kept}, {"all", count.all}};
}

Json to_json(const ByteBreakdown& bytes) {
  return {{"payload", bytes.payload},     {"metadata", bytes.metadata}, {"residual", bytes.residual},
          {"positions", bytes.positions}, {"scores", bytes.scores},     {"slack", bytes.slack}};
}

Json to_json(const std::vector<float>& values) {
  Json list = Json::array();
  for (float value : values) list.push_back(shortest(value));
  return list;
}

Json to_json(const DocumentResult& document) {
  return {{"index", document.index},
          {"id", document.id},
          {"tokens", document.tokens},
          {"tokens_scored", document.tokens_scored},
          {"nll_sum", document.nll_sum},
          {"delta_nll_sum", document.delta_nll_sum},
          {"kl_sum", document.kl_sum},
          {"top1_agree", document.top1_agree},
          {"tokens_touched", document.tokens_touched},
          {"delta_nll_touched_sum", document.delta_nll_touched_sum},
          {"tokens_long_range", document.tokens_long_range},
          {"delta_nll_long_range_sum", document.delta_nll_long_range_sum},
          {"entries", to_json(document.overall)},
          {"entries_outside_window", to_json(document.outside_window)},
          {"entries_compressible", to_json(document.compressible)},
          {"entries_outside_effective_window", to_json(document.outside_effective_window)},
          {"seen_visible", document.seen_visible},
          {"seen_dense", document.seen_dense},
          {"kv_bytes", document.kv_bytes},
          {"kv_bytes_peak", document.kv_bytes_peak},
          {"kv_bytes_seen_sum", document.kv_bytes_seen_sum},
          {"kv_bytes_baseline", document.kv_bytes_baseline},
          {"kv_bytes_breakdown", to_json(document.breakdown)},
          {"evictions", document.evictions},
          {"forced_evictions", document.forced_evictions},
          {"seconds", document.seconds},
          {"cpu_seconds", document.cpu_seconds},
          {"block_tokens", document.block_tokens},
          {"nll_blocks", document.nll_blocks},
          {"delta_nll_blocks", document.delta_blocks},
          {"kl_blocks", document.kl_blocks},
          {"long_range_block_tokens", document.long_range_block_tokens},
          {"delta_nll_long_range_blocks", document.long_range_delta_blocks},
          {"delta_p_squared_sum", document.delta_p_squared_sum},
          {"token_nll", document.token_nll ? to_json(*document.token_nll) : Json(nullptr)},
          {"token_kl",
           document.token_nll && !document.token_kl.empty() ? to_json(document.token_kl) : Json(nullptr)},
          {"notes", document.notes}};
}

// `elsewhere`: what the row reached on the documents that were compared.
Json to_json(const MatchRecord& match, const std::optional<double>& elsewhere) {
  const bool searched = match.runs > 0;
  return {{"target", match.target},
          {"variable", match.variable.empty() ? Json(nullptr) : Json(match.variable)},
          {"value", searched ? Json(match.value) : Json(nullptr)},
          {"calibration_seen", searched ? Json(match.reached) : Json(nullptr)},
          {"calibration_documents", match.documents},
          {"seen", or_null(elsewhere)},
          {"protected_seen", match.variable.empty() ? Json(nullptr) : Json(match.least)},
          {"runs", match.runs},
          {"feasible", match.feasible}};
}

Json summary_row(const MethodResult& method, const MethodSummary& s) {
  Json row = {{"name", method.name},
              {"recipe", method.recipe},
              {"status", status_name(method.status)},
              {"reason", method.reason.empty() ? Json(nullptr) : Json(method.reason)},
              {"ppl", or_null(s.ppl)},
              {"nll", or_null(s.nll)},
              {"delta_nll", or_null(s.delta_nll)},
              {"delta_ppl", or_null(s.delta_ppl)},
              {"delta_ppl_percent", or_null(s.delta_ppl_percent)},
              {"delta_nll_ci95", to_json(s.delta_nll_ci95)},
              {"ci_method", or_null(s.ci_method)},
              {"p_holm", or_null(s.p_holm)},
              {"gap_to_oracle", or_null(s.gap_to_oracle)},
              {"verdict", or_null(s.verdict)},
              {"kl_mean", or_null(s.kl_mean)},
              {"kl_ci95", to_json(s.kl_ci95)},
              {"kl_median", or_null(s.kl_median)},
              {"kl_p90", or_null(s.kl_p90)},
              {"kl_p95", or_null(s.kl_p95)},
              {"kl_p99", or_null(s.kl_p99)},
              {"kl_p999", or_null(s.kl_p999)},
              {"kl_max", or_null(s.kl_max)},
              {"rms_delta_p", or_null(s.rms_delta_p)},
              {"top1_agreement", or_null(s.top1_agreement)},
              {"density", or_null(s.density)},
              {"density_outside_window", or_null(s.density_outside_window)},
              {"density_compressible", or_null(s.density_compressible)},
              {"density_outside_effective_window", or_null(s.density_outside_effective_window)},
              {"density_seen", or_null(s.density_seen)},
              {"effective_window", count_or_null(s.effective_window)},
              {"every", or_null(method.every)},
              {"kv_bytes", count_or_null(s.kv_bytes)},
              {"kv_bytes_peak", count_or_null(s.kv_bytes_peak)},
              {"kv_bytes_seen", or_null(s.kv_bytes_seen)},
              {"kv_bytes_baseline", count_or_null(s.kv_bytes_baseline)},
              {"kv_ratio", or_null(kv_ratio(s))},
              {"tokens_scored", count_or_null(s.tokens_scored)},
              {"tokens_touched", count_or_null(s.tokens_touched)},
              {"delta_nll_touched", or_null(s.delta_nll_touched)},
              {"long_range_tokens", count_or_null(s.long_range_tokens)},
              {"delta_nll_long_range", or_null(s.delta_nll_long_range)},
              {"delta_nll_long_range_ci95", to_json(s.delta_nll_long_range_ci95)},
              {"long_range_ci_method", or_null(s.long_range_ci_method)},
              {"long_range_control_family", method.control_family},
              {"evictions", count_or_null(s.evictions)},
              {"forced_evictions", count_or_null(s.forced_evictions)},
              {"tokens_per_second", or_null(s.tokens_per_second)},
              {"seeds", method.seed_results.empty() ? Json(nullptr) : Json(method.seed_results.size())},
              {"nll_spread", or_null(s.nll_spread)},
              {"ppl_spread", or_null(s.ppl_spread)},
              {"delta_nll_spread", or_null(s.delta_nll_spread)},
              {"delta_ppl_spread", or_null(s.delta_ppl_spread)},
              {"delta_ppl_percent_spread", or_null(s.delta_ppl_percent_spread)},
              {"match", method.match ? to_json(*method.match, s.density_seen) : Json(nullptr)},
              {"non_causal", method.non_causal},
              {"control", method.control},
              {"pareto", or_null(s.pareto)},
              {"notes", method.notes}};
  set_trained_on(row, method.trained_on_this);
  return row;
}

Json detailed_row(const MethodResult& method, const MethodSummary& summary) {
  Json row = summary_row(method, summary);
  row["seed"] = or_null(method.seed);
  row["documents"] = Json::array();
  for (const DocumentResult& document : method.documents) row["documents"].push_back(to_json(document));
  row["seed_results"] = Json::array();
  for (size_t i = 0; i < method.seed_results.size(); ++i) {
    const MethodResult& run = method.seed_results[i];
    // The seeds of a row that failed as a whole have no summaries yet.
    row["seed_results"].push_back(
        detailed_row(run, i < summary.seeds.size() ? summary.seeds[i] : summarise(run)));
  }
  return row;
}

// Why there are no long-range tokens.
std::string long_range_note(const LongRangeControl& control) {
  if (control.tokens_chosen > 0) return "";
  if (control.longest_document <= control.kept) {
    return "no document is longer than the " + std::to_string(control.kept) +
           " tokens that the control keeps, so it loses nothing";
  }
  return "no scored token loses that much under the control";
}

Json to_json(const LongRangeControl& control) {
  const auto mean = [](double sum, int64_t count) {
    return count > 0 ? Json(sum / static_cast<double>(count)) : Json(nullptr);
  };
  const std::string note = long_range_note(control);
  return {{"recipe", control.recipe},
          {"more_than_nats", control.loss},
          {"tokens_scored", control.tokens_scored},
          {"tokens", control.tokens_chosen},
          {"delta_nll", mean(control.delta_nll_sum, control.tokens_scored)},
          {"delta_nll_long_range", mean(control.delta_nll_long_range_sum, control.tokens_chosen)},
          {"note", note.empty() ? Json(nullptr) : Json(note)}};
}

Json whole(const ComparisonResult& result, const std::vector<MethodSummary>& summaries,
           Json (*row)(const MethodResult&, const MethodSummary&)) {
  Json json = {{"config", result.config},
               {"environment", result.environment},
               {"interrupted", result.interrupted},
               {"partial", result.partial},
               {"long_range_control", result.long_range ? to_json(*result.long_range) : Json(nullptr)}};
  json["methods"] = Json::array();
  for (size_t i = 0; i < summaries.size(); ++i)
    json["methods"].push_back(row(result.methods[i], summaries[i]));
  return json;
}

// Names and ids come from outside and may hold bytes that are not UTF-8; they cost one odd character, not the
// results.
std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

Json comparison_summary_json(const ComparisonResult& result) {
  return whole(result, summarise_all(result), summary_row);
}
Json detailed_results_json(const ComparisonResult& result) {
  return whole(result, summarise_all(result), detailed_row);
}

void write_comparison(const ComparisonResult& result, const std::filesystem::path& folder) {
  const std::vector<MethodSummary> summaries = summarise_all(result);
  write_atomically(folder / "detailed_results.json", text_of(whole(result, summaries, detailed_row), -1));
  write_atomically(folder / "comparison_summary.json", text_of(whole(result, summaries, summary_row), 2));
}

}  // namespace kvlab
