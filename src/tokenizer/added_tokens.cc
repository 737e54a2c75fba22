#include "tokenizer/added_tokens.h"

#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"
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

// Whether the token at begin..end stands within a word.
bool touches_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    size_t before = previous_code_point(text, begin);
    if (is_word_character(next_code_point(text, before))) return true;
  }
  return end < text.size() && is_word_character(next_code_point(text, end));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& normalized)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    const int index = static_cast<int>(i);
    if (token.second_pass) {
      insert(second_, normalized[i], index);
    } else {
      insert(first_, token.text, index);
    }
    if (!token.second_pass || token.special) insert(template_, token.text, index);
  }
}

void AddedTokens::insert(Tree& tree, const std::string& text, int token) {
  // Bytes that are not UTF-8 are in no text, and would cut within characters.
  if (text.empty() || find_invalid_utf8(text) != text.npos) return;
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

const AddedToken* AddedTokens::match(const Tree& tree, std::string_view text, bool parse_special,
                                     size_t& size) const {
  const AddedToken* longest = nullptr;
  int at = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto& children = tree.nodes[at].children;
    const auto child = children.find(text[i]);
    if (child == children.end()) break;
    at = child->second;
    const int token = tree.nodes[at].token;
    if (token < 0 || (!parse_special && tokens_[token].special)) continue;
    longest = &tokens_[token];
    size = i + 1;
  }
  return longest;
}

std::vector<AddedTokens::Piece> AddedTokens::split(const Tree& tree, std::string_view text,
                                                   bool parse_special) const {
  std::vector<Piece> out;
  size_t done = 0;
  for (size_t pos = 0; pos < text.size();) {
    const AddedToken* token = nullptr;
    size_t size = 1;
    if (tree.starts[static_cast<unsigned char>(text[pos])])
      token = match(tree, text.substr(pos), parse_special, size);
    if (token == nullptr || (token->single_word && touches_word(text, pos, pos + size))) {
      pos += size;
      continue;
    }
    const size_t begin = token->left_strip ? skip_space_left(text, pos, done) : pos;
    size_t end = pos + size;
    if (token->right_strip) end = skip_space_right(text, end);
    if (begin > done) out.push_back({text.substr(done, begin - done)});
    out.push_back({text.substr(begin, end - begin), token->id});
    done = pos = end;
  }
  if (done < text.size()) out.push_back({text.substr(done)});
  return out;
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text, bool parse_special) const {
  return split(first_, text, parse_special);
}

std::vector<AddedTokens::Piece> AddedTokens::split_normalized(std::string_view text,
                                                              bool parse_special) const {
  return split(second_, text, parse_special);
}

std::vector<AddedTokens::Piece> AddedTokens::split_template(std::string_view text, bool parse_special) const {
  return split(template_, text, parse_special);
}

}  // namespace kvlab
