// Working memory of one thread while the cache attends; it grows to what the largest piece needs, so that
// decoding allocates nothing per token. Internal to src/cache.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/lifetimes.h"
#include "kernels/page_attention.h"
#include "tensor/buffer.h"

namespace kvlab {

struct AttendScratch {
  PageAttentionScratch kernel;
  std::vector<EntryPage> pages;
  LifetimeScratch lifetimes;
  std::vector<int32_t> positions, evict_at, gone, order;
  std::vector<float> scores;
  Buffer<float> weights, k, v;
};

AttendScratch& attend_scratch();  // the calling thread's

}  // namespace kvlab
