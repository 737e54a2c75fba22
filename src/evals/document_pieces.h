// Documents in pieces, so that a text of any size can be read without ever being held whole.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>

#include "evals/documents.h"

namespace kvlab {

// A long text comes in pieces of about this size, cut anywhere between two characters.
inline constexpr size_t kPieceBytes = size_t{1} << 18;

struct DocumentPiece {
  Document document;  // text (which may be empty) or ids and mask are the piece's, the rest is the document's
  bool more = false;  // the document goes on in the next piece
};

class PieceSource {
 public:
  virtual ~PieceSource() = default;
  // The next piece, or nothing at the end of the data. Throws UserError naming the file and the place in it.
  virtual std::optional<DocumentPiece> next() = 0;
  // Leaves the rest of a document, whose last piece said that there is more, unread.
  virtual void skip_document() = 0;
};

// One file: a document for each line of JSONL, read line by line, or a plain text. Its bytes may be packed.
// A JSONL file may hold no documents.
std::unique_ptr<PieceSource> open_file_pieces(const std::filesystem::path& path,
                                              const DocumentOptions& options);

// The next document in one piece, or nothing.
std::optional<Document> next_whole(PieceSource& source);

}  // namespace kvlab
