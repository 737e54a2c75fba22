#include "results/perplexity_record.h"

#include <bit>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "results/atomic_file.h"
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

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string csv_line(const PerplexityRow& row, size_t w) {
  const DocumentResult& window = row.result.documents[w];
  const auto scored = static_cast<double>(window.tokens_scored);
  const bool has_loss = window.tokens_scored > 0;
  const double nll = window.nll_sum / scored;
  const std::string delta =
      has_loss && row.result.status != Status::kInert ? fmt::format("{}", window.delta_nll_sum / scored) : "";
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{:.6f},{:.6f}\n", window.index, csv_text(window.id),
                     row.places[w].first, window.tokens, window.tokens_scored,
                     has_loss ? fmt::format("{}", nll) : "", has_loss ? fmt::format("{}", std::exp(nll)) : "",
                     delta, window.tokens_touched, window.kv_bytes, row.places[w].prefill_seconds,
                     window.seconds);
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

double prefill_seconds(const PerplexityRow& row) {
  double sum = 0;
  for (const WindowPlace& place : row.places) sum += place.prefill_seconds;
  return sum;
}

double runtime_seconds(const PerplexityRow& row) {
  double sum = 0;
  for (const DocumentResult& window : row.result.documents) sum += window.seconds;
  return sum;
}

Json perplexity_row_json(const PerplexityRow& row) {
  const MethodSummary s = summarise(row.result);
  const bool ran = !row.result.documents.empty();
  const auto seconds = [&](double value) { return ran ? Json(value) : Json(nullptr); };
  Json json = {{"method", row.method},
               {"name", row.result.name},
               {"recipe", row.result.recipe},
               {"compression_ratio", or_null(row.ratio)},
               {"status", status_name(row.result.status)},
               {"reason", row.result.reason.empty() ? Json(nullptr) : Json(row.result.reason)},
               {"ppl", or_null(s.ppl)},
               {"nll", or_null(s.nll)},
               {"delta_nll", or_null(s.delta_nll)},
               {"delta_ppl", or_null(s.delta_ppl)},
               {"delta_ppl_percent", or_null(s.delta_ppl_percent)},
               {"windows", row.result.documents.size()},
               {"tokens_scored", or_null(s.tokens_scored)},
               {"tokens_touched", or_null(s.tokens_touched)},
               {"density", or_null(s.density)},
               {"density_seen", or_null(s.density_seen)},
               {"kv_bytes", or_null(s.kv_bytes)},
               {"kv_bytes_peak", or_null(s.kv_bytes_peak)},
               {"kv_bytes_baseline", or_null(s.kv_bytes_baseline)},
               {"prefill_seconds", seconds(prefill_seconds(row))},
               {"runtime_sec", seconds(runtime_seconds(row))},
               {"total_runtime_sec", seconds(row.setup_seconds + runtime_seconds(row))},
               {"tokens_per_second", or_null(s.tokens_per_second)},
               {"equal_to_baseline", row.equal_to_baseline ? Json(*row.equal_to_baseline) : Json(nullptr)}};
  for (const char* key : {"tokens_scored", "tokens_touched"}) {
    if (!json[key].is_null()) json[key] = static_cast<int64_t>(json[key].get<double>());
  }
  json["notes"] = row.result.notes;
  json["loss_by_position"] = Json::array();
  for (const LossBucket& bucket : row.buckets) json["loss_by_position"].push_back(bucket_json(bucket));
  return json;
}

Json perplexity_summary_json(const PerplexityResult& result) {
  Json json = {
      {"config", result.config}, {"environment", result.environment}, {"interrupted", result.interrupted}};
  json["methods"] = Json::array();
  for (const PerplexityRow& row : result.rows) json["methods"].push_back(perplexity_row_json(row));
  return json;
}

std::string perplexity_csv(const PerplexityRow& row) {
  std::string text =
      "window,document,first_token,tokens,tokens_scored,nll,ppl,delta_nll,tokens_touched,kv_bytes,"
      "prefill_seconds,runtime_sec\n";
  for (size_t w = 0; w < row.result.documents.size(); ++w) text += csv_line(row, w);
  return text;
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
  write_atomically(folder / "ppl_summary.json", text_of(perplexity_summary_json(result)));
}

}  // namespace kvlab
