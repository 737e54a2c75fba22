#include "bench/roofline/figures.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/error.h"

namespace kvlab::roofline {

namespace {

std::vector<double> walls(const std::vector<Timing>& runs) {
  std::vector<double> seconds;
  for (const Timing& run : runs) seconds.push_back(run.wall);
  return seconds;
}

}  // namespace

double median(std::vector<double> values) {
  KVLAB_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double Samples::best_seconds() const {
  const auto seconds = walls(runs);
  return *std::min_element(seconds.begin(), seconds.end());
}

double Samples::worst_seconds() const {
  const auto seconds = walls(runs);
  return *std::max_element(seconds.begin(), seconds.end());
}

double Samples::median_seconds() const {
  return median(walls(runs));
}

double Samples::cpu_share() const {
  Timing all;
  for (const Timing& run : runs) {
    all.wall += run.wall;
    all.cpu += run.cpu;
  }
  return all.wall > 0 ? all.cpu / all.wall / threads : 0;
}

double entries_seen(const ModelConfig& config, int64_t tokens, const std::vector<int64_t>& evicted_at) {
  const double heads = static_cast<double>(config.layers) * config.kv_heads;
  double seen = 0, evicted = 0;
  for (int64_t query = 0; query < tokens; ++query) {
    if (query < static_cast<int64_t>(evicted_at.size())) evicted += static_cast<double>(evicted_at[query]);
    seen += heads * static_cast<double>(query + 1) - evicted;
  }
  return seen;
}

double attention_flops(const ModelConfig& config, double entries) {
  return 4.0 * config.head_dim * config.query_heads / config.kv_heads * entries;
}

std::vector<int64_t> parse_lengths(const std::string& flag, const std::string& text, int64_t least) {
  std::vector<int64_t> lengths;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < least || (stop != end && *stop != ',')) {
      throw UserError(
          fmt::format("{} {}: expected whole numbers of {} or more, as 1024,4096", flag, text, least));
    }
    lengths.push_back(value);
    if (stop == end) return lengths;
    at = stop + 1;
  }
}

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

}  // namespace kvlab::roofline
