#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"

namespace kvlab {
namespace {

using Pairs = std::map<std::pair<int32_t, int32_t>, Merge>;

// The definition: look for the best pair of all, merge it, start again.
std::vector<int32_t> plain_bpe(std::vector<int32_t> ids, const Pairs& merges) {
  while (true) {
    size_t best = ids.size();
    Merge best_merge{1 << 30, -1};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.find({ids[i], ids[i + 1]});
      if (found == merges.end() || found->second.rank >= best_merge.rank) continue;
      best = i;
      best_merge = found->second;
    }
    if (best == ids.size()) return ids;
    ids[best] = best_merge.id;
    ids.erase(ids.begin() + static_cast<int64_t>(best) + 1);
  }
}

// Random merges, also such that a merge opens the way for one of lower rank, and results that several pairs
// have.
Pairs random_merges(uint64_t seed, int letters, int count) {
  Pairs merges;
  int32_t next = letters;
  for (int rank = 0; rank < count; ++rank) {
    const uint64_t r = mix64(seed ^ mix64(static_cast<uint64_t>(rank)));
    const auto left = static_cast<int32_t>(r % static_cast<uint64_t>(next));
    const auto right = static_cast<int32_t>((r >> 20) % static_cast<uint64_t>(next));
    const int32_t shuffled_rank = static_cast<int32_t>((rank * 7919) % 10007);
    merges[{left, right}] = {shuffled_rank, next};
    if ((r >> 40) % 4 != 0) ++next;
  }
  return merges;
}

TEST(Bpe, AgreesWithThePlainOneOnRandomWords) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Pairs merges = random_merges(seed, 4, 60);
    MergeTable table(merges.size());
    for (const auto& [pair, merge] : merges) table.set(pair.first, pair.second, merge);
    BpeMerger merger(table);
    for (uint64_t word = 0; word < 100; ++word) {
      std::vector<int32_t> symbols;
      const uint64_t length =
          mix64(seed * 977 + word) % 60;  // both sides of the length where the way changes
      for (uint64_t i = 0; i < length; ++i)
        symbols.push_back(static_cast<int32_t>(mix64(seed ^ word << 20 ^ i) % 4));
      std::vector<int32_t> fast = {-7};
      merger.run(symbols, fast);
      std::vector<int32_t> expected = plain_bpe(symbols, merges);
      expected.insert(expected.begin(), -7);
      ASSERT_EQ(fast, expected) << "seed " << seed << ", word " << word;
    }
  }
}

TEST(Bpe, LaterMergeOfAPairReplacesTheEarlier) {
  MergeTable table(1);
  table.set(1, 2, {0, 3});
  table.set(1, 2, {5, 4});
  ASSERT_NE(table.find(1, 2), nullptr);
  EXPECT_EQ(table.find(1, 2)->id, 4);
  EXPECT_EQ(table.find(2, 1), nullptr);
}

}  // namespace
}  // namespace kvlab
