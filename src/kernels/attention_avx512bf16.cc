// lifetime_attention with AVX512_BF16's dot products.
#include "kernels/attention_block.h"

namespace kvlab {
const BlockKernel* block_kernel_bf16() {
  return nullptr;
}
}  // namespace kvlab
