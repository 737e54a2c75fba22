#include "evals/token_reader.h"

#include <algorithm>

#include "base/error.h"

namespace kvlab {

PieceEncoder::PieceEncoder(const Tokenizer& tokenizer, size_t slice)
    : tokenizer_(tokenizer), slice_(slice), try_at_(slice) {}

void PieceEncoder::add(std::string_view text, std::vector<int32_t>& ids) {
  held_ += text;
  if (held_.size() < try_at_) return;
  if (const size_t cut = tokenizer_.last_cut(held_)) encode(cut, ids);
  // Doubling: a text without a place to cut is not looked through again for every piece.
  try_at_ = std::max(slice_, 2 * held_.size());
}

void PieceEncoder::finish(std::vector<int32_t>& ids) {
  encode(held_.size(), ids);
}

void PieceEncoder::encode(size_t bytes, std::vector<int32_t>& ids) {
  if (bytes == 0) return;
  const std::vector<int32_t> more = tokenizer_.encode(std::string_view(held_).substr(0, bytes));
  ids.insert(ids.end(), more.begin(), more.end());
  held_.erase(0, bytes);
}

TokenReader::TokenReader(std::unique_ptr<PieceSource> pieces, OpenTokenizer open, const ModelConfig& config,
                         const TokenOptions& options)
    : pieces_(std::move(pieces)), open_(std::move(open)), config_(config), options_(options) {}

bool TokenReader::full(const TokenDocument& document) const {
  return options_.max_length > 0 && static_cast<int64_t>(document.tokens.size()) >= options_.max_length;
}

void TokenReader::begin_text(TokenDocument& document) {
  if (!tokenizer_) tokenizer_ = open_();
  add_bos(*tokenizer_, options_, document);
}

void TokenReader::add_text(std::string_view text, PieceEncoder& encoder, TokenDocument& document) const {
  while (!text.empty() && !full(document)) {
    const std::string_view slice = text.substr(0, PieceEncoder::kSlice);
    encoder.add(slice, document.tokens);
    text.remove_prefix(slice.size());
  }
}

std::optional<TokenDocument> TokenReader::next() {
  std::optional<DocumentPiece> piece = pieces_->next();
  if (!piece) return std::nullopt;
  TokenDocument document;
  document.index = piece->document.index;
  std::optional<std::vector<uint8_t>> mask = piece->document.mask;
  std::optional<PieceEncoder> encoder;
  for (;;) {
    const Document& part = piece->document;
    document.id = part.id;
    document.tokens.insert(document.tokens.end(), part.ids.begin(), part.ids.end());
    if (!part.text.empty() && !encoder) {
      begin_text(document);
      encoder.emplace(*tokenizer_);
    }
    if (encoder) add_text(part.text, *encoder, document);
    if (!piece->more) break;
    if (full(document)) {
      pieces_->skip_document();
      break;
    }
    piece = pieces_->next();
    KVLAB_CHECK(piece);
    if (mask && piece->document.mask)
      mask->insert(mask->end(), piece->document.mask->begin(), piece->document.mask->end());
  }
  if (encoder && !full(document)) encoder->finish(document.tokens);
  finish_document(document, mask, config_, options_);
  document.tokens.shrink_to_fit();  // many documents are held together, and growth leaves up to half unused
  return document;
}

std::vector<TokenDocument> TokenReader::rest() {
  std::vector<TokenDocument> documents;
  while (std::optional<TokenDocument> document = next()) documents.push_back(std::move(*document));
  return documents;
}

}  // namespace kvlab
