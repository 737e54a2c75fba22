// A bench as JSON: what was measured, with all digits, and what follows for the whole model.
#pragma once

#include "results/bench_record.h"

namespace kvlab {

nlohmann::ordered_json bench_json(const BenchResult& result);

}  // namespace kvlab
