#include "evals/dump.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/attention.h"
#include "kernels/scoring.h"

namespace kvlab {

namespace {

using Entry = SafetensorsWriter::Entry;
using Type = SafetensorsWriter::Type;

std::string layer_tensor(int layer, const char* what) {
  return fmt::format("layers.{}.{}", layer, what);
}

bool wants_layer(const DumpOptions& options, int layer) {
  return options.layers.empty() ||
         std::find(options.layers.begin(), options.layers.end(), layer) != options.layers.end();
}

// What the queries of a layer pay to each entry, summed up block by block.
class AttentionSums {
 public:
  AttentionSums(const ModelShape& shape, int64_t tokens)
      : shape_(shape),
        keys_(shape.kv_heads),
        sums_(shape.query_heads, std::vector<double>(static_cast<size_t>(tokens), 0.0)) {}

  void add(const LayerBlock& block) {
    const int d = shape_.head_dim;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      for (int r = 0; r < block.rows; ++r) {
        const float* key = block.k + r * block.kv_stride + int64_t{1} * head * d;
        keys_[head].insert(keys_[head].end(), key, key + d);
      }
    }
    parallel_tasks(shape_.query_heads, [&](int head, int) { add_head(block, head); });
  }

  std::vector<float> head(int query_head) const {
    return {sums_[query_head].begin(), sums_[query_head].end()};
  }

 private:
  void add_head(const LayerBlock& block, int head) {
    const int d = shape_.head_dim;
    std::vector<float> weights(static_cast<size_t>(block.first + block.rows));
    for (int r = 0; r < block.rows; ++r) {
      const int64_t first = block.first + r + 1 - shape_.reach(block.layer, block.first + r + 1);
      const int64_t seen = block.first + r + 1 - first;
      dots(block.q + r * block.q_stride + int64_t{1} * head * d,
           keys_[head / shape_.group()].data() + first * d, seen, d, weights.data());
      for (int64_t j = 0; j < seen; ++j) weights[j] *= attention_scale(d);
      masked_softmax(weights.data(), seen);
      for (int64_t j = 0; j < seen; ++j) sums_[head][first + j] += weights[j];
    }
  }

  ModelShape shape_;
  std::vector<std::vector<float>> keys_;   // [kv head][token * head_dim]
  std::vector<std::vector<double>> sums_;  // [query head][token]
};

// Writes what a session's layers are given, block by block.
class DumpTap : public LayerTap {
 public:
  DumpTap(const Method& method, const TokenDocument& document, const DumpOptions& options,
          SafetensorsWriter& writer, Progress& progress)
      : method_(method),
        tokens_(static_cast<int64_t>(document.tokens.size())),
        document_(static_cast<uint64_t>(document.index)),
        options_(options),
        writer_(writer),
        progress_(progress),
        attention_(method.shape.layers) {}

  bool wants_hidden() const override { return options_.hidden; }

  void see(const LayerBlock& block) override {
    const ModelShape& shape = method_.shape;
    if (options_.scores) write_scores(block);
    if (wants_layer(options_, block.layer)) {
      const int kv_size = shape.kv_heads * shape.head_dim;
      if (options_.k) write_rows("k", block, block.k, block.kv_stride, kv_size);
      if (options_.v) write_rows("v", block, block.v, block.kv_stride, kv_size);
      if (options_.q) write_rows("q", block, block.q, block.q_stride, shape.query_heads * shape.head_dim);
      if (options_.hidden) write_rows("hidden", block, block.hidden, shape.hidden, shape.hidden);
      if (options_.attention) add_attention(block);
    }
    progress_.step(done_ += block.rows);
  }

 private:
  void write_rows(const char* what, const LayerBlock& block, const float* rows, int64_t stride, int size) {
    buffer_.resize(static_cast<size_t>(block.rows) * size);
    for (int r = 0; r < block.rows; ++r)
      std::copy_n(rows + r * stride, size, buffer_.data() + static_cast<int64_t>(r) * size);
    writer_.write(layer_tensor(block.layer, what), block.first * size, buffer_);
  }

  void write_scores(const LayerBlock& block) {
    const int heads = method_.shape.kv_heads;
    buffer_.resize(static_cast<size_t>(heads) * block.rows);
    method_.fixed()->score(
        {block.layer, block.first, block.rows, block.k, block.v, block.kv_stride, block.hidden, document_},
        buffer_.data());
    for (int head = 0; head < heads; ++head) {
      writer_.write(
          "scores", (int64_t{1} * block.layer * heads + head) * tokens_ + block.first,
          std::span<const float>(buffer_).subspan(static_cast<size_t>(head) * block.rows, block.rows));
    }
  }

  void add_attention(const LayerBlock& block) {
    auto& sums = attention_[block.layer];
    if (!sums) sums = std::make_unique<AttentionSums>(method_.shape, tokens_);
    sums->add(block);
    if (block.first + block.rows < tokens_) return;
    for (int head = 0; head < method_.shape.query_heads; ++head)
      writer_.write(layer_tensor(block.layer, "attention_sum"), head * tokens_, sums->head(head));
    sums.reset();
  }

  const Method& method_;
  int64_t tokens_;
  uint64_t document_;
  const DumpOptions& options_;
  SafetensorsWriter& writer_;
  Progress& progress_;
  std::vector<std::unique_ptr<AttentionSums>> attention_;
  std::vector<float> buffer_;
  int64_t done_ = 0;
};

void write_keep(const LifetimeRecord& lifetimes, int64_t tokens, SafetensorsWriter& writer) {
  std::vector<int32_t> evict_at(static_cast<size_t>(tokens));
  std::vector<uint8_t> keep(static_cast<size_t>(tokens));
  int64_t at = 0;
  for (const std::vector<int32_t>& head : lifetimes.evict_at) {
    for (int64_t t = 0; t < tokens; ++t) {
      evict_at[t] = head[t] == kNever ? -1 : head[t];
      keep[t] = head[t] == kNever;
    }
    writer.write("evict_at", at, evict_at);
    writer.write("keep", at, keep);
    at += tokens;
  }
}

void write_losses(const TokenDocument& document, const DocumentRun& run, SafetensorsWriter& writer) {
  std::vector<float> nll(document.tokens.size(), std::numeric_limits<float>::quiet_NaN());
  for (size_t i = 0; i < run.queries.size(); ++i) nll[run.queries[i] + 1] = run.nll[i];
  writer.write("tokens", 0, document.tokens);
  writer.write("nll", 0, nll);
}

}  // namespace

void choose_dump_parts(const std::string& names, DumpOptions& options) {
  const std::vector<std::pair<std::string, bool*>> known = {{"k", &options.k},
                                                            {"v", &options.v},
                                                            {"q", &options.q},
                                                            {"hidden", &options.hidden},
                                                            {"attention", &options.attention},
                                                            {"keep", &options.keep},
                                                            {"scores", &options.scores}};
  for (size_t at = 0; at <= names.size();) {
    const size_t comma = std::min(names.find(',', at), names.size());
    const std::string name = names.substr(at, comma - at);
    const auto found =
        std::find_if(known.begin(), known.end(), [&](const auto& part) { return part.first == name; });
    if (found == known.end()) {
      throw UserError("--what '" + name +
                      "' is not known (expected some of k,v,q,hidden,attention,keep,scores)");
    }
    *found->second = true;
    at = comma + 1;
  }
}

std::vector<Entry> dump_tensors(const Method& method, int64_t tokens, const DumpOptions& options) {
  const ModelShape& shape = method.shape;
  for (const int layer : options.layers) {
    if (layer >= 0 && layer < shape.layers) continue;
    throw UserError(fmt::format("--layers {}: the model has layers 0 to {}", layer, shape.layers - 1));
  }
  if (options.scores && !method.fixed()) {
    throw UserError("--what scores: " + method.spec.display +
                    " has no score when an entry is written; take a scorer of the kind fixed (`kvlab list`)");
  }
  std::vector<Entry> entries;
  for (int layer = 0; layer < shape.layers; ++layer) {
    if (!wants_layer(options, layer)) continue;
    const auto add = [&](bool wanted, const char* what, std::vector<int64_t> sizes) {
      if (wanted) entries.push_back({layer_tensor(layer, what), Type::kF32, std::move(sizes)});
    };
    add(options.k, "k", {tokens, shape.kv_heads, shape.head_dim});
    add(options.v, "v", {tokens, shape.kv_heads, shape.head_dim});
    add(options.q, "q", {tokens, shape.query_heads, shape.head_dim});
    add(options.hidden, "hidden", {tokens, shape.hidden});
    add(options.attention, "attention_sum", {shape.query_heads, tokens});
  }
  const std::vector<int64_t> per_entry = {shape.layers, shape.kv_heads, tokens};
  if (options.scores) entries.push_back({"scores", Type::kF32, per_entry});
  if (options.keep) entries.push_back({"evict_at", Type::kI32, per_entry});
  entries.push_back({"tokens", Type::kI32, {tokens}});
  entries.push_back({"nll", Type::kF32, {tokens}});
  if (options.keep) entries.push_back({"keep", Type::kU8, per_entry});  // bytes last: all else is aligned
  return entries;
}

DocumentRun dump_document(const std::shared_ptr<const Model>& model,
                          const std::shared_ptr<const Method>& method, const TokenDocument& document,
                          const DumpOptions& options, const std::string& path,
                          const std::map<std::string, std::string>& metadata, Progress& progress) {
  const auto tokens = static_cast<int64_t>(document.tokens.size());
  SafetensorsWriter writer(path, dump_tensors(*method, tokens, options), metadata);
  progress.begin("dumping", tokens * method->shape.layers);
  RunOptions run_options = options.run;
  run_options.record_lifetimes = options.keep;
  run_options.tap = std::make_shared<DumpTap>(*method, document, options, writer, progress);
  DocumentRun run = run_document(model, method, document, run_options);
  progress.end();
  if (stop_requested()) return run;
  if (options.keep) write_keep(run.lifetimes, tokens, writer);
  write_losses(document, run, writer);
  writer.finish();
  return run;
}

}  // namespace kvlab
