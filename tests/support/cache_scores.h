// What a method's scorer thinks of the entries of a cache from which nothing has gone.
#pragma once

#include <vector>

#include "cache/kv_cache.h"

namespace kvlab::testing {

// By position. The cache is f32 and holds all tokens.
std::vector<float> scores_of(const KvCache& cache, int layer, int head);

}  // namespace kvlab::testing
