// CurDKV (CUR).
// Idea: A CUR decomposition keeps the rows of a matrix that span most of it; a row's leverage says which.
// Here leverage is approximated by squared lengths, of keys and of values, each as a share of its
// neighbourhood.
// Paper: Sengupta, Chaudhary, Chakraborty: Value-Guided KV Compression for LLMs via Approximated CUR
// Decomposition (CurDKV), arXiv:2509.15038.
// Symbols: k_j, v_j are the key and value of entry j; W is the block of `local` live entries, in order of
// position, that holds j.
// Differs: as in kvpress, lengths are shares of a block of 16 and nothing is projected; the paper's form
// is local=0,projection=20, which multiplies keys and values by a Gaussian matrix of 20 columns first (one
// per layer, drawn from projection_seed; leverage=kv_product is what the paper settles on). Blocks are cut
// from the live entries, anew at each action. With a threshold, scores are relative to their mean.
// Bytes per token: none.
// In kvpress: CURPress (num_sinks=4, leverage_type="kv_product", use_local_approximation=True,
// local_window_size=16), which acts once, at the end of the prompt.
// Examples: cur(keep=0.5) cur(keep=0.5,at=context) cur(size=512,local=0,projection=20)
#include <cmath>
#include <numbers>
#include <vector>

#include "base/random.h"
#include "cache/scorer.h"

namespace kvlab {

namespace {

// A Gaussian number of mean 0 and variance 1 for one place of a layer's projection (Box and Muller).
double gaussian(uint64_t seed, int layer, uint64_t place) {
  const auto uniform = [&](uint64_t draw) {
    const uint64_t bits = mix64(mix64(mix64(seed) ^ static_cast<uint64_t>(layer)) ^ (2 * place + draw));
    return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
  };
  return std::sqrt(-2 * std::log(uniform(0))) * std::cos(2 * std::numbers::pi * uniform(1));
}

class Cur : public PeriodicScorer {
 public:
  explicit Cur(const ScorerContext& context)
      : head_dim_(context.shape.head_dim),
        local_(context.values.integer("local")),
        projected_(static_cast<int>(context.values.integer("projection"))),
        leverage_(context.values.text("leverage")),
        relative_(context.relative) {
    const auto seed = static_cast<uint64_t>(context.values.integer("projection_seed"));
    const auto places = static_cast<uint64_t>(projected_) * static_cast<uint64_t>(head_dim_);
    for (int layer = 0; layer < context.shape.layers && projected_ > 0; ++layer) {
      std::vector<double>& matrix = projections_.emplace_back(places);
      for (uint64_t place = 0; place < places; ++place)
        matrix[place] = gaussian(seed, layer, place) / std::sqrt(static_cast<double>(projected_));
    }
  }

  void score(const PeriodicView& view, float* out) const override {
    const auto live = static_cast<int64_t>(view.positions.size());
    const std::vector<double> keys = shares(view.k, live, view.layer),
                              values = shares(view.v, live, view.layer);
    std::vector<double> scores(static_cast<size_t>(live));
    double sum = 0;
    for (int64_t i = 0; i < live; ++i) sum += scores[i] = combined(keys[i], values[i]);
    const double scale = sum > 0 ? (relative_ ? static_cast<double>(live) : 1.0) / sum : 0.0;
    for (int64_t i = 0; i < live; ++i) out[i] = static_cast<float>(scores[i] * scale);
  }

 private:
  double combined(double key, double value) const {
    if (leverage_ == "key") return key;
    if (leverage_ == "value") return value;
    return leverage_ == "kv_avg" ? (key + value) / 2 : key * value;
  }

  // Squared lengths of x's rows, as shares of their blocks.
  std::vector<double> shares(const float* x, int64_t live, int layer) const {
    std::vector<double> squares(static_cast<size_t>(live));
    for (int64_t i = 0; i < live; ++i) squares[i] = squared_length(x + i * head_dim_, layer);
    for (int64_t first = 0; first < live && local_ > 0; first += local_) {
      const int64_t end = std::min(live, first + local_);
      double sum = 0;
      for (int64_t i = first; i < end; ++i) sum += squares[i];
      for (int64_t i = first; i < end && sum > 0; ++i) squares[i] /= sum;
    }
    return squares;
  }

  double squared_length(const float* x, int layer) const {
    double squares = 0;
    if (projected_ == 0) {
      for (int c = 0; c < head_dim_; ++c) squares += static_cast<double>(x[c]) * x[c];
      return squares;
    }
    const double* column = projections_[layer].data();
    for (int r = 0; r < projected_; ++r, column += head_dim_) {
      double dot = 0;
      for (int c = 0; c < head_dim_; ++c) dot += column[c] * x[c];
      squares += dot * dot;
    }
    return squares;
  }

  int head_dim_;
  int64_t local_;
  int projected_;
  std::string leverage_;
  bool relative_;
  std::vector<std::vector<double>> projections_;  // [layer][projected * head_dim]
};

ScorerInfo describe() {
  ScorerInfo info;
  info.name = "cur";
  info.title = "CurDKV";
  info.paper =
      "Sengupta, Chaudhary, Chakraborty: Value-Guided KV Compression for LLMs via Approximated CUR "
      "Decomposition, arXiv:2509.15038";
  info.summary = "keeps entries whose key and value are long among their neighbours";
  info.formula =
      "score_j = (||k_j||^2 / sum over W of ||k||^2) (||v_j||^2 / sum over W of ||v||^2), over all";
  info.kind = ScorerKind::kPeriodic;
  info.sinks = 4;
  info.context_sinks = 4;
  info.fields = {
      name_field("leverage", std::string("kv_product"), {"kv_product", "kv_avg", "key", "value"},
                 "how the shares of key and value make a score"),
      int_field("local", int64_t{16}, 0, 1 << 20, "entries of a block that lengths are shares of; 0: none"),
      int_field("projection", int64_t{0}, 0, 4096,
                "columns of a Gaussian projection of keys and values; 0: none"),
      int_field("projection_seed", int64_t{0}, 0, int64_t{1} << 53, "seed of the projection")};
  info.create = [](const ScorerContext& context) { return std::make_unique<Cur>(context); };
  return info;
}

}  // namespace

extern const ScorerInfo kScorerInfo_cur;
const ScorerInfo kScorerInfo_cur = describe();

}  // namespace kvlab
