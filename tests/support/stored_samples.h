// A small comparison with losses by block, to be written, read back and paired.
#pragma once

#include <string>

#include "results/record.h"

namespace kvlab::testing {

struct StoredOptions {
  std::string token_set = "0123456789abcdef", data = "data.jsonl", model = "tiny", model_path = "tiny.gguf";
  std::string model_hash = "1111111111111111";  // "": not recorded
  std::string dtype = "f32";
  int documents = 12;  // of 128 + 50 scored tokens each
  double knorm = 3.2;  // mean loss per token of that row; single documents lie around it
};

inline MethodResult stored_row(const std::string& name, const std::string& recipe, double nll,
                               int documents) {
  MethodResult row;
  row.name = name;
  row.recipe = recipe;
  for (int d = 0; d < documents; ++d) {
    DocumentResult document;
    document.index = d;
    document.id = "doc " + std::to_string(d);
    document.tokens = 179;
    document.tokens_scored = 178;
    document.block_tokens = {128, 50};
    // The first block moves from document to document, the second does not.
    document.nll_blocks = {128 * (nll + 0.001 * (d % 3 - 1)), 50 * nll};
    document.nll_sum = document.nll_blocks[0] + document.nll_blocks[1];
    row.documents.push_back(document);
  }
  return row;
}

// Baseline at 3 nats, Knorm, Random of two seeds at 3.4 and 3.6, and KVzap skipped.
inline ComparisonResult stored_comparison(const StoredOptions& o) {
  ComparisonResult result;
  result.config = {{"model", o.model},         {"model_path", o.model_path}, {"data_path", o.data},
                   {"documents", o.documents}, {"token_set", o.token_set},   {"dtype", o.dtype}};
  if (!o.model_hash.empty()) result.config["model_hash"] = o.model_hash;
  MethodResult skipped;
  skipped.name = "KVzap";
  skipped.recipe = "kvzap(threshold=-6)";
  skipped.status = Status::kSkipped;
  result.methods = {stored_row("Baseline", "none", 3, o.documents),
                    stored_row("Knorm", "knorm(keep=0.5,sinks=0,every=1)", o.knorm, o.documents),
                    merge_seeds({stored_row("Random", "random(seed=0)", 3.4, o.documents),
                                 stored_row("Random", "random(seed=1)", 3.6, o.documents)}),
                    skipped};
  return result;
}

}  // namespace kvlab::testing
