// A file of token ids: a JSON array of them, or an object with the array `tokens`.
#pragma once

#include <string>

#include "evals/documents.h"

namespace kvlab {

// The document's id is the path. Throws UserError naming the file, and what was expected where.
Document read_ids_file(const std::string& path);

}  // namespace kvlab
