#include "base/utf8_repair.h"

#include <cstddef>
#include <cstdint>

namespace kvlab {

namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Sequence {
  enum class Kind { kWhole, kBroken, kUnfinished } kind;
  size_t length;  // in bytes, at least 1
};

struct ByteRange {
  uint8_t least = 0x80, most = 0xBF;
};

// What the second byte may be; this excludes overlong forms, surrogates and code points past U+10FFFF
// (Unicode standard, table 3-7).
ByteRange second_byte(uint8_t lead) {
  switch (lead) {
    case 0xE0:
      return {0xA0, 0xBF};
    case 0xED:
      return {0x80, 0x9F};
    case 0xF0:
      return {0x90, 0xBF};
    case 0xF4:
      return {0x80, 0x8F};
    default:
      return {};
  }
}

// The sequence at the start of `text`, which is not empty.
Sequence first_sequence(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {Sequence::Kind::kWhole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Sequence::Kind::kBroken, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  ByteRange range = second_byte(lead);
  for (size_t i = 1; i < length; ++i, range = {}) {
    if (i == text.size()) return {Sequence::Kind::kUnfinished, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < range.least || byte > range.most) return {Sequence::Kind::kBroken, i};
  }
  return {Sequence::Kind::kWhole, length};
}

}  // namespace

std::string Utf8Repair::push(std::string_view bytes) {
  held_ += bytes;
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Sequence sequence = first_sequence(rest);
    if (sequence.kind == Sequence::Kind::kUnfinished) break;
    out += sequence.kind == Sequence::Kind::kWhole ? rest.substr(0, sequence.length) : kReplacement;
    rest.remove_prefix(sequence.length);
  }
  held_ = std::string(rest);
  return out;
}

std::string Utf8Repair::finish() {
  const bool unfinished = !held_.empty();
  held_.clear();
  return unfinished ? kReplacement : "";
}

}  // namespace kvlab
