// Tokens that are found in the text as they are, before it is cut into words.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kvlab {

struct AddedToken {
  int32_t id = -1;
  std::string text;
  bool special = true;  // found only where special tokens are wanted, and left out of decoded text on demand
  bool left_strip = false;  // swallows the white space on its left
  bool right_strip = false;
  bool single_word = false;  // not within a word
  bool second_pass = false;  // looked for in normalized text that the others leave ("normalized")
  bool verbatim = false;     // its text is not normalized for that, since the file holds it normalized
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // `normalized`: what is looked for in the second pass, one text a token.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& normalized);

  struct Piece {
    std::string_view text;
    int32_t id = -1;  // -1: ordinary text
  };
  // The leftmost token and the longest of those first. Special ones only when `parse_special` is set. These
  // find the tokens of the first pass, and of the second.
  std::vector<Piece> split(std::string_view text, bool parse_special) const;
  std::vector<Piece> split_normalized(std::string_view text, bool parse_special) const;
  // The first pass, and special tokens of the second as well, as they are written: for a part of a template,
  // which is normalized only together with text that may hold no special tokens.
  std::vector<Piece> split_template(std::string_view text, bool parse_special) const;

 private:
  struct Node {
    std::map<char, int> children;
    int token = -1;  // index into tokens_
  };
  // A tree of the tokens' bytes; node 0 is the root.
  struct Tree {
    std::vector<Node> nodes = std::vector<Node>(1);
    bool starts[256] = {};
  };
  static void insert(Tree& tree, const std::string& text, int token);
  // The token of the longest match at the start of `text`, and the bytes that it takes.
  const AddedToken* match(const Tree& tree, std::string_view text, bool parse_special, size_t& size) const;
  std::vector<Piece> split(const Tree& tree, std::string_view text, bool parse_special) const;

  std::vector<AddedToken> tokens_;
  Tree first_, second_, template_;
};

}  // namespace kvlab
