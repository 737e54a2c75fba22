#include "tokenizer/byte_bpe.h"

#include <optional>

#include "base/error.h"
#include "tokenizer/byte_map.h"

namespace kvlab {
namespace {

using IdByText = std::unordered_map<std::string_view, int32_t>;

IdByText index_tokens(const std::vector<std::string>& tokens) {
  IdByText ids(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].empty()) ids.emplace(tokens[id], static_cast<int32_t>(id));
  }
  return ids;
}

int32_t find_token(const IdByText& ids, std::string_view text) {
  const auto found = ids.find(text);
  return found == ids.end() ? -1 : found->second;
}

[[noreturn]] void refuse_merge(size_t rank, std::string_view left, std::string_view right,
                               std::string_view missing) {
  throw UserError("merge " + std::to_string(rank) + " (\"" + std::string(left) + "\" with \"" +
                  std::string(right) + "\") names \"" + std::string(missing) +
                  "\", which is not in the vocabulary");
}

}  // namespace

void require_utf8(std::string_view text) {
  const size_t bad = find_invalid_utf8(text);
  if (bad != std::string_view::npos) {
    throw UserError("the text is not valid UTF-8 at byte " + std::to_string(bad) +
                    "; convert it first, for example with iconv");
  }
}

void require_token(int32_t id, int vocab_size) {
  if (id < 0 || id >= vocab_size) {
    throw UserError("token id " + std::to_string(id) + " is out of range (expected 0.." +
                    std::to_string(vocab_size - 1) + ")");
  }
}

ByteBpe::ByteBpe(ByteBpeParts parts)
    : parts_(std::move(parts)),
      is_special_(parts_.tokens.size()),
      merges_(parts_.merges.size()),
      added_(parts_.added),
      cuts_(parts_.split, parts_.added),
      splitter_(std::make_unique<Splitter>(parts_.split)) {
  read_merges();
  tokens_to_bytes();
}

void ByteBpe::read_merges() {
  const IdByText ids = index_tokens(parts_.tokens);
  std::string merged;
  for (size_t rank = 0; rank < parts_.merges.size(); ++rank) {
    const auto [left, right] = parts_.merges[rank];
    merged.assign(left).append(right);
    const int32_t left_id = find_token(ids, left);
    const int32_t right_id = find_token(ids, right);
    const int32_t merged_id = find_token(ids, merged);
    if (left_id < 0) refuse_merge(rank, left, right, left);
    if (right_id < 0) refuse_merge(rank, left, right, right);
    if (merged_id < 0) refuse_merge(rank, left, right, merged);
    merges_.set(left_id, right_id, {static_cast<int32_t>(rank), merged_id});
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = find_token(ids, bytes_to_chars(std::string(1, static_cast<char>(byte))));
  }
  // Their text is the reader's and may not outlive the constructor.
  parts_.merges = {};
}

void ByteBpe::tokens_to_bytes() {
  std::vector<bool> is_added(parts_.tokens.size());
  for (const AddedToken& token : parts_.added) {
    is_added.at(token.id) = true;
    is_special_.at(token.id) = token.special;
    parts_.tokens[token.id] = token.text;
  }
  for (size_t id = 0; id < parts_.tokens.size(); ++id) {
    if (is_added[id]) continue;
    std::string& token = parts_.tokens[id];
    // A token with other characters stands for itself, as Hugging Face's decoder has it.
    if (std::optional<std::string> bytes = chars_to_bytes(token)) token = std::move(*bytes);
  }
  if (!parts_.ignore_merges) return;
  whole_words_.reserve(parts_.tokens.size());
  for (size_t id = 0; id < parts_.tokens.size(); ++id) {
    if (!is_added[id]) whole_words_.emplace(parts_.tokens[id], static_cast<int32_t>(id));
  }
}

struct ByteBpe::Encoding {
  explicit Encoding(const MergeTable& merges) : merger(merges) {}
  // Where an earlier copy of a word lies in `ids`.
  struct Range {
    size_t begin = 0, count = 0;
  };
  std::vector<int32_t> ids;
  std::unordered_map<std::string_view, Range> seen;
  std::deque<std::string> made;  // words that are not in the text
  std::vector<int32_t> symbols;
  BpeMerger merger;
};

std::vector<int32_t> ByteBpe::encode(std::string_view text, bool parse_special) const {
  require_utf8(text);
  Encoding state(merges_);
  state.ids.reserve(text.size() / 3);
  encode_pieces(added_.split(text, parse_special), state);
  return std::move(state.ids);
}

std::vector<int32_t> ByteBpe::encode_parts(std::span<const TextPart> parts) const {
  std::vector<AddedTokens::Piece> pieces;
  std::deque<std::string> joined;  // ordinary text that runs on from part to part
  for (const TextPart& part : parts) {
    require_utf8(part.text);
    for (const AddedTokens::Piece& piece : added_.split(part.text, part.parse_special)) {
      if (piece.id < 0 && !pieces.empty() && pieces.back().id < 0) {
        pieces.back().text = joined.emplace_back(std::string(pieces.back().text).append(piece.text));
      } else {
        pieces.push_back(piece);
      }
    }
  }
  Encoding state(merges_);
  encode_pieces(pieces, state);
  return std::move(state.ids);
}

void ByteBpe::encode_pieces(std::span<const AddedTokens::Piece> pieces, Encoding& state) const {
  const Splitter::Take take = [&](std::string_view word) { encode_word(word, state); };
  for (const AddedTokens::Piece& piece : pieces) {
    if (piece.id >= 0) {
      state.ids.push_back(piece.id);
    } else {
      splitter_->split(piece.text, state.made, take);
    }
  }
}

void ByteBpe::encode_word(std::string_view word, Encoding& state) const {
  const auto [entry, is_new] = state.seen.try_emplace(word);
  Encoding::Range& range = entry->second;
  std::vector<int32_t>& ids = state.ids;
  if (!is_new) {
    for (size_t i = 0; i < range.count; ++i) ids.push_back(ids[range.begin + i]);
    return;
  }
  range.begin = ids.size();
  const auto whole = whole_words_.find(word);
  if (whole != whole_words_.end()) {
    ids.push_back(whole->second);
  } else {
    state.symbols.clear();
    append_symbols(word, state.symbols);
    state.merger.run(state.symbols, ids);
  }
  range.count = ids.size() - range.begin;
}

void ByteBpe::append_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool after_unknown = false;
  for (const char byte : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    const bool unknown = id < 0;
    if (!unknown) {
      symbols.push_back(id);
    } else if (parts_.unknown >= 0 && !(after_unknown && parts_.fuse_unknown)) {
      symbols.push_back(parts_.unknown);
    }
    after_unknown = unknown;
  }
}

std::string ByteBpe::decode(const std::vector<int32_t>& ids, bool special) const {
  std::string out;
  for (const int32_t id : ids) {
    require_token(id, vocab_size());
    if (special || !is_special_[id]) out += parts_.tokens[id];
  }
  return out;
}

std::string ByteBpe::description() const {
  return "byte-level BPE (" + parts_.split_name + "), " + std::to_string(vocab_size()) + " tokens";
}

}  // namespace kvlab
