// The documents that a run reads: one per line of a JSONL file, or one plain text file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
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
};

// Hands out one document after the other; JSONL is read line by line, so its size does not matter. Whatever
// is wrong with the file throws UserError with its name, the line and the place in it.
class DocumentReader {
 public:
  DocumentReader(std::filesystem::path path, DocumentOptions options);

  // The next document, or nothing at the end.
  std::optional<Document> next();

 private:
  std::optional<Document> next_line();
  std::optional<Document> whole_file();

  std::filesystem::path path_;
  DocumentOptions options_;
  std::ifstream file_;
  bool lines_ = false;     // JSONL
  int64_t line_ = 0;       // 1-based, the last one read
  int64_t documents_ = 0;  // handed out so far
};

std::vector<Document> read_documents(const std::filesystem::path& path, const DocumentOptions& options);

}  // namespace kvlab
