#include "evals/perplexity.h"

#include <algorithm>

#include "base/error.h"
#include "evals/seeds.h"

namespace kvlab {

namespace {

// A row and how it is judged.
struct Plan {
  PerplexityRow row;
  MethodSpec spec;
  std::vector<MethodSpec> runs;  // several only for seeds
};

Plan make_plan(const SweepMethod& method, const PerplexityOptions& options) {
  Plan plan;
  plan.spec = method.spec;
  plan.runs = seed_runs(method.spec, options.seeds);
  plan.row.method = method.written;
  plan.row.ratio = method.ratio;
  plan.row.setup_seconds = options.setup_seconds;
  MethodResult& result = plan.row.result;
  result.name = method.spec.display;
  result.recipe = method.spec.recipe;
  if (method.spec.dense()) return plan;
  if (!method.spec.policy.at_context) {
    if (method.spec.policy.budget) result.every = method.spec.policy.every;
  }
  if (method.spec.needs_context() && options.run.protocol.kind == Protocol::Kind::kStream) {
    result.notes.push_back(
        "acts at the end of a context, and this protocol has none: --protocol prefix --context N gives it "
        "one");
  }
  // What is drawn without a seed of its own gets several (seed_runs).
  if (const auto seed = method.spec.drawn_seed(); seed && seed_runs(method.spec, 2).size() == 1)
    result.notes.push_back("one seed (" + std::to_string(*seed) + ") of many");
  if (method.spec.lacks_model()) {
    result.status = Status::kSkipped;
    result.reason =
        "needs a scorer trained for this model: model=FOLDER (kvzap also: --kvzap_scorer_model FOLDER)";
  }
  return plan;
}

std::vector<Plan> make_plans(const std::vector<SweepMethod>& methods, const PerplexityOptions& options) {
  std::vector<Plan> plans;
  plans.push_back(make_plan({"baseline", 0, no_compression()}, options));
  if (options.repeat_baseline) {
    plans.push_back(make_plan({"baseline_again", 0, no_compression()}, options));
    plans.back().row.result.name = "Baseline, again";
  }
  for (Plan& plan : plans) plan.row.result.reference = true;
  for (const SweepMethod& method : methods) plans.push_back(make_plan(method, options));
  return plans;
}

// Creates oneDNN's primitives and touches the weights, so that the first row's times are not those of a cold
// start.
void warm_up(const std::shared_ptr<const Model>& model, const Window& window, const RunOptions& options) {
  RunOptions stream = options;
  stream.protocol = {};
  run_document(model, make_method(no_compression(), shape_of(model->config())), window.tokens, stream);
}

void add_distances(const DocumentRun& run, const Protocol& protocol, std::vector<LossBucket>& buckets) {
  // The boundary is the last token before what may be scored, so that the first such token has distance 1.
  const int64_t boundary = protocol.kind == Protocol::Kind::kPrefix ? protocol.context - 1 : 0;
  for (size_t i = 0; i < run.nll.size(); ++i) add_loss(buckets, run.queries[i] + 1 - boundary, run.nll[i]);
}

// What is paired with the baseline on the same tokens.
void add_paired(const std::vector<float>& baseline, DocumentRun& run, WindowRun& window) {
  KVLAB_CHECK(baseline.size() == run.nll.size());
  DocumentResult& result = run.result;
  result.delta_blocks.assign(result.block_tokens.size(), 0);
  for (size_t i = 0; i < run.nll.size(); ++i) {
    const double delta = static_cast<double>(run.nll[i]) - baseline[i];
    result.delta_blocks[i / kBlockTokens] += delta;
    result.delta_nll_sum += delta;
    if (run.touched[i]) result.delta_nll_touched_sum += delta;
    const bool differs = run.nll[i] != baseline[i];
    window.tokens_differing += differs;
    window.touched_differing += differs && run.touched[i];
  }
}

void judge_run(const MethodSpec& spec, MethodResult& result) {
  if (spec.dense()) return;
  if (spec.neutral()) {
    result.status = Status::kNeutral;
    result.reason = "the recipe cannot evict";
    return;
  }
  judge(result, {true, !spec.recency()});
}

class RowLoop {
 public:
  RowLoop(const std::shared_ptr<const Model>& model, const std::vector<Window>& windows,
          const PerplexityOptions& options, Progress& progress)
      : model_(model), windows_(windows), options_(options), progress_(progress) {}

  // False when interrupted; the row is then not finished.
  bool run(Plan& plan) {
    const bool first = baseline_.empty();
    const int64_t end = done_ + static_cast<int64_t>(plan.runs.size() * windows_.size());
    try {
      if (plan.row.result.status == Status::kOk && !run_seeds(plan, first)) return false;
    } catch (const std::exception& error) {
      if (first) throw;  // nothing can be compared without a baseline
      fail(plan.row, error.what());
    }
    done_ = end;  // also of a row that did not get so far
    progress_.step(done_, plan.row.result.name);
    return true;
  }

 private:
  bool run_seeds(Plan& plan, bool first) {
    std::vector<MethodResult> results;
    for (const MethodSpec& spec : plan.runs) {
      results.push_back(plan.row.result);
      results.back().recipe = spec.recipe;
      if (!spec.dense() && spec.scorer->seeded) results.back().seed = static_cast<int64_t>(spec.seed);
      if (!run_windows(spec, first, plan.row, results.back())) return false;
      judge_run(spec, results.back());
    }
    if (plan.row.result.reference && !first) plan.row.equal_to_baseline = tokens_differing(plan.row) == 0;
    if (results.size() == 1) {
      plan.row.result = std::move(results[0]);
      return true;
    }
    plan.row.result = merge_seeds(std::move(results));
    plan.row.result.recipe = plan.spec.recipe;
    return true;
  }

  bool run_windows(const MethodSpec& spec, bool first, PerplexityRow& row, MethodResult& result) {
    const auto method = make_method(spec, shape_of(model_->config()));
    for (size_t w = 0; w < windows_.size(); ++w) {
      if (stop_requested()) return false;
      progress_.step(done_++, result.name);
      DocumentRun run = run_document(model_, method, windows_[w].tokens, options_.run);
      if (first) baseline_.push_back(run.nll);
      WindowRun window{windows_[w].first, run.prefill_seconds, 0, 0};
      add_paired(baseline_[w], run, window);
      add_distances(run, options_.run.protocol, row.buckets);
      row.windows.push_back(window);
      result.documents.push_back(std::move(run.result));
    }
    return true;
  }

  // One row's failure does not end the others. A part of its windows compares with nothing.
  void fail(PerplexityRow& row, const std::string& why) {
    row.result.status = Status::kFailed;
    row.result.reason = "window " + std::to_string(row.windows.size() % windows_.size()) + ": " + why;
    row.windows.clear();
    row.buckets.clear();
  }

  const std::shared_ptr<const Model>& model_;
  const std::vector<Window>& windows_;
  const PerplexityOptions& options_;
  Progress& progress_;
  int64_t done_ = 0;                          // windows, over all runs
  std::vector<std::vector<float>> baseline_;  // losses by window
};

}  // namespace

PerplexityResult measure_perplexity(const std::shared_ptr<const Model>& model,
                                    const std::vector<SweepMethod>& methods,
                                    const std::vector<Window>& windows, const PerplexityOptions& options,
                                    Progress& progress,
                                    const std::function<void(const PerplexityRow&)>& row_done) {
  KVLAB_CHECK(!windows.empty());
  std::vector<Plan> plans = make_plans(methods, options);
  size_t runs = 0;
  for (const Plan& plan : plans) runs += plan.runs.size();
  progress.begin("perplexity", static_cast<int64_t>(runs * windows.size()));
  warm_up(model, windows[0], options.run);
  RowLoop loop(model, windows, options, progress);
  PerplexityResult result;
  for (Plan& plan : plans) {
    result.interrupted = !loop.run(plan);
    if (result.interrupted) break;
    row_done(plan.row);
    result.rows.push_back(std::move(plan.row));
  }
  progress.end();
  return result;
}

}  // namespace kvlab
