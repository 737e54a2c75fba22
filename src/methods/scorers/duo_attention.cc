// DuoAttention.
// Idea: Few heads retrieve from far back, and keep everything; the others look at the first and the latest
// tokens only, and keep these.
// Paper: Xiao et al.: DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming
// Heads, arXiv:2410.10819.
// Symbols: a head streams if its score is among the round(head_ratio x KV heads of the model) lowest; such
// a head keeps the first `sinks` and the latest `window` tokens.
// Differs: the paper learns the scores by gradients on synthetic tasks; any file of scores is taken, its
// own or that of `kvlab train duo_attention`, which measures them as kvpress does. Heads of equal score
// stream from the first layer on. Defaults of sinks and window are kvpress's (128 and 256); published
// patterns name their own in config.json, which is not read. kvpress masks a streaming head once, after
// the prompt, and lets it grow from there (at=context); here it slides on, as in the paper.
// Bytes per token: one score (a float) per live entry.
// In kvpress: DuoAttentionPress (head_compression_ratio=0, on_the_fly_scoring=False).
// Examples: duo_attention(model="scores.tsv") duo_attention(head_ratio=0.75,model="heads",at=context)
// duo_attention(head_ratio=0.5,sinks=64,window=128,model="heads")
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <sstream>

#include <fmt/format.h>

#include "base/error.h"
#include "cache/own_budgets.h"
#include "cache/scorer.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"

namespace kvlab {

namespace {

constexpr const char* kTensor = "head_scores";
constexpr const char* kTable = "full_attention_heads.tsv";

// A line for each layer, the heads' scores between tabs: the paper's own layout.
std::vector<float> read_table(const std::string& path, int layers, int heads) {
  const MappedFile file(path);
  std::istringstream lines{std::string(file.text())};
  std::vector<float> scores;
  int read = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    std::istringstream words(line);
    int in_line = 0;
    for (std::string word; words >> word; ++in_line) {
      try {
        size_t used = 0;
        scores.push_back(std::stof(word, &used));
        if (used == word.size()) continue;
      } catch (const std::exception&) {
      }
      throw UserError(
          fmt::format("{}: '{}' in line {} is not a number (expected head scores)", path, word, read + 1));
    }
    ++read;
    if (in_line != heads) {
      throw UserError(fmt::format("{}: line {} has {} scores, the model has {} KV heads in a layer", path,
                                  read, in_line, heads));
    }
  }
  if (read != layers)
    throw UserError(fmt::format("{}: {} lines of scores, the model has {} layers", path, read, layers));
  return scores;
}

std::vector<float> read_scores(const std::string& path, const ModelShape& shape) {
  if (path.empty())
    throw UserError(
        "duo_attention needs head scores: give model=FILE or model=FOLDER (`kvlab train duo_attention` makes "
        "them)");
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string table = folder ? path + "/" + kTable : path;
  const bool as_table = folder ? std::filesystem::exists(table, ignored) : !path.ends_with(".safetensors");
  std::vector<float> scores = as_table
                                  ? read_table(table, shape.layers, shape.kv_heads)
                                  : open_safetensors(path)->read(kTensor, {shape.layers, shape.kv_heads});
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i])) continue;
    throw UserError(fmt::format("{}: the score of layer {}, head {} is {} (expected a number)", path,
                                static_cast<int>(i) / shape.kv_heads, static_cast<int>(i) % shape.kv_heads,
                                scores[i]));
  }
  return scores;
}

class DuoAttention : public FixedScorer, public OwnBudgets {
 public:
  explicit DuoAttention(const ScorerContext& context)
      : shape_(context.shape),
        path_(context.model_path),
        ratio_(context.values.real("head_ratio")),
        head_scores_(read_scores(context.model_path, context.shape)) {}

  // What a streaming head lets go is all that is outside its sinks and window, so any order will do.
  void score(const NewEntries& entries, float* out) const override {
    for (int head = 0; head < shape_.kv_heads; ++head) {
      for (int r = 0; r < entries.rows; ++r) *out++ = static_cast<float>(entries.first_position + r);
    }
  }

  HeadBudgets head_budgets() const override {
    std::vector<int> order(head_scores_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return head_scores_[a] < head_scores_[b]; });
    HeadBudgets budgets;
    budgets.source = path_;
    budgets.budget = "free_density";
    budgets.layers = shape_.layers;
    budgets.heads = shape_.kv_heads;
    budgets.values.assign(order.size(), 1.0);
    // Halves go to the even number, as in kvpress.
    const auto streaming = static_cast<size_t>(std::nearbyint(static_cast<double>(order.size()) * ratio_));
    for (size_t i = 0; i < streaming; ++i) budgets.values[order[i]] = 0.0;
    return budgets;
  }

 private:
  ModelShape shape_;
  std::string path_;
  double ratio_;
  std::vector<float> head_scores_;  // [layers][kv_heads]
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "duo_attention";
  info.title = "DuoAttention";
  info.paper =
      "Xiao et al.: DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads, "
      "arXiv:2410.10819";
  info.summary = "heads that retrieve keep everything, all others sinks and a window";
  info.formula = "score_j = j; what is outside sinks and window goes, in streaming heads only";
  info.no_budget = "the heads' scores and head_ratio say which heads keep everything";
  info.no_threshold = "its score is the position";
  info.sinks = info.context_sinks = 128;
  info.learned = true;
  info.recency = true;
  info.fields = {real_field("head_ratio", 0.5, 0, 1, "fraction of the model's KV heads that stream"),
                 int_field("sinks", int64_t{128}, 0, 1 << 20, "first tokens that streaming heads keep"),
                 int_field("window", int64_t{256}, 1, 1 << 30, "latest tokens that streaming heads keep")};
  info.create = [](const ScorerContext& context) { return std::make_unique<DuoAttention>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_duo_attention;
const ScorerInfo kScorerInfo_duo_attention = describe();

}  // namespace kvlab
