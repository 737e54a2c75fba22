#include "kernels/sgemm.h"

#include <omp.h>

#include <oneapi/dnnl/dnnl.h>

#include "base/error.h"
#include "base/threads.h"

namespace kvlab {

namespace {

// oneDNN shares a product out over omp_get_max_threads() threads, a setting of the calling thread's task.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace

void multiply(int rows, int columns, int inner, MatrixView a, MatrixView b, float* c, int64_t c_stride,
              bool accumulate) {
  if (rows == 0 || columns == 0) return;
  const OneThread one;
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', rows, columns, inner, 1.0f, a.data,
                 a.stride, b.data, b.stride, accumulate ? 1.0f : 0.0f, c, c_stride);
  KVLAB_CHECK(status == dnnl_success);
}

void block_grams(const float* matrix, int blocks, int rows, int columns, float* grams) {
  parallel_tasks(blocks, [&](int block, int) {
    const float* w = matrix + static_cast<int64_t>(block) * rows * columns;
    multiply(rows, rows, columns, {w, columns}, {w, columns, true},
             grams + static_cast<int64_t>(block) * rows * rows, rows);
  });
}

}  // namespace kvlab
