// Rates of the matrix products as a model calls them.
#pragma once

#include "bench/roofline/peaks.h"

namespace kvlab::roofline {

// The products of a layer, 64 rows a thread, and the output head with its losses. Rows for rate_columns().
std::vector<Json> product_rates(const ModelConfig& config, DType type, int threads, const Peaks& peaks);

// A row for amounts per call: operations or bytes, whichever is not 0.
Json rate_row(const std::string& kernel, const std::string& size, const Rate& rate, double flops,
              double bytes, double peak);
std::vector<Column> rate_columns();

}  // namespace kvlab::roofline
