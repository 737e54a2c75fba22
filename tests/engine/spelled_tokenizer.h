// A tokenizer whose tokens a test spells out; the text of ids is that of the tokens, one after the other.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

namespace kvlab::testing {

class SpelledTokenizer : public Tokenizer {
 public:
  explicit SpelledTokenizer(std::vector<std::string> tokens, std::vector<int32_t> special = {})
      : tokens_(std::move(tokens)), special_(std::move(special)) {}

  std::vector<int32_t> encode(std::string_view, bool) const override { throw UserError("decodes only"); }
  std::vector<int32_t> encode_parts(std::span<const TextPart>) const override { return encode("", true); }
  std::string decode(const std::vector<int32_t>& ids, bool special) const override {
    std::string text;
    for (const int32_t id : ids) {
      const bool left_out = !special && std::find(special_.begin(), special_.end(), id) != special_.end();
      if (!left_out) text += tokens_.at(id);
    }
    return text;
  }
  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  int bos() const override { return -1; }
  int eos() const override { return -1; }
  bool add_bos() const override { return false; }
  const std::string& chat_template() const override { return no_template_; }
  std::string description() const override { return "spelled"; }

 private:
  std::vector<std::string> tokens_;
  std::vector<int32_t> special_;
  std::string no_template_;
};

}  // namespace kvlab::testing
