// Documents as token ids: tokenised, BOS added, cut to length, checked against the model's context.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evals/documents.h"
#include "models/config.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

struct TokenDocument {
  int64_t index = 0;
  std::string id;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> scored;  // [tokens]: 1 scores the token; token 0 never is
};

struct TokenOptions {
  std::optional<bool> bos;      // --bos; unset: as the tokenizer's metadata says. Never added to given ids.
  int64_t max_length = 0;       // tokens per document; 0: all
  bool beyond_context = false;  // allow more tokens than the model was trained for
};

// Throws UserError naming the document: too short to score, longer than the context, ids outside the
// vocabulary.
TokenDocument tokenize_document(const Document& document, const Tokenizer* tokenizer,
                                const ModelConfig& config, const TokenOptions& options);

// Steps of it, for whoever makes the ids otherwise: BOS where it is wanted; then, when all ids are there, the
// cut to max_length, the checks and what is scored.
void add_bos(const Tokenizer& tokenizer, const TokenOptions& options, TokenDocument& document);
void finish_document(TokenDocument& document, const std::optional<std::vector<uint8_t>>& mask,
                     const ModelConfig& config, const TokenOptions& options);

// Takes the first `context` tokens out of what is scored, as a prefix protocol does, so that the hash below
// names the tokens that are.
void leave_out_context(TokenDocument& document, int64_t context);

// 16 hex digits that name the set of tokens a run scored; runs over different sets cannot be compared.
std::string token_set_hash(const std::vector<TokenDocument>& documents);

}  // namespace kvlab
