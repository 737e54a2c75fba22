#include "tokenizer/normalizer.h"

#include <algorithm>
#include <functional>

#include "tokenizer/utf8.h"

namespace kvlab {
namespace {

// A step that looks at the text alone.
class TextStep : public NormalizeStep {
 public:
  using Change = std::function<std::string(std::string_view)>;
  explicit TextStep(Change change) : change_(std::move(change)) {}
  std::string apply(std::string_view text, bool, size_t most) const override {
    std::string made = change_(text);
    if (made.size() > most) refuse_growth(most);
    return made;
  }

 private:
  Change change_;
};

// No character of ASCII composes with what precedes it, nor does a mark move over one.
class NormalFormStep : public TextStep {
 public:
  explicit NormalFormStep(NormalForm form)
      : TextStep([form](std::string_view text) { return to_normal_form(text, form); }) {}
  bool parts_at_ascii() const override { return true; }
};

class ReplaceStep : public NormalizeStep {
 public:
  explicit ReplaceStep(TextReplacer replacer) : replacer_(std::move(replacer)) {}
  std::string apply(std::string_view text, bool, size_t most) const override {
    return replacer_.apply(text, most);
  }

 private:
  TextReplacer replacer_;
};

class PrependStep : public NormalizeStep {
 public:
  PrependStep(std::string prefix, bool only_at_start)
      : prefix_(std::move(prefix)), only_at_start_(only_at_start) {}
  std::string apply(std::string_view text, bool at_start, size_t most) const override {
    if (text.empty() || (only_at_start_ && !at_start)) return std::string(text);
    if (prefix_.size() + text.size() > most) refuse_growth(most);
    return prefix_ + std::string(text);
  }

 private:
  std::string prefix_;
  bool only_at_start_;
};

bool is_space_at(std::string_view text, size_t pos) {
  return is_white_space(next_code_point(text, pos));
}

std::string strip_space(std::string_view text, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end && is_space_at(text, begin)) next_code_point(text, begin);
  while (right && end > begin) {
    const size_t last = previous_code_point(text, end);
    if (!is_space_at(text, last)) break;
    end = last;
  }
  return std::string(text.substr(begin, end - begin));
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::shared_ptr<const NormalizeStep> text_step(TextStep::Change change) {
  return std::make_shared<TextStep>(std::move(change));
}

}  // namespace

std::string Normalizer::apply(std::string_view text, bool at_start) const {
  std::string out(text);
  const size_t most = most_growth(text.size());
  for (const auto& step : steps_) out = step->apply(out, at_start, most);
  return out;
}

bool Normalizer::parts_at_ascii() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->parts_at_ascii(); });
}

std::shared_ptr<const NormalizeStep> normal_form_step(NormalForm form) {
  return std::make_shared<NormalFormStep>(form);
}

std::shared_ptr<const NormalizeStep> lower_case_step() {
  return text_step(to_lower_case);
}

std::shared_ptr<const NormalizeStep> strip_marks_step() {
  return text_step(without_marks);
}

std::shared_ptr<const NormalizeStep> strip_space_step(bool left, bool right) {
  return text_step([=](std::string_view text) { return strip_space(text, left, right); });
}

std::shared_ptr<const NormalizeStep> replace_step(TextReplacer replacer) {
  return std::make_shared<ReplaceStep>(std::move(replacer));
}

std::shared_ptr<const NormalizeStep> prepend_step(std::string prefix, bool only_at_start) {
  return std::make_shared<PrependStep>(std::move(prefix), only_at_start);
}

std::shared_ptr<const NormalizeStep> collapse_spaces_step() {
  return text_step(collapse_spaces);
}

std::shared_ptr<const NormalizeStep> strip_end_step(std::string mark) {
  return text_step([mark = std::move(mark)](std::string_view text) {
    while (text.ends_with(mark)) text.remove_suffix(mark.size());
    return std::string(text);
  });
}

}  // namespace kvlab
