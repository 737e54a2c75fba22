// A chat template's Jinja text in one spelling, so that what it writes can be looked for however its author
// set blanks, quotes and line breaks. Nothing is run.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kvlab {

// The outline of a template as transformers reads it (trim_blocks, lstrip_blocks):
//   - comments are gone; text outside of tags stands as {{'text'}};
//   - blanks inside tags are gone, but for one between two words; {%- and -%} have acted and read {% and %};
//   - strings stand in single quotes with their escapes resolved, ' and \ as \' and \\;
//   - x['name'] reads x.name; {{a}}{{b}} reads {{a+b}} and 'a'+'b' reads 'ab'.
// A text that is no template gives an outline as well; nothing will be found in it.
class ChatOutline {
 public:
  explicit ChatOutline(std::string_view text);

  const std::string& text() const { return text_; }
  bool has(std::string_view fragment) const { return text_.find(fragment) != std::string::npos; }
  // How often it stands there, without overlaps.
  int count(std::string_view fragment) const;
  // What stands between the first `before`, which ends inside a string, and the end of that string, if
  // `after` follows there: its escapes resolved.
  std::optional<std::string> string_between(std::string_view before, std::string_view after) const;

 private:
  std::string text_;
};

}  // namespace kvlab
