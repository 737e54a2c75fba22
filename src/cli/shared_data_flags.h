// The flags that name the data of a command, and the reader that they make.
#pragma once

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "evals/text_data.h"
#include "evals/token_reader.h"

namespace kvlab {

struct DataFlags {
  std::string path, join = "raw", split, config, text_field, tokens_field, mask_field, bos;

  // --data_path and all others, for runs over many documents.
  void declare(CLI::App& app);
  // --split, --dataset_config and --join only, for commands that read one document of a --text.
  void declare_folder(CLI::App& app);

  // --data_path, or the built-in corpus; throws UserError where that is not installed.
  std::string path_or_corpus() const;
  TextOptions options(int64_t max_samples) const;
  // "wikitext-wikitext-2-raw-v1-test": the data's name in names of results.
  std::string name() const;
  // Adds split, dataset_config and join; null where not given.
  void record(nlohmann::ordered_json& config) const;
};

// Reads `pieces` with the model's tokenizer.
TokenReader token_reader(std::unique_ptr<PieceSource> pieces, const ModelFiles& files,
                         const TokenOptions& options);

// Document `index` (from 0) of a --text.
TokenDocument read_one_document(const DataFlags& flags, const std::string& text, int64_t index,
                                const ModelFiles& files, const TokenOptions& options);

}  // namespace kvlab
