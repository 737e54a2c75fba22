#include "evals/document_pieces.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/utf8_check.h"
#include "evals/byte_stream.h"
#include "evals/data_names.h"
#include "evals/document_line.h"

namespace kvlab {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr size_t kLongestLine = size_t{256} << 20;  // what lies beyond is no document but a damaged file

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

// The lines of a file, without their line feeds.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path)
      : stream_(open_byte_stream(path)), name_(path.string()), buffer_(kPieceBytes) {}

  // False at the end.
  bool next(std::string& line) {
    line.clear();
    ++number_;
    while (at_ < end_ || fill()) {
      const char* const begin = buffer_.data() + at_;
      const char* const feed = std::find(begin, static_cast<const char*>(buffer_.data()) + end_, '\n');
      line.append(begin, feed);
      at_ = static_cast<size_t>(feed - buffer_.data());
      if (line.size() > kLongestLine)
        throw UserError(place() + ": the line is longer than 256 MiB; JSONL has one document a line");
      if (at_ == end_) continue;
      ++at_;
      return true;
    }
    return !line.empty();
  }
  int64_t number() const { return number_; }  // of the last line, from 1
  std::string place() const { return name_ + ":" + std::to_string(number_); }

 private:
  bool fill() {
    at_ = 0;
    end_ = stream_->read(buffer_.data(), buffer_.size());
    return end_ > 0;
  }

  std::unique_ptr<ByteStream> stream_;
  std::string name_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0;
  int64_t number_ = 0;
};

class LineDocuments : public PieceSource {
 public:
  LineDocuments(const std::filesystem::path& path, const DocumentOptions& options)
      : lines_(path), options_(options) {}

  std::optional<DocumentPiece> next() override {
    if (options_.max_samples > 0 && documents_ == options_.max_samples) return std::nullopt;
    while (lines_.next(line_)) {
      if (lines_.number() == 1 && line_.starts_with(kByteOrderMark)) line_.erase(0, kByteOrderMark.size());
      if (blank(line_)) continue;
      DocumentPiece piece{parse_document_line(line_, lines_.place(), options_)};
      piece.document.index = documents_++;
      return piece;
    }
    return std::nullopt;
  }
  void skip_document() override {}  // each comes in one piece

 private:
  Lines lines_;
  DocumentOptions options_;
  std::string line_;
  int64_t documents_ = 0;
};

// Bytes at the end of `text` that may begin a character whose rest has not been read.
size_t unfinished_bytes(std::string_view text) {
  for (size_t count = 1; count <= std::min<size_t>(3, text.size()); ++count) {
    const auto byte = static_cast<unsigned char>(text[text.size() - count]);
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return count;
  }
  return 0;
}

class PlainText : public PieceSource {
 public:
  explicit PlainText(const std::filesystem::path& path)
      : stream_(open_byte_stream(path)), name_(path.string()), id_(path.filename().string()) {}

  std::optional<DocumentPiece> next() override {
    if (done_) return std::nullopt;
    std::string text = std::move(held_);
    held_.clear();
    const size_t held = text.size();
    text.resize(held + kPieceBytes);
    const size_t count = read_fully(*stream_, text.data() + held, kPieceBytes);
    text.resize(held + count);
    done_ = count < kPieceBytes;
    if (!done_) {
      const size_t kept = text.size() - unfinished_bytes(text);
      held_ = text.substr(kept);
      text.resize(kept);
    }
    require_utf8(text, name_, "file", offset_);
    const bool begins = offset_ == 0;
    offset_ += text.size();
    if (begins && text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
    if (begins && text.empty()) throw UserError(name_ + ": is empty");
    DocumentPiece piece;
    piece.document.id = id_;
    piece.document.text = std::move(text);
    piece.more = !done_;
    return piece;
  }
  void skip_document() override { done_ = true; }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::string name_, id_;
  std::string held_;   // the start of a character
  size_t offset_ = 0;  // bytes given so far
  bool done_ = false;
};

void check(const std::filesystem::path& path, const DocumentOptions& options, bool rows) {
  if (!options.mask_field.empty() && options.tokens_field.empty())
    throw UserError("--mask_field needs --tokens_field: a mask says which token ids are scored");
  if (options.max_samples < 0) throw UserError("--max_samples must be 0 (all) or more");
  if (!rows && (!options.tokens_field.empty() || !options.text_field.empty())) {
    throw UserError(path.string() +
                    ": plain text has no fields; --text_field and --tokens_field need a .jsonl file");
  }
}

}  // namespace

// A .json file is read as JSONL too: what is one JSON value over several lines is refused with its line, and
// never scored as if its brackets were prose.
std::unique_ptr<PieceSource> open_file_pieces(const std::filesystem::path& path,
                                              const DocumentOptions& options) {
  const bool rows = data_name(path).kind == DataKind::kRows;
  check(path, options, rows);
  if (rows) return std::make_unique<LineDocuments>(path, options);
  return std::make_unique<PlainText>(path);
}

std::optional<Document> next_whole(PieceSource& source) {
  std::optional<DocumentPiece> piece = source.next();
  if (!piece) return std::nullopt;
  Document document = std::move(piece->document);
  while (piece->more) {
    piece = source.next();
    KVLAB_CHECK(piece);
    Document& next = piece->document;
    document.id = next.id;
    document.text += next.text;
    document.ids.insert(document.ids.end(), next.ids.begin(), next.ids.end());
    if (document.mask && next.mask)
      document.mask->insert(document.mask->end(), next.mask->begin(), next.mask->end());
  }
  return document;
}

}  // namespace kvlab
