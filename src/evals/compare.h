// The main job: several methods on the same documents, tokens and order, each from a fresh state, against the
// uncompressed baseline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "cache/recipe.h"
#include "evals/batches.h"
#include "evals/document_run.h"
#include "evals/seeds.h"
#include "results/record.h"

namespace kvlab {

// What a caller knows of a row beside its recipe.
struct RowFacts {
  std::optional<MatchRecord> match;  // when budgets were matched
  TrainedOnThis trained_on_this;
  bool control = false;  // what methods are measured by, no method
  std::string skip;      // why it cannot run here; "": it can
};

struct CompareOptions {
  RunOptions run;
  bool token_nll = false;           // keep every token's loss
  bool record_first = false;        // hand out what was kept of the first document
  int64_t every = 1;                // the run's pace; rows that act at another are flagged
  int seeds = kSeeds;               // of rows that draw random numbers and name no seed
  bool long_range = true;           // run the control that chooses the long-range tokens (long_range.h)
  std::vector<RowFacts> facts;      // of the methods given, in their order; empty: nothing is known of them
  int64_t memory = kDefaultMemory;  // bytes that documents run together may take (estimate_memory)
  int64_t noise_extend = 100;  // tokens per extend of the second baseline, whose distance is the noise floor
};

// What a row kept of the first document, for pictures.
struct KeptRecord {
  std::string name, recipe;
  Policy policy;
  int64_t tokens = 0;
  ModelShape shape;
  LifetimeRecord lifetimes;
};

struct Comparison {
  ComparisonResult result;
  std::vector<KeptRecord> kept;  // one per row that ran, the first seed's
};

// Called after each batch with a function that collects what is finished so far, marked as partial;
// collecting costs time that grows with the number of documents, so a caller need not do it each time.
using BatchDone = std::function<void(const std::function<ComparisonResult()>& so_far)>;

// Batches of documents (batches.h) run outermost, so that an interrupt (base/progress.h) keeps those that all
// rows finished; `batch_done` is called after each with what is finished so far. A row runs the documents of
// a batch together. Rows that cannot run are SKIPPED or FAILED with the reason. Long-range tokens cost about
// one row; a row that is their control is not run twice, and with nothing but baselines there is none.
Comparison compare(const std::shared_ptr<const Model>& model, const std::vector<MethodSpec>& specs,
                   const std::vector<TokenDocument>& documents, const CompareOptions& options,
                   Progress& progress, const BatchDone& batch_done);

}  // namespace kvlab
