// The query statistics of expected_attention(statistics=FILE): mean and covariance of every query head's
// queries before rotary.
// Paper: Devoto, Jeblick, Jegou: Expected Attention: KV Cache Compression by Estimating Attention from Future
// Queries Distribution, arXiv:2510.00636 (in NVIDIA/kvpress: ExpectedAttentionStats, whose layout this is).
// Differs: kvpress reads the first 1000 characters of each of 100 samples; here passages of the given length
// are drawn from any text. As there, the first 4 tokens of each do not count, and the covariance has divisor
// n - 1.
#include <fmt/format.h>

#include "base/error.h"
#include "engine/session.h"
#include "train/result_folder.h"
#include "train/text_queries.h"

namespace kvlab {

namespace {

constexpr int64_t kSkipped = 4;  // the first tokens, whose queries are unlike all others

struct Statistics {
  NamedTensor mean, covariance;
};

void add_head(const QueryMoments& moments, int layer, int head, Statistics& statistics) {
  const auto sum = moments.sum(layer, head), outer = moments.outer(layer, head);
  const auto n = static_cast<double>(moments.counted());
  const size_t d = sum.size();
  for (size_t a = 0; a < d; ++a) {
    statistics.mean.values.push_back(static_cast<float>(sum[a] / n));
    for (size_t b = 0; b < d; ++b) {
      const double product = a >= b ? outer[a * d + b] : outer[b * d + a];
      statistics.covariance.values.push_back(static_cast<float>((product - sum[a] * sum[b] / n) / (n - 1)));
    }
  }
}

TrainReport run(const TrainContext& context) {
  const auto moments = moments_of_texts(context, QueryMoments::Form::kPlain, kSkipped);
  if (!moments) return {false, {}};
  if (moments->counted() < 2) throw UserError("--data_path: one query has no covariance; give more text");
  const ModelShape shape = shape_of(context.model->config());
  Statistics statistics;
  statistics.mean = {"query_mean", {shape.layers, shape.query_heads, shape.head_dim}, {}};
  statistics.covariance = {
      "query_cov", {shape.layers, shape.query_heads, shape.head_dim, shape.head_dim}, {}};
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.query_heads; ++head) add_head(*moments, layer, head, statistics);
  }
  const nlohmann::ordered_json config = {{"dataset_name", "text"},
                                         {"head_dim", shape.head_dim},
                                         {"model_name", context.provenance.value("model", "")},
                                         {"n_sink", kSkipped},
                                         {"num_heads", shape.query_heads},
                                         {"num_layers", shape.layers},
                                         {"num_samples", context.values.integer("passages")},
                                         {"sample_seq_len", context.values.integer("passage_tokens")}};
  write_result_folder(context, {statistics.mean, statistics.covariance}, config,
                      {{"method", "expected_attention"}, {"queries", moments->counted()}});
  return {true, {fmt::format("statistics of {} queries a head", moments->counted())}};
}

TrainerInfo describe() {
  TrainerInfo info;
  info.name = "expected_attention";
  info.paper =
      "Devoto, Jeblick, Jegou: Expected Attention: KV Cache Compression by Estimating Attention from Future "
      "Queries Distribution, arXiv:2510.00636";
  info.summary = "measure the mean and covariance of queries that ExpectedAttention can take for its own";
  info.examples =
      "  kvlab train expected_attention --data_path book.txt --output_dir statistics\n"
      "  kvlab compare --methods 'expected_attention(keep=0.5,statistics=statistics)'\n";
  info.fields = passage_fields(100, 512);
  info.run = run;
  return info;
}

}  // namespace

extern const TrainerInfo kTrainerInfo_expected_attention;
const TrainerInfo kTrainerInfo_expected_attention = describe();

}  // namespace kvlab
