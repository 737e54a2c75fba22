#include "engine/session.h"

#include <algorithm>

#include "base/error.h"
#include "engine/reconstruction.h"
#include "models/pipeline.h"
#include "models/rotary.h"

namespace kvlab {

namespace {

// Hands a model's attention to the session's cache.
class CacheAttention : public AttentionProvider {
 public:
  explicit CacheAttention(KvCache& cache) : cache_(cache) {}
  bool wants_hidden() const override { return cache_.wants_hidden(); }
  bool wants_whole_layers() const override { return cache_.wants_whole_layers(); }
  int chains() const override { return cache_.chains(); }
  void prepare(const AttentionBlock& piece) override { cache_.prepare(block_of(piece)); }
  void see(const AttentionBlock& layer) override { cache_.see(block_of(layer)); }
  void attend(const AttentionBlock& piece, int chain) override { cache_.attend(block_of(piece), chain); }

 private:
  static LayerBlock block_of(const AttentionBlock& b) {
    return {b.layer, b.first,    b.rows,      b.piece,  b.q,   b.k,
            b.v,     b.q_stride, b.kv_stride, b.hidden, b.out, b.out_stride};
  }
  KvCache& cache_;
};

// The output projections of the session's own model.
class ModelProjections : public OutputProjections {
 public:
  explicit ModelProjections(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::span<const float> layer(int layer) const override { return model_->kept_output_projection(layer); }

 private:
  std::shared_ptr<const Model> model_;
};

CacheOptions with_projections(CacheOptions options, const std::shared_ptr<const Model>& model,
                              const Method& method) {
  if (method.wants_output() && !options.output) options.output = std::make_shared<ModelProjections>(model);
  return options;
}

// How many pieces each segment is cut into.
std::vector<int> piece_counts(std::span<const Segment> segments) {
  std::vector<int> counts(segments.size());
  for (const Piece& piece : cut_pieces(segments)) ++counts[piece.segment];
  return counts;
}

}  // namespace

ModelShape shape_of(const ModelConfig& c) {
  ModelShape shape{c.layers, c.hidden, c.query_heads, c.kv_heads, c.head_dim, rotary_frequencies(c.rotary)};
  shape.windows = c.windows;
  if (c.window_rotary) shape.window_rotary = rotary_frequencies(*c.window_rotary);
  return shape;
}

int64_t dense_cache_bytes(const ModelShape& shape, int64_t tokens, DType type) {
  int64_t entries = 0;
  for (int layer = 0; layer < shape.layers; ++layer) entries += shape.reach(layer, tokens);
  return int64_t{2} * shape.kv_heads * shape.head_dim * entries * static_cast<int64_t>(element_size(type));
}

Session::Session(std::shared_ptr<const Model> model, std::shared_ptr<const Method> method,
                 CacheOptions options)
    : model_(std::move(model)), cache_(method, with_projections(std::move(options), model_, *method)) {
  if (reconstruction_of(cache_)) check_prompts(cache_, cache_.options().prompts.get());
}

Session Session::fork() const {
  Session fork(model_, cache_.fork());
  fork.context_ = context_;
  return fork;
}

Session Session::fork_dense(std::shared_ptr<LayerTap> tap) const {
  return Session(model_,
                 cache_.fork_dense(make_method(no_compression(), cache_.method().shape), std::move(tap)));
}

void Session::end_context() {
  const auto how = cache_.context_ended() ? std::nullopt : reconstruction_of(cache_);
  if (!how) return cache_.end_context();
  const ReconstructedScores found = reconstruct_scores(*this, context_, *how);
  context_ = {};
  cache_.raise_peak(found.peak_bytes);
  cache_.end_context(&found.scores);
}

std::vector<std::vector<std::vector<int32_t>>> Session::live_positions() const {
  const ModelShape& shape = cache_.method().shape;
  std::vector<std::vector<std::vector<int32_t>>> live(shape.layers);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      live[layer].push_back(cache_.store(layer, head).positions());
      std::sort(live[layer].back().begin(), live[layer].back().end());
    }
  }
  return live;
}

HiddenStates Session::extend(std::span<const int32_t> tokens, size_t max_block) {
  Session* const self = this;
  return std::move(extend_together({&self, 1}, {&tokens, 1}, max_block)[0]);
}

void Session::run_together(std::span<const Share> shares) {
  std::vector<CacheAttention> attention;
  attention.reserve(shares.size());
  std::vector<Segment> segments;
  for (const Share& share : shares) {
    KvCache& cache = share.session->cache_;
    attention.emplace_back(cache);
    segments.push_back(
        {share.tokens, cache.tokens(), &attention.back(), share.hidden_out, cache.rotary_shift()});
  }
  const Model& model = *shares[0].session->model_;
  model.check_tokens(segments);
  const std::vector<int> pieces = piece_counts(segments);
  for (size_t s = 0; s < shares.size(); ++s)
    shares[s].session->cache_.begin(static_cast<int64_t>(shares[s].tokens.size()), pieces[s]);
  model.forward(segments);
  for (const Share& share : shares) {
    Session& session = *share.session;
    session.cache_.end();
    if (!session.cache_.context_ended() && reconstruction_of(session.cache_))
      session.context_.insert(session.context_.end(), share.tokens.begin(), share.tokens.end());
  }
}

std::vector<HiddenStates> Session::extend_together(std::span<Session* const> sessions,
                                                   std::span<const std::span<const int32_t>> tokens,
                                                   size_t max_block) {
  KVLAB_CHECK(sessions.size() == tokens.size() && !sessions.empty());
  std::vector<HiddenStates> states(sessions.size());
  for (size_t s = 0; s < sessions.size(); ++s) {
    KVLAB_CHECK(sessions[s]->model_ == sessions[0]->model_);
    states[s].rows = static_cast<int64_t>(tokens[s].size());
    states[s].size = sessions[s]->model_->config().hidden;
    states[s].values = Buffer<float>(static_cast<size_t>(states[s].rows) * states[s].size);
  }
  // A round takes all that is left where that fits, else an equal share of each session that has tokens left.
  std::vector<size_t> done(sessions.size());
  while (true) {
    std::vector<Share> shares;
    std::vector<size_t> who;
    for (size_t s = 0; s < sessions.size() && who.size() < max_block; ++s) {
      if (done[s] < tokens[s].size()) who.push_back(s);
    }
    if (who.empty()) return states;
    size_t left = 0;
    for (const size_t s : who) left += tokens[s].size() - done[s];
    const size_t most = left <= max_block ? left : std::max<size_t>(1, max_block / who.size());
    for (const size_t s : who) {
      const size_t count = std::min(most, tokens[s].size() - done[s]);
      shares.push_back({sessions[s], tokens[s].subspan(done[s], count),
                        states[s].values.data() + done[s] * states[s].size});
      done[s] += count;
    }
    run_together(shares);
  }
}

}  // namespace kvlab
