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
  bool second_pass = false;  // looked for in what the others leave (Hugging Face's "normalized")
};

class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Piece {
    std::string_view text;
    int32_t id = -1;  // -1: ordinary text
  };
  // The leftmost token and the longest of those first. Special ones only when `parse_special` is set.
  std::vector<Piece> split(std::string_view text, bool parse_special) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }

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
  const AddedToken* match(const Tree& tree, std::string_view text, bool parse_special) const;
  void split(const Tree& tree, std::string_view text, bool parse_special, std::vector<Piece>& out) const;

  std::vector<AddedToken> tokens_;
  Tree first_, second_;
};

}  // namespace kvlab
