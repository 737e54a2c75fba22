// What `kvlab bench` prints: the tables of a bench, for a terminal or as Markdown, and how to read them.
#pragma once

#include <string>

#include "results/bench_record.h"

namespace kvlab {

// Columns that do not fit `width` (0: no limit) go into further blocks; Markdown has no width.
std::string render_bench(const BenchResult& result, bool markdown, int width);

}  // namespace kvlab
