#include "results/row_difference.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

namespace {

std::string model_text(const StoredRun& run) {
  return run.file.string() + ": " + run.model + " (" + run.model_path + ", " +
         (run.model_hash ? "hash " + *run.model_hash : "no hash recorded") + ")";
}

bool same_model(const StoredRun& a, const StoredRun& b) {
  if (a.model_hash && b.model_hash) return *a.model_hash == *b.model_hash;
  const auto file_name = [](const StoredRun& run) {
    return std::filesystem::path(run.model_path).filename();
  };
  return a.model == b.model && file_name(a) == file_name(b);
}

// b's losses minus a's, block by block.
std::vector<TokenSum> difference(const StoredDocument& a, const StoredDocument& b) {
  const auto fits = [](const TokenSum& x, const TokenSum& y) { return x.tokens == y.tokens; };
  if (a.index != b.index ||
      !std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(), fits)) {
    throw UserError(
        "documents '" + a.id + "' and '" + b.id +
        "' do not have the same scored tokens, although the token sets are equal: a damaged file, or "
        "runs of different versions");
  }
  std::vector<TokenSum> blocks;
  for (size_t i = 0; i < a.blocks.size(); ++i)
    blocks.push_back({a.blocks[i].tokens, b.blocks[i].sum - a.blocks[i].sum});
  return blocks;
}

double loss_of(const StoredDocument& document) {
  double sum = 0;
  for (const TokenSum& block : document.blocks) sum += block.sum;
  return sum;
}

}  // namespace

void require_same_tokens(const StoredRun& a, const StoredRun& b) {
  if (a.token_set == b.token_set) return;
  throw UserError(
      "different tokens were scored, so the losses cannot be compared: " + a.file.string() +
      " has token set " + a.token_set + " (" + a.data_path + "), " + b.file.string() + " has " + b.token_set +
      " (" + b.data_path +
      "); run both over the same data with the same tokenizer, --max_samples, --max_length, --bos, "
      "mask and protocol");
}

void require_same_model(const StoredRun& a, const StoredRun& b) {
  if (same_model(a, b)) return;
  throw UserError("the runs are of different models: " + model_text(a) + ", " + model_text(b) +
                  "; --allow-different-models compares them all the same");
}

std::vector<std::string> differing_settings(const StoredRun& a, const StoredRun& b) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : a.config.items()) {
    const bool shown = key != "recipes" && key != "token_set" && key != "documents" &&
                       key != "documents_finished" && !key.ends_with("_path");
    const auto other = b.config.find(key);
    if (!shown || other == b.config.end() || *other == value) continue;
    lines.push_back(key + ": " + value.dump() + " | " + other->dump());
  }
  return lines;
}

RowDifference row_difference(const StoredRow& a, const StoredRow& b) {
  const size_t common = std::min(a.documents.size(), b.documents.size());
  RowDifference result;
  BlockSums sums;
  double loss_a = 0, loss_b = 0;
  for (size_t d = 0; d < common; ++d) {
    sums.push_back(difference(a.documents[d], b.documents[d]));
    for (const TokenSum& block : sums.back()) result.tokens += block.tokens;
    loss_a += loss_of(a.documents[d]);
    loss_b += loss_of(b.documents[d]);
  }
  if (result.tokens == 0) {
    throw UserError("rows '" + a.name + "' and '" + b.name + "' have no scored token in common");
  }
  result.documents = static_cast<int64_t>(common);
  result.nll_a = loss_a / result.tokens;
  result.nll_b = loss_b / result.tokens;
  result.delta_nll = (loss_b - loss_a) / result.tokens;
  result.interval = paired_inference(std::move(sums));
  return result;
}

}  // namespace kvlab
