// Vocabularies with scores, as SentencePiece trains them: of all neighbours whose join is a token, those with
// the best score are joined first. From tokenizer.model and from GGUF files of the type "llama".
#pragma once

#include <string>
#include <vector>

#include "tokenizer/bpe_tokenizer.h"

namespace kvlab {

// The numbers are those of both files.
enum class PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct ScorePiece {
  std::string text;  // with U+2581 for spaces
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct ScoreBpeParts {
  std::vector<ScorePiece> pieces;  // by id
  bool prefix_space = true;        // a space stands in front of a text,
  bool prefix_every_piece = true;  // and behind every special token
  bool collapse_spaces = false;
  bool byte_fallback = true;
  bool user_defined_normalized = true;  // found with spaces as U+2581, and not as they are written
  // Added tokens beside the pieces that are control, unknown or user-defined; those of the same id replace
  // them.
  TokenizerSettings settings;
};

// Throws UserError, which does not name the file.
std::shared_ptr<const Tokenizer> make_score_bpe(ScoreBpeParts parts);

// UserError for a type that is none of the above.
PieceType piece_type(int64_t number);

}  // namespace kvlab
