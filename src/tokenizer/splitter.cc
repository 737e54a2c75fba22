#include "tokenizer/splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kDigitPattern = R"(\p{N})";
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";

// PCRE2 counts U+180E as white space, which Unicode gave up in version 6.3 and other engines do not. So \s is
// written out, and \S too where it does not stand in a class (within one it cannot be).
std::string spell_out_white_space(const std::string& pattern) {
  const std::string space =
      R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's') {
        out += in_class ? space : "[" + space + "]";
      } else if (next == 'S' && !in_class) {
        out += "[^" + space + "]";
      } else {
        out += {c, next};
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

std::string pcre_message(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

struct Splitter::Cutter {
  explicit Cutter(const SplitStep& given) : step(given) {
    if (step.pattern.empty()) return;
    const std::string pattern = spell_out_white_space(step.pattern);
    int error = 0;
    PCRE2_SIZE offset = 0;
    // \C would cut within a character, and what is cut must stay UTF-8.
    constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), kOptions, &error,
                         &offset, nullptr);
    if (code == nullptr) {
      throw UserError("the pattern \"" + step.pattern + "\" is not understood: " + pcre_message(error));
    }
    // Without JIT pcre2_match interprets, so a failure here costs only time.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  ~Cutter() { pcre2_code_free(code); }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;

  // The next match that is not empty; false: none.
  bool find(std::string_view text, size_t from, pcre2_match_data* data, size_t& begin, size_t& end) const {
    while (from < text.size()) {
      const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK, data, nullptr);
      if (found == PCRE2_ERROR_NOMATCH) return false;
      if (found < 0) {
        throw UserError("the pattern \"" + step.pattern + "\" failed on this text: " + pcre_message(found));
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      begin = range[0];
      end = range[1];
      if (end > begin && begin >= from) return true;
      from = std::max<size_t>(from, end);
      if (from < text.size()) next_code_point(text, from);
    }
    return false;
  }

  SplitStep step;
  pcre2_code* code = nullptr;
};

const SplitSteps& gpt2_split() {
  static const SplitSteps steps = {{kGpt2Pattern}};
  return steps;
}

const SplitSteps& smollm_split() {
  static const SplitSteps steps = {{kDigitPattern}, {kGpt2Pattern}};
  return steps;
}

const SplitSteps& llama3_split() {
  static const SplitSteps steps = {{kLlama3Pattern}};
  return steps;
}

std::string split_name(const SplitSteps& steps) {
  if (steps == gpt2_split()) return "gpt-2";
  if (steps == smollm_split()) return "smollm";
  if (steps == llama3_split()) return "llama-bpe";
  return "";
}

Splitter::Splitter(const SplitSteps& steps) {
  for (const SplitStep& step : steps) {
    if (!step.pattern.empty() || step.add_prefix_space) cutters_.push_back(std::make_unique<Cutter>(step));
  }
}

Splitter::~Splitter() = default;

void Splitter::split(std::string_view text, std::deque<std::string>& made, const Take& take) const {
  apply(0, text, made, take);
}

void Splitter::apply(size_t step, std::string_view text, std::deque<std::string>& made,
                     const Take& take) const {
  if (text.empty()) return;
  if (step == cutters_.size()) return take(text);
  const Cutter& cutter = *cutters_[step];
  if (cutter.step.add_prefix_space && text.front() != ' ') {
    made.push_back(" " + std::string(text));
    text = made.back();
  }
  if (cutter.code == nullptr) return apply(step + 1, text, made, take);
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
      pcre2_match_data_create_from_pattern(cutter.code, nullptr));
  size_t done = 0, begin = 0, end = 0;
  while (cutter.find(text, done, data.get(), begin, end)) {
    apply(step + 1, text.substr(done, begin - done), made, take);
    apply(step + 1, text.substr(begin, end - begin), made, take);
    done = end;
  }
  apply(step + 1, text.substr(done), made, take);
}

}  // namespace kvlab
