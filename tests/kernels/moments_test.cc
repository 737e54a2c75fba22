#include "kernels/moments.h"

#include <algorithm>
#include <vector>

#include "kernels/every_level.h"

namespace kvlab {
namespace {

struct Moments {
  explicit Moments(int n) : dim(n), sums(n), outer(static_cast<size_t>(n) * n) {}

  // The diagonal and what is below it.
  std::vector<double> triangle() const {
    std::vector<double> out;
    for (int i = 0; i < dim; ++i)
      out.insert(out.end(), outer.begin() + i * dim, outer.begin() + i * dim + i + 1);
    return out;
  }

  int dim;
  std::vector<double> sums, outer;
};

std::vector<double> random_rows(int rows, int n) {
  const auto x = random_floats(static_cast<size_t>(rows) * n, 5);
  return {x.begin(), x.end()};
}

TEST(Moments, EqualTheReferenceAtEveryLevel) {
  constexpr int kRows = 70;
  for (const int n : {1, 3, 8, 13, 20, 64, 80}) {
    const auto x = random_rows(kRows, n);
    Moments expected(n);
    reference::add_moments(x.data(), kRows, n, expected.sums.data(), expected.outer.data());
    for_each_level([&] {
      Moments got(n);
      add_moments(x.data(), kRows, n, got.sums.data(), got.outer.data());
      EXPECT_EQ(got.sums, expected.sums);
      const auto a = got.triangle(), b = expected.triangle();
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-13 * kRows) << n << " " << i;
    });
  }
}

TEST(Moments, CuttingTheRowsChangesNoBit) {
  constexpr int kRows = 70;
  for (const int n : {13, 64}) {
    const auto x = random_rows(kRows, n);
    for_each_level([&] {
      Moments whole(n);
      add_moments(x.data(), kRows, n, whole.sums.data(), whole.outer.data());
      for (const int size : {1, 7, 64}) {
        Moments cut(n);
        for (int t = 0; t < kRows; t += size)
          add_moments(x.data() + static_cast<size_t>(t) * n, std::min(size, kRows - t), n, cut.sums.data(),
                      cut.outer.data());
        EXPECT_EQ(cut.sums, whole.sums);
        EXPECT_EQ(cut.triangle(), whole.triangle()) << n << " " << size;
      }
    });
  }
}

}  // namespace
}  // namespace kvlab
