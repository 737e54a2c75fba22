// The documents that a run reads: one per line of a JSONL file, or one plain text file; either may be packed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kvlab {

struct Document {
  int64_t index = 0;  // in the data, from 0
  std::string id;     // the field `id`, else the file's name and line
  std::string text;
  std::vector<int32_t> ids;                  // instead of text, when a tokens field was named
  std::optional<std::vector<uint8_t>> mask;  // one per id: 1 scores the token
};

struct DocumentOptions {
  std::string text_field = "";    // empty: `text`, else `content`
  std::string tokens_field = "";  // empty: read text
  std::string mask_field = "";    // needs tokens_field; empty: all tokens are scored
  int64_t max_samples = 0;        // 0: all
  bool empty_text = false;        // rows of a text may be empty, documents may not
};

// The documents of one file. Whatever is wrong with it throws UserError with its name, the line and the place
// in it. evals/document_pieces.h reads what is too large to be held.
std::vector<Document> read_documents(const std::filesystem::path& path, const DocumentOptions& options);

}  // namespace kvlab
