// The file formats that open_tokenizer chooses from. All throw UserError naming the file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "format/json_reader.h"
#include "tokenizer/bpe_tokenizer.h"

namespace kvlab {

std::shared_ptr<const Tokenizer> open_gguf_tokenizer(const std::string& path);

std::shared_ptr<const Tokenizer> open_hf_tokenizer(const std::string& folder);

// A SentencePiece model that was read from `path`, with what tokenizer_config.json says of it.
std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(const std::string& path, std::string_view data,
                                                              const JsonSettings& config);

// Below: pieces of tokenizer_config.json.

// The properties of an added token.
AddedToken read_added_token(const JsonSettings& entry, int32_t id);

// "bos_token" and the like: a text, or an object with a text. nullopt: not there.
std::optional<std::string> read_token_name(const JsonSettings& config, const char* name);

// A text, or a list of named ones of which "default" is taken; "": none.
std::string read_chat_template(const JsonSettings& config);

// Below: sections of tokenizer.json. They throw UserError, with the file's name where a value is not as
// expected.

Normalizer read_normalizer(const JsonSettings& tokenizer);

struct HfPreTokenizer {
  SplitSteps steps;
  bool by_bytes = false;  // words become characters of GPT-2's table of bytes
};
HfPreTokenizer read_pre_tokenizer(const JsonSettings& tokenizer);

struct HfDecoder {
  TokenDecoder steps;
  bool byte_table = false;  // tokens are turned from that table into bytes first
};
HfDecoder read_decoder(const JsonSettings& tokenizer);

// The tokens that a post-processor sets around a text; "": none.
struct FrameTokens {
  std::string front, behind;
};
FrameTokens read_post_processor(const JsonSettings& tokenizer);

// What a Replace of a normalizer or decoder replaces, and by what.
TextReplacer read_replace(const JsonSettings& section);

// Tokens of a "vocab" section, an object, by id; "" for ids that only added tokens have.
std::vector<std::string> read_vocabulary(const nlohmann::json& vocab, const std::vector<AddedToken>& added);

}  // namespace kvlab
