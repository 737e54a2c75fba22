#include "tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/error.h"
#include "tokenizer/byte_map.h"

namespace kvlab {
namespace {

// Added tokens that are looked for in normalized text are normalized themselves.
AddedTokens normalized_tokens(const std::vector<AddedToken>& tokens, const Normalizer& normalizer) {
  std::vector<std::string> normalized;
  for (const AddedToken& token : tokens) {
    const bool changes = token.second_pass && !token.verbatim && !normalizer.empty();
    if (changes) require_utf8(token.text);
    normalized.push_back(changes ? normalizer.apply(token.text, true) : token.text);
  }
  return AddedTokens(tokens, normalized);
}

}  // namespace

void require_utf8(std::string_view text) {
  const size_t bad = find_invalid_utf8(text);
  if (bad != std::string_view::npos) {
    throw UserError("the text is not valid UTF-8 at byte " + std::to_string(bad) +
                    "; convert it first, for example with iconv");
  }
}

void require_token(int32_t id, int vocab_size) {
  if (id < 0 || id >= vocab_size) {
    throw UserError("token id " + std::to_string(id) + " is out of range (expected 0.." +
                    std::to_string(vocab_size - 1) + ")");
  }
}

BpeTokenizer::BpeTokenizer(BpeTokenizerParts parts)
    : kind_(std::move(parts.kind)),
      tokens_(std::move(parts.tokens)),
      settings_(std::move(parts.settings)),
      model_(tokens_, std::move(parts.model)),
      normalizer_(std::move(parts.normalizer)),
      added_(normalized_tokens(settings_.added, normalizer_)),
      cuts_(parts.split, settings_.added, normalizer_),
      splitter_(parts.split),
      decoder_(std::move(parts.decoder)) {
  place_added_tokens(parts.decode_byte_table);
}

void BpeTokenizer::place_added_tokens(bool decode_byte_table) {
  for (std::string& token : tokens_) {
    if (!decode_byte_table) break;
    // A token with other characters stands for itself, as Hugging Face's decoder has it.
    if (std::optional<std::string> bytes = chars_to_bytes(token)) token = std::move(*bytes);
  }
  is_special_.resize(tokens_.size());
  for (const AddedToken& token : settings_.added) {
    is_special_.at(token.id) = token.special;
    tokens_[token.id] = token.text;
  }
}

struct BpeTokenizer::Run {
  explicit Run(const BpeModel& model) : ids(model) {}
  BpeModel::Encoding ids;
  std::deque<std::string> made;  // texts that the words lie in and that are not the caller's
  bool at_start = true;          // nothing stands before what comes next
};

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, bool parse_special) const {
  require_utf8(text);
  Run run(model_);
  for (const AddedTokens::Piece& piece : added_.split(text, parse_special)) {
    if (piece.id >= 0) {
      run.ids.add_id(piece.id);
    } else {
      encode_text(piece.text, parse_special, run);
    }
    run.at_start = false;
  }
  return run.ids.take();
}

std::vector<int32_t> BpeTokenizer::encode_parts(std::span<const TextPart> parts) const {
  struct Segment {
    AddedTokens::Piece piece;
    bool parse_special;
  };
  std::vector<Segment> segments;
  std::deque<std::string> joined;  // ordinary text that runs on from part to part
  for (const TextPart& part : parts) {
    require_utf8(part.text);
    const auto pieces = parts.size() > 1 ? added_.split_template(part.text, part.parse_special)
                                         : added_.split(part.text, part.parse_special);
    for (const AddedTokens::Piece& piece : pieces) {
      if (piece.id < 0 && !segments.empty() && segments.back().piece.id < 0) {
        Segment& last = segments.back();
        last.piece.text = joined.emplace_back(std::string(last.piece.text).append(piece.text));
        last.parse_special = last.parse_special && part.parse_special;
      } else {
        segments.push_back({piece, part.parse_special});
      }
    }
  }
  Run run(model_);
  for (const Segment& segment : segments) {
    if (segment.piece.id >= 0) {
      run.ids.add_id(segment.piece.id);
    } else {
      encode_text(segment.piece.text, segment.parse_special, run);
    }
    run.at_start = false;
  }
  return run.ids.take();
}

void BpeTokenizer::encode_text(std::string_view text, bool parse_special, Run& run) const {
  if (!normalizer_.empty()) text = run.made.emplace_back(normalizer_.apply(text, run.at_start));
  const Splitter::Take take = [&](std::string_view word) { run.ids.add_word(word); };
  for (const AddedTokens::Piece& piece : added_.split_normalized(text, parse_special)) {
    if (piece.id >= 0) {
      run.ids.add_id(piece.id);
    } else {
      splitter_.split(piece.text, run.at_start, run.made, take);
    }
    run.at_start = false;
  }
}

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids, bool special) const {
  std::vector<std::string> parts;
  parts.reserve(ids.size());
  for (const int32_t id : ids) {
    require_token(id, vocab_size());
    if (special || !is_special_[id]) parts.push_back(tokens_[id]);
  }
  return decoder_.apply(std::move(parts));
}

std::string BpeTokenizer::description() const {
  return kind_ + ", " + std::to_string(vocab_size()) + " tokens";
}

}  // namespace kvlab
