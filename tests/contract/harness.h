// What the contract tests share: one tiny model, the list of methods under test, and runs of them.
// The list is made from the registries, so that a new scorer or budget is covered by being there.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/reconstruction.h"
#include "engine/session.h"
#include "support/thread_count.h"

namespace kvlab::testing {

// Runs this small are done sooner by one thread than several threads can meet.
class OneThread : public ::testing::Test {
  ThreadCount threads_{1};
};

// A random grouped-query llama of 3 layers, 4 query heads, 2 KV heads of size 16; loaded once, f32. With
// KVLAB_TEST_ARCHITECTURE set, a model of that architecture (support/tiny_architectures.h).
std::shared_ptr<const Model> tiny_model(DType type = DType::kF32);
ModelShape tiny_shape();

// For tests that count what full attention leaves; sliding windows have windows_test.cc.
#define KVLAB_NEEDS_FULL_ATTENTION() \
  if (!tiny_shape().windows.empty()) GTEST_SKIP() << "counts what full attention leaves"

std::vector<int32_t> random_tokens(int count, uint64_t seed);

// Scorers whose sessions decide as they go and under a budget: all but the planned ones and those that take
// none, which have tests of their own.
std::vector<const ScorerInfo*> online_scorers();
// Those among them that also act before the end of a context.
std::vector<const ScorerInfo*> streaming_scorers();

// Recipes of every such scorer with every budget it takes, acting after every token and after every 7, with a
// window of `window` tokens (none written: by rule). Budgets from a file are uneven. Values are chosen so
// that a good part of some hundred tokens goes; thresholds are the scorer's own median on the tiny model.
// Learned scorers come with random weights (a folder each).
std::vector<std::string> streaming_recipes(int64_t window = 8);
// Every scorer with keep=`keep`, acting at the end of the context.
std::vector<std::string> context_recipes(double keep);
// Two phases: every scorer at the end of the context and every scorer from there on, kinds in all pairs, and
// nothing done to the context. They act often enough for some hundred tokens.
std::vector<std::string> two_phase_recipes();
// Every wrapper around scorers of each kind that it can stand around, and wrappers around wrappers:
// streaming, after every token and after every 7; at the end of a context; and in one of two phases, either
// of them.
std::vector<std::string> wrapped_streaming_recipes(int64_t window = 8);
std::vector<std::string> wrapped_context_recipes(double keep);
std::vector<std::string> wrapped_two_phase_recipes();
// All of the above: scorers alone and wrapped.
std::vector<std::string> all_streaming_recipes(int64_t window = 8);
std::vector<std::string> all_context_recipes(double keep);
std::vector<std::string> all_two_phase_recipes();
// A model= of random weights, or scores= of random scores: what a recipe of this scorer has to say to be
// complete.
// Gives "key=value" pieces with a comma in front of each.
std::string needed_arguments(const ScorerInfo& scorer);
// A random scorer for kvzap in the Hugging Face layout; `hidden` 0: linear. Gives its folder.
std::string kvzap_folder(int hidden);
// Random filters for qfilter. Gives their folder.
std::string qfilter_folder();
// Scores of KV heads for duo_attention: its folder.
std::string head_scores_folder();
// The median score of a scorer's entries on the tiny model when nothing goes.
double median_score(const ScorerInfo& scorer);

// Whether a record of the evictions says all that the method does, so that it can be imposed on another run.
bool is_told_by_lives(const Method& method);
std::shared_ptr<const Method> method_of(const std::string& recipe);

// How a run is cut and what is watched.
struct RunPlan {
  std::vector<int> blocks;         // tokens per extend; empty: one extend
  std::optional<int64_t> context;  // end_context() after so many tokens (an extend ends there)
  DType type = DType::kF32;
  std::shared_ptr<const LifetimeRecord> imposed;
};

struct Outcome {
  std::vector<float> hidden;  // [tokens][hidden]
  int64_t tokens = 0;
  LifetimeRecord lifetimes;
  std::vector<std::vector<int32_t>> live;  // [layer * heads + head]: positions, ascending
  EvictionCounts counts;
};

// What scorers that repeat the context feed ahead of it.
std::shared_ptr<const ReconstructionPrompts> random_prompts();
CacheOptions cache_options(DType type = DType::kF32);
Outcome run(const std::shared_ptr<const Method>& method, const std::vector<int32_t>& tokens,
            const RunPlan& plan = {});
std::vector<std::vector<int32_t>> live_entries(const KvCache& cache);

std::vector<int> ones(int tokens);
std::vector<int> random_blocks(int tokens, int largest, std::mt19937& random);

// The largest difference of two runs' hidden states over their first `rows` rows (all: -1), against the
// largest value.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace kvlab::testing
