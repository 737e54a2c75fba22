#include "tokenizer/score_bpe.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

constexpr const char* kMark = "\u2581";  // stands for a space

bool is_added(PieceType type) {
  return type == PieceType::kUnknown || type == PieceType::kControl || type == PieceType::kUserDefined;
}

// The place of each piece's score among all scores, the best first; equal scores have one rank, so that of
// two merges the left one goes first.
std::vector<int32_t> rank_scores(const std::vector<ScorePiece>& pieces) {
  std::vector<float> scores;
  for (const ScorePiece& piece : pieces) {
    if (std::isnan(piece.score))
      throw UserError("the token \"" + piece.text + "\" has a score that is no number");
    scores.push_back(piece.score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<int32_t> ranks;
  for (const ScorePiece& piece : pieces) {
    const auto place = std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>());
    ranks.push_back(static_cast<int32_t>(place - scores.begin()));
  }
  return ranks;
}

// Every way to make a piece of two others.
std::vector<TokenMerge> find_merges(const std::vector<ScorePiece>& pieces) {
  // A piece that is all of a long file's bytes would be cut at each of them.
  constexpr size_t kLongest = 1 << 12;
  std::unordered_map<std::string_view, int32_t> ids(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].type == PieceType::kNormal) ids.emplace(pieces[id].text, static_cast<int32_t>(id));
  }
  const std::vector<int32_t> ranks = rank_scores(pieces);
  std::vector<TokenMerge> merges;
  for (const auto& [text, id] : ids) {
    if (find_invalid_utf8(text) != text.npos) throw UserError("a token is not valid UTF-8");
    if (text.size() > kLongest) throw UserError("a token has " + std::to_string(text.size()) + " bytes");
    for (size_t cut = 0; cut < text.size();) {
      next_code_point(text, cut);
      const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
      if (left != ids.end() && right != ids.end()) {
        merges.push_back({left->second, right->second, {ranks[id], id}});
      }
    }
  }
  return merges;
}

// Adds those of the pieces that are found as they are, unless `added` says how already.
void add_tokens(const std::vector<ScorePiece>& pieces, bool user_defined_normalized,
                std::vector<AddedToken>& added) {
  std::vector<bool> known(pieces.size());
  for (const AddedToken& token : added) {
    if (static_cast<size_t>(token.id) < known.size()) known[token.id] = true;
  }
  for (size_t id = 0; id < pieces.size(); ++id) {
    const PieceType type = pieces[id].type;
    if (known[id] || !is_added(type)) continue;
    AddedToken token{static_cast<int32_t>(id), pieces[id].text};
    token.special = type != PieceType::kUserDefined;
    token.second_pass = token.verbatim = !token.special && user_defined_normalized;
    added.push_back(std::move(token));
  }
}

int find_unknown(const std::vector<ScorePiece>& pieces) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].type == PieceType::kUnknown) return static_cast<int>(id);
  }
  return -1;
}

Normalizer make_normalizer(const ScoreBpeParts& parts) {
  Normalizer normalizer;
  if (parts.collapse_spaces) normalizer.add(collapse_spaces_step());
  if (parts.prefix_space) normalizer.add(prepend_step(" ", !parts.prefix_every_piece));
  normalizer.add(replace_step(TextReplacer(std::string(" "), kMark)));
  // Marks that were in the text count as spaces at its end, though not within.
  if (parts.collapse_spaces) normalizer.add(strip_end_step(kMark));
  return normalizer;
}

TokenDecoder make_decoder(const ScoreBpeParts& parts) {
  constexpr size_t kAll = ~size_t{0};
  TokenDecoder decoder;
  decoder.add(decode_replace(TextReplacer(std::string(kMark), " ")));
  decoder.add(decode_bytes());
  decoder.add(decode_fuse());
  if (parts.prefix_space || parts.collapse_spaces) {
    decoder.add(decode_strip(" ", parts.collapse_spaces ? kAll : 1, 0));
  }
  return decoder;
}

}  // namespace

std::shared_ptr<const Tokenizer> make_score_bpe(ScoreBpeParts parts) {
  BpeTokenizerParts made;
  made.kind = parts.byte_fallback ? "SentencePiece BPE with byte fallback" : "SentencePiece BPE";
  made.model.merges = find_merges(parts.pieces);
  made.model.byte_fallback = parts.byte_fallback;
  made.model.unknown = find_unknown(parts.pieces);
  made.model.fuse_unknown = true;
  made.normalizer = make_normalizer(parts);
  made.decoder = make_decoder(parts);
  made.settings = std::move(parts.settings);
  add_tokens(parts.pieces, parts.user_defined_normalized, made.settings.added);
  size_t count = parts.pieces.size();
  for (const AddedToken& token : made.settings.added)
    count = std::max(count, static_cast<size_t>(token.id) + 1);
  made.tokens.resize(count);
  for (size_t id = 0; id < parts.pieces.size(); ++id) {
    if (!is_added(parts.pieces[id].type)) made.tokens[id] = std::move(parts.pieces[id].text);
  }
  return std::make_shared<BpeTokenizer>(std::move(made));
}

PieceType piece_type(int64_t number) {
  if (number < 1 || number > 6) {
    throw UserError("a token has the type " + std::to_string(number) + " (expected 1..6)");
  }
  return static_cast<PieceType>(number);
}

}  // namespace kvlab
