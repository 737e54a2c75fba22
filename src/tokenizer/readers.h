// The file formats that open_tokenizer chooses from. All throw UserError naming the file.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "format/json_reader.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/splitter.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

std::shared_ptr<const Tokenizer> open_gguf_tokenizer(const std::string& path);

std::shared_ptr<const Tokenizer> open_hf_tokenizer(const std::string& folder);

// Below: pieces of tokenizer.json. They throw UserError, with the file's name where a value is not as
// expected.

// The cuts that the section "pre_tokenizer" asks for.
SplitSteps read_pre_tokenizer(const JsonSettings& tokenizer);

// What tokenizer.json and tokenizer_config.json say besides the model.
struct HfSettings {
  std::vector<AddedToken> added;
  int bos = -1;
  int eos = -1;
  bool add_bos = false;
  std::string chat_template;
};

// Tokens of a "vocab" section, an object, by id, together with the added ones.
std::vector<std::string> read_vocabulary(const nlohmann::json& vocab, const std::vector<AddedToken>& added);

// A BPE over characters with byte fallback, as SentencePiece trains it. It decodes only.
std::shared_ptr<const Tokenizer> make_fallback_bpe(std::vector<std::string> tokens,
                                                   const JsonSettings& decoder, HfSettings settings);

}  // namespace kvlab
