// Text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvlab {

// A piece of a text; special tokens written in it become their ids only where `parse_special` is set.
struct TextPart {
  std::string text;
  bool parse_special = true;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids of `text`; no BOS is added. Special tokens written in the text ("<|im_start|>") become their ids when
  // `parse_special` is set, as Hugging Face tokenizers do. Text must be valid UTF-8 (UserError with the byte
  // offset).
  virtual std::vector<int32_t> encode(std::string_view text, bool parse_special = true) const = 0;
  // Ids of the parts as one text: words run on across their borders, but no special token does, so that text
  // from outside can be set into a template without bringing special tokens in. Errors as encode().
  virtual std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const = 0;
  // The last place in `text` (valid UTF-8) where it may be cut: the ids of what is before and of what is
  // behind, whatever follows, are together those of the whole. 0: no such place is known.
  virtual size_t last_cut([[maybe_unused]] std::string_view text) const { return 0; }
  // The bytes of the ids; special tokens are written out when `special` is set, else left out.
  virtual std::string decode(const std::vector<int32_t>& ids, bool special = true) const = 0;
  virtual int vocab_size() const = 0;
  virtual int bos() const = 0;                           // -1: none
  virtual int eos() const = 0;                           // -1: none
  virtual bool add_bos() const = 0;                      // what the tokenizer's metadata says of plain text
  virtual bool add_eos() const { return false; }         // the same of EOS behind a text
  virtual const std::string& chat_template() const = 0;  // "": none
  virtual std::string description() const = 0;  // for `kvlab info`: "byte-level BPE (smollm), 49152 tokens"
};

// From a .gguf file or a Hugging Face folder (tokenizer.json or SentencePiece's tokenizer.model,
// tokenizer_config.json). Throws UserError naming the file.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& model_path);

// Byte offset of the first invalid UTF-8 sequence, or npos.
size_t find_invalid_utf8(std::string_view text);

}  // namespace kvlab
