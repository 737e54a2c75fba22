// lifetime_attention and SlotStore against plain loops in double, on every instruction set the machine has.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/simd_levels.h"

namespace kvlab {
namespace {

// Numbers in [-1, 1), a pure function of the seed.
std::vector<float> random_floats(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 2 * entry_uniform(seed, 0, 0, 0, i) - 1;
  return out;
}

struct Case {
  int head_dim = 64, group = 3, queries = 64, history = 0;  // history: entries before the first query
  float query_size = 3;                                     // larger queries make sharper weights
  int window = 0;                                           // 0: none
  double evicted = 0;                                       // fraction of entries with a random evict_at
  int split = 0;                                            // entries per span; 0: one span
  bool explicit_positions = false;                          // given, and in scattered order
};

// Entries and queries of a case in one type, and both functions' outputs.
class Problem {
 public:
  Problem(const Case& c, DType type, uint64_t seed = 1) : case_(c), type_(type) {
    count_ = c.history + c.queries;
    k_ = random_floats(static_cast<size_t>(count_) * stride(), seed);
    v_ = random_floats(static_cast<size_t>(count_) * stride(), seed + 1);
    q_ = random_floats(static_cast<size_t>(c.queries) * c.group * c.head_dim, seed + 2);
    for (float& x : q_) x *= c.query_size;
    for (float x : k_) k16_.push_back(to_bf16(x));
    for (float x : v_) v16_.push_back(to_bf16(x));
    make_lives(seed);
    make_spans();
  }

  // What the function writes into `out` when every number there was NaN before.
  std::vector<float> run(const std::function<void(const QueryBlock&)>& attention) const {
    std::vector<float> out(q_.size(), NAN);
    QueryBlock block;
    block.q = q_.data();
    block.out = out.data();
    block.q_head = block.out_head = case_.head_dim;
    block.q_row = block.out_row = int64_t{case_.group} * case_.head_dim;
    block.queries = case_.queries;
    block.group = case_.group;
    block.head_dim = case_.head_dim;
    block.first_query = case_.history;
    block.scale = 1 / std::sqrt(static_cast<float>(case_.head_dim));
    attention(block);
    return out;
  }
  std::vector<float> fast() const {
    return run([&](const QueryBlock& block) {
      AttentionScratch scratch;
      lifetime_attention(block, spans_, type_, scratch);
    });
  }
  std::vector<float> reference() const {
    return run([&](const QueryBlock& block) { lifetime_attention_reference(block, spans_, type_); });
  }
  std::vector<int32_t>& evict_at() { return evict_at_; }

 private:
  int stride() const { return case_.head_dim + 3; }  // rows need no alignment

  void make_lives(uint64_t seed) {
    positions_.resize(count_);
    evict_at_.assign(count_, kNever);
    std::iota(positions_.begin(), positions_.end(), 0);
    if (case_.explicit_positions)
      std::sort(positions_.begin(), positions_.end(),
                [](int32_t a, int32_t b) { return mix64(a) < mix64(b); });
    for (int j = 0; j < count_; ++j) {
      const int32_t p = positions_[j];
      if (case_.window) evict_at_[j] = p + case_.window;
      if (entry_uniform(seed, 1, 0, 0, p) < case_.evicted)
        evict_at_[j] = p + 1 + static_cast<int32_t>(entry_uniform(seed, 2, 0, 0, p) * (count_ - p));
    }
  }

  void make_spans() {
    const int step = case_.split ? case_.split : count_;
    for (int first = 0; first < count_; first += step) {
      EntrySpan span;
      const size_t at = static_cast<size_t>(first) * stride();
      span.k = type_ == DType::kF32 ? static_cast<const void*>(&k_[at]) : &k16_[at];
      span.v = type_ == DType::kF32 ? static_cast<const void*>(&v_[at]) : &v16_[at];
      span.k_stride = span.v_stride = stride();
      span.count = std::min(step, count_ - first);
      span.first_position = first;
      if (case_.explicit_positions) span.position = &positions_[first];
      span.evict_at = &evict_at_[first];
      spans_.push_back(span);
      if (case_.split) spans_.push_back(EntrySpan{});  // empty ones are allowed
    }
  }

  Case case_;
  DType type_;
  int count_;
  std::vector<float> k_, v_, q_;
  std::vector<BF16> k16_, v16_;
  std::vector<int32_t> positions_, evict_at_;
  std::vector<EntrySpan> spans_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

// |v| <= 1 in the cases. bfloat16 with its instructions rounds q and p: 2^-9 of each term of a score, and of
// each weight.
constexpr double kTolerance = 2e-6;
double tolerance(DType type) {
  return type == DType::kBF16 && attention_uses_bf16_instructions() ? 1.0 / 128 : kTolerance;
}

void expect_matches_reference(const Case& c, const char* what) {
  for (DType type : {DType::kF32, DType::kBF16}) {
    const Problem problem(c, type);
    EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type))
        << what << " head_dim " << c.head_dim << " group " << c.group << " queries " << c.queries
        << " history " << c.history << " " << dtype_name(type);
  }
}

// Runs the body once per SIMD level, with and without the bfloat16 instructions.
template <typename Body>
void for_each_level(Body&& body) {
  for (int64_t level : simd_levels()) {
    SCOPED_TRACE(simd_level_name(level));
    limit_simd_level(level);
    attention_allow_bf16_instructions(false);
    body();
  }
  limit_simd_level(0);
  attention_allow_bf16_instructions(true);
  if (attention_uses_bf16_instructions()) {
    SCOPED_TRACE("AVX512_BF16");
    body();
  }
}

TEST(LifetimeAttention, MatchesReferenceForEveryHeadSize) {
  for_each_level([] {
    for (int head_dim : {4, 8, 12, 16, 32, 64, 80, 96, 100, 128, 256}) {
      Case c;
      c.head_dim = head_dim;
      c.queries = 33;
      c.history = 71;
      expect_matches_reference(c, "plain");
    }
  });
}

TEST(LifetimeAttention, MatchesReferenceForEveryGroup) {
  for_each_level([] {
    for (int group : {1, 2, 3, 4, 5, 7, 8, 16}) {
      Case c;
      c.head_dim = 32;
      c.group = group;
      c.history = 50;
      c.evicted = 0.5;
      expect_matches_reference(c, "group");
    }
  });
}

TEST(LifetimeAttention, MatchesReferenceForLongHistories) {
  for_each_level([] {
    Case c;
    c.history = 1300;
    for (int queries : {1, 2, 17, 64}) {
      c.queries = queries;
      c.evicted = 0;
      expect_matches_reference(c, "dense");
      c.evicted = 0.7;
      expect_matches_reference(c, "evicted at random");
    }
    c.window = 132;
    c.evicted = 0;
    expect_matches_reference(c, "window");
    c.window = 1;
    expect_matches_reference(c, "only itself");
  });
}

TEST(LifetimeAttention, TakesSharpAndFlatWeights) {
  for_each_level([] {
    Case c;
    c.history = 600;
    for (float size : {0.0f, 0.1f}) {
      c.query_size = size;
      expect_matches_reference(c, "flat");
    }
    // Scores up to some +-300: float's rounding of a score shows, the other type's would drown the result.
    c.query_size = 100;
    const Problem problem(c, DType::kF32);
    EXPECT_LE(largest_difference(problem.fast(), problem.reference()), 1e-4);
  });
}

TEST(LifetimeAttention, TakesPositionsInAnyOrder) {
  for_each_level([] {
    Case c;
    c.history = 500;
    c.explicit_positions = true;
    c.evicted = 0.5;
    expect_matches_reference(c, "scattered");
    c.split = 16;
    c.window = 100;
    expect_matches_reference(c, "scattered in pages");
  });
}

TEST(LifetimeAttention, SpansDoNotMatter) {
  for (DType type : {DType::kF32, DType::kBF16}) {
    Case c;
    c.history = 900;
    c.evicted = 0.5;
    const std::vector<float> whole = Problem(c, type).fast();
    for (int split : {1, 7, 16, 64, 256}) {
      c.split = split;
      EXPECT_EQ(largest_difference(Problem(c, type).fast(), whole), 0) << split;
    }
  }
}

TEST(LifetimeAttention, SkipsTheDead) {
  for_each_level([] {
    Case c;
    c.history = 2000;
    for (DType type : {DType::kF32, DType::kBF16}) {
      Problem problem(c, type);
      // All but the queries' own entries and one old one are gone before the block; every third of the own
      // dies at once.
      for (int j = 0; j < c.history; ++j) problem.evict_at()[j] = j == 777 ? kNever : c.history;
      for (int j = c.history; j < c.history + c.queries; j += 3) problem.evict_at()[j] = j + 1;
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  });
}

TEST(LifetimeAttention, GroupsNobodySeesDoNoHarm) {
  for_each_level([] {
    // The first 512 candidates live only for the first query: later rows meet two groups that are masked in
    // full.
    Case c;
    c.history = 512;
    for (DType type : {DType::kF32, DType::kBF16}) {
      Problem problem(c, type);
      for (int j = 0; j < c.history; ++j) problem.evict_at()[j] = c.history + 1;
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  });
}

TEST(LifetimeAttention, ScratchIsReusable) {
  AttentionScratch scratch;
  for (int head_dim : {128, 16, 256, 4}) {
    Case c;
    c.head_dim = head_dim;
    c.history = 3 * head_dim;
    for (DType type : {DType::kBF16, DType::kF32}) {
      const Problem problem(c, type);
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  }
}

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
