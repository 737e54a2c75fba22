// How well predicted scores fit scores that were held out.
#pragma once

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

namespace kvlab {

// Pairs of a predicted and a true score of one layer and KV head.
class FitStatistics {
 public:
  void add(double predicted, double truth);
  int64_t count() const { return count_; }
  // Squared Pearson correlation; 0 where one of the two does not vary.
  double squared_correlation() const;
  // 1 - SSE / SST: the same for scores whose scale and offset are right, else less.
  double explained() const;

 private:
  int64_t count_ = 0;
  // Means and centred sums of products, updated as pairs come (Welford).
  double mean_p_ = 0, mean_t_ = 0, pp_ = 0, tt_ = 0, pt_ = 0, error_ = 0;
};

// [{"threshold", "density"}, ...]: at some 20 thresholds, rounded to hundredths, the share of the scores that
// are at or above it. Thresholds ascend.
nlohmann::ordered_json threshold_table(std::vector<float> scores);

}  // namespace kvlab
