// A vocabulary with merges: words to token ids.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/bpe.h"

namespace kvlab {

// Two tokens that make a third, by id.
struct TokenMerge {
  int32_t left = 0, right = 0;
  Merge merge;
};

struct BpeModelParts {
  std::vector<TokenMerge> merges;
  bool by_bytes = false;       // tokens are written in GPT-2's table of bytes; else in characters
  bool byte_fallback = false;  // a character that the vocabulary lacks becomes tokens such as "<0x0A>"
  bool ignore_merges = false;  // a word that is a token is not cut
  int unknown = -1;            // for what is left; -1: it is left out
  bool fuse_unknown = false;   // one token for a run of them
};

class BpeModel {
 public:
  // `tokens` by id; those that only added tokens stand for are "". Throws UserError, which does not name the
  // file, when a merge or the unknown token is not among them.
  BpeModel(const std::vector<std::string>& tokens, BpeModelParts parts);

  // One call of encode(): words that it meets again are not worked again. The words must outlive it.
  class Encoding {
   public:
    explicit Encoding(const BpeModel& model) : model_(model), merger_(model.merges_) {}
    // Appends the ids of `word`, which is valid UTF-8.
    void add_word(std::string_view word);
    void add_id(int32_t id) { ids_.push_back(id); }
    std::vector<int32_t> take() { return std::move(ids_); }

   private:
    // Where an earlier copy of a word lies in ids_.
    struct Range {
      size_t begin = 0, count = 0;
    };
    const BpeModel& model_;
    std::vector<int32_t> ids_;
    std::unordered_map<std::string_view, Range> seen_;
    std::vector<int32_t> symbols_;
    BpeMerger merger_;
  };

 private:
  class Symbols;
  void index_symbols(const std::vector<std::string>& tokens);
  void append_symbols(std::string_view word, std::vector<int32_t>& out) const;

  BpeModelParts parts_;  // merges are emptied once they are in the table
  MergeTable merges_;
  int32_t byte_ids_[256];  // of single bytes, or what byte fallback writes for them; -1: none
  std::unordered_map<char32_t, int32_t> char_ids_;
  std::unordered_map<std::string, int32_t>
      whole_words_;  // only with ignore_merges; as words are cut from text
};

// Merges by rank, as texts: what vocabulary files list.
using MergeNames = std::vector<std::pair<std::string_view, std::string_view>>;

// Throws UserError naming the merge, when one of its tokens is not in the vocabulary.
std::vector<TokenMerge> merges_by_id(const std::vector<std::string>& tokens, const MergeNames& names);

}  // namespace kvlab
