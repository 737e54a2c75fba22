// The ways in which published protocols make one text of many rows.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "evals/document_pieces.h"

namespace kvlab {

enum class Join {
  kRaw,       // no rows: plain text as it is, JSONL a document a line
  kWikitext,  // rows that hold blanks only are dropped, "\n\n" between the others
  kGptq,      // all rows with "\n\n" between them, as in "\n\n".join(dataset["text"])
};

// "raw", "wikitext" or "gptq"; throws UserError for anything else.
Join parse_join(const std::string& name);

// The lines of `text` are rows, each with the line feed that ends it, as in the published data set, where
// lines of blanks only are empty rows.
std::string join_rows(const std::string& text, Join join);

// The same while the text is read; `lines` gives plain text, one document.
std::unique_ptr<PieceSource> join_lines(std::unique_ptr<PieceSource> lines, Join join);

// One document, called `id`, of the documents that `rows` gives; each is a row as it stands. Throws UserError
// when nothing is left.
std::unique_ptr<PieceSource> join_row_documents(std::unique_ptr<PieceSource> rows, Join join, std::string id);

// All documents as one: texts with "\n\n" between them, ids one after the other. Its id is that of the only
// document read, or counts them.
std::unique_ptr<PieceSource> join_documents(std::unique_ptr<PieceSource> documents);

}  // namespace kvlab
