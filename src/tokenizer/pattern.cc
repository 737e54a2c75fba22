#include "tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

// PCRE2 counts U+180E as white space, which Unicode gave up in version 6.3 and other engines do not.
constexpr std::string_view kSpaces =
    R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
// Unicode's word characters: PCRE2 knows letters, digits and the underscore only.
constexpr std::string_view kWords =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

[[noreturn]] void refuse(const std::string& expression, const std::string& why) {
  throw UserError("the pattern \"" + expression + "\" is not understood: " + why);
}

// Writes the classes out that the two engines fill differently.
class Translation {
 public:
  explicit Translation(const std::string& expression) : from_(expression) {}

  std::string run() {
    for (at_ = 0; at_ < from_.size(); ++at_) {
      const char c = from_[at_];
      if (c == '\\' && at_ + 1 < from_.size()) {
        escape(from_[++at_]);
      } else if (in_class_) {
        within_class(c);
      } else {
        outside(c);
      }
    }
    return std::move(to_);
  }

 private:
  void escape(char c) {
    if (c == 's' || c == 'w') return known_class(c == 's' ? kSpaces : kWords, false);
    if (c == 'S' || c == 'W') return known_class(c == 'S' ? kSpaces : kWords, true);
    // Horizontal space in PCRE2, a hexadecimal digit in Oniguruma; the others mean positions there.
    if (std::string_view("hHGKNRX").find(c) != std::string_view::npos) {
      refuse(from_, std::string("\\") + c + " has another meaning in tokenizer.json");
    }
    to_ += {'\\', c};
    if (from_.compare(at_ + 1, 1, "{") != 0) return;
    const size_t close = std::min(from_.find('}', at_), from_.size() - 1);  // of \p{L}
    to_.append(from_, at_ + 1, close - at_);
    at_ = close;
  }

  void known_class(std::string_view members, bool negated) {
    if (in_class_ && negated) refuse(from_, "\\S and \\W within brackets are not supported");
    if (in_class_) {
      to_ += members;
    } else {
      to_.append(negated ? "[^" : "[").append(members) += ']';
    }
  }

  void within_class(char c) {
    if (c == '[' && from_.compare(at_, 2, "[:") != 0) refuse(from_, "brackets within brackets");
    if (c == '[') {  // [:alpha:] and the like
      const size_t close = from_.find(":]", at_ + 2);
      if (close == from_.npos) refuse(from_, "brackets within brackets");
      to_.append(from_, at_, close + 2 - at_);
      at_ = close + 1;
      return;
    }
    if (c == '&' && from_.compare(at_, 2, "&&") == 0) refuse(from_, "&& within brackets");
    if (c == ']' && at_ > first_) in_class_ = false;
    to_ += c;
  }

  void outside(char c) {
    to_ += c;
    if (c == '[') {
      in_class_ = true;
      first_ = at_ + 1;
      if (from_.compare(first_, 1, "^") == 0) {
        to_ += '^';
        first_ = ++at_ + 1;
      }
    }
    // Oniguruma takes a{2}+ as a repeated repetition, PCRE2 as one that gives nothing back.
    if (c == '}' && from_.compare(at_ + 1, 1, "+") == 0) refuse(from_, "a + behind braces");
    if (c == '(' && (from_.compare(at_, 3, "(?m") == 0 || from_.compare(at_, 3, "(?s") == 0)) {
      refuse(from_, "the options m and s are not supported");
    }
  }

  const std::string& from_;
  std::string to_;
  size_t at_ = 0;
  size_t first_ = 0;  // of the class: a bracket there closes nothing
  bool in_class_ = false;
};

std::string pcre_message(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Pattern::Code {
  explicit Code(pcre2_code* given) : code(given) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

Pattern::Pattern(std::string expression) : expression_(std::move(expression)) {
  const std::string translated = Translation(expression_).run();
  int error = 0;
  PCRE2_SIZE offset = 0;
  // \C would cut within a character, and what is cut must stay UTF-8. In Oniguruma ^ and $ are ends of lines.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   kOptions, &error, &offset, nullptr);
  if (code == nullptr) refuse(expression_, pcre_message(error));
  code_ = std::make_unique<Code>(code);
  // Without JIT pcre2_match interprets, so a failure here costs only time.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

struct Pattern::Search::State {
  explicit State(const pcre2_code* code) : data(pcre2_match_data_create_from_pattern(code, nullptr)) {}
  ~State() { pcre2_match_data_free(data); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  pcre2_match_data* data;
};

Pattern::Search::Search(const Pattern& pattern, std::string_view text)
    : pattern_(pattern), text_(text), state_(std::make_unique<State>(pattern.code_->code)) {}

Pattern::Search::~Search() = default;

bool Pattern::Search::next() {
  size_t from = end_;
  while (from < text_.size()) {
    const int found = pcre2_match(pattern_.code_->code, reinterpret_cast<PCRE2_SPTR>(text_.data()),
                                  text_.size(), from, PCRE2_NO_UTF_CHECK, state_->data, nullptr);
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0) {
      throw UserError("the pattern \"" + pattern_.expression_ +
                      "\" failed on this text: " + pcre_message(found));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state_->data);
    begin_ = range[0];
    end_ = range[1];
    if (end_ > begin_ && begin_ >= from) return true;
    from = std::max<size_t>(from, end_);
    if (from < text_.size()) next_code_point(text_, from);
  }
  return false;
}

std::string quote_pattern(std::string_view text) {
  std::string expression;
  for (const char c : text) {
    if (std::string_view(R"(\^$.[]|()?*+{}-&#~)").find(c) != std::string_view::npos) expression += '\\';
    expression += c;
  }
  return expression;
}

}  // namespace kvlab
