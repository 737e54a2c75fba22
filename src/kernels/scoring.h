// What scorers compute over all live entries when a budget acts.
#pragma once

#include <cstdint>

namespace kvlab {

// out[r] = x . rows[r] for r < count; rows: [count][n].
void dots(const float* x, const float* rows, int64_t count, int n, float* out);
// Softmax of x in place over the entries where x > -1e29; the others become 0.
void masked_softmax(float* x, int64_t n);

namespace reference {
void dots(const float* x, const float* rows, int64_t count, int n, float* out);
void masked_softmax(float* x, int64_t n);
}  // namespace reference

}  // namespace kvlab
