#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "tokenizer/byte_map.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

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

// Whether `text` is one valid character, which is then `code_point`.
bool is_one_character(std::string_view text, char32_t& code_point) {
  if (text.empty() || text.size() > 4 || find_invalid_utf8(text) != text.npos) return false;
  size_t pos = 0;
  code_point = next_code_point(text, pos);
  return pos == text.size();
}

}  // namespace

std::vector<TokenMerge> merges_by_id(const std::vector<std::string>& tokens, const MergeNames& names) {
  const IdByText ids = index_tokens(tokens);
  std::vector<TokenMerge> merges;
  merges.reserve(names.size());
  std::string merged;
  for (size_t rank = 0; rank < names.size(); ++rank) {
    const auto [left, right] = names[rank];
    merged.assign(left).append(right);
    const int32_t left_id = find_token(ids, left);
    const int32_t right_id = find_token(ids, right);
    const int32_t merged_id = find_token(ids, merged);
    if (left_id < 0) refuse_merge(rank, left, right, left);
    if (right_id < 0) refuse_merge(rank, left, right, right);
    if (merged_id < 0) refuse_merge(rank, left, right, merged);
    merges.push_back({left_id, right_id, {static_cast<int32_t>(rank), merged_id}});
  }
  return merges;
}

BpeModel::BpeModel(const std::vector<std::string>& tokens, BpeModelParts parts)
    : parts_(std::move(parts)), merges_(parts_.merges.size()) {
  for (const TokenMerge& merge : parts_.merges) merges_.set(merge.left, merge.right, merge.merge);
  parts_.merges = {};
  index_symbols(tokens);
  if (!parts_.ignore_merges) return;
  whole_words_.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) continue;
    const std::optional<std::string> bytes = parts_.by_bytes ? chars_to_bytes(tokens[id]) : tokens[id];
    if (bytes) whole_words_.emplace(*bytes, static_cast<int32_t>(id));
  }
}

void BpeModel::index_symbols(const std::vector<std::string>& tokens) {
  const IdByText ids = index_tokens(tokens);
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<unsigned char>(byte);
    byte_ids_[byte] = find_token(
        ids, parts_.by_bytes ? bytes_to_chars(std::string(1, static_cast<char>(value))) : byte_token(value));
  }
  if (parts_.by_bytes) return;
  for (const auto& [text, id] : ids) {
    char32_t code_point = 0;
    if (is_one_character(text, code_point)) char_ids_.emplace(code_point, id);
  }
}

// Collects a word's first symbols. What the vocabulary lacks waits until it is known whether a run of it
// ends.
class BpeModel::Symbols {
 public:
  Symbols(const BpeModelParts& parts, std::vector<int32_t>& out) : parts_(parts), out_(out) {}
  void add(int32_t id) {
    flush();
    out_.push_back(id);
  }
  void add_fallback(int32_t id) { out_.push_back(id); }
  void add_unknown() {
    if (parts_.unknown < 0) return;
    if (!parts_.fuse_unknown) flush();
    is_waiting_ = true;
  }
  void flush() {
    if (is_waiting_) out_.push_back(parts_.unknown);
    is_waiting_ = false;
  }

 private:
  const BpeModelParts& parts_;
  std::vector<int32_t>& out_;
  bool is_waiting_ = false;
};

void BpeModel::append_symbols(std::string_view word, std::vector<int32_t>& out) const {
  Symbols symbols(parts_, out);
  if (parts_.by_bytes) {
    for (const char byte : word) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
      if (id >= 0) {
        symbols.add(id);
      } else {
        symbols.add_unknown();
      }
    }
    return symbols.flush();
  }
  for (size_t pos = 0; pos < word.size();) {
    const size_t begin = pos;
    const auto found = char_ids_.find(next_code_point(word, pos));
    const std::string_view bytes = word.substr(begin, pos - begin);
    const auto has_token = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)] >= 0; };
    if (found != char_ids_.end()) {
      symbols.add(found->second);
    } else if (parts_.byte_fallback && std::all_of(bytes.begin(), bytes.end(), has_token)) {
      for (const char byte : bytes) symbols.add_fallback(byte_ids_[static_cast<uint8_t>(byte)]);
    } else {
      symbols.add_unknown();
    }
  }
  symbols.flush();
}

void BpeModel::Encoding::add_word(std::string_view word) {
  const auto [entry, is_new] = seen_.try_emplace(word);
  Range& range = entry->second;
  if (!is_new) {
    for (size_t i = 0; i < range.count; ++i) ids_.push_back(ids_[range.begin + i]);
    return;
  }
  range.begin = ids_.size();
  const auto whole =
      model_.whole_words_.empty() ? model_.whole_words_.end() : model_.whole_words_.find(std::string(word));
  if (whole != model_.whole_words_.end()) {
    ids_.push_back(whole->second);
  } else {
    symbols_.clear();
    model_.append_symbols(word, symbols_);
    merger_.run(symbols_, ids_);
  }
  range.count = ids_.size() - range.begin;
}

}  // namespace kvlab
