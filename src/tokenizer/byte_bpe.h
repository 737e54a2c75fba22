// Byte-level BPE, the tokenizer of GPT-2, SmolLM and Llama 3. Readers of GGUF and of tokenizer.json fill in
// the parts.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/splitter.h"
#include "tokenizer/text_cuts.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

struct ByteBpeParts {
  std::vector<std::string> tokens;  // by id, in the characters of GPT-2's table; "": no such id
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // by rank, in the same characters
  std::vector<AddedToken> added;
  SplitSteps split;
  std::string split_name;      // for description()
  bool ignore_merges = false;  // a word that is a token is not cut
  int unknown = -1;            // for bytes that the vocabulary lacks; -1: they are left out
  bool fuse_unknown = false;   // one token for a run of them
  int bos = -1;
  int eos = -1;
  bool add_bos = false;
  std::string chat_template;
};

class ByteBpe : public Tokenizer {
 public:
  // Throws UserError, which does not name the file, when the parts do not fit together.
  explicit ByteBpe(ByteBpeParts parts);

  std::vector<int32_t> encode(std::string_view text, bool parse_special) const override;
  std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const override;
  size_t last_cut(std::string_view text) const override { return cuts_.last(text); }
  std::string decode(const std::vector<int32_t>& ids, bool special) const override;
  int vocab_size() const override { return static_cast<int>(parts_.tokens.size()); }
  int bos() const override { return parts_.bos; }
  int eos() const override { return parts_.eos; }
  bool add_bos() const override { return parts_.add_bos; }
  const std::string& chat_template() const override { return parts_.chat_template; }
  std::string description() const override;

 private:
  struct Encoding;  // the state of one call of encode()
  void read_merges();
  void tokens_to_bytes();
  void encode_pieces(std::span<const AddedTokens::Piece> pieces, Encoding& state) const;
  void encode_word(std::string_view word, Encoding& state) const;
  void append_symbols(std::string_view word, std::vector<int32_t>& symbols) const;

  ByteBpeParts parts_;  // tokens hold bytes once constructed; merges are emptied
  std::vector<bool> is_special_;
  MergeTable merges_;
  int32_t byte_ids_[256];
  std::unordered_map<std::string_view, int32_t>
      whole_words_;  // only with ignore_merges; views into parts_.tokens
  AddedTokens added_;
  TextCuts cuts_;
  std::unique_ptr<Splitter> splitter_;
};

// UserError with the byte offset when `text` is not UTF-8.
void require_utf8(std::string_view text);

// UserError when `id` is not in 0..vocab_size - 1.
void require_token(int32_t id, int vocab_size);

}  // namespace kvlab
