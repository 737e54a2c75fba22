#include "train/kvzip_targets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/sgemm.h"
#include "tensor/buffer.h"

namespace kvlab {

namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr int kQueries = 64;  // of a task; their scores stay in the second-level cache

// ln ||W_O^g v_i|| of the first copy's tokens, for one query head.
void log_output_norms(const LayerBlock& layer, const RepeatPrompt& prompt, const ModelShape& shape,
                      int query_head, const float* gram, float* out) {
  const int d = shape.head_dim;
  const float* v = layer.v + prompt.first * layer.kv_stride + int64_t{1} * (query_head / shape.group()) * d;
  std::vector<float> product(static_cast<size_t>(prompt.length) * d);
  multiply(prompt.length, d, d, {v, layer.kv_stride}, {gram, d}, product.data(), d);
  for (int i = 0; i < prompt.length; ++i) {
    double square = 0;
    for (int c = 0; c < d; ++c)
      square += static_cast<double>(product[static_cast<size_t>(i) * d + c]) * v[i * layer.kv_stride + c];
    out[i] = square > 0 ? static_cast<float>(0.5 * std::log(square)) : kNothing;
  }
}

// ln of the sum of exponentials of x[begin, end).
float log_sum(const float* x, int64_t begin, int64_t end) {
  HeadState state;
  head_update(state, x + begin, 0, static_cast<int>(end - begin), -1);
  return state.max + static_cast<float>(std::log(state.sum));
}

// best[i] becomes the largest of ln(A_ji / ||h_j||) over the queries [begin, begin + count) of the second
// copy, where it is larger than it was.
void take_queries(const LayerBlock& layer, const RepeatPrompt& prompt, const ModelShape& shape,
                  int query_head, int begin, int count, Buffer<float>& scratch, float* best) {
  const int d = shape.head_dim;
  const int64_t first_query = prompt.second + begin, keys = first_query + count;
  scratch.reserve_discard(static_cast<size_t>(kQueries) * layer.rows);
  float* scores = scratch.data();
  multiply(count, static_cast<int>(keys), d,
           {layer.q + first_query * layer.q_stride + int64_t{1} * query_head * d, layer.q_stride},
           {layer.k + int64_t{1} * (query_head / shape.group()) * d, layer.kv_stride, true}, scores, keys);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  for (int r = 0; r < count; ++r) {
    const int64_t j = first_query + r, window = shape.window(layer.layer);
    const int64_t seen = window > 0 ? std::max<int64_t>(0, j + 1 - window) : 0;
    float* row = scores + r * keys;
    for (int64_t i = seen; i <= j; ++i) row[i] *= scale;
    const float norm = l2_norm(layer.hidden + j * shape.hidden, shape.hidden);
    const float offset = log_sum(row, seen, j + 1) + std::log(norm);
    for (int64_t i = std::max<int64_t>(0, seen - prompt.first); i < prompt.length; ++i)
      best[i] = std::max(best[i], row[prompt.first + i] - offset);
  }
}

}  // namespace

std::vector<float> output_grams(const Model& model, int layer) {
  const ModelConfig& c = model.config();
  std::vector<float> grams(static_cast<size_t>(c.query_heads) * c.head_dim * c.head_dim);
  block_grams(model.output_projection(layer).data(), c.query_heads, c.head_dim, c.hidden, grams.data());
  return grams;
}

std::vector<float> kvzip_targets(const LayerBlock& layer, const RepeatPrompt& prompt, const ModelShape& shape,
                                 const std::vector<float>& grams) {
  KVLAB_CHECK(layer.first == 0 && layer.rows == static_cast<int>(prompt.tokens.size()) && layer.hidden);
  const int length = prompt.length, heads = shape.query_heads;
  const int blocks = (length + kQueries - 1) / kQueries;
  // A thread's own maxima; a maximum does not depend on the order in which it is taken.
  const size_t size = static_cast<size_t>(heads) * length;
  std::vector<std::vector<float>> best(thread_count(), std::vector<float>(size, kNothing));
  std::vector<Buffer<float>> scratch(thread_count());
  parallel_tasks(heads * blocks, [&](int task, int thread) {
    const int head = task % heads, begin = task / heads * kQueries;
    take_queries(layer, prompt, shape, head, begin, std::min(kQueries, length - begin), scratch[thread],
                 best[thread].data() + static_cast<int64_t>(head) * length);
  });
  for (size_t t = 1; t < best.size(); ++t) {
    for (size_t i = 0; i < size; ++i) best[0][i] = std::max(best[0][i], best[t][i]);
  }
  std::vector<float> targets(static_cast<size_t>(shape.kv_heads) * length, kNothing);
  parallel_tasks(shape.kv_heads, [&](int kv_head, int) {
    std::vector<float> norms(length);
    float* out = targets.data() + static_cast<int64_t>(kv_head) * length;
    for (int head = kv_head * shape.group(); head < (kv_head + 1) * shape.group(); ++head) {
      log_output_norms(layer, prompt, shape, head,
                       grams.data() + static_cast<int64_t>(head) * shape.head_dim * shape.head_dim,
                       norms.data());
      const float* attention = best[0].data() + static_cast<int64_t>(head) * length;
      for (int i = 0; i < length; ++i) out[i] = std::max(out[i], attention[i] + norms[i]);
    }
  });
  return targets;
}

}  // namespace kvlab
