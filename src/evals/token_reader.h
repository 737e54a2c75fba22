// Documents turned into token ids while they are read, so that a text is never held whole.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evals/document_pieces.h"
#include "evals/token_documents.h"

namespace kvlab {

// Encodes a text that comes in pieces; the ids are those of the whole text. Holds about kSlice bytes of it
// where the tokenizer knows places to cut (Tokenizer::last_cut), else all.
class PieceEncoder {
 public:
  static constexpr size_t kSlice = size_t{1} << 16;

  // `tokenizer` must outlive it. `slice` (bytes) changes the work, not the result.
  explicit PieceEncoder(const Tokenizer& tokenizer, size_t slice = kSlice);
  // Append to `ids` what is certain so far, and at the end the rest.
  void add(std::string_view text, std::vector<int32_t>& ids);
  void finish(std::vector<int32_t>& ids);

 private:
  void encode(size_t bytes, std::vector<int32_t>& ids);

  const Tokenizer& tokenizer_;
  size_t slice_;
  size_t try_at_;  // bytes held when a place to cut is looked for
  std::string held_;
};

// Stops reading a document when it has options.max_length tokens.
class TokenReader {
 public:
  using OpenTokenizer = std::function<std::shared_ptr<const Tokenizer>()>;

  // The tokenizer is opened for the first text; data of token ids need none.
  TokenReader(std::unique_ptr<PieceSource> pieces, OpenTokenizer open, const ModelConfig& config,
              const TokenOptions& options);

  // The next document, or nothing at the end. Throws UserError as PieceSource::next() and
  // tokenize_document().
  std::optional<TokenDocument> next();
  std::vector<TokenDocument> rest();
  // Null as long as no text was read.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

 private:
  bool full(const TokenDocument& document) const;
  void begin_text(TokenDocument& document);
  void add_text(std::string_view text, PieceEncoder& encoder, TokenDocument& document) const;

  std::unique_ptr<PieceSource> pieces_;
  OpenTokenizer open_;
  ModelConfig config_;
  TokenOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace kvlab
