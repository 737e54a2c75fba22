// Working memory of one thread while the cache attends; it grows to what the largest piece needs, so that
// decoding allocates nothing per token. Internal to src/cache.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/lifetimes.h"
#include "kernels/page_attention.h"
#include "tensor/buffer.h"

namespace kvlab {

// A KV head at an action that more takes part in than the scorer: its live entries in order of position.
struct HeadAction {
  int64_t limit = 0;                      // entries that may stay
  double exact_limit = 0;                 // before it was cut to whole entries
  std::vector<int32_t> order, positions;  // the slots, and their positions
  std::vector<float> scores, given;       // as the wrappers left them, and as the scorer gave them
  Buffer<float> k, v;                     // [live][head_dim], where somebody wants them
  std::vector<uint8_t> stays, changed;
};

struct AttendScratch {
  PageAttentionScratch kernel;
  std::vector<EntryPage> pages;
  LifetimeScratch lifetimes;
  std::vector<int32_t> positions, evict_at, gone, order;
  std::vector<float> scores;
  Buffer<float> weights, k, v;
  std::vector<HeadAction> actions;  // of the heads that act together
};

AttendScratch& attend_scratch();  // the calling thread's

}  // namespace kvlab
