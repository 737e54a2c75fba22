#include "kernels/normal_logits.h"

#include <cmath>
#include <vector>

#include "kernels/every_level.h"

namespace kvlab {
namespace {

TEST(NormalLogits, EqualTheReferenceAtEveryLevel) {
  for (const int n : {1, 4, 8, 13, 32, 64, 80, 128}) {
    for (const int64_t count : {1, 5, 12, 13, 37}) {
      const auto k = random_floats(count * n, 1), mean = random_floats(n, 2);
      auto matrix = random_floats(static_cast<size_t>(n) * n, 3);
      // Only the lower triangle counts.
      for (int i = 0; i < n; ++i) {
        for (int j = i + 1; j < n; ++j) matrix[static_cast<size_t>(i) * n + j] = std::nanf("");
      }
      std::vector<float> expected(count);
      reference::normal_logits(mean.data(), matrix.data(), k.data(), count, n, expected.data());
      for_each_level([&] {
        std::vector<float> got(count);
        normal_logits(mean.data(), matrix.data(), k.data(), count, n, got.data());
        for (int64_t r = 0; r < count; ++r) ASSERT_NEAR(got[r], expected[r], 1e-6 * n) << n << " " << r;
      });
    }
  }
}

}  // namespace
}  // namespace kvlab
