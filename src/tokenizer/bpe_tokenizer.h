// A tokenizer made of parts: added tokens, a normalizer, cuts into words, BPE, a decoder. Readers of GGUF
// files, of tokenizer.json and of SentencePiece's tokenizer.model fill in the parts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/splitter.h"
#include "tokenizer/text_cuts.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

// What a tokenizer's files say besides the model.
struct TokenizerSettings {
  std::vector<AddedToken> added;
  int bos = -1;
  int eos = -1;
  bool add_bos = false;
  bool add_eos = false;
  std::string chat_template;
};

struct BpeTokenizerParts {
  std::string kind;                 // for description(): "byte-level BPE (smollm)"
  std::vector<std::string> tokens;  // the model's by id; "": no such id
  BpeModelParts model;
  Normalizer normalizer;
  SplitSteps split;
  TokenDecoder decoder;
  bool decode_byte_table = false;  // before the decoder, tokens but not added ones are turned into bytes
  TokenizerSettings settings;
};

class BpeTokenizer : public Tokenizer {
 public:
  // Throws UserError, which does not name the file, when the parts do not fit together.
  explicit BpeTokenizer(BpeTokenizerParts parts);

  std::vector<int32_t> encode(std::string_view text, bool parse_special) const override;
  std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const override;
  size_t last_cut(std::string_view text) const override { return cuts_.last(text); }
  std::string decode(const std::vector<int32_t>& ids, bool special) const override;
  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  int bos() const override { return settings_.bos; }
  int eos() const override { return settings_.eos; }
  bool add_bos() const override { return settings_.add_bos; }
  bool add_eos() const override { return settings_.add_eos; }
  const std::string& chat_template() const override { return settings_.chat_template; }
  std::string description() const override;

 private:
  struct Run;  // the state of one call of encode()
  void place_added_tokens(bool decode_byte_table);
  void encode_text(std::string_view text, bool parse_special, Run& run) const;

  std::string kind_;
  std::vector<std::string> tokens_;  // by id, as the decoder takes them
  std::vector<bool> is_special_;
  TokenizerSettings settings_;
  BpeModel model_;
  Normalizer normalizer_;
  AddedTokens added_;
  TextCuts cuts_;
  Splitter splitter_;
  TokenDecoder decoder_;
};

// UserError with the byte offset when `text` is not UTF-8.
void require_utf8(std::string_view text);

// UserError when `id` is not in 0..vocab_size - 1.
void require_token(int32_t id, int vocab_size);

}  // namespace kvlab
