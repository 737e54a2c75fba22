// One line of a JSONL file, checked field by field.
#pragma once

#include <string>
#include <string_view>

#include "evals/documents.h"

namespace kvlab {

// Throws UserError starting with `place` ("file.jsonl:3"). The document's index is left to the caller.
Document parse_document_line(std::string_view line, const std::string& place, const DocumentOptions& options);

// Throws UserError naming the byte, counted from 0 within `what` ("line", "file"), that is not UTF-8. `text`
// begins `offset` bytes behind the start of that.
void require_utf8(std::string_view text, const std::string& place, const std::string& what,
                  size_t offset = 0);

}  // namespace kvlab
