// Regular expressions as tokenizer.json writes them (for Oniguruma), searched by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace kvlab {

class Pattern {
 public:
  // Throws UserError for an expression that PCRE2 does not take, or that the two engines read differently.
  explicit Pattern(std::string expression);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // The state of searches through one text; one thread at a time.
  class Search {
   public:
    Search(const Pattern& pattern, std::string_view text);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    // Moves to the next match that is not empty; false: there is none. Text must be valid UTF-8.
    bool next();
    size_t begin() const { return begin_; }
    size_t end() const { return end_; }

   private:
    struct State;
    const Pattern& pattern_;
    std::string_view text_;
    std::unique_ptr<State> state_;
    size_t begin_ = 0, end_ = 0;
  };

 private:
  struct Code;
  std::string expression_;
  std::unique_ptr<Code> code_;
};

// The expression that finds `text` itself.
std::string quote_pattern(std::string_view text);

}  // namespace kvlab
