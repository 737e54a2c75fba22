#include "evals/documents.h"

#include "base/error.h"
#include "evals/document_pieces.h"

namespace kvlab {

std::vector<Document> read_documents(const std::filesystem::path& path, const DocumentOptions& options) {
  const auto pieces = open_file_pieces(path, options);
  std::vector<Document> documents;
  while (std::optional<Document> document = next_whole(*pieces)) documents.push_back(std::move(*document));
  if (documents.empty()) throw UserError(path.string() + ": holds no documents");
  return documents;
}

}  // namespace kvlab
