// The data of a run: a file, a folder of books, or a split of a published data set.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "evals/documents.h"
#include "evals/row_join.h"

namespace kvlab {

struct TextOptions {
  DocumentOptions read;
  Join join = Join::kRaw;  // other than raw: of a plain text each document's lines, of JSONL all lines as one
  std::string split = "", config = "";  // of a folder
};

// Reads the files that find_data_files() names, one after the other, a piece at a time. Documents are counted
// over all of them. Throws UserError, from next() too.
std::unique_ptr<PieceSource> open_text_data(const std::filesystem::path& path, const TextOptions& options);

// The same, all at once.
std::vector<Document> read_text_data(const std::filesystem::path& path, const TextOptions& options);

// All documents as one, as join_documents() gives them.
Document joined(std::vector<Document> documents);

}  // namespace kvlab
