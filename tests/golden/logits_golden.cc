#include "golden/logits_golden.h"

#include <algorithm>
#include <span>

#include "engine/scoring.h"
#include "golden/golden_support.h"

namespace kvlab::testing {
namespace {

std::vector<float> logits_of(const Model& model, const float* hidden) {
  std::vector<float> logits(model.head().vocab());
  Buffer<float> slab(OutputHead::kRows * OutputHead::kSlab);
  GemmScratch scratch;
  for (int s = 0; s < model.head().slabs(); ++s) {
    model.head().logits(s, hidden, 1, slab.data(), scratch);
    std::copy_n(slab.data(), model.head().slab_size(s), logits.begin() + model.head().slab_first(s));
  }
  return logits;
}

void expect_logits(const Model& model, const float* hidden, const nlohmann::json& expected,
                   int64_t position) {
  const std::vector<float> logits = logits_of(model, hidden);
  ASSERT_EQ(logits.size(), expected.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i].get<double>(), 1e-3)
        << "token " << i << " after position " << position;
  }
}

}  // namespace

void expect_logits_golden(const std::shared_ptr<const Model>& model, const nlohmann::json& golden,
                          int piece) {
  const auto ids = golden.at("ids").get<std::vector<int32_t>>();
  const auto all = static_cast<int64_t>(ids.size()), step = piece > 0 ? int64_t{piece} : all;
  Session session(model, make_method(no_compression(), shape_of(model->config())), {});
  std::vector<float> nll;
  size_t compared = 0;
  for (int64_t first = 0; first < all; first += step) {
    const int64_t count = std::min(step, all - first);
    const HiddenStates states = session.extend(std::span(ids).subspan(first, count));
    for (int64_t r = 0; r < count; ++r) {
      const auto expected = golden.at("logits").find(std::to_string(first + r));
      if (expected == golden.at("logits").end()) continue;
      expect_logits(*model, states.row(r), *expected, first + r);
      ++compared;
    }
    const auto targets = std::span(ids).subspan(first + 1, std::min(count, all - first - 1));
    const auto losses = token_losses(*model, states, targets);
    nll.insert(nll.end(), losses.begin(), losses.end());
  }
  EXPECT_EQ(compared, golden.at("logits").size());
  EXPECT_EQ(nll.size(), golden.at("nll").size());
  EXPECT_LE(loss_distance(nll, golden.at("nll")).most, 1e-4);
}

}  // namespace kvlab::testing
