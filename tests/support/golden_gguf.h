// A golden's tiny model as a GGUF file, as tools/goldens/convert_gguf.py writes it (and says where that
// differs from llama.cpp's converter).
#pragma once

#include <filesystem>

#include "support/gguf_file.h"
#include "support/golden_model.h"

namespace kvlab::testing {

// Gives the file. The golden must be one that GGUF can say (golden.gguf), else std::invalid_argument.
std::filesystem::path write_golden_gguf(const GoldenModel& golden, const std::filesystem::path& file,
                                        TinyGgufType matrices = TinyGgufType::kF32);

}  // namespace kvlab::testing
