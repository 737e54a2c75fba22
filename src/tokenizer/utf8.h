// The little Unicode that tokenizers need besides their patterns.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvlab {

// The code point at `pos`, which moves behind it. The text must be valid UTF-8.
char32_t next_code_point(std::string_view text, size_t& pos);

// Where the code point that ends before `pos` (> 0) begins. The text must be valid UTF-8.
size_t previous_code_point(std::string_view text, size_t pos);

void append_utf8(std::string& out, char32_t code_point);

// Unicode's White_Space property.
bool is_white_space(char32_t code_point);

}  // namespace kvlab
