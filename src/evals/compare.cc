#include "evals/compare.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "evals/long_range.h"
#include "evals/seeds.h"

namespace kvlab {

namespace {

// One run of a row: a method with one seed.
struct Run {
  std::shared_ptr<const Method> method;
  MethodResult result;
};

struct Row {
  MethodSpec spec;
  std::vector<Run> runs;  // several only for seeds; empty: skipped
  MethodResult skipped;   // what is reported of a row that does not run
  RunOptions options;
  KeptRecord kept;
  bool is_baseline = false;  // the baseline or a noise floor: nothing to judge, no picture
};

MethodResult describe(const MethodSpec& spec) {
  MethodResult result;
  result.name = spec.display;
  result.recipe = spec.recipe;
  if (!spec.dense()) {
    if (spec.policy.budget && !spec.policy.at_context) result.every = spec.policy.every;
    if (const auto seed = spec.drawn_seed()) result.seed = static_cast<int64_t>(*seed);
    const auto phases = spec.phases();
    if (std::any_of(phases.begin(), phases.end(), [](const auto* p) { return p->scorer->by_document; }))
      result.notes.push_back("from a file, whose maker may have known the whole document");
    if (spec.scorer->non_causal) {
      result.non_causal = true;
      result.notes.push_back("not causal: it knows the future, so no method can be expected to reach it");
    }
  }
  return result;
}

std::string match_note(const MatchRecord& match) {
  if (match.variable.empty()) return "budget not matched: it " + match.reason;
  char text[160];
  std::snprintf(text, sizeof text, "%s=%.7g found in %d run%s: %.2f%% seen on %lld calibration document%s",
                match.variable.c_str(), match.value, match.runs, match.runs == 1 ? "" : "s",
                100 * match.reached, static_cast<long long>(match.documents),
                match.documents == 1 ? "" : "s");
  return text;
}

Row make_row(const MethodSpec& spec, const ModelShape& shape, const CompareOptions& options,
             const std::optional<MatchRecord>& match = {}) {
  Row row;
  row.spec = spec;
  row.options = options.run;
  row.skipped = describe(spec);
  row.skipped.match = match;
  if (spec.lacks_model()) {
    row.skipped.status = Status::kSkipped;
    row.skipped.reason =
        "needs a scorer trained for this model: model=FOLDER (kvzap also: --kvzap_scorer_model FOLDER)";
    return row;
  }
  if (spec.needs_context() && options.run.protocol.kind == Protocol::Kind::kStream) {
    row.skipped.status = Status::kSkipped;
    row.skipped.reason =
        "acts at the end of a context, and this run streams: --protocol prefix --context N gives it one";
    return row;
  }
  if (match && !match->feasible) {
    row.skipped.status = Status::kInfeasible;
    row.skipped.reason = match->reason;
    return row;
  }
  for (const MethodSpec& seeded : seed_runs(spec, options.seeds)) {
    row.runs.push_back({make_method(seeded, shape), describe(seeded)});
    row.runs.back().result.match = match;
    if (match) row.runs.back().result.notes.push_back(match_note(*match));
    if (spec.policy.budget && !spec.policy.at_context && spec.policy.every != options.every) {
      // Acting less often widens the mean window by about half the difference: no fair neighbour of the other
      // rows.
      row.runs.back().result.notes.push_back("acts every " + std::to_string(spec.policy.every) +
                                             " tokens, the run every " + std::to_string(options.every));
    }
  }
  return row;
}

// Methods that need attention weights run in another kernel, whose rounding is their noise floor.
Row one_query_baseline(const ModelShape& shape, const CompareOptions& options) {
  Row row = make_row(resolve_recipe("observed_attention(keep=1)", {}), shape, options);
  row.is_baseline = true;
  for (MethodResult* result : {&row.skipped, &row.runs[0].result}) {
    result->name = "Baseline, one query at a time";
    result->notes.push_back(
        "the noise floor of methods that read attention weights, in their kernel with nothing evicted");
  }
  return row;
}

std::vector<Row> make_rows(const std::vector<MethodSpec>& specs, const ModelShape& shape,
                           const CompareOptions& options) {
  std::vector<Row> rows;
  rows.push_back(make_row(no_compression(), shape, options));
  rows.back().is_baseline = true;
  Row noise = make_row(no_compression(), shape, options);
  noise.is_baseline = true;
  noise.options.extend_size = options.noise_extend;
  for (MethodResult* result : {&noise.skipped, &noise.runs[0].result}) {
    result->name = "Baseline, in extends of " + std::to_string(options.noise_extend);
    result->notes.push_back("the noise floor: the same computation cut differently");
  }
  rows.push_back(std::move(noise));
  const bool by_weights = std::any_of(specs.begin(), specs.end(),
                                      [](const MethodSpec& spec) { return spec.uses(ScorerKind::kWeights); });
  if (by_weights) rows.push_back(one_query_baseline(shape, options));
  KVLAB_CHECK(options.matches.empty() || options.matches.size() == specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].dense() && !specs[i].codec) continue;  // the baseline is there already
    rows.push_back(
        make_row(specs[i], shape, options, options.matches.empty() ? std::nullopt : options.matches[i]));
  }
  return rows;
}

// Where every unprotected entry goes, what is left is what StreamingLLM with the same protection keeps.
std::string equivalent_of(const Policy& policy) {
  std::string text = "; it equals streaming_llm(sinks=" + std::to_string(policy.sinks);
  if (policy.window) text += ",window=" + std::to_string(*policy.window);
  if (policy.every > 1) text += ",every=" + std::to_string(policy.every);
  return text + ")" + (policy.window ? "" : " with a window of half the budget");
}

// The row as reported now: seeds merged, judged.
MethodResult finish(const Row& row) {
  if (row.runs.empty()) return row.skipped;
  const MethodSpec& spec = row.spec;
  std::vector<MethodResult> results;
  for (const Run& run : row.runs) {
    MethodResult result = run.result;
    result.reference = row.is_baseline;
    if (spec.dense() || row.is_baseline || result.status == Status::kFailed) {
      // Nothing to judge.
    } else if (spec.neutral()) {
      result.status = Status::kNeutral;
      result.reason = "the recipe cannot evict";
    } else {
      judge(result, {true, !spec.recency()});
      if (result.status == Status::kFallback && !spec.context) result.reason += equivalent_of(spec.policy);
      mark_control_family(spec, result);
    }
    results.push_back(std::move(result));
  }
  if (results.size() == 1) return results[0];
  MethodResult merged = merge_seeds(std::move(results));
  merged.name = spec.display;
  merged.recipe = spec.recipe;
  return merged;
}

ComparisonResult collect(const std::vector<Row>& rows, bool interrupted) {
  ComparisonResult result;
  for (const Row& row : rows) result.methods.push_back(finish(row));
  result.interrupted = interrupted;
  return result;
}

void keep_record(Row& row, const Method& method, DocumentRun& run) {
  row.kept = {row.spec.display,  row.spec.recipe, row.spec.policy,
              run.result.tokens, method.shape,    std::move(run.lifetimes)};
}

// Creates oneDNN's primitives and touches the weights, so that the first row's speed is not that of a cold
// start.
void warm_up(const std::shared_ptr<const Model>& model, const std::vector<Row>& rows, TokenDocument document,
             const CompareOptions& options) {
  document.tokens.resize(std::min<size_t>(document.tokens.size(), 256));
  document.scored.resize(document.tokens.size());
  RunOptions stream = options.run;
  stream.protocol = {};
  for (size_t r = 0; r < std::min<size_t>(2, rows.size()) && document.tokens.size() > 1; ++r) {
    stream.extend_size = rows[r].options.extend_size;
    run_document(model, rows[r].runs[0].method, document, stream);
  }
}

// What a run made of a document of the batch in work.
struct Finished {
  Run* run;
  DocumentResult result;
  std::vector<float> nll;
};

bool wants_long_range(const std::vector<Row>& rows, const CompareOptions& options) {
  return options.long_range && std::any_of(rows.begin(), rows.end(),
                                           [](const Row& r) { return !r.is_baseline && !r.runs.empty(); });
}

class BatchLoop {
 public:
  BatchLoop(const std::shared_ptr<const Model>& model, std::vector<Row>& rows, const CompareOptions& options,
            Progress& progress)
      : model_(model), rows_(rows), options_(options), progress_(progress) {
    if (wants_long_range(rows, options)) long_range_.emplace(model, options.run);
  }

  std::optional<LongRangeControl> long_range() const {
    return long_range_ ? std::optional(long_range_->result()) : std::nullopt;
  }

  // Runs all rows on a batch; false when interrupted, and then nothing of it is kept.
  bool run(const Batch& batch, bool first) {
    finished_.clear();
    finished_.resize(batch.size());
    for (size_t r = 0; r < rows_.size(); ++r) {
      for (Run& run : rows_[r].runs) {
        if (stop_requested()) return false;
        if (run.result.status == Status::kFailed) continue;
        progress_.step(done_, run.result.name);
        RunOptions options = rows_[r].options;
        options.record_lifetimes =
            first && options_.record_first && &run == &rows_[r].runs.front() && !rows_[r].is_baseline;
        std::vector<DocumentRun> runs = run_batch(run, batch, options, r == 0);
        if (options.record_lifetimes && !runs.empty()) keep_record(rows_[r], *run.method, runs[0]);
        for (size_t d = 0; d < runs.size(); ++d) finish_document(rows_[r], run, runs[d], d);
        if (r == 0) baselines_ = std::move(runs);
        done_ += static_cast<int64_t>(batch.size());
        progress_.step(done_, run.result.name);
      }
    }
    if (long_range_) {
      if (stop_requested()) return false;
      add_long_range_losses(batch);
    }
    for (std::vector<Finished>& rows : finished_) {
      for (Finished& row : rows) row.run->result.documents.push_back(std::move(row.result));
    }
    return true;
  }

 private:
  // The documents of the batch under one method, with deltas unless it is the baseline. Of a method that
  // fails, the documents before the one that it failed on.
  std::vector<DocumentRun> run_batch(Run& run, const Batch& batch, const RunOptions& options,
                                     bool is_baseline) {
    if (is_baseline) return run_documents(model_, run.method, batch, options);  // nothing runs without it
    try {
      std::vector<DocumentRun> runs = run_documents(model_, run.method, batch, options);
      add_deltas(*model_, baselines_, runs);
      return runs;
    } catch (const std::exception& error) {
      if (batch.size() > 1) return run_one_by_one(run, batch, options);
      fail(run, *batch[0], error.what());
      return {};
    }
  }

  // Finds out which document of a batch a method fails on.
  std::vector<DocumentRun> run_one_by_one(Run& run, const Batch& batch, RunOptions options) {
    std::vector<DocumentRun> runs;
    for (size_t d = 0; d < batch.size(); ++d) {
      try {
        runs.push_back(run_document(model_, run.method, *batch[d], options));
        add_deltas(*model_, {&baselines_[d], 1}, {&runs[d], 1});
      } catch (const std::exception& error) {
        runs.resize(d);
        fail(run, *batch[d], error.what());
        return runs;
      }
      options.record_lifetimes = false;
    }
    return runs;
  }

  // Takes what is reported of document `d` of the batch from its run.
  void finish_document(const Row& row, Run& run, DocumentRun& document, size_t d) {
    const bool is_baseline = &row == &rows_.front();
    if (is_baseline) document.result.top1_agree = document.result.tokens_scored;
    if (options_.token_nll) document.result.token_nll = document.nll;
    if (!row.spec.dense())
      run.result.effective_window = row.spec.policy.common_window_at(document.result.tokens);
    finished_[d].push_back({&run, std::move(document.result), document.nll});
  }

  void add_long_range_losses(const Batch& batch) {
    progress_.step(done_, "the control of long-range tokens");
    const std::vector<std::vector<float>> controls = control_losses(batch);
    for (size_t d = 0; d < batch.size(); ++d) {
      std::vector<RowLosses> losses;
      for (Finished& row : finished_[d]) losses.push_back({row.nll, &row.result});
      long_range_->add(controls[d], baselines_[d].nll, losses);
    }
    done_ += static_cast<int64_t>(batch.size());
  }

  // A row that is the control has its losses already, unless it failed.
  std::vector<std::vector<float>> control_losses(const Batch& batch) {
    std::vector<std::vector<float>> losses;
    for (const std::vector<Finished>& rows : finished_) {
      const auto control = std::find_if(rows.begin(), rows.end(), [](const Finished& row) {
        return row.run->result.recipe == long_range_control_spec().recipe;
      });
      if (control == rows.end()) return long_range_->control_losses(batch, baselines_);
      losses.push_back(control->nll);
    }
    return losses;
  }

  // One row's failure does not end the others.
  void fail(Run& run, const TokenDocument& document, const std::string& why) {
    run.result.status = Status::kFailed;
    run.result.reason = "document '" + document.id + "': " + why;
  }

  const std::shared_ptr<const Model>& model_;
  std::vector<Row>& rows_;
  const CompareOptions& options_;
  Progress& progress_;
  std::optional<LongRangeChooser> long_range_;
  int64_t done_ = 0;  // documents, over all runs
  // Of the batch in work, by document.
  std::vector<DocumentRun> baselines_;
  std::vector<std::vector<Finished>> finished_;
};

std::vector<Batch> batches_of(const std::vector<TokenDocument>& documents, const std::vector<Row>& rows,
                              const ModelConfig& config, const CompareOptions& options) {
  std::vector<std::shared_ptr<const Method>> methods;
  for (const Row& row : rows) {
    for (const Run& run : row.runs) methods.push_back(run.method);
  }
  return cut_batches(documents, config, memory_needs(methods, options.run.kv_type), options.memory);
}

}  // namespace

Comparison compare(const std::shared_ptr<const Model>& model, const std::vector<MethodSpec>& specs,
                   const std::vector<TokenDocument>& documents, const CompareOptions& options,
                   Progress& progress, const BatchDone& batch_done) {
  std::vector<Row> rows = make_rows(specs, shape_of(model->config()), options);
  int64_t runs = 0;
  for (const Row& row : rows) runs += static_cast<int64_t>(row.runs.size());
  BatchLoop loop(model, rows, options, progress);
  if (loop.long_range()) ++runs;
  progress.begin("comparing", runs * static_cast<int64_t>(documents.size()));
  warm_up(model, rows, documents[0], options);
  bool interrupted = false;
  const std::vector<Batch> batches = batches_of(documents, rows, model->config(), options);
  for (size_t b = 0; b < batches.size() && !interrupted; ++b) {
    interrupted = !loop.run(batches[b], b == 0);
    if (interrupted) break;
    batch_done([&] {
      ComparisonResult so_far = collect(rows, b + 1 < batches.size());
      so_far.partial = true;
      so_far.long_range = loop.long_range();
      return so_far;
    });
  }
  progress.end();
  Comparison comparison{collect(rows, interrupted), {}};
  comparison.result.long_range = loop.long_range();
  for (Row& row : rows) {
    if (row.kept.tokens > 0) comparison.kept.push_back(std::move(row.kept));
  }
  return comparison;
}

}  // namespace kvlab
