// HeadStore against a plain vector that is handled in the same way.
#include "cache/head_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace kvlab {
namespace {

constexpr int kHeadDim = 8;

struct PlainEntry {
  std::vector<float> key, value;
  int32_t position = 0;
  std::vector<float> state;
};

// A store and the plain vector that it has to equal, slot by slot.
struct Pair {
  HeadStore store;
  std::vector<PlainEntry> plain;
  int32_t next = 0;  // position of the next entry
};

class HeadStoreTest : public ::testing::TestWithParam<std::tuple<DType, int>> {
 protected:
  DType type() const { return std::get<0>(GetParam()); }
  int width() const { return std::get<1>(GetParam()); }

  Pair make() const { return {HeadStore(kHeadDim, type(), width()), {}, 0}; }

  void append(Pair& pair) {
    PlainEntry entry;
    for (std::vector<float>* row : {&entry.key, &entry.value}) {  // small integers: bfloat16 holds them
      for (int i = 0; i < kHeadDim; ++i) row->push_back(static_cast<float>(random_() % 256));
    }
    for (int w = 0; w < width(); ++w) entry.state.push_back(static_cast<float>(random_() % 1000));
    entry.position = pair.next++;
    pair.store.append(entry.key.data(), entry.value.data(), kHeadDim, 1, entry.position);
    for (int w = 0; w < width(); ++w) {
      float* row = pair.store.state_row(w);
      EXPECT_EQ(row[pair.plain.size()], 0.0f) << "a new entry carries nothing";
      row[pair.plain.size()] = entry.state[w];
    }
    pair.plain.push_back(std::move(entry));
  }

  // Takes away some slots of both, the last entry going into the hole.
  void remove_some(Pair& pair, uint32_t one_in) {
    std::vector<int32_t> slots;
    for (auto slot = static_cast<int32_t>(pair.plain.size()) - 1; slot >= 0; --slot) {
      if (random_() % one_in == 0) slots.push_back(slot);
    }
    pair.store.remove(slots);
    for (const int32_t slot : slots) {
      if (slot + 1 < static_cast<int32_t>(pair.plain.size())) pair.plain[slot] = std::move(pair.plain.back());
      pair.plain.pop_back();
    }
  }

  void expect_equal(const Pair& pair) const {
    const HeadStore& store = pair.store;
    ASSERT_EQ(store.size(), static_cast<int>(pair.plain.size()));
    const std::vector<int32_t> positions = store.positions();
    for (int slot = 0; slot < store.size(); ++slot) {
      const PlainEntry& entry = pair.plain[slot];
      EXPECT_EQ(store.position(slot), entry.position);
      EXPECT_EQ(positions[slot], entry.position);
      std::vector<float> key(kHeadDim), value(kHeadDim);
      store.read(slot, key.data(), value.data());
      EXPECT_EQ(entry.key, key) << "slot " << slot;
      EXPECT_EQ(entry.value, value) << "slot " << slot;
      for (int w = 0; w < width(); ++w) EXPECT_EQ(store.state(w, slot), entry.state[w]);
    }
  }

  std::mt19937 random_{7};
};

TEST_P(HeadStoreTest, EqualsAVectorThroughRandomUse) {
  const int64_t start = allocated_bytes(Account::kCache);
  {
    Pair pair = make();
    for (int step = 0; step < 400; ++step) {
      const uint32_t kind = random_() % 20;
      if (kind == 0) {
        pair.store.clear();
        pair.plain.clear();
        pair.next = static_cast<int32_t>(random_() % 2 * 5);  // starting anew at 0, or in the middle
      } else if (kind < 4) {
        remove_some(pair, 2 + random_() % 8);
      } else {
        for (uint32_t i = random_() % 12; i > 0; --i) append(pair);
      }
      expect_equal(pair);
      EXPECT_EQ(pair.store.bytes().total(), allocated_bytes(Account::kCache) - start);
      EXPECT_EQ(pair.store.allocated(), pair.store.bytes().total());
      if (HasFailure()) return;
    }
  }
  EXPECT_EQ(allocated_bytes(Account::kCache), start);
}

TEST_P(HeadStoreTest, AForkIsNotChangedByItsParentNorTheOtherWayRound) {
  const int64_t start = allocated_bytes(Account::kCache);
  {
    Pair parent = make();
    for (int i = 0; i < 37; ++i) append(parent);  // the last page is not full
    const int64_t alone = allocated_bytes(Account::kCache) - start;
    std::vector<Pair> forks(3, parent);
    EXPECT_EQ(allocated_bytes(Account::kCache) - start, alone) << "a fork shares pages until it is changed";
    append(forks[0]);
    expect_equal(parent);
    remove_some(forks[1], 3);
    expect_equal(parent);
    remove_some(parent, 4);
    append(parent);
    forks[2].store.clear();
    forks[2].plain.clear();
    for (const Pair& fork : forks) expect_equal(fork);
    expect_equal(parent);
    for (int i = 0; i < 40; ++i) {
      append(forks[0]);
      append(parent);
      if (i % 9 == 0) remove_some(forks[0], 5);
    }
    for (const Pair& fork : forks) expect_equal(fork);
    expect_equal(parent);
  }
  EXPECT_EQ(allocated_bytes(Account::kCache), start);
}

// The first change that unshares the lists is a removal, of the last slot among others.
TEST_P(HeadStoreTest, AForkMayBeginWithARemoval) {
  Pair parent = make();
  for (int i = 0; i < 37; ++i) append(parent);
  remove_some(parent, 5);
  Pair fork = parent;
  const auto last = static_cast<int32_t>(fork.plain.size()) - 1;
  fork.store.remove(std::vector<int32_t>{last - 1, 0});
  fork.plain.erase(fork.plain.begin() + last - 1);
  fork.plain[0] = fork.plain.back();
  fork.plain.pop_back();
  expect_equal(fork);
  expect_equal(parent);
}

TEST_P(HeadStoreTest, PositionsAreStoredOnlyWhereEntriesAreMissing) {
  Pair pair = make();
  for (int i = 0; i < 20; ++i) append(pair);
  EXPECT_EQ(pair.store.bytes().positions, 0);
  const CacheBytes full = pair.store.bytes();
  const auto entry_bytes = static_cast<int64_t>(2 * kHeadDim * element_size(type()));
  EXPECT_EQ(full.payload, 20 * entry_bytes);
  EXPECT_EQ(full.scores, 20 * 4 * width());
  // Two pages of 16 slots, rows of values padded to 16 elements.
  const auto padding = static_cast<int64_t>((value_stride(kHeadDim) - kHeadDim) * element_size(type()));
  EXPECT_EQ(full.slack, 12 * (entry_bytes + 4 * width()) + 32 * padding);

  const std::vector<int32_t> first = {0};
  pair.store.remove(first);
  EXPECT_EQ(pair.store.bytes().positions, 19 * 4);
  EXPECT_EQ(pair.store.bytes().payload, 19 * entry_bytes);

  std::vector<int32_t> most;
  for (int32_t slot = 18; slot > 1; --slot) most.push_back(slot);
  pair.store.remove(most);
  EXPECT_EQ(pair.store.bytes().payload, 2 * entry_bytes);
  EXPECT_EQ(pair.store.bytes().total(), 16 * (entry_bytes + padding) + 32 * (4 + 4 * width()))
      << "an empty page is given back";
  pair.store.trim();
  EXPECT_EQ(pair.store.bytes().total(), 16 * (entry_bytes + padding) + 16 * (4 + 4 * width()))
      << "and now what lay beside it";

  // Entries that start at 0 without a gap need none again.
  pair.store.clear();
  EXPECT_EQ(pair.store.bytes().total(), 0);
}

TEST_P(HeadStoreTest, NarrowingForgetsTheLastFloatsOfThisStoreOnly) {
  const int64_t start = allocated_bytes(Account::kCache);
  {
    Pair parent = make();
    for (int i = 0; i < 37; ++i) append(parent);
    remove_some(parent, 4);
    for (int kept = 0; kept <= width(); ++kept) {
      Pair fork = parent;
      fork.store.narrow_state(kept);
      EXPECT_EQ(fork.store.state_width(), kept);
      EXPECT_EQ(fork.store.bytes().scores, int64_t{4} * kept * fork.store.size());
      EXPECT_EQ(fork.store.allocated(), fork.store.bytes().total());
      for (int slot = 0; slot < fork.store.size(); ++slot) {
        EXPECT_EQ(fork.store.position(slot), parent.plain[slot].position);
        for (int w = 0; w < kept; ++w) EXPECT_EQ(fork.store.state(w, slot), parent.plain[slot].state[w]);
      }
      expect_equal(parent);
    }
    parent.store.narrow_state(0);
    EXPECT_EQ(parent.store.bytes().total(), allocated_bytes(Account::kCache) - start);
  }
  EXPECT_EQ(allocated_bytes(Account::kCache), start);
}

TEST_P(HeadStoreTest, PagesCoverTheLiveSlots) {
  Pair pair = make();
  for (int i = 0; i < 50; ++i) append(pair);
  for (int round = 0; round < 2; ++round) {
    std::vector<int32_t> evict_at(pair.store.size());
    for (size_t i = 0; i < evict_at.size(); ++i) evict_at[i] = static_cast<int32_t>(100 + i);
    std::vector<EntryPage> pages;
    pair.store.entry_pages(evict_at.data(), pages);
    ASSERT_EQ(pages.size(), pair.store.pages().size());
    int slot = 0;
    for (size_t p = 0; p < pages.size(); ++p) {
      EXPECT_EQ(pages[p].k, pair.store.pages()[p].k);
      EXPECT_EQ(pages[p].v, pair.store.pages()[p].v);
      for (int i = 0; i < pages[p].count; ++i, ++slot) {
        EXPECT_EQ(pages[p].position ? pages[p].position[i] : pages[p].first_position + i,
                  pair.store.position(slot));
        EXPECT_EQ(pages[p].evict_at[i], 100 + slot);
      }
    }
    EXPECT_EQ(slot, pair.store.size());
    remove_some(pair, 3);
  }
}

TEST_P(HeadStoreTest, RowsAppendedTogetherLieAsThoseAppendedAlone) {
  std::vector<float> k(40 * kHeadDim), v(k.size());
  for (size_t i = 0; i < k.size(); ++i) {
    k[i] = static_cast<float>(random_() % 256);
    v[i] = static_cast<float>(random_() % 256);
  }
  HeadStore together(kHeadDim, type(), width()), alone(kHeadDim, type(), width());
  together.append(k.data(), v.data(), kHeadDim, 5, 3);
  together.append(k.data() + 5 * kHeadDim, v.data() + 5 * kHeadDim, kHeadDim, 35, 8);
  for (int r = 0; r < 40; ++r)
    alone.append(k.data() + r * kHeadDim, v.data() + r * kHeadDim, kHeadDim, 1, 3 + r);
  ASSERT_EQ(together.size(), 40);
  EXPECT_EQ(together.positions(), alone.positions());
  for (int slot = 0; slot < 40; ++slot) {
    std::vector<float> a(2 * kHeadDim), b(a.size());
    together.read(slot, a.data(), a.data() + kHeadDim);
    alone.read(slot, b.data(), b.data() + kHeadDim);
    EXPECT_EQ(a, b);
  }
}

// Positions are the same whoever asks for them to be stored, and whether a fork shares the lists or not.
TEST_P(HeadStoreTest, StoredPositionsLieBySlot) {
  const int64_t start = allocated_bytes(Account::kCache);
  {
    HeadStore empty(kHeadDim, type(), width());
    EXPECT_TRUE(empty.stored_positions().empty());
    Pair parent = make();
    for (int i = 0; i < 37; ++i) append(parent);
    Pair fork = parent;
    const auto stored = [](HeadStore& store) {
      const std::span<const int32_t> positions = store.stored_positions();
      return std::vector<int32_t>(positions.begin(), positions.end());
    };
    EXPECT_EQ(stored(fork.store), parent.store.positions());
    EXPECT_EQ(fork.store.bytes().positions, 37 * 4);
    EXPECT_EQ(parent.store.bytes().positions, 0) << "the fork's wish costs the parent nothing";
    expect_equal(fork);
    expect_equal(parent);
    for (int round = 0; round < 6; ++round) {
      remove_some(fork, 3);
      for (int i = 0; i < 9; ++i) append(fork);
      EXPECT_EQ(stored(fork.store), fork.store.positions());
      EXPECT_EQ(fork.store.stored_positions().data(), fork.store.stored_positions().data());
      expect_equal(fork);
    }
    expect_equal(parent);
  }
  EXPECT_EQ(allocated_bytes(Account::kCache), start);
}

// state_row() is for writing: from then on the fork has lists of its own.
TEST_P(HeadStoreTest, StateWrittenInAForkStaysThere) {
  if (width() == 0) return;  // nothing is carried
  for (const bool holes : {false, true}) {
    Pair parent = make();
    for (int i = 0; i < 37; ++i) append(parent);
    if (holes) remove_some(parent, 4);
    Pair fork = parent, second = parent;
    const auto write = [&](Pair& pair, float value) {
      for (int w = 0; w < width(); ++w) {
        float* row = pair.store.state_row(w);
        for (size_t slot = 0; slot < pair.plain.size(); ++slot)
          row[slot] = pair.plain[slot].state[w] = value + static_cast<float>(slot);
      }
    };
    const int64_t before = allocated_bytes(Account::kCache);
    write(fork, 2000);
    EXPECT_GT(allocated_bytes(Account::kCache), before) << "lists of its own, keys and values shared";
    EXPECT_EQ(fork.store.pages()[0].k, parent.store.pages()[0].k);
    expect_equal(parent);
    expect_equal(fork);
    write(parent, 3000);
    expect_equal(fork);
    expect_equal(second);
    append(second);
    remove_some(second, 3);
    expect_equal(parent);
    expect_equal(fork);
    expect_equal(second);
    EXPECT_EQ(parent.store.state_row(0),
              parent.store.state_row(width() - 1) - (width() - 1) * parent.store.state_stride());
  }
}

// What a cache takes follows from how many entries it holds, not from how it came to hold them.
TEST_P(HeadStoreTest, TrimmedStoresOfOneSizeTakeTheSame) {
  Pair grown = make(), shrunk = make();
  for (int i = 0; i < 40; ++i) append(grown);
  for (int i = 0; i < 500; ++i) append(shrunk);
  for (Pair* pair : {&grown, &shrunk}) {
    while (pair->plain.size() > 23) {
      const auto last = static_cast<int32_t>(pair->plain.size()) - 1;
      pair->store.remove(last);
      pair->plain.pop_back();
    }
  }
  EXPECT_GT(shrunk.store.allocated(), grown.store.allocated());
  Pair fork = shrunk;
  shrunk.store.trim();
  grown.store.trim();
  EXPECT_EQ(shrunk.store.allocated(), grown.store.allocated());
  EXPECT_GT(fork.store.allocated(), shrunk.store.allocated()) << "a fork keeps its own";
  for (const Pair* pair : {&grown, &shrunk, &fork}) expect_equal(*pair);
  const int64_t trimmed = shrunk.store.allocated();
  shrunk.store.trim();
  EXPECT_EQ(shrunk.store.allocated(), trimmed);
  append(shrunk);
  expect_equal(shrunk);
}

INSTANTIATE_TEST_SUITE_P(TypesAndWidths, HeadStoreTest,
                         ::testing::Combine(::testing::Values(DType::kF32, DType::kBF16),
                                            ::testing::Values(0, 1, 2)));

}  // namespace
}  // namespace kvlab
