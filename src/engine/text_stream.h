// The text of tokens as they come: whole characters only, and never past a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/utf8_repair.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

class TextStream {
 public:
  // Special tokens are left out of the text. Throws UserError for an empty stop string.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop);

  // The text that may be shown now. Held back are half a character and whatever may yet become a stop string.
  std::string push(int32_t id);
  // A stop string is complete. The text ends before it; of several, before the one that is complete first.
  bool stopped() const { return stopped_; }
  // The end of the tokens: what was held back, with U+FFFD for a broken character. "" once stopped.
  std::string finish();

 private:
  std::string release(const std::string& more);
  std::string release_all();

  const Tokenizer& tokenizer_;
  std::vector<std::string> stop_;
  std::vector<int32_t> ids_;
  size_t decoded_ = 0;  // bytes of the ids' text that have been taken
  Utf8Repair repair_;
  std::string held_;  // whole characters, not shown yet
  bool stopped_ = false;
};

}  // namespace kvlab
