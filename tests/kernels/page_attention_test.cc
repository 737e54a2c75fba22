// page_attention against plain loops in double, on every instruction set the machine has.
#include "kernels/page_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/every_level.h"
#include "kernels/test_pages.h"

namespace kvlab {
namespace {

struct Case {
  int head_dim = 64, group = 3, queries = 64, history = 0;  // history: entries before the first query
  float query_size = 3;                                     // larger queries make sharper weights
  int window = 0;                                           // 0: none
  double evicted = 0;                                       // fraction of entries with a random evict_at
  bool scrambled = false;                                   // positions in no order
};

// Entries and queries of a case in one type, and both functions' outputs.
class Problem {
 public:
  Problem(const Case& c, DType type, uint64_t seed = 1)
      : case_(c), type_(type), count_(c.history + c.queries), entries_(c.head_dim, type) {
    entries_.append_random(count_, 1000 * seed);
    q_ = random_floats(static_cast<size_t>(c.queries) * c.group * c.head_dim, seed + 2);
    for (float& x : q_) x *= c.query_size;
    make_lives(seed);
    for (int page = 0; page < entries_.pages(); ++page) {
      EntryPage entry_page;
      entry_page.k = entries_.data(page).k;
      entry_page.v = entries_.data(page).v;
      entry_page.count = std::min(kPageSlots, count_ - page * kPageSlots);
      entry_page.first_position = page * kPageSlots;
      if (c.scrambled) entry_page.position = lives_[page].position.data();
      if (c.window || c.evicted > 0) entry_page.evict_at = lives_[page].evict_at.data();
      pages_.push_back(entry_page);
    }
  }

  // What the function writes into `out` when every number there was NaN before, called for blocks of `step`
  // queries.
  std::vector<float> run(int step, const std::function<void(const QueryBlock&)>& attention) const {
    std::vector<float> out(q_.size(), NAN);
    QueryBlock block;
    block.q_head = block.out_head = case_.head_dim;
    block.q_row = block.out_row = int64_t{case_.group} * case_.head_dim;
    block.group = case_.group;
    block.head_dim = case_.head_dim;
    block.scale = attention_scale(case_.head_dim);
    for (int first = 0; first < case_.queries; first += step) {
      block.queries = std::min(step, case_.queries - first);
      block.first_query = case_.history + first;
      block.q = q_.data() + first * block.q_row;
      block.out = out.data() + first * block.out_row;
      attention(block);
    }
    return out;
  }
  std::vector<float> fast(int step = kQueryBlock) const {
    PageAttentionScratch scratch;
    return run(step, [&](const QueryBlock& block) { page_attention(block, pages_, type_, scratch); });
  }
  std::vector<float> reference() const {
    return run(kQueryBlock, [&](const QueryBlock& block) { page_attention_reference(block, pages_, type_); });
  }
  // The one-query kernel with the last query, which sees everything: its output, and that of page_attention.
  std::vector<float> last_query() const {
    PageAttentionScratch scratch;
    const int64_t stride = int64_t{entries_.pages()} * kPageSlots,
                  row = int64_t{case_.group} * case_.head_dim;
    Buffer<float> weights(stride * case_.group);
    std::vector<float> out(row, NAN);
    attend_entries(entries_.all(), count_, type_, case_.head_dim, q_.data() + q_.size() - row, case_.head_dim,
                   case_.group, attention_scale(case_.head_dim), weights.data(), stride, out.data(),
                   case_.head_dim, scratch);
    return out;
  }

  std::vector<EntryPage>& pages() { return pages_; }
  int32_t& evict_at(int slot) { return lives_[slot / kPageSlots].evict_at[slot % kPageSlots]; }

 private:
  struct Lives {
    std::vector<int32_t> position, evict_at;  // of exactly the live slots, so that a sanitizer sees more
  };

  void make_lives(uint64_t seed) {
    std::vector<int32_t> positions(count_);
    std::iota(positions.begin(), positions.end(), 0);
    if (case_.scrambled)
      std::sort(positions.begin(), positions.end(), [](int32_t a, int32_t b) { return mix64(a) < mix64(b); });
    lives_.resize(entries_.pages());
    for (int j = 0; j < count_; ++j) {
      const int32_t p = positions[j];
      int32_t end = kNever;
      if (case_.window) end = p + case_.window;
      if (entry_uniform(seed, 1, 0, 0, p) < case_.evicted)
        end = p + 1 + static_cast<int32_t>(entry_uniform(seed, 2, 0, 0, p) * (count_ - p));
      lives_[j / kPageSlots].position.push_back(p);
      lives_[j / kPageSlots].evict_at.push_back(end);
    }
  }

  Case case_;
  DType type_;
  int count_;
  TestPages entries_;
  std::vector<Lives> lives_;
  std::vector<float> q_;
  std::vector<EntryPage> pages_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

// |v| <= 1 in the cases. bfloat16 with its instructions rounds q and p: 2^-9 of each term of a score, and of
// each weight.
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

TEST(PageAttention, MatchesReferenceForEveryHeadSize) {
  for_each_level([] {
    for (int head_dim : {2, 4, 6, 8, 16, 20, 32, 48, 64, 80, 96, 112, 128, 256}) {
      Case c;
      c.head_dim = head_dim;
      c.queries = 33;
      c.history = 71;
      expect_matches_reference(c, "plain");
    }
  });
}

TEST(PageAttention, MatchesReferenceForEveryGroup) {
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

TEST(PageAttention, MatchesReferenceForLongHistories) {
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

TEST(PageAttention, TakesSharpAndFlatWeights) {
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

// The running maximum follows late and by jumps.
TEST(PageAttention, TakesScoresThatGrow) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      constexpr int kHeadDim = 16, kEntries = 800;
      TestPages entries(kHeadDim, type);
      std::vector<EntryPage> pages;
      std::vector<float> k(kHeadDim, 0.0f), q(kHeadDim, 0.0f), out(kHeadDim), expected(kHeadDim);
      q[0] = 1;
      for (int j = 0; j < kEntries; ++j) {
        k[0] = static_cast<float>(j / 8) - 60;
        entries.append(k.data(), random_floats(kHeadDim, j).data());
      }
      for (int page = 0; page < entries.pages(); ++page) {
        EntryPage entry_page;
        entry_page.k = entries.data(page).k;
        entry_page.v = entries.data(page).v;
        entry_page.count = kPageSlots;
        entry_page.first_position = page * kPageSlots;
        pages.push_back(entry_page);
      }
      QueryBlock block;
      block.q = q.data();
      block.queries = 1;
      block.head_dim = kHeadDim;
      block.first_query = kEntries;
      PageAttentionScratch scratch;
      for (float scale : {0.3f, -0.3f, 1.0f, 3.0f}) {
        block.scale = scale;
        block.out = out.data();
        page_attention(block, pages, type, scratch);
        block.out = expected.data();
        page_attention_reference(block, pages, type);
        // Products of two numbers that float holds exactly, times a scale: only exponents' rounding is left,
        // but with the instructions for bfloat16 q is rounded after it was scaled: scores of up to 180 move.
        const bool narrow = type == DType::kBF16 && attention_uses_bf16_instructions();
        EXPECT_LE(largest_difference(out, expected), narrow ? 0.05 : 2e-5) << scale;
      }
    }
  });
}

TEST(PageAttention, TakesPositionsInAnyOrder) {
  for_each_level([] {
    Case c;
    c.history = 500;
    c.scrambled = true;
    expect_matches_reference(c, "scrambled");
    c.evicted = 0.5;
    expect_matches_reference(c, "scrambled, evicted");
    c.window = 100;
    expect_matches_reference(c, "scrambled in a window");
  });
}

TEST(PageAttention, TakesPagesInAnyOrderAndPartlyFilled) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      Case c;
      c.history = 437;
      c.evicted = 0.4;
      Problem problem(c, type);
      for (size_t i = 0; i < problem.pages().size(); ++i)
        std::swap(problem.pages()[i], problem.pages()[mix64(i) % (i + 1)]);
      // Some pages lose slots, as pages do whose last entries were evicted; one loses all of them. Those of
      // the queries themselves are left whole: every query must see something.
      int page = 0;
      for (EntryPage& shortened : problem.pages())
        if (shortened.first_position + kPageSlots <= c.history)
          shortened.count = (page++ * 5) % (kPageSlots + 1);
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  });
}

TEST(PageAttention, CutsDoNotMatter) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int group : {1, 3, 8}) {
        Case c;
        c.head_dim = 16;
        c.history = 400;
        c.group = group;
        for (double evicted : {0.0, 0.5}) {
          c.evicted = evicted;
          c.window = evicted > 0 ? 0 : 90;
          const Problem problem(c, type);
          const std::vector<float> whole = problem.fast();
          for (int step : {1, 7, 33}) EXPECT_EQ(problem.fast(step), whole) << step << " " << group;
        }
      }
    }
  });
}

TEST(PageAttention, OneQueryKernelAgrees) {
  for_each_level([] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      Case c;
      c.history = 530;
      c.queries = 3;
      const Problem problem(c, type);
      const std::vector<float> blocked = problem.fast(), one = problem.last_query();
      EXPECT_LE(largest_difference(one, {blocked.end() - static_cast<int64_t>(one.size()), blocked.end()}),
                tolerance(type));
    }
  });
}

TEST(PageAttention, SkipsTheDead) {
  for_each_level([] {
    Case c;
    c.history = 2000;
    c.window = 10000;  // all have an end, which is set below
    for (DType type : {DType::kF32, DType::kBF16}) {
      Problem problem(c, type);
      // All but the queries' own entries and one old one are gone before the block; every third of the own
      // dies at once.
      for (int j = 0; j < c.history; ++j) problem.evict_at(j) = j == 777 ? kNever : c.history;
      for (int j = c.history; j < c.history + c.queries; j += 3) problem.evict_at(j) = j + 1;
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  });
}

TEST(PageAttention, GroupsNobodySeesDoNoHarm) {
  for_each_level([] {
    // The first 512 entries live only for the first query: later rows meet groups that are masked in full.
    Case c;
    c.history = 512;
    c.window = 10000;
    for (DType type : {DType::kF32, DType::kBF16}) {
      Problem problem(c, type);
      for (int j = 0; j < c.history; ++j) problem.evict_at(j) = c.history + 1;
      EXPECT_LE(largest_difference(problem.fast(), problem.reference()), tolerance(type));
    }
  });
}

TEST(PageAttention, ScratchIsReusable) {
  PageAttentionScratch scratch;
  for (int head_dim : {128, 16, 256, 4}) {
    Case c;
    c.head_dim = head_dim;
    c.history = 3 * head_dim;
    for (DType type : {DType::kBF16, DType::kF32}) {
      Problem problem(c, type);
      const std::vector<float> out = problem.run(kQueryBlock, [&](const QueryBlock& block) {
        page_attention(block, problem.pages(), type, scratch);
      });
      EXPECT_LE(largest_difference(out, problem.reference()), tolerance(type));
    }
  }
}

}  // namespace
}  // namespace kvlab
