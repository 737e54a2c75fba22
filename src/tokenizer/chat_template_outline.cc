#include "tokenizer/chat_template_outline.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace kvlab {

namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

bool is_blank(char c) {
  return std::isspace(static_cast<unsigned char>(c));
}

std::string_view without_blanks_before(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view without_blanks_behind(std::string_view text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// lstrip_blocks: the blanks of a line that has nothing else before the tag.
std::string_view without_indent(std::string_view text, bool starts_line) {
  const size_t last = text.find_last_not_of(" \t");
  if (last == text.npos) return starts_line ? text.substr(0, 0) : text;
  return text[last] == '\n' ? text.substr(0, last + 1) : text;
}

struct Piece {
  std::string text;
  bool is_string = false;
};

// The outline as pieces, which are joined as they come.
class Pieces {
 public:
  void symbol(std::string text) {
    if (text == "{{" && ends_with("}}")) {
      pieces_.back() = {"+"};
    } else if (text == "]" && closes_a_name()) {
      const std::string name = pieces_.back().text;
      pieces_.resize(pieces_.size() - 2);
      pieces_.push_back({"."});
      pieces_.push_back({name});
    } else {
      pieces_.push_back({std::move(text)});
    }
  }
  void string(std::string_view text) {
    const size_t n = pieces_.size();
    if (n >= 2 && ends_with("+") && pieces_[n - 2].is_string) {
      pieces_.pop_back();
      pieces_.back().text += text;
    } else {
      pieces_.push_back({std::string(text), true});
    }
  }
  std::string joined() const {
    std::string all;
    for (const Piece& piece : pieces_) {
      if (piece.is_string) {
        all += '\'';
        for (const char c : piece.text) all += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string{c};
        all += '\'';
      } else {
        if (!all.empty() && is_word(all.back()) && is_word(piece.text[0])) all += ' ';
        all += piece.text;
      }
    }
    return all;
  }

 private:
  bool ends_with(const char* symbol) const {
    return !pieces_.empty() && !pieces_.back().is_string && pieces_.back().text == symbol;
  }
  // x['name' with the bracket of an index, not of a list.
  bool closes_a_name() const {
    const size_t n = pieces_.size();
    if (n < 3 || !pieces_[n - 1].is_string || pieces_[n - 2].is_string || pieces_[n - 2].text != "[")
      return false;
    const Piece &indexed = pieces_[n - 3], &name = pieces_[n - 1];
    const char last = indexed.is_string ? '\'' : indexed.text.back();
    return (is_word(last) || last == ']' || last == ')') && !name.text.empty() &&
           std::all_of(name.text.begin(), name.text.end(), is_word);
  }
  std::vector<Piece> pieces_;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {
    if (text_.ends_with('\n')) text_.remove_suffix(1);  // as Jinja does
  }

  std::string outline() {
    while (at_ < text_.size()) {
      const size_t tag = next_tag();
      plain_text(text_.substr(at_, tag - at_), tag);
      at_ = tag;
      if (tag < text_.size()) read_tag();
    }
    return pieces_.joined();
  }

 private:
  size_t next_tag() const {
    for (size_t at = text_.find('{', at_); at != text_.npos; at = text_.find('{', at + 1)) {
      if (at + 1 < text_.size() && std::string_view("{%#").find(text_[at + 1]) != std::string_view::npos)
        return at;
    }
    return text_.size();
  }

  void plain_text(std::string_view text, size_t tag) {
    const bool starts_line = at_ == 0 || text_[at_ - 1] == '\n';
    if (strip_next_) {
      text = without_blanks_before(text);
    } else if (trim_line_feed_ && text.starts_with('\n')) {
      text.remove_prefix(1);
    }
    if (tag < text_.size()) {
      const char mark = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
      if (mark == '-') {
        text = without_blanks_behind(text);
      } else if (text_[tag + 1] != '{' && mark != '+') {
        text = without_indent(text, starts_line || (trim_line_feed_ && at_ < tag && text_[at_] == '\n'));
      }
    }
    if (text.empty()) return;
    pieces_.symbol("{{");
    pieces_.string(text);
    pieces_.symbol("}}");
  }

  void read_tag() {
    const char kind = text_[at_ + 1];
    at_ += 2;
    if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) ++at_;
    if (kind == '#') {
      const size_t end = text_.find("#}", at_);
      at_ = end == text_.npos ? text_.size() : end + 2;
    } else {
      pieces_.symbol(kind == '{' ? "{{" : "{%");
      read_code(kind == '{' ? "}}" : "%}");
    }
    const char mark = at_ >= 3 ? text_[at_ - 3] : ' ';
    strip_next_ = mark == '-';
    trim_line_feed_ = kind != '{' && mark != '+';
  }

  void read_code(const char* close) {
    int open_braces = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const std::string_view rest = text_.substr(at_);
      const bool marked = (c == '-' || c == '+') && rest.substr(1).starts_with(close);
      if (open_braces == 0 && (marked || rest.starts_with(close))) {
        at_ += marked ? 3 : 2;
        return pieces_.symbol(close);
      }
      if (is_blank(c)) {
        ++at_;
      } else if (c == '\'' || c == '"') {
        pieces_.string(read_string());
      } else if (is_word(c)) {
        const size_t begin = at_;
        while (at_ < text_.size() && is_word(text_[at_])) ++at_;
        pieces_.symbol(std::string(text_.substr(begin, at_ - begin)));
      } else {
        if (c == '{') ++open_braces;
        if (c == '}' && open_braces > 0) --open_braces;
        pieces_.symbol(std::string(1, c));
        ++at_;
      }
    }
  }

  std::string read_string() {
    const char quote = text_[at_++];
    std::string value;
    for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] != '\\' || at_ + 1 == text_.size()) {
        value += text_[at_];
        continue;
      }
      const char escaped = text_[++at_];
      value += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
    }
    if (at_ < text_.size()) ++at_;
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
  bool strip_next_ = false;      // the last tag ended with -
  bool trim_line_feed_ = false;  // it was a block or a comment
  Pieces pieces_;
};

}  // namespace

ChatOutline::ChatOutline(std::string_view text) : text_(Reader(text).outline()) {}

int ChatOutline::count(std::string_view fragment) const {
  int found = 0;
  for (size_t at = text_.find(fragment); at != text_.npos; at = text_.find(fragment, at + fragment.size()))
    ++found;
  return found;
}

std::optional<std::string> ChatOutline::string_between(std::string_view before,
                                                       std::string_view after) const {
  size_t at = text_.find(before);
  if (at == text_.npos) return std::nullopt;
  std::string value;
  for (at += before.size(); at < text_.size() && text_[at] != '\''; ++at) {
    if (std::string_view(text_).substr(at).starts_with(after)) return value;
    if (text_[at] == '\\') ++at;
    if (at < text_.size()) value += text_[at];
  }
  if (std::string_view(text_).substr(at).starts_with(after)) return value;
  return std::nullopt;
}

}  // namespace kvlab
