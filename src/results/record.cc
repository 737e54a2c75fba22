#include "results/record.h"

#include "base/error.h"

namespace kvlab {

const char* status_name(Status status) {
  switch (status) {
    case Status::kOk:
      return "OK";
    case Status::kNeutral:
      return "NEUTRAL";
    case Status::kInert:
      return "INERT";
    case Status::kFallback:
      return "FALLBACK";
    case Status::kInfeasible:
      return "INFEASIBLE";
    case Status::kSkipped:
      return "SKIPPED";
    case Status::kFailed:
      return "FAILED";
  }
  KVLAB_CHECK(false && "unknown status");
}

ByteBreakdown& ByteBreakdown::operator+=(const ByteBreakdown& other) {
  payload += other.payload;
  metadata += other.metadata;
  residual += other.residual;
  positions += other.positions;
  scores += other.scores;
  slack += other.slack;
  return *this;
}

void judge(MethodResult& result, const Expectation& expected) {
  if (result.status != Status::kOk || result.documents.empty()) return;
  int64_t touched = 0, evictions = 0, forced = 0;
  for (const DocumentResult& document : result.documents) {
    touched += document.tokens_touched;
    evictions += document.evictions;
    forced += document.forced_evictions;
  }
  if (expected.acts && touched == 0) {
    result.status = Status::kInert;
    result.reason = "no scored token saw a compressed cache, so the result is the baseline within rounding";
  } else if (expected.chooses && evictions > 0 && forced == evictions) {
    result.status = Status::kFallback;
    result.reason = "every eviction was forced by the budget and the protection; the scores decided nothing";
  }
}

MethodResult merge_seeds(std::vector<MethodResult> runs) {
  KVLAB_CHECK(!runs.empty());
  MethodResult merged;
  merged.name = runs[0].name;
  merged.recipe = runs[0].recipe;
  merged.effective_window = runs[0].effective_window;
  merged.every = runs[0].every;
  merged.notes = runs[0].notes;
  merged.non_causal = runs[0].non_causal;
  merged.match = runs[0].match;
  merged.trained_on_this = runs[0].trained_on_this;
  merged.control = runs[0].control;
  merged.reference = runs[0].reference;
  merged.control_family = runs[0].control_family;
  for (const MethodResult& run : runs) {
    if (run.status == Status::kOk) continue;
    merged.status = run.status;
    merged.reason = (run.seed ? "seed " + std::to_string(*run.seed) + ": " : "") + run.reason;
    break;
  }
  merged.seed_results = std::move(runs);
  return merged;
}

}  // namespace kvlab
