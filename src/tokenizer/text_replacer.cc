#include "tokenizer/text_replacer.h"

#include "base/error.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {
namespace {

// Calls `take` with the begin and the end of each literal match.
template <typename Take>
void find_literal(std::string_view text, const std::string& what, Take&& take) {
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) {
    take(at, at + what.size());
  }
}

template <typename Take>
void find_pattern(std::string_view text, const Pattern& pattern, Take&& take) {
  Pattern::Search search(pattern, text);
  while (search.next()) take(search.begin(), search.end());
}

}  // namespace

std::string TextReplacer::apply(std::string_view text, size_t most) const {
  std::string result;
  size_t done = 0;
  const auto replace = [&](size_t begin, size_t end) {
    result.append(text, done, begin - done).append(content_);
    done = end;
    if (result.size() > most) refuse_growth(most);
  };
  if (const auto* literal = std::get_if<std::string>(&what_)) {
    find_literal(text, *literal, replace);
  } else if (find_invalid_utf8(text) == text.npos) {
    find_pattern(text, std::get<Pattern>(what_), replace);
  }
  result.append(text, done);
  if (result.size() > most) refuse_growth(most);
  return result;
}

size_t most_growth(size_t size) {
  constexpr size_t kMostGrowth = 64, kAlwaysFine = 1 << 16;
  return kMostGrowth * size + kAlwaysFine;
}

void refuse_growth(size_t most) {
  throw UserError("the replacements make more than " + std::to_string(most) +
                  " bytes of this text; the tokenizer's file is damaged");
}

}  // namespace kvlab
