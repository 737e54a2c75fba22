// A row's documents put into the statistics of statistics.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/record.h"
#include "results/statistics.h"

namespace kvlab {

// From this many documents on, they are taken as a sample of all documents.
constexpr int64_t kDocumentsForT = 10;
// The fewest blocks, over all documents, that a bootstrap can say something with: the built-in corpus' single
// document at 1024 tokens has as many.
constexpr int64_t kLeastBlocks = 8;

// What documents sum to in their blocks, in order: of one row's differences from the baseline, or of the
// differences between two rows.
using BlockSums = std::vector<std::vector<TokenSum>>;

struct PairedInference {
  Inference inference;
  std::string method;  // "t over 12 documents" or "block bootstrap within these documents"
};

// Documents without a token are left out. Nothing for too little data: fewer than ten documents and fewer
// than eight blocks with tokens, or a document of a single block.
std::optional<PairedInference> paired_inference(BlockSums documents);

struct RowIntervals {
  Inference delta_nll;
  Interval kl_ci95;
  std::string method;  // of paired_inference()
};

// Nothing for the baseline and for too little data (paired_inference()). The runs of several seeds saw the
// same tokens: their sums per document and block are averaged first, and the interval is that of the average
// over these seeds.
std::optional<RowIntervals> row_intervals(const MethodResult& row);

// The same of ΔNLL on the long-range tokens.
std::optional<PairedInference> long_range_inference(const MethodResult& row);

// Over the scored tokens of one run.
struct TokenDistribution {
  double kl_median = 0, kl_p90 = 0, kl_p95 = 0, kl_p99 = 0, kl_p999 = 0, kl_max = 0;
  double rms_delta_p = 0;  // sqrt(Σ (p_own − p_base)² / N) of the token that came
};
std::optional<TokenDistribution> token_distribution(const MethodResult& run);

}  // namespace kvlab
