// Byte pair encoding of one word: the pair of neighbours with the lowest rank is merged, the leftmost of
// equals first, until no pair can be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kvlab {

struct Merge {
  int32_t rank = 0;
  int32_t id = 0;  // of the merged token
};

// Merges by pair of ids.
class MergeTable {
 public:
  explicit MergeTable(size_t merges = 0);
  // A later merge of the same pair replaces the earlier, as in Hugging Face tokenizers.
  void set(int32_t left, int32_t right, Merge merge);
  const Merge* find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t pair = kFree;
    Merge merge;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};
  size_t place(uint64_t pair) const;  // its slot, or the free one where it belongs
  std::vector<Slot> slots_;
  int shift_ = 0;
};

// Works words one after the other and keeps its memory between them. Time n log n in the length of a word.
class BpeMerger {
 public:
  explicit BpeMerger(const MergeTable& merges) : merges_(merges) {}
  // Appends the merged `symbols` to `out`.
  void run(std::span<const int32_t> symbols, std::vector<int32_t>& out);

 private:
  struct Link {
    int32_t id;  // -1: merged into the one on its left
    int32_t previous;
    int32_t next;  // -1: none
  };
  struct Candidate {
    int32_t rank;
    int32_t left;
    bool operator<(const Candidate& other) const {  // for a heap whose top comes first
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const Merge* merge_at(int32_t left) const;
  void push(int32_t left);
  void run_short(std::span<const int32_t> symbols, std::vector<int32_t>& out) const;
  void run_long(std::span<const int32_t> symbols, std::vector<int32_t>& out);

  const MergeTable& merges_;
  std::vector<Link> links_;
  std::vector<Candidate> heap_;
};

}  // namespace kvlab
