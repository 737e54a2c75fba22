// SlotStore against plain arrays and sums in double, on every instruction set the machine has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/every_level.h"

namespace kvlab {
namespace {

// A store beside plain arrays that hold what it should.
class StoreModel {
 public:
  StoreModel(int head_dim, DType type) : head_dim_(head_dim), type_(type), store_(head_dim, type) {}

  void append(uint64_t seed) {
    std::vector<float> k = random_floats(head_dim_, seed), v = random_floats(head_dim_, seed + 1000000);
    store_.append(k.data(), v.data());
    if (type_ == DType::kBF16) {
      for (float& x : k) x = to_float(to_bf16(x));
      for (float& x : v) x = to_float(to_bf16(x));
    }
    keys_.push_back(k);
    values_.push_back(v);
  }
  void remove(int slot) {
    store_.remove(slot);
    keys_[slot] = keys_.back();
    values_[slot] = values_.back();
    keys_.pop_back();
    values_.pop_back();
  }
  int size() const { return static_cast<int>(keys_.size()); }

  void check_contents() const {
    ASSERT_EQ(store_.size(), size());
    std::vector<float> out(head_dim_);
    for (int slot = 0; slot < size(); ++slot) {
      store_.key(slot, out.data());
      ASSERT_EQ(out, keys_[slot]) << slot;
      store_.value(slot, out.data());
      ASSERT_EQ(out, values_[slot]) << slot;
    }
  }

  void check_attend(int group) const {
    const float scale = 0.3f;
    const int64_t stride = (size() + 15) / 16 * 16 + 16;
    const std::vector<float> q = random_floats(static_cast<size_t>(group) * head_dim_, 77);
    std::vector<float> weights(group * stride, -5), out(q.size(), NAN);
    store_.attend(q.data(), group, scale, weights.data(), stride, out.data());
    for (int g = 0; g < group; ++g) {
      const std::vector<double> expected = softmax(&q[static_cast<size_t>(g) * head_dim_], scale);
      for (int64_t i = 0; i < stride; ++i) {
        const double tail = i < stride - 16 ? 0 : -5;  // nothing is written past the padding
        EXPECT_NEAR(weights[g * stride + i], i < size() ? expected[i] : tail, 1e-6) << i;
      }
      for (int d = 0; d < head_dim_; ++d) {
        double sum = 0;
        for (int i = 0; i < size(); ++i) sum += expected[i] * values_[i][d];
        EXPECT_NEAR(out[static_cast<size_t>(g) * head_dim_ + d], sum, kTolerance);
      }
    }
  }

 private:
  std::vector<double> softmax(const float* q, double scale) const {
    std::vector<double> p(size());
    double max = -INFINITY, total = 0;
    for (int i = 0; i < size(); ++i) {
      for (int d = 0; d < head_dim_; ++d) p[i] += double{q[d]} * keys_[i][d];
      p[i] *= scale;
      max = std::max(max, p[i]);
    }
    for (double& x : p) total += x = std::exp(x - max);
    for (double& x : p) x /= total;
    return p;
  }

  int head_dim_;
  DType type_;
  SlotStore store_;
  std::vector<std::vector<float>> keys_, values_;
};

TEST(SlotStore, MatchesReferenceThroughAppendsAndRemoves) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int head_dim : {4, 20, 64}) {
        StoreModel model(head_dim, type);
        for (int step = 0; step < 200; ++step) {
          // Grows at first, then shrinks to nothing and grows again.
          const double shrink = step < 90 ? 0.2 : step < 170 ? 0.8 : 0.3;
          if (model.size() && entry_uniform(3, 0, 0, 0, step) < shrink)
            model.remove(static_cast<int>(mix64(step) % model.size()));
          else
            model.append(step);
          if (step % 10 == 0 && model.size()) model.check_attend(1 + step / 10 % 5);
        }
        model.check_contents();
      }
    }
  });
}

TEST(SlotStore, MatchesReferenceForShapes) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int head_dim : {8, 16, 32, 80, 96, 128, 256}) {
        StoreModel model(head_dim, type);
        for (int i = 0; i < 150; ++i) model.append(i);
        for (int group : {1, 3, 6, 16}) model.check_attend(group);
      }
    }
  });
}

TEST(SlotStore, GrowsByDoublingTiles) {
  SlotStore store(16, DType::kF32);
  const std::vector<float> x(16, 1.0f);
  std::vector<int> capacities;
  for (int i = 0; i < 65; ++i) {
    store.append(x.data(), x.data());
    if (capacities.empty() || capacities.back() != store.capacity()) capacities.push_back(store.capacity());
  }
  EXPECT_EQ(capacities, (std::vector<int>{16, 32, 64, 128}));
}

}  // namespace
}  // namespace kvlab
