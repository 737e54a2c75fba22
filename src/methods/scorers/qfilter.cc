// QFilter.
// Idea: The queries of a head point mostly one way. A key's projection on that direction, found once per
// model by a singular value decomposition of queries (`kvlab train qfilter`), foretells the attention it
// will get, and no query needs to be seen. Filters come in the layout of the published ones: a folder with
// model.safetensors, of which the tensor q_filters [layers, kv_heads, head_dim] is read.
// Paper: Godey, Devoto, Zhao, Scardapane, Minervini, de la Clergerie, Sagot: Q-Filters: Leveraging QK
// Geometry for Efficient KV Cache Compression, arXiv:2503.02812.
// Symbols: k_j is the rotated key of entry j; f the filter of its layer and KV head: minus the mean, over the
// query heads that share it, of the unit vectors along which their rotated queries lie.
// Differs: in nothing but the text that the filters are made from. The minus is that of the published files:
// the score is the key's projection on the queries' own direction.
// Bytes per token: one score per layer and KV head; the filters are shared by all sessions.
// In kvpress: QFilterPress, which fetches published filters by the model's name.
// Examples: qfilter(keep=0.25,model=filter_folder) qfilter(keep=0.5,at=context,model=filter_folder)
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "cache/scorer.h"
#include "format/safetensors.h"

namespace kvlab {

namespace {

std::vector<float> read_filters(const std::string& folder, const ModelShape& shape) {
  if (folder.empty()) throw UserError("qfilter needs filters: give model=FOLDER (with model.safetensors)");
  const auto file = open_safetensors(folder);
  const std::vector<int64_t> expected = {shape.layers, shape.kv_heads, shape.head_dim},
                             found = file->shape("q_filters");
  if (found != expected) {
    throw UserError("qfilter: filters " + folder + " are for another model: q_filters has shape " +
                    shape_text(found) + ", the model's layers, KV heads and head size are " +
                    shape_text(expected));
  }
  std::vector<float> filters = file->read("q_filters", expected);
  if (!std::all_of(filters.begin(), filters.end(), [](float f) { return std::isfinite(f); }))
    throw UserError("qfilter: filters " + folder + " hold NaN or infinity; make them again");
  return filters;
}

class QFilter : public FixedScorer {
 public:
  explicit QFilter(const ScorerContext& context)
      : shape_(context.shape), filters_(read_filters(context.model_path, context.shape)) {}

  void score(const NewEntries& entries, float* out) const override {
    const int d = shape_.head_dim;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const float* filter =
          filters_.data() + (static_cast<int64_t>(entries.layer) * shape_.kv_heads + head) * d;
      for (int r = 0; r < entries.rows; ++r) {
        const float* k = entries.k + r * entries.row_stride + head * d;
        float projection = 0;
        for (int i = 0; i < d; ++i) projection += filter[i] * k[i];
        *out++ = -projection;
      }
    }
  }

 private:
  ModelShape shape_;
  std::vector<float> filters_;  // [layers][kv_heads][head_dim]
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "qfilter";
  info.title = "QFilter";
  info.paper =
      "Godey et al.: Q-Filters: Leveraging QK Geometry for Efficient KV Cache Compression, arXiv:2503.02812";
  info.summary = "keeps keys that lie along the direction of the queries, by learned filters";
  info.formula = "score_j = -f.k_j";
  info.learned = true;
  info.create = [](const ScorerContext& context) { return std::make_unique<QFilter>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_qfilter;
const ScorerInfo kScorerInfo_qfilter = describe();

}  // namespace kvlab
