// The record of the text that something was fitted on (a learned scorer, budgets that --match found), so that
// a run over the same text can be told. It holds hashes of short runs of token ids, never the text.
//
// A shingle is kShingle consecutive tokens. Stored are those that begin at a multiple of kStride tokens of
// each text; of another text all offsets are looked up. So every overlap of at least kShingle + kStride - 1 =
// 127 tokens is found, whatever its place in both; shorter ones may be, and those below 64 tokens never are.
//
// The hash of the ids t_0 ... t_63, the same on every machine (mix64 is in base/random.h):
//   mix64( sum over i of mix64(t_i) * B^(63 - i)  modulo 2^64 ),  B = 0x9e3779b97f4a7c15
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

namespace kvlab {

class TrainedOn {
 public:
  static constexpr int64_t kShingle = 64;  // tokens
  static constexpr int64_t kStride = 64;   // tokens between the beginnings of two that are stored

  struct Text {
    std::string name;    // without folders
    int64_t tokens = 0;  // those behind the last whole shingle are in no shingle
    std::string hash;    // of all ids, 16 hex digits: says whether two records are of the same text
  };

  // `vocabulary`: the tokenizer's size, which ids are understood by.
  explicit TrainedOn(int64_t vocabulary) : vocabulary_(vocabulary) {}

  // Adds a text. Of `name` only what stands behind the last '/' is kept: no record says where a file lay.
  void add(std::span<const int32_t> tokens, const std::string& name);

  int64_t vocabulary() const { return vocabulary_; }
  int64_t shingles() const { return static_cast<int64_t>(shingles_.size()); }  // different ones
  const std::vector<Text>& texts() const { return texts_; }                    // in the order of add()

  // Offsets of `tokens` at which a stored shingle begins; above 0, text of the record occurs in them. The ids
  // must be of the record's tokenizer.
  int64_t overlap(std::span<const int32_t> tokens) const;

  // The JSON file: {"format": "kvlab trained_on 1", "shingle_tokens": 64, "stride": 64, "vocabulary": 49152,
  // "texts": [{"name", "tokens", "hash"}, ...], "shingles": ["16 hex digits", ...]}, shingles ascending, so
  // that the same texts in the same order give the same bytes. It is there whole or not at all. Throws
  // UserError when the disk refuses.
  void write(const std::string& path) const;
  // Throws UserError naming the file, the value and what was expected: missing, damaged, or of other
  // shingles.
  static TrainedOn read(const std::string& path);

 private:
  int64_t vocabulary_;
  std::vector<Text> texts_;
  std::unordered_set<uint64_t> shingles_;
};

// Where the record of a learned scorer lies: FOLDER/trained_on.json, and X.trained_on.json for a single file
// X.safetensors (or X of any other ending).
std::string trained_on_path(const std::string& model_path);
// Reads it; nothing where there is none. Throws like TrainedOn::read().
std::optional<TrainedOn> read_trained_on(const std::string& model_path);

}  // namespace kvlab
