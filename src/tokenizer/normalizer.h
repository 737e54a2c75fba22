// What happens to a text before it is cut into words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/text_replacer.h"
#include "tokenizer/unicode.h"

namespace kvlab {

class NormalizeStep {
 public:
  virtual ~NormalizeStep() = default;
  // `at_start`: nothing stands before the text. Throws UserError when more than `most` bytes would come out.
  virtual std::string apply(std::string_view text, bool at_start, size_t most) const = 0;
  // Whether a text may be taken apart before any character of ASCII.
  virtual bool parts_at_ascii() const { return false; }
};

// Steps one after the other. Copies share them.
class Normalizer {
 public:
  void add(std::shared_ptr<const NormalizeStep> step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  bool parts_at_ascii() const;
  // Text must be valid UTF-8. Throws UserError when a damaged file's steps make too much of it.
  std::string apply(std::string_view text, bool at_start) const;

 private:
  std::vector<std::shared_ptr<const NormalizeStep>> steps_;
};

std::shared_ptr<const NormalizeStep> normal_form_step(NormalForm form);
std::shared_ptr<const NormalizeStep> lower_case_step();
std::shared_ptr<const NormalizeStep> strip_marks_step();
std::shared_ptr<const NormalizeStep> strip_space_step(bool left, bool right);
std::shared_ptr<const NormalizeStep> replace_step(TextReplacer replacer);
// In front of every piece of text that is not empty, or only at the start of the whole.
std::shared_ptr<const NormalizeStep> prepend_step(std::string prefix, bool only_at_start);
// Runs of spaces become one, and those at the ends go, as SentencePiece has it.
std::shared_ptr<const NormalizeStep> collapse_spaces_step();
// All `mark` at the end of a text go.
std::shared_ptr<const NormalizeStep> strip_end_step(std::string mark);

}  // namespace kvlab
