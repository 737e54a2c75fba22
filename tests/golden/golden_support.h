// What the golden tests share: files, models, runs whose figures are counted as the goldens count them, and
// comparisons.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "cache/recipe.h"
#include "engine/session.h"
#include "tokenizer/tokenizer_files.h"  // paths, read_text, KVLAB_NEED_FILE

namespace kvlab::testing {

// The sanitizer build runs attention many times slower; it gets one short golden of the default model only.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitizers = true;
#else
inline constexpr bool kSanitizers = false;
#endif

#define KVLAB_SKIP_UNDER_SANITIZERS(why)                                    \
  if (::kvlab::testing::kSanitizers) {                                      \
    GTEST_SKIP() << "not under the sanitizers, where it is too slow: " why; \
  }                                                                         \
  static_assert(true)

// One thread while it lives. Steps of a small model are too short to share, and threads that wait for each
// other at every one of them take a hundred times as long on a machine that is busy with other things.
class OneThread {
 public:
  OneThread() : before_(thread_count()) { set_thread_count(1); }
  ~OneThread() { set_thread_count(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

nlohmann::json read_json(const std::string& path);
std::shared_ptr<const Model> open_and_load(const std::string& path, DType type);

// A whole run. `evicted` is a share of all entries at the end; `seen` is what all queries saw, the last one
// included, as a share of what dense attention sees.
struct StreamRun {
  std::vector<int32_t> tokens;
  std::vector<float> nll;  // of tokens 1 ... n - 1
  double evicted = 0;
  double seen = 1;
  std::vector<std::vector<std::vector<int32_t>>> live;  // [layer][KV head], ascending
  double mean_nll() const;
  double ppl() const;
};
StreamRun run_stream(const std::shared_ptr<const Model>& model, const MethodSpec& spec,
                     std::span<const int32_t> tokens, DType kv_type);

struct LossDistance {
  double mean = 0, most = 0;  // of absolute differences
};
// Compares the values that both have; `run` may be shorter than the golden.
LossDistance loss_distance(const std::vector<float>& run, const nlohmann::json& golden);

// The f32 baseline: mean within 1e-4, each token within 2e-3.
void expect_baseline(const StreamRun& run, const nlohmann::json& golden, const std::string& name);

// One recipe of a `stream` section: losses, evicted and seen shares, live entries at the end.
void expect_stream(const StreamRun& run, const MethodSpec& spec, const nlohmann::json& golden,
                   const std::string& name);

// Runs every recipe of a `stream` section whose scorer is registered, in f32; those that are not are printed
// and recorded. At least one must have run.
void check_stream_section(const std::shared_ptr<const Model>& model, const nlohmann::json& section,
                          std::span<const int32_t> tokens, const RecipeDefaults& defaults);

// True when the recipe's first part is a scorer or a named recipe of this build.
bool registered(const std::string& recipe);

}  // namespace kvlab::testing
