#include "tensor/weight_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace kvlab {
namespace {

struct Piece {
  unsigned char* memory;
  size_t size;
  unsigned char mark;
};

// Marks or checks a byte every so often, the first and the last, so that the test need not touch all of it.
template <typename Visit>
void visit_some(const Piece& piece, Visit&& visit) {
  for (size_t at = 0; at < piece.size; at += 500'000) visit(piece.memory[at]);
  if (piece.size) visit(piece.memory[piece.size - 1]);
}

// Sizes from nothing to more than a chunk, freed in another order than they were made.
TEST(WeightMemory, AllocationsAreAlignedAndDoNotOverlap) {
  std::vector<Piece> held;
  const auto check_and_free = [&](size_t i) {
    const Piece piece = held[i];
    visit_some(piece, [&](unsigned char byte) { ASSERT_EQ(byte, piece.mark) << piece.size; });
    free_weight_memory(piece.memory);
    held.erase(held.begin() + static_cast<ptrdiff_t>(i));
  };
  unsigned char mark = 0;
  for (int round = 0; round < 3; ++round) {
    for (const size_t size : {0u, 1u, 64u, 1000u, 3u << 20, 70u << 20}) {
      const Piece piece = {static_cast<unsigned char*>(allocate_weight_memory(size)), size, ++mark};
      ASSERT_EQ(reinterpret_cast<uintptr_t>(piece.memory) % 64, 0u);
      visit_some(piece, [&](unsigned char& byte) { byte = piece.mark; });
      held.push_back(piece);
    }
    while (held.size() > 4) check_and_free(held.size() / 2);
  }
  while (!held.empty()) check_and_free(0);
}

}  // namespace
}  // namespace kvlab
