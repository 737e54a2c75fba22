// Two stored runs held against each other, row by row, on the same tokens; refused where the tokens differ.
#pragma once

#include <string>
#include <vector>

#include "results/row_statistics.h"
#include "results/stored_run.h"

namespace kvlab {

// Throws UserError with both token sets and both data paths when the runs scored different tokens.
void require_same_tokens(const StoredRun& a, const StoredRun& b);

// Throws UserError when the models differ: by their files' hashes where both are recorded, else by the names
// of model and file.
void require_same_model(const StoredRun& a, const StoredRun& b);

// Settings that both runs recorded with different values, as "dtype: \"f32\" | \"bf16\"". Paths, row lists
// and what follows from the other settings are left out.
std::vector<std::string> differing_settings(const StoredRun& a, const StoredRun& b);

// Two rows on the documents that both have: the first of the longer one's, where a run was interrupted.
struct RowDifference {
  int64_t documents = 0;
  double tokens = 0;  // scored
  double nll_a = 0, nll_b = 0;
  double delta_nll = 0;                     // b's minus a's, nats per token
  std::optional<PairedInference> interval;  // of delta_nll, paired; null for too little data
};

// Both rows must have run, in runs that passed require_same_tokens(). Throws UserError when their documents
// do not fit together all the same, or none is common.
RowDifference row_difference(const StoredRow& a, const StoredRow& b);

}  // namespace kvlab
