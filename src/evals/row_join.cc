#include "evals/row_join.h"

#include "base/error.h"

namespace kvlab {

namespace {

constexpr const char* kBetween = "\n\n";

bool holds_blanks_only(std::string_view row) {
  return row.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

class RowJoiner {
 public:
  explicit RowJoiner(Join join) : join_(join) {}

  void add_row(std::string_view row, std::string& out) {
    if (join_ == Join::kWikitext && holds_blanks_only(row)) return;
    if (!first_) out += kBetween;
    first_ = false;
    out += row;
  }

  // Lines are rows; the text may end within one, and the next call goes on with it.
  void add_text(std::string_view text, std::string& out) {
    while (!text.empty()) {
      const size_t feed = text.find('\n');
      const std::string_view part = text.substr(0, feed == text.npos ? feed : feed + 1);
      add_part(part, out);
      if (feed != text.npos) end_text(out);
      text.remove_prefix(part.size());
    }
  }
  void end_text(std::string& out) {
    if (!blanks_.empty()) add_row("", out);
    blanks_.clear();
    in_row_ = false;
  }

 private:
  // A row is passed on as soon as it holds more than blanks.
  void add_part(std::string_view part, std::string& out) {
    if (in_row_) {
      out += part;
      return;
    }
    blanks_ += part;
    in_row_ = !holds_blanks_only(blanks_);
    if (!in_row_) return;
    add_row(blanks_, out);
    blanks_.clear();
  }

  Join join_;
  bool first_ = true, in_row_ = false;
  std::string blanks_;  // that begin a line
};

[[noreturn]] void refuse_empty(const std::string& id) {
  throw UserError("document '" + id + "' has no rows to join");
}

class JoinedLines : public PieceSource {
 public:
  JoinedLines(std::unique_ptr<PieceSource> lines, Join join) : lines_(std::move(lines)), joiner_(join) {}

  std::optional<DocumentPiece> next() override {
    std::optional<DocumentPiece> piece = lines_->next();
    if (!piece) return std::nullopt;
    std::string text;
    joiner_.add_text(piece->document.text, text);
    if (!piece->more) joiner_.end_text(text);
    some_ |= !text.empty();
    if (!piece->more && !some_) refuse_empty(piece->document.id);
    piece->document.text = std::move(text);
    return piece;
  }
  void skip_document() override { lines_->skip_document(); }

 private:
  std::unique_ptr<PieceSource> lines_;
  RowJoiner joiner_;
  bool some_ = false;
};

class JoinedRows : public PieceSource {
 public:
  JoinedRows(std::unique_ptr<PieceSource> rows, Join join, std::string id)
      : rows_(std::move(rows)), joiner_(join), id_(std::move(id)) {}

  std::optional<DocumentPiece> next() override {
    if (done_) return std::nullopt;
    DocumentPiece piece;
    piece.document.id = id_;
    while (!done_ && piece.document.text.size() < kPieceBytes) {
      const std::optional<DocumentPiece> row = rows_->next();
      done_ = !row;
      if (row) joiner_.add_row(row->document.text, piece.document.text);
    }
    some_ |= !piece.document.text.empty();
    if (!some_) refuse_empty(id_);
    piece.more = !done_;
    return piece;
  }
  void skip_document() override { done_ = true; }

 private:
  std::unique_ptr<PieceSource> rows_;
  RowJoiner joiner_;
  std::string id_;
  bool done_ = false, some_ = false;
};

class JoinedDocuments : public PieceSource {
 public:
  explicit JoinedDocuments(std::unique_ptr<PieceSource> documents) : documents_(std::move(documents)) {}

  // A piece says that more comes, since the next document does; an empty one ends the whole.
  std::optional<DocumentPiece> next() override {
    if (done_) return std::nullopt;
    std::optional<DocumentPiece> piece = documents_->next();
    if (!piece) {
      done_ = true;
      DocumentPiece last;
      last.document.id = id_;
      return last;
    }
    if (begins_ && ++count_ > 1 && piece->document.ids.empty()) piece->document.text.insert(0, kBetween);
    begins_ = !piece->more;
    id_ = count_ > 1 ? std::to_string(count_) + " documents" : piece->document.id;
    piece->document.id = id_;
    piece->document.index = 0;
    piece->more = true;
    return piece;
  }
  void skip_document() override { done_ = true; }

 private:
  std::unique_ptr<PieceSource> documents_;
  std::string id_;
  int64_t count_ = 0;
  bool begins_ = true, done_ = false;
};

}  // namespace

Join parse_join(const std::string& name) {
  if (name == "raw") return Join::kRaw;
  if (name == "wikitext") return Join::kWikitext;
  if (name == "gptq") return Join::kGptq;
  throw UserError("--join " + name + " is not known (expected raw, wikitext or gptq)");
}

std::string join_rows(const std::string& text, Join join) {
  if (join == Join::kRaw) return text;
  RowJoiner joiner(join);
  std::string result;
  joiner.add_text(text, result);
  joiner.end_text(result);
  return result;
}

std::unique_ptr<PieceSource> join_lines(std::unique_ptr<PieceSource> lines, Join join) {
  return std::make_unique<JoinedLines>(std::move(lines), join);
}

std::unique_ptr<PieceSource> join_row_documents(std::unique_ptr<PieceSource> rows, Join join,
                                                std::string id) {
  return std::make_unique<JoinedRows>(std::move(rows), join, std::move(id));
}

std::unique_ptr<PieceSource> join_documents(std::unique_ptr<PieceSource> documents) {
  return std::make_unique<JoinedDocuments>(std::move(documents));
}

}  // namespace kvlab
