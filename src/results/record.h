// The one record of a comparison. Sums are kept, never averages, so that documents, shards and resumed runs
// add up exactly; every figure that people read is computed from them in summary.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "results/trained_on_this.h"

namespace kvlab {

enum class Status {
  kOk,
  kNeutral,     // the recipe cannot evict (keep=1)
  kInert,       // it should have acted, but no scored token saw a compressed cache
  kFallback,    // every eviction was forced: the scores had no say
  kInfeasible,  // protection alone is above the budget that was to be matched
  kSkipped,     // does not apply here; the reason says why
  kFailed
};

// "OK", "NEUTRAL", …
const char* status_name(Status status);

// Entries kept and entries there would be, over layers and KV heads, at the end of a document.
struct EntryCount {
  int64_t kept = 0;
  int64_t all = 0;

  EntryCount& operator+=(const EntryCount& other) {
    kept += other.kept;
    all += other.all;
    return *this;
  }
};

// What kv_bytes consists of.
struct ByteBreakdown {
  int64_t payload = 0;
  int64_t metadata = 0;
  int64_t residual = 0;
  int64_t positions = 0;
  int64_t scores = 0;
  int64_t slack = 0;

  ByteBreakdown& operator+=(const ByteBreakdown& other);
};

// Consecutive scored tokens that the bootstrap keeps together.
constexpr int64_t kBlockTokens = 128;

// One document under one method. The deltas are paired with the baseline on the same tokens.
struct DocumentResult {
  int64_t index = 0;  // in the data
  std::string id;
  int64_t tokens = 0;
  int64_t tokens_scored = 0;
  double nll_sum = 0;        // nats
  double delta_nll_sum = 0;  // this method's minus the baseline's
  double kl_sum = 0;         // KL(baseline ‖ this method), nats, full vocabulary
  int64_t top1_agree = 0;
  int64_t tokens_touched = 0;  // scored tokens whose attention saw a compressed cache
  double delta_nll_touched_sum = 0;
  int64_t tokens_long_range = 0;  // scored tokens that the control run chose (LongRangeControl)
  double delta_nll_long_range_sum = 0;
  EntryCount overall;
  EntryCount outside_window;  // outside the last --sliding_window_size tokens, the same for all rows
  EntryCount compressible;    // the same with the sinks left out on both sides
  EntryCount outside_effective_window;
  double seen_visible = 0;  // entries visible, summed over the scored queries
  double seen_dense = 0;    // entries that dense attention sees, summed likewise
  // [layers][kv_heads], live entries as a fraction of the tokens (of those in a layer's window) at the
  // document's end. Not in the JSON files; results/head_budgets.h has what is made of them.
  std::vector<double> head_keep;
  int64_t kv_bytes = 0;  // at the document's end
  int64_t kv_bytes_peak = 0;
  double kv_bytes_seen_sum = 0;  // bytes of what was visible, summed over the scored queries
  int64_t kv_bytes_baseline = 0;
  ByteBreakdown breakdown;
  int64_t evictions = 0;
  int64_t forced_evictions = 0;
  double seconds = 0;                           // scoring
  double cpu_seconds = 0;                       // the same, processor time of all threads
  std::optional<std::vector<float>> token_nll;  // every scored token's loss, only when asked for
  // Every kBlockTokens scored tokens: how many (the last block may have fewer) and their losses. Two runs
  // over the same tokens are compared by these.
  std::vector<int64_t> block_tokens;
  std::vector<double> nll_blocks;
  // The same blocks' differences. Empty for the baseline, which is paired with nothing; so is token_kl.
  std::vector<double> delta_blocks, kl_blocks;
  std::vector<int64_t> long_range_block_tokens;  // how many of the block were chosen; empty where none was
  std::vector<double> long_range_delta_blocks;
  // Every scored token's: 4 bytes a token and run in memory, since percentiles need them all. Written only
  // together with token_nll.
  std::vector<float> token_kl;
  double delta_p_squared_sum = 0;  // Σ (p_own(token) − p_base(token))²
  std::vector<std::string> notes;
};

// What was found for a row when budgets were matched (--match).
struct MatchRecord {
  double target = 0;      // density_seen wanted
  std::string variable;   // keep, size, free_density or threshold; empty: the row has no budget to move
  double value = 0;       // found for it
  double least = 0;       // density_seen of what is protected alone
  double reached = 0;     // density_seen on the calibration documents
  int64_t documents = 0;  // calibration documents
  int runs = 0;           // that the search took
  bool feasible = true;
  std::string reason;  // why it is infeasible, or why nothing was matched
};

// One row of a comparison.
struct MethodResult {
  std::string name;    // as shown: "StreamingLLM", or what the user wrote
  std::string recipe;  // canonical text
  Status status = Status::kOk;
  std::string reason;  // why the status is not OK
  std::optional<int64_t> effective_window;
  std::optional<int64_t> every;  // tokens between actions, where that has a meaning
  std::optional<int64_t> seed;
  bool non_causal = false;  // knows the future: a bound, not a method
  std::optional<MatchRecord> match;
  TrainedOnThis trained_on_this;
  bool control = false;            // a floor or bound that others are measured by
  bool reference = false;          // a baseline or a noise floor: nothing to test
  bool control_family = false;     // evicts as the control of the long-range tokens does, by recency alone
  std::vector<std::string> notes;  // what a reader of this row has to know
  std::vector<DocumentResult> documents;
  // Not empty: this row is the mean of these runs, which differ in their seed only, and has no documents of
  // its own.
  std::vector<MethodResult> seed_results;
};

// The run that chose the long-range tokens: those that lose much when only the sinks and the newest tokens
// are kept. Sums over the finished documents; its own figures are the measure of how much there was to lose.
struct LongRangeControl {
  std::string recipe;
  double loss = 0;  // nats: tokens that lose more against the baseline were chosen
  int64_t tokens_scored = 0;
  int64_t tokens_chosen = 0;
  double delta_nll_sum = 0;             // the control's, over the scored tokens
  double delta_nll_long_range_sum = 0;  // over the chosen ones
  int64_t longest_document = 0;         // tokens; up to what the control keeps, there is nothing to lose
  int64_t kept = 0;                     // tokens that the control keeps
};

struct ComparisonResult {
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  nlohmann::ordered_json environment = nlohmann::ordered_json::object();
  std::vector<MethodResult> methods;  // the baseline first, then the noise floor, then the methods
  std::optional<double> margin;       // of the verdicts: 0.01 allows a perplexity 1 % higher
  bool interrupted = false;           // documents hold only what all rows finished
  // Saved on the way: intervals, p-values, verdicts and percentiles, whose cost grows with the run, are null.
  bool partial = false;
  std::optional<LongRangeControl> long_range;  // none: not asked for, or nothing but baselines
};

// What a method can be expected to do; the recipe knows.
struct Expectation {
  bool acts = true;  // it should change the cache within the documents' lengths
  bool chooses =
      true;  // its scores should decide something (StreamingLLM's do not: all its evictions are forced)
};

// Turns an OK row that did not do its work into INERT or FALLBACK, with a reason. Leaves other rows alone.
void judge(MethodResult& result, const Expectation& expected);

// One row of several runs that differ in their seed only. Its status is the first run's that is not OK.
MethodResult merge_seeds(std::vector<MethodResult> runs);

}  // namespace kvlab
