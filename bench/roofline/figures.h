// What the roofline computes without a clock: operations and bytes of a model, shares, medians, and when a
// measurement is clean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "models/config.h"

namespace kvlab::roofline {

// A measurement whose threads had their processors for less than this share of the time is not clean.
inline constexpr double kCleanShare = 0.96;

// The same work timed several times on `threads` threads.
struct Samples {
  int threads = 1;
  std::vector<Timing> runs;

  double best_seconds() const;
  double worst_seconds() const;
  double median_seconds() const;
  // Processor time over wall time and over the number of threads, of all runs together: 1 is all one can
  // have.
  double cpu_share() const;
  bool clean() const { return cpu_share() >= kCleanShare; }
};

// The mean of the two in the middle where their number is even. Needs at least one value.
double median(std::vector<double> values);

// Entries that `tokens` queries see, summed over layers and KV heads. evicted_at[n]: entries that query n is
// the first not to see, as KvCache records them; it may be shorter than the tokens.
double entries_seen(const ModelConfig& config, int64_t tokens, const std::vector<int64_t>& evicted_at);
// Operations of the attention to so many entries: each is read by all query heads of its KV head, for a score
// and for a sum.
double attention_flops(const ModelConfig& config, double entries);

// "1024,4096". Throws UserError naming the flag: not a number, or below `least`.
std::vector<int64_t> parse_lengths(const std::string& flag, const std::string& text, int64_t least);

// 0.873 becomes "87.3%".
std::string percent(double share);

}  // namespace kvlab::roofline
