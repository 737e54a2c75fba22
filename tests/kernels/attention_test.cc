// lifetime_attention against plain loops in double, on every instruction set the machine has.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/every_level.h"

namespace kvlab {
namespace {

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

}  // namespace
}  // namespace kvlab
