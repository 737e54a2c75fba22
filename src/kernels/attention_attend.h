// Inside SlotStore::attend.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace kvlab {

inline constexpr int kTile = 16;  // slots of a tile of keys

struct SlotView {
  const void* k;  // [size / kTile][head_dim][kTile]
  const void* v;  // [size][v_stride]
  DType type;
  int size, head_dim, v_stride;
};

void attend_slots(const SlotView& view, const float* q, int group, float scale, float* weights,
                  int64_t stride, float* out);

}  // namespace kvlab
