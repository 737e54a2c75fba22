// QFilter's filters: per layer and KV head the direction in which the queries lie, for scorers/qfilter.cc.
// Paper: Godey et al.: Q-Filters: Leveraging QK Geometry for Efficient KV Cache Compression,
// arXiv:2503.02812.
// Differs: the first right singular vector of a head's rotated queries is the leading eigenvector of the sum
// of their outer products, so no query is kept and all count (the published code draws 3000). Its sign is
// that of the mean projection (the published code's: of most projections). As there, filters are minus the
// mean of a group's vectors, and not scaled to length 1 again.
#include <fmt/format.h>

#include "base/error.h"
#include "engine/session.h"
#include "train/result_folder.h"
#include "train/text_queries.h"

namespace kvlab {

namespace {

// The lengths of a head's queries, squared and summed: the trace of the sum of outer products.
double total_of(std::span<const double> outer, int d) {
  double total = 0;
  for (int i = 0; i < d; ++i) total += outer[static_cast<size_t>(i) * d + i];
  return total;
}

// x^T A x from A's lower triangle.
double along(std::span<const double> a, std::span<const double> x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) sum += (i == j ? 1 : 2) * a[i * x.size() + j] * x[i] * x[j];
  }
  return sum;
}

struct Filters {
  NamedTensor tensor;
  std::vector<double> shares;  // [layer * query_heads + head]: of the squared lengths, what lies along it
};

Filters filters_of(const QueryMoments& moments, const ModelShape& shape) {
  Filters filters;
  filters.tensor = {"q_filters", {shape.layers, shape.kv_heads, shape.head_dim}, {}};
  for (int layer = 0; layer < shape.layers; ++layer) {
    std::vector<double> sums(static_cast<size_t>(shape.kv_heads) * shape.head_dim);
    for (int head = 0; head < shape.query_heads; ++head) {
      const auto outer = moments.outer(layer, head);
      const double total = total_of(outer, shape.head_dim);
      if (!(total > 0))
        throw UserError(
            fmt::format("layer {}, query head {}: all queries are zero, and point nowhere", layer, head));
      const std::vector<double> direction = leading_direction(outer, moments.sum(layer, head));
      filters.shares.push_back(along(outer, direction) / total);
      double* sum = sums.data() + static_cast<size_t>(head / shape.group()) * shape.head_dim;
      for (int c = 0; c < shape.head_dim; ++c) sum[c] += direction[c];
    }
    for (const double sum : sums) filters.tensor.values.push_back(static_cast<float>(-sum / shape.group()));
  }
  return filters;
}

TrainReport run(const TrainContext& context) {
  const auto moments = moments_of_texts(context, QueryMoments::Form::kRotated, 0);
  if (!moments) return {false, {}};
  const ModelShape shape = shape_of(context.model->config());
  const Filters filters = filters_of(*moments, shape);
  double mean = 0;
  for (const double share : filters.shares) mean += share / static_cast<double>(filters.shares.size());
  write_result_folder(
      context, {filters.tensor},
      {{"kv_head_dim", shape.head_dim}, {"num_kv_heads", shape.kv_heads}, {"num_layers", shape.layers}},
      {{"method", "qfilter"}, {"queries", moments->counted()}, {"share_along", filters.shares}});
  return {
      true,
      {fmt::format("{} queries a head; {:.1f}% of their squared length lies along the filters, on average",
                   moments->counted(), 100 * mean)}};
}

TrainerInfo describe() {
  TrainerInfo info;
  info.name = "qfilter";
  info.paper =
      "Godey et al.: Q-Filters: Leveraging QK Geometry for Efficient KV Cache Compression, arXiv:2503.02812";
  info.summary = "find QFilter's filters: the direction in which each head's queries lie";
  info.examples =
      "  kvlab train qfilter --data_path book.txt --output_dir filters\n"
      "  kvlab compare --methods 'qfilter(keep=0.5,model=filters)'\n";
  info.fields = passage_fields(20, 2048);
  info.run = run;
  return info;
}

}  // namespace

extern const TrainerInfo kTrainerInfo_qfilter;
const TrainerInfo kTrainerInfo_qfilter = describe();

}  // namespace kvlab
