// Replaces what a pattern finds, in normalizers and decoders.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "tokenizer/pattern.h"

namespace kvlab {

class TextReplacer {
 public:
  // Replaces a literal text, which is not empty, or what a pattern finds, by `content` as it stands.
  TextReplacer(std::variant<std::string, Pattern> what, std::string content)
      : what_(std::move(what)), content_(std::move(content)) {}

  // A pattern finds nothing in bytes that are not valid UTF-8. Throws UserError when the result would take
  // more than `most` bytes.
  std::string apply(std::string_view text, size_t most) const;

 private:
  std::variant<std::string, Pattern> what_;
  std::string content_;
};

// The most bytes that a chain of replacements may make of `size` bytes: a few that each double a text would
// fill the memory.
size_t most_growth(size_t size);
[[noreturn]] void refuse_growth(size_t most);

}  // namespace kvlab
