// page_attention with AVX512_BF16.
#include "kernels/page_kernels.h"
namespace kvlab {
const PageKernel* page_kernel_bf16() {
  return nullptr;
}
}  // namespace kvlab
