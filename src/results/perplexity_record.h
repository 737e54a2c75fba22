// The record of a perplexity run: rows as in a comparison (record.h), with what such a run adds, and the
// files of a row: ppl.json and ppl.csv in a folder of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "results/record.h"

namespace kvlab {

// Losses of the scored tokens at a distance of [from, to] tokens from the boundary.
struct LossBucket {
  int64_t from = 0, to = 0;
  int64_t count = 0;
  double nll_sum = 0;
};

// Adds a loss to its bucket: distances 1, 2..3, 4..7, ... Buckets are made as they are needed.
void add_loss(std::vector<LossBucket>& buckets, int64_t distance, double nll);

// What a window of a run has beside its DocumentResult.
struct WindowRun {
  int64_t first = 0;           // the window's first token, in its document
  double prefill_seconds = 0;  // the model and the method, without the losses; under prefix the context only
  // Scored tokens whose loss is not the baseline's to the last bit; and those of them that were touched.
  int64_t tokens_differing = 0, touched_differing = 0;
};

struct PerplexityRow {
  std::string method;               // as the user wrote it; "baseline"
  std::optional<double> ratio;      // fraction evicted; none: a budget that is no fraction of the tokens
  MethodResult result;              // the documents of its runs are the windows
  std::vector<WindowRun> windows;   // of the windows, run after run
  std::vector<LossBucket> buckets;  // over all windows and runs
  double setup_seconds = 0;         // loading and tokenising, which the rows of a run share
  std::optional<bool> equal_to_baseline;  // of a repeated baseline: every loss, to the last bit
};

struct PerplexityResult {
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  nlohmann::ordered_json environment = nlohmann::ordered_json::object();
  std::vector<PerplexityRow> rows;  // the baseline first; only rows that are finished
  bool interrupted = false;
};

// The row itself, or its runs with several seeds.
std::span<const MethodResult> runs_of(const PerplexityRow& row);

// Means over the runs, so that rows compare.
double prefill_seconds(const PerplexityRow& row);
double runtime_seconds(const PerplexityRow& row);  // scoring, the prefill included
double tokens_differing(const PerplexityRow& row);
double touched_differing(const PerplexityRow& row);
bool has_run(const PerplexityRow& row);  // not skipped, not failed

// Every key is there in every row; null where it does not apply.
nlohmann::ordered_json perplexity_row_json(const PerplexityRow& row);
// The same for each row, with config and environment: ppl_summary.json.
nlohmann::ordered_json perplexity_summary_json(const PerplexityResult& result);

// A name as part of a folder's name: letters, digits, '.', '-', '+' and single '_'; "unnamed" for what leaves
// nothing. So "__" only ever separates.
std::string folder_part(const std::string& name);
// "wiki.test__SmolLM2__knorm__0.5"; a budget that is no ratio gives "own" in its place.
std::string row_folder(const std::string& dataset, const std::string& model, const PerplexityRow& row);

// ppl.csv and ppl.json, each whole or not at all; the CSV first, so that a ppl.json never stands without it.
void write_perplexity_row(const PerplexityRow& row, const nlohmann::ordered_json& config,
                          const nlohmann::ordered_json& environment, const std::filesystem::path& folder);
// ppl_summary.json and, for programs that read no JSON, ppl_summary.csv and ratio_steps.csv.
void write_perplexity_summary(const PerplexityResult& result, const std::filesystem::path& folder);

}  // namespace kvlab
