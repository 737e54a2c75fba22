// GPT-2's table of bytes and characters. Its vocabulary files hold tokens as text, so every byte is written
// as a printable character: itself where it is printable in Latin-1, else the next one from U+0100 on (a
// space is "Ġ").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvlab {

char32_t byte_to_char(uint8_t byte);

// The bytes that `chars` stands for; nullopt when a character is not in the table, or the text is not UTF-8.
std::optional<std::string> chars_to_bytes(std::string_view chars);

std::string bytes_to_chars(std::string_view bytes);

}  // namespace kvlab
