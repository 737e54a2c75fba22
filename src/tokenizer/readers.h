// The file formats that open_tokenizer chooses from. All throw UserError naming the file.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "tokenizer/added_tokens.h"
#include "tokenizer/splitter.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

std::shared_ptr<const Tokenizer> open_gguf_tokenizer(const std::string& path);

std::shared_ptr<const Tokenizer> open_hf_tokenizer(const std::string& folder);

// Below: pieces of tokenizer.json. They throw UserError, or a JSON exception, without the file's name.

// The cuts that a "pre_tokenizer" section asks for.
SplitSteps read_pre_tokenizer(const nlohmann::json& section);

// What tokenizer.json and tokenizer_config.json say besides the model.
struct HfSettings {
  std::vector<AddedToken> added;
  int bos = -1;
  int eos = -1;
  bool add_bos = false;
  std::string chat_template;
};

// Tokens of a "vocab" section by id, together with the added ones.
std::vector<std::string> read_vocabulary(const nlohmann::json& vocab, const std::vector<AddedToken>& added);

// A BPE over characters with byte fallback, as SentencePiece trains it. It decodes only.
std::shared_ptr<const Tokenizer> make_fallback_bpe(const nlohmann::json& tokenizer, HfSettings settings);

}  // namespace kvlab
