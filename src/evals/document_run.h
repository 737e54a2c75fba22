// Documents under one method: runs a session for each as the protocol says, and counts what its queries saw.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/scoring.h"
#include "engine/session.h"
#include "evals/token_documents.h"
#include "results/record.h"

namespace kvlab {

struct Protocol {
  enum class Kind {
    kStream,  // the method acts while the document streams; every token is scored
    kPrefix,  // the first `context` tokens, end of context, then the rest is scored
  };
  Kind kind = Kind::kStream;
  int64_t context = 0;
};

struct RunOptions {
  Protocol protocol;
  DType kv_type = DType::kF32;
  int64_t extend_size = 0;  // tokens per extend; 0: as many as there are (the noise floor uses another size)
  bool record_lifetimes = false;  // of the first document only
  int64_t common_window = 128;    // of density_outside_window, the same for all rows
  std::shared_ptr<LayerTap>
      tap;  // looks on at one document; not at the first pass of a method with hindsight
  std::shared_ptr<const ReconstructionPrompts> prompts;  // of methods that repeat the context
};

struct DocumentRun {
  std::vector<int32_t> queries;  // scored queries: query q predicts token q + 1
  std::vector<float> nll;        // of the scored queries
  std::vector<uint8_t> touched;  // of the scored queries: its attention missed at least one evicted entry
  HiddenStates hidden;           // of the scored queries, row by row
  DocumentResult result;         // counts, densities, bytes and losses; no deltas yet
  LifetimeRecord lifetimes;      // when asked for
  // The model and the method without the losses: of the context and its end under prefix, else of all tokens.
  // Of documents run together, the share of all that the document's tokens are; so are the result's times.
  double prefill_seconds = 0;
  std::vector<std::vector<std::vector<int32_t>>> live;  // [layer][head]: positions, ascending
};

DocumentRun run_document(const std::shared_ptr<const Model>& model,
                         const std::shared_ptr<const Method>& method, const TokenDocument& document,
                         const RunOptions& options);

// Runs several documents together, each in a session of its own: their rows share the products with the
// weights. Each gets what run_document() would have given but for its times and, since new entries are cut
// into pieces differently, kv_bytes_peak. Throws what run_document() of any of them would.
std::vector<DocumentRun> run_documents(const std::shared_ptr<const Model>& model,
                                       const std::shared_ptr<const Method>& method,
                                       std::span<const TokenDocument* const> documents,
                                       const RunOptions& options);

// Adds what is paired with the baseline on the same tokens: ΔNLL, KL, agreement. One baseline for each run.
void add_deltas(const Model& model, std::span<const DocumentRun> baselines, std::span<DocumentRun> runs);

}  // namespace kvlab
