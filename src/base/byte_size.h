// Sizes of memory as people write them: "512MiB", "2GiB", "1.5 GiB", 1048576.
#pragma once

#include <cstdint>
#include <string>

namespace kvlab {

// In bytes, more than 0. Units are KiB, MiB, GiB and TiB, in any case; none, or B, means bytes. Throws
// UserError naming `flag`, the text and examples.
int64_t parse_byte_size(const std::string& flag, const std::string& text);

// The shortest such text that is not less than `bytes` and at most 1 % more: 2147483648 is "2GiB".
std::string byte_size_text(int64_t bytes);

}  // namespace kvlab
