// The one record of a comparison. Sums are kept, never averages, so that documents, shards and resumed runs
// add up exactly; every figure that people read is computed from them in summary.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace kvlab {

enum class Status {
  kOk,
  kNeutral,   // the recipe cannot evict (keep=1)
  kInert,     // it should have acted, but no scored token saw a compressed cache
  kFallback,  // every eviction was forced: the scores had no say
  kSkipped,   // does not apply here; the reason says why
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
  EntryCount overall;
  EntryCount outside_window;  // outside the last --sliding_window_size tokens, the same for all rows
  EntryCount compressible;    // the same with the sinks left out on both sides
  EntryCount outside_effective_window;
  double seen_visible = 0;  // entries visible, summed over the scored queries
  double seen_dense = 0;    // entries that dense attention sees, summed likewise
  int64_t kv_bytes = 0;     // at the document's end
  int64_t kv_bytes_peak = 0;
  double kv_bytes_seen_sum = 0;  // bytes of what was visible, summed over the scored queries
  int64_t kv_bytes_baseline = 0;
  ByteBreakdown breakdown;
  int64_t evictions = 0;
  int64_t forced_evictions = 0;
  double seconds = 0;                           // scoring
  double cpu_seconds = 0;                       // the same, processor time of all threads
  std::optional<std::vector<float>> token_nll;  // every scored token's loss, only when asked for
  // Every kBlockTokens scored tokens: how many (the last block may have fewer) and their sums. Empty for the
  // baseline, which is paired with nothing; so is token_kl.
  std::vector<int64_t> block_tokens;
  std::vector<double> delta_blocks, kl_blocks;
  std::vector<float> token_kl;     // every scored token's; written only together with token_nll
  double delta_p_squared_sum = 0;  // Σ (p_own(token) − p_base(token))²
  std::vector<std::string> notes;
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
  bool reference = false;          // a baseline or a noise floor: nothing to test
  std::vector<std::string> notes;  // what a reader of this row has to know
  std::vector<DocumentResult> documents;
  // Not empty: this row is the mean of these runs, which differ in their seed only, and has no documents of
  // its own.
  std::vector<MethodResult> seed_results;
};

struct ComparisonResult {
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  nlohmann::ordered_json environment = nlohmann::ordered_json::object();
  std::vector<MethodResult> methods;  // the baseline first, then the noise floor, then the methods
  std::optional<double> margin;       // of the verdicts: 0.01 allows a perplexity 1 % higher
  bool interrupted = false;           // documents hold only what all rows finished
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
