// The data of a perplexity run: files, folders of books, and the ways in which published protocols make one
// text of many rows.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evals/documents.h"

namespace kvlab {

enum class Join {
  kRaw,       // plain text as it is
  kWikitext,  // its lines are rows; rows that hold blanks only are dropped, "\n\n" between the others
  kGptq,      // the same with the empty rows kept as "", as in "\n\n".join(dataset["text"])
};

// "raw", "wikitext" or "gptq"; throws UserError for anything else.
Join parse_join(const std::string& name);

// A row keeps the line feed that ends it, as the rows of the published data set do.
std::string join_rows(const std::string& text, Join join);

struct TextOptions {
  DocumentOptions read;
  Join join = Join::kRaw;  // of plain text files
};

// A file as read_documents() takes it, or a folder: each of its .txt, .text, .raw and .md files is a
// document, sorted by name. Throws UserError.
std::vector<Document> read_text_data(const std::filesystem::path& path, const TextOptions& options);

// All documents as one: texts with "\n\n" between them, ids one after the other.
Document joined(std::vector<Document> documents);

}  // namespace kvlab
