#include "tokenizer/added_tokens.h"

#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

// Where the white space that ends the text before `pos` begins, but not before `least`.
size_t skip_space_left(std::string_view text, size_t pos, size_t least) {
  while (pos > least) {
    const size_t before = previous_code_point(text, pos);
    size_t at = before;
    if (!is_white_space(next_code_point(text, at))) break;
    pos = before;
  }
  return pos;
}

size_t skip_space_right(std::string_view text, size_t pos) {
  while (pos < text.size()) {
    size_t after = pos;
    if (!is_white_space(next_code_point(text, after))) break;
    pos = after;
  }
  return pos;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].text.empty()) continue;
    insert(tokens_[i].second_pass ? second_ : first_, tokens_[i].text, static_cast<int>(i));
  }
}

void AddedTokens::insert(Tree& tree, const std::string& text, int token) {
  tree.starts[static_cast<unsigned char>(text.front())] = true;
  int at = 0;
  for (const char byte : text) {
    const auto [child, is_new] =
        tree.nodes[at].children.try_emplace(byte, static_cast<int>(tree.nodes.size()));
    at = child->second;
    if (is_new) tree.nodes.emplace_back();
  }
  tree.nodes[at].token = token;
}

const AddedToken* AddedTokens::match(const Tree& tree, std::string_view text, bool parse_special) const {
  const AddedToken* longest = nullptr;
  int at = 0;
  for (const char byte : text) {
    const auto& children = tree.nodes[at].children;
    const auto child = children.find(byte);
    if (child == children.end()) break;
    at = child->second;
    const int token = tree.nodes[at].token;
    if (token >= 0 && (parse_special || !tokens_[token].special)) longest = &tokens_[token];
  }
  return longest;
}

void AddedTokens::split(const Tree& tree, std::string_view text, bool parse_special,
                        std::vector<Piece>& out) const {
  size_t done = 0;
  for (size_t pos = 0; pos < text.size();) {
    const AddedToken* token = nullptr;
    if (tree.starts[static_cast<unsigned char>(text[pos])])
      token = match(tree, text.substr(pos), parse_special);
    if (token == nullptr) {
      ++pos;
      continue;
    }
    const size_t begin = token->left_strip ? skip_space_left(text, pos, done) : pos;
    size_t end = pos + token->text.size();
    if (token->right_strip) end = skip_space_right(text, end);
    if (begin > done) out.push_back({text.substr(done, begin - done)});
    out.push_back({text.substr(begin, end - begin), token->id});
    done = pos = end;
  }
  if (done < text.size()) out.push_back({text.substr(done)});
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Piece> pieces, all;
  split(first_, text, parse_special, pieces);
  if (second_.nodes.size() == 1) return pieces;
  for (const Piece& piece : pieces) {
    if (piece.id >= 0) {
      all.push_back(piece);
    } else {
      split(second_, piece.text, parse_special, all);
    }
  }
  return all;
}

}  // namespace kvlab
