// Small comparisons with figures that can be checked by hand.
#pragma once

#include <cmath>
#include <string>

#include "results/record.h"

namespace kvlab {

// 1024 tokens of 10 × 3 layer-head pairs under streaming_llm(sinks=4,window=128), `nll` nats per scored
// token.
inline DocumentResult sample_document(double nll, double baseline_nll) {
  DocumentResult document;
  document.id = "doc";
  document.tokens = 1024;
  document.tokens_scored = 1000;
  document.nll_sum = nll * 1000;
  document.delta_nll_sum = (nll - baseline_nll) * 1000;
  document.kl_sum = 20;
  document.top1_agree = 900;
  document.tokens_touched = 800;
  document.delta_nll_touched_sum = document.delta_nll_sum;
  document.overall = {132 * 30, 1024 * 30};
  document.outside_window = {4 * 30, 896 * 30};
  document.compressible = {0, 892 * 30};
  document.seen_visible = 250;
  document.seen_dense = 1000;
  document.kv_bytes = 1500000;
  document.kv_bytes_peak = 1600000;
  document.kv_bytes_seen_sum = 2e9;
  document.kv_bytes_baseline = 12000000;
  document.evictions = 892;
  document.forced_evictions = 892;
  document.seconds = 2;
  return document;
}

inline MethodResult sample_method(const std::string& name, double nll, double baseline_nll) {
  MethodResult method;
  method.name = name;
  method.recipe = name == "Baseline" ? "none" : "streaming_llm(sinks=4,window=128)";
  method.documents = {sample_document(nll, baseline_nll)};
  return method;
}

inline ComparisonResult sample_comparison() {
  ComparisonResult result;
  result.config = {{"model", "tiny"}};
  result.environment = {{"cpu", "some"}};
  MethodResult skipped;
  skipped.name = "KVzap";
  skipped.recipe = "kvzap(threshold=-6)";
  skipped.status = Status::kSkipped;
  skipped.reason = "no scorer given (--kvzap_scorer_model)";
  MethodResult seeds = sample_method("Random", 3.2, 3.0);
  MethodResult other = sample_method("Random", 3.4, 3.0);
  seeds.seed = 0;
  other.seed = 1;
  result.methods = {sample_method("Baseline", 3.0, 3.0), sample_method("StreamingLLM", 3.125, 3.0),
                    merge_seeds({seeds, other}), skipped};
  return result;
}

}  // namespace kvlab
