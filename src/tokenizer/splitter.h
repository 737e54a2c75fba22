// Cuts text into the words that BPE works on.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvlab {

// Every match of the pattern becomes a piece, and so does what lies between matches. "" does not cut.
struct SplitStep {
  std::string pattern;
  bool add_prefix_space = false;  // before cutting, unless there is one
  bool operator==(const SplitStep&) const = default;
};
using SplitSteps = std::vector<SplitStep>;  // each cuts the pieces of the one before

const SplitSteps& gpt2_split();
const SplitSteps& smollm_split();
const SplitSteps& llama3_split();

// "gpt-2", "smollm", "llama-bpe", or "" when the steps are none of these.
std::string split_name(const SplitSteps& steps);

class Splitter {
 public:
  // Throws UserError for a pattern that PCRE2 does not take.
  explicit Splitter(const SplitSteps& steps);
  ~Splitter();
  Splitter(const Splitter&) = delete;
  Splitter& operator=(const Splitter&) = delete;

  // Calls `take` with the words of valid UTF-8 in order. Words that are not in the text, because of a prefix
  // space, live in `made`. May be called by several threads.
  using Take = std::function<void(std::string_view)>;
  void split(std::string_view text, std::deque<std::string>& made, const Take& take) const;

 private:
  struct Cutter;
  void apply(size_t step, std::string_view text, std::deque<std::string>& made, const Take& take) const;
  std::vector<std::unique_ptr<Cutter>> cutters_;
};

}  // namespace kvlab
