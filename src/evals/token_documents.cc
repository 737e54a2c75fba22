#include "evals/token_documents.h"

#include <algorithm>

#include "base/error.h"
#include "results/hash.h"

namespace kvlab {

void add_bos(const Tokenizer& tokenizer, const TokenOptions& options, TokenDocument& document) {
  if (!options.bos.value_or(tokenizer.add_bos())) return;
  if (tokenizer.bos() < 0) throw UserError("--bos yes: the tokenizer has no BOS token");
  document.tokens.push_back(tokenizer.bos());
}

void finish_document(TokenDocument& document, const std::optional<std::vector<uint8_t>>& mask,
                     const ModelConfig& config, const TokenOptions& options) {
  if (options.max_length > 0 && static_cast<int64_t>(document.tokens.size()) > options.max_length) {
    document.tokens.resize(options.max_length);
  }
  const auto n = static_cast<int64_t>(document.tokens.size());
  if (n < 2)
    throw UserError("document '" + document.id + "' has " + std::to_string(n) +
                    " token; two are needed to score one");
  if (config.context > 0 && n > config.context && !options.beyond_context) {
    throw UserError("document '" + document.id + "' has " + std::to_string(n) +
                    " tokens, the model was trained for " + std::to_string(config.context) +
                    "; give --max_length " + std::to_string(config.context) + " or --beyond_context");
  }
  for (const int32_t id : document.tokens) {
    if (id < 0 || id >= config.vocab) {
      throw UserError("document '" + document.id + "': token id " + std::to_string(id) +
                      " is outside the model's vocabulary of " + std::to_string(config.vocab));
    }
  }
  document.scored.assign(n, 1);
  if (mask) std::copy_n(mask->begin(), n, document.scored.begin());
  document.scored[0] = 0;
}

TokenDocument tokenize_document(const Document& document, const Tokenizer* tokenizer,
                                const ModelConfig& config, const TokenOptions& options) {
  TokenDocument result;
  result.index = document.index;
  result.id = document.id;
  result.tokens = document.ids;
  if (document.ids.empty()) {
    KVLAB_CHECK(tokenizer);
    add_bos(*tokenizer, options, result);
    const std::vector<int32_t> ids = tokenizer->encode(document.text);
    result.tokens.insert(result.tokens.end(), ids.begin(), ids.end());
  }
  finish_document(result, document.mask, config, options);
  return result;
}

void leave_out_context(TokenDocument& document, int64_t context) {
  const auto n = static_cast<int64_t>(document.scored.size());
  std::fill_n(document.scored.begin(), std::min(context, n), uint8_t{0});
}

std::string token_set_hash(const std::vector<TokenDocument>& documents) {
  std::vector<int32_t> all;
  for (const TokenDocument& document : documents) {
    all.push_back(static_cast<int32_t>(document.tokens.size()));
    all.insert(all.end(), document.tokens.begin(), document.tokens.end());
    all.insert(all.end(), document.scored.begin(), document.scored.end());
  }
  return hash_tokens(all);
}

}  // namespace kvlab
