// Bytes that come in pieces, as whole characters: what a model writes may end, or break off, inside one.
#pragma once

#include <string>
#include <string_view>

namespace kvlab {

class Utf8Repair {
 public:
  // The text that is complete with these bytes; an unfinished character at its end is held back. Each longest
  // piece that cannot be the start of a character becomes one U+FFFD, as Python and Hugging Face have it.
  std::string push(std::string_view bytes);
  // The end: U+FFFD for what is still held back.
  std::string finish();

 private:
  std::string held_;
};

}  // namespace kvlab
