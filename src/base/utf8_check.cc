#include "base/utf8_check.h"

#include <cstdint>
#include <cstring>

namespace kvlab {

namespace {

uint8_t byte_at(std::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

bool continues(std::string_view text, size_t i) {
  return i < text.size() && (byte_at(text, i) & 0xc0) == 0x80;
}

// The length of the well-formed sequence that starts at i, or 0. The second byte's range is what excludes
// overlong forms, surrogates and code points past U+10FFFF (Unicode standard, table 3-7).
size_t sequence_length(std::string_view text, size_t i) {
  const uint8_t lead = byte_at(text, i);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4 || !continues(text, i + 1)) return 0;
  if (lead < 0xe0) return 2;
  const uint8_t second = byte_at(text, i + 1);
  if (lead < 0xf0) {
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
    return continues(text, i + 2) ? 3 : 0;
  }
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return continues(text, i + 2) && continues(text, i + 3) ? 4 : 0;
}

bool eight_ascii_bytes(std::string_view text, size_t i) {
  if (i + 8 > text.size()) return false;
  uint64_t word;
  std::memcpy(&word, text.data() + i, 8);
  return (word & 0x8080808080808080ull) == 0;
}

}  // namespace

size_t first_invalid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    if (eight_ascii_bytes(text, i)) {
      i += 8;
      continue;
    }
    const size_t length = sequence_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

std::string with_valid_utf8(std::string_view text) {
  std::string valid(text);
  for (size_t bad = first_invalid_utf8(valid); bad != std::string::npos; bad = first_invalid_utf8(valid)) {
    valid[bad] = '?';
  }
  return valid;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (char c : text) width += (static_cast<uint8_t>(c) & 0xc0) != 0x80;
  return width;
}

}  // namespace kvlab
