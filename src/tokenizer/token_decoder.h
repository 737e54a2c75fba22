// From the texts of tokens to a text: what the "decoder" section of tokenizer.json says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/text_replacer.h"

namespace kvlab {

class DecodeStep {
 public:
  virtual ~DecodeStep() = default;
  // Changes the texts, or joins them. Throws UserError when more than `most` bytes would come out.
  virtual void apply(std::vector<std::string>& parts, size_t most) const = 0;
};

// Steps one after the other. Copies share them.
class TokenDecoder {
 public:
  void add(std::shared_ptr<const DecodeStep> step) { steps_.push_back(std::move(step)); }
  // The bytes of the tokens, which need not be valid UTF-8.
  std::string apply(std::vector<std::string> parts) const;

 private:
  std::vector<std::shared_ptr<const DecodeStep>> steps_;
};

std::shared_ptr<const DecodeStep> decode_replace(TextReplacer replacer);
std::shared_ptr<const DecodeStep> decode_bytes();  // "<0x0A>" becomes the byte 10
std::shared_ptr<const DecodeStep> decode_fuse();   // one text from here on
// So many `content` go at the start of each text at most, and at its end.
std::shared_ptr<const DecodeStep> decode_strip(std::string content, size_t start, size_t stop);
// `mark` becomes a space; with `drop_first` those of the first token go.
std::shared_ptr<const DecodeStep> decode_metaspace(std::string mark, bool drop_first);

// How vocabularies write a byte that no other token holds: "<0x0A>".
std::string byte_token(unsigned char byte);

}  // namespace kvlab
