#include "tokenizer/splitter.h"

#include <optional>

#include "base/error.h"
#include "tokenizer/pattern.h"

namespace kvlab {
namespace {

struct Range {
  size_t begin = 0, end = 0;
  bool is_match = false;
};

// The whole text as matches and what lies between them; nothing is empty.
std::vector<Range> find_ranges(const Pattern& pattern, bool invert, std::string_view text) {
  std::vector<Range> ranges;
  Pattern::Search search(pattern, text);
  size_t done = 0;
  while (search.next()) {
    if (search.begin() > done) ranges.push_back({done, search.begin(), invert});
    ranges.push_back({search.begin(), search.end(), !invert});
    done = search.end();
  }
  if (done < text.size()) ranges.push_back({done, text.size(), invert});
  return ranges;
}

// Whether the range `next` joins the one before it. Of several matches in a row only the one beside the other
// text joins it.
bool joins(SplitBehavior behavior, const std::vector<Range>& ranges, size_t next) {
  const bool before = ranges[next - 1].is_match, now = ranges[next].is_match;
  switch (behavior) {
    case SplitBehavior::kContiguous:
      return before == now;
    case SplitBehavior::kMergedWithPrevious:
      return now && !before;
    case SplitBehavior::kMergedWithNext:
      return before && !now;
    default:
      return false;
  }
}

std::string replace_spaces(std::string_view text, const std::string& by) {
  std::string out;
  for (const char c : text) {
    if (c == ' ') {
      out += by;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

SplitStep isolate(std::string pattern) {
  SplitStep step;
  step.pattern = std::move(pattern);
  return step;
}

struct Splitter::Cutter {
  explicit Cutter(const SplitStep& given) : step(given) {
    if (!step.pattern.empty()) pattern.emplace(step.pattern);
  }

  bool adds_prefix(std::string_view text, bool at_start) const {
    if (step.place == PrefixPlace::kNowhere || text.starts_with(step.prefix)) return false;
    return step.place == PrefixPlace::kEveryPiece || at_start;
  }

  SplitStep step;
  std::optional<Pattern> pattern;
};

struct Splitter::Walk {
  std::deque<std::string>& made;
  const Take& take;
};

Splitter::Splitter(const SplitSteps& steps) {
  for (const SplitStep& step : steps) cutters_.push_back(std::make_unique<Cutter>(step));
}

Splitter::~Splitter() = default;

void Splitter::split(std::string_view text, bool at_start, std::deque<std::string>& made,
                     const Take& take) const {
  Walk walk{made, take};
  apply(0, text, at_start, walk);
}

void Splitter::apply(size_t step, std::string_view text, bool at_start, Walk& walk) const {
  if (text.empty()) return;
  if (step == cutters_.size()) return walk.take(text);
  const Cutter& cutter = *cutters_[step];
  if (!cutter.step.space.empty() && text.find(' ') != text.npos) {
    text = walk.made.emplace_back(replace_spaces(text, cutter.step.space));
  }
  if (cutter.adds_prefix(text, at_start)) {
    text = walk.made.emplace_back(cutter.step.prefix + std::string(text));
  }
  if (!cutter.pattern) return apply(step + 1, text, at_start, walk);
  const std::vector<Range> ranges = find_ranges(*cutter.pattern, cutter.step.invert, text);
  for (size_t i = 0; i < ranges.size();) {
    const size_t first = i++;
    if (cutter.step.behavior == SplitBehavior::kRemoved && ranges[first].is_match) continue;
    while (i < ranges.size() && joins(cutter.step.behavior, ranges, i)) ++i;
    const size_t begin = ranges[first].begin;
    apply(step + 1, text.substr(begin, ranges[i - 1].end - begin), at_start && begin == 0, walk);
  }
}

}  // namespace kvlab
