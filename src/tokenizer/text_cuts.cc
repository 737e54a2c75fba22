#include "tokenizer/text_cuts.h"

#include <algorithm>

#include "tokenizer/known_splits.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// `at` is within the text.
bool may_cut_before(std::string_view text, size_t at) {
  if (text[at] == '\n') return is_letter(text[at - 1]);
  if (text[at] != ' ') return false;
  size_t before = previous_code_point(text, at);
  return !is_white_space(next_code_point(text, before));
}

// Whether the token may lie on both sides of a cut, or takes what is behind it. One that is not UTF-8 itself
// can begin or end within a character, and is not looked into.
bool reaches_over_cuts(const AddedToken& token) {
  if (token.text.empty()) return false;
  if (find_invalid_utf8(token.text) != std::string_view::npos) return true;
  for (size_t at = 1; at < token.text.size(); ++at) {
    if (may_cut_before(token.text, at)) return true;
  }
  return token.right_strip;
}

bool has_cuts(const SplitSteps& split) {
  return split == gpt2_split() || split == smollm_split() || split == llama3_split() ||
         split == qwen2_split();
}

}  // namespace

TextCuts::TextCuts(const SplitSteps& split, const std::vector<AddedToken>& added,
                   const Normalizer& normalizer)
    : cuts_(has_cuts(split) && normalizer.parts_at_ascii() &&
            std::none_of(added.begin(), added.end(), reaches_over_cuts)) {}

size_t TextCuts::last(std::string_view text) const {
  if (!cuts_) return 0;
  for (size_t at = text.size(); at-- > 1;) {
    if (may_cut_before(text, at)) return at;
  }
  return 0;
}

}  // namespace kvlab
