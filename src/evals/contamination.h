// Finds rows that were fitted on the text they are evaluated on: looks the evaluated tokens up in the records
// (format/trained_on.h) that lie beside what a recipe reads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cache/recipe.h"
#include "evals/token_documents.h"
#include "format/trained_on.h"
#include "results/trained_on_this.h"

namespace kvlab {

// A record that does not lie beside a file of the recipe, and whose it is: "budget (--match)".
struct NamedRecord {
  const TrainedOn* record;
  std::string what;
};

class Contamination {
 public:
  // `documents` (ids of what is evaluated, which must outlive this) are ids of a vocabulary of any of these
  // sizes: the model's, and the tokenizer's where it is known. Records of another are not looked up.
  Contamination(std::vector<std::span<const int32_t>> documents, std::vector<int64_t> vocabularies);

  // What the files of a recipe, in all its phases, and `others` were fitted on. A learned scorer must have a
  // record, or the row says that it has none; other files (budgets, scores) may have one. Throws UserError
  // for a damaged record.
  TrainedOnThis of(const MethodSpec& spec, const std::vector<NamedRecord>& others = {});

 private:
  struct File {
    std::string path, what;
    bool learned = false;  // a record is expected
  };
  static std::vector<File> files_of(const MethodSpec& spec);
  const std::optional<TrainedOn>& record_beside(const std::string& path);
  // Adds the places in each document.
  void look_up(const NamedRecord& named, std::vector<int64_t>& places, TrainedOnThis& row) const;

  std::vector<std::span<const int32_t>> documents_;
  std::vector<int64_t> vocabularies_;
  std::map<std::string, std::optional<TrainedOn>> records_;  // by the path of what they belong to
};

// The vocabularies that a run's ids are understood by: the tokenizer's (null: none was needed) first, and the
// model's, which may have rows that no token uses.
std::vector<int64_t> vocabularies_of(const ModelConfig& config, const Tokenizer* tokenizer);

// The ids of documents, for Contamination.
std::vector<std::span<const int32_t>> ids_of(const std::vector<TokenDocument>& documents);

}  // namespace kvlab
