#include "tokenizer/byte_map.h"

#include <array>

#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

constexpr int kTableEnd = 0x100 + 68;  // 68 bytes are not printable

struct Tables {
  std::array<char32_t, 256> to_char{};
  std::array<int16_t, kTableEnd> to_byte{};
};

constexpr bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

constexpr Tables make_tables() {
  Tables tables;
  for (auto& byte : tables.to_byte) byte = -1;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = is_printable(byte) ? static_cast<char32_t>(byte) : next++;
    tables.to_char[byte] = c;
    tables.to_byte[c] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

char32_t byte_to_char(uint8_t byte) {
  return kTables.to_char[byte];
}

std::optional<std::string> chars_to_bytes(std::string_view chars) {
  if (find_invalid_utf8(chars) != std::string_view::npos) return std::nullopt;
  std::string bytes;
  bytes.reserve(chars.size());
  for (size_t pos = 0; pos < chars.size();) {
    const char32_t c = next_code_point(chars, pos);
    if (c >= kTableEnd || kTables.to_byte[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kTables.to_byte[c]);
  }
  return bytes;
}

std::string bytes_to_chars(std::string_view bytes) {
  std::string chars;
  for (const char byte : bytes) append_utf8(chars, byte_to_char(static_cast<uint8_t>(byte)));
  return chars;
}

}  // namespace kvlab
