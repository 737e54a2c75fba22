// The grammar of recipes: parsing, printing, cutting lists.
#include "cache/recipe.h"

#include <cctype>

#include "base/error.h"

namespace kvlab {

namespace {

bool name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
}

// Whether a value must be quoted when printed, or it would be read as something else. Quotes of its own may
// stand only inside parentheses.
bool needs_quotes(std::string_view value) {
  int depth = 0;
  bool in_quotes = false;
  for (char c : value) {
    if (c == '"') in_quotes = !in_quotes;
    if (c == '"' && depth == 0) return true;
    if (in_quotes || c == '"') continue;
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (depth < 0) return true;
    if (depth == 0 && !name_char(c) && c != ')' && c != '+' && c != '/') return true;
  }
  return value.empty() || depth != 0;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Recipe recipe() {
    Recipe result;
    do {
      result.parts.push_back(part());
      skip_blanks();
    } while (take('+'));
    if (at_ < text_.size()) fail("expected '+' or the end");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw UserError("recipe '" + std::string(text_) + "', column " + std::to_string(at_ + 1) + ": " + what);
  }
  void skip_blanks() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }
  std::string name(const char* what) {
    skip_blanks();
    const size_t begin = at_;
    while (at_ < text_.size() && name_char(text_[at_])) ++at_;
    if (at_ == begin) fail(std::string("expected ") + what);
    return std::string(text_.substr(begin, at_ - begin));
  }

  RecipePart part() {
    RecipePart result;
    result.name = name("the name of a method");
    if (!take('(')) return result;
    result.parentheses = true;
    if (take(')')) return result;
    do {
      std::string key = name("a parameter's name");
      if (!take('=')) fail("expected '=' after '" + key + "'");
      for (const auto& [known, value] : result.arguments) {
        if (known == key) fail("'" + key + "' is given twice");
      }
      std::string text = value();
      result.arguments.emplace_back(std::move(key), std::move(text));
    } while (take(','));
    if (!take(')')) fail("expected ',' or ')'");
    return result;
  }

  // A number, a name, a quoted string, or a part with its own parentheses (kept as text).
  std::string value() {
    skip_blanks();
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    const size_t begin = at_;
    int depth = 0;
    bool in_quotes = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') in_quotes = !in_quotes;
      if (in_quotes) continue;
      if (c == '(') ++depth;
      if (c == ')' && depth-- == 0) break;
      if (c == ',' && depth == 0) break;
    }
    if (in_quotes) fail("a quote is not closed");
    size_t end = at_;
    while (end > begin && std::isspace(static_cast<unsigned char>(text_[end - 1]))) --end;
    if (end == begin) fail("expected a value");
    const std::string_view result = text_.substr(begin, end - begin);
    if (result.find('"') != result.npos && needs_quotes(result)) {
      at_ = begin;
      fail("quotes may stand around a whole value or inside parentheses");
    }
    return std::string(result);
  }
  std::string quoted() {
    const size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != '"') ++at_;
    if (at_ == text_.size()) fail("a quote is not closed");
    return std::string(text_.substr(begin, at_++ - begin));
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Recipe parse_recipe(std::string_view text) {
  return Parser(text).recipe();
}

std::string print_recipe(const Recipe& recipe) {
  std::string text;
  for (size_t p = 0; p < recipe.parts.size(); ++p) {
    const RecipePart& part = recipe.parts[p];
    if (p) text += '+';
    text += part.name;
    if (part.arguments.empty()) continue;
    text += '(';
    for (size_t a = 0; a < part.arguments.size(); ++a) {
      const auto& [key, value] = part.arguments[a];
      text += (a ? "," : "") + key + '=' + (needs_quotes(value) ? '"' + value + '"' : value);
    }
    text += ')';
  }
  return text;
}

std::vector<std::string> split_recipes(std::string_view text) {
  std::vector<std::string> result;
  std::string current;
  int depth = 0;
  bool in_quotes = false;
  for (char c : text) {
    if (c == '"') in_quotes = !in_quotes;
    if (!in_quotes && c == '(') ++depth;
    if (!in_quotes && c == ')') --depth;
    if (depth < 0) throw UserError("methods '" + std::string(text) + "': ')' without '('");
    const bool separator =
        depth == 0 && !in_quotes && (c == ',' || std::isspace(static_cast<unsigned char>(c)));
    if (!separator) {
      current += c;
    } else if (!current.empty()) {
      result.push_back(std::move(current));
      current.clear();
    }
  }
  if (depth != 0) throw UserError("methods '" + std::string(text) + "': a '(' is not closed");
  if (in_quotes) throw UserError("methods '" + std::string(text) + "': a quote is not closed");
  if (!current.empty()) result.push_back(std::move(current));
  return result;
}

}  // namespace kvlab
