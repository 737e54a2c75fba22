// A comparison read back from its folder: as much of it as pairing its rows with those of another run needs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "results/statistics.h"

namespace kvlab {

// The losses of one document's scored tokens, summed over each block of consecutive ones. Of a row of several
// seeds: the average over them.
struct StoredDocument {
  int64_t index = 0;  // in the data
  std::string id;
  std::vector<TokenSum> blocks;
};

struct StoredRow {
  std::string name, recipe, status;
  std::vector<StoredDocument> documents;  // none of rows that were skipped or failed
};

struct StoredRun {
  std::filesystem::path file;  // the detailed_results.json
  std::string model, model_path, data_path, token_set;
  std::optional<std::string> model_hash;  // 16 digits; none: not recorded
  int64_t documents = 0;                  // of the whole run; rows have fewer when it was interrupted
  nlohmann::ordered_json config;
  std::vector<StoredRow> rows;
};

// From a folder of `kvlab compare`, its detailed_results.json, or the comparison_summary.json beside that.
// Throws UserError naming the file and what is wrong with it: missing, damaged, or of another command.
StoredRun read_stored_run(const std::filesystem::path& path);

}  // namespace kvlab
