#include "train/held_out.h"

#include <algorithm>
#include <cmath>

namespace kvlab {

void FitStatistics::add(double predicted, double truth) {
  ++count_;
  const auto n = static_cast<double>(count_);
  const double dp = predicted - mean_p_, dt = truth - mean_t_;
  mean_p_ += dp / n;
  mean_t_ += dt / n;
  pp_ += dp * (predicted - mean_p_);
  tt_ += dt * (truth - mean_t_);
  pt_ += dp * (truth - mean_t_);
  error_ += (predicted - truth) * (predicted - truth);
}

double FitStatistics::squared_correlation() const {
  return pp_ > 0 && tt_ > 0 ? pt_ * pt_ / (pp_ * tt_) : 0;
}

double FitStatistics::explained() const {
  return tt_ > 0 ? 1 - error_ / tt_ : 0;
}

nlohmann::ordered_json threshold_table(std::vector<float> scores) {
  constexpr int kSteps = 20;
  auto table = nlohmann::ordered_json::array();
  std::sort(scores.begin(), scores.end());
  double last = 0;
  for (int step = 0; step < kSteps && !scores.empty(); ++step) {
    const size_t at = scores.size() * (2 * step + 1) / (2 * kSteps);
    const double threshold = std::round(scores[at] * 100.0) / 100.0;
    if (step > 0 && threshold == last) continue;
    last = threshold;
    const auto kept =
        scores.end() - std::lower_bound(scores.begin(), scores.end(), static_cast<float>(threshold));
    table.push_back({{"threshold", threshold},
                     {"density", static_cast<double>(kept) / static_cast<double>(scores.size())}});
  }
  return table;
}

}  // namespace kvlab
