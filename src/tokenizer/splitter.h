// Cuts text into the words that BPE works on.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvlab {

// What becomes of the matches of a pattern. The names are those of tokenizer.json.
enum class SplitBehavior {
  kRemoved,             // they go
  kIsolated,            // a piece each
  kMergedWithPrevious,  // with what stands before them
  kMergedWithNext,
  kContiguous,  // neighbouring ones become one piece
};

// Where a step sets its prefix in front of a piece that does not begin with it.
enum class PrefixPlace { kNowhere, kEveryPiece, kStartOfText };

// Changes a piece, in the order of the members, and cuts it.
struct SplitStep {
  std::string space = "";  // what every space becomes; "": it stays
  std::string prefix = "";
  PrefixPlace place = PrefixPlace::kNowhere;
  std::string pattern = "";  // "": no cuts
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between the matches is taken for them
  bool operator==(const SplitStep&) const = default;
};
using SplitSteps = std::vector<SplitStep>;  // each cuts the pieces of the one before

// Matches and what lies between them become pieces.
SplitStep isolate(std::string pattern);

class Splitter {
 public:
  // Throws UserError for a pattern that PCRE2 does not take.
  explicit Splitter(const SplitSteps& steps);
  ~Splitter();
  Splitter(const Splitter&) = delete;
  Splitter& operator=(const Splitter&) = delete;

  // Calls `take` with the words of valid UTF-8 in order. Words that are not in the text, because something
  // was put in, live in `made`. `at_start`: nothing stands before the text. May be called by several threads.
  using Take = std::function<void(std::string_view)>;
  void split(std::string_view text, bool at_start, std::deque<std::string>& made, const Take& take) const;

 private:
  struct Cutter;
  struct Walk;
  void apply(size_t step, std::string_view text, bool at_start, Walk& walk) const;
  std::vector<std::unique_ptr<Cutter>> cutters_;
};

}  // namespace kvlab
