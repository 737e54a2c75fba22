#include "evals/documents.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <system_error>

#include "base/error.h"
#include "evals/document_line.h"

namespace kvlab {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

// A .json file is read as JSONL too: what is one JSON value over several lines is refused with its line, and
// never scored as if its brackets were prose.
bool holds_lines(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
}

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

}  // namespace

DocumentReader::DocumentReader(std::filesystem::path path, DocumentOptions options)
    : path_(std::move(path)), options_(std::move(options)), lines_(holds_lines(path_)) {
  const std::string name = path_.string();
  if (!options_.mask_field.empty() && options_.tokens_field.empty()) {
    throw UserError("--mask_field needs --tokens_field: a mask says which token ids are scored");
  }
  if (options_.max_samples < 0) throw UserError("--max_samples must be 0 (all) or more");
  if (!lines_ && (!options_.tokens_field.empty() || !options_.text_field.empty())) {
    throw UserError(name + ": plain text has no fields; --text_field and --tokens_field need a .jsonl file");
  }
  std::error_code error;
  if (std::filesystem::is_directory(path_, error)) throw UserError(name + ": is a folder, expected a file");
  file_.open(path_, std::ios::binary);
  if (!file_) throw UserError("cannot read " + name + ": " + std::strerror(errno));
}

std::optional<Document> DocumentReader::next() {
  if (options_.max_samples > 0 && documents_ == options_.max_samples) return std::nullopt;
  std::optional<Document> document = lines_ ? next_line() : whole_file();
  if (file_.bad()) throw UserError("cannot read all of " + path_.string() + ": " + std::strerror(errno));
  if (document) document->index = documents_++;
  if (!document && documents_ == 0) throw UserError(path_.string() + ": holds no documents");
  return document;
}

std::optional<Document> DocumentReader::next_line() {
  std::string line;
  while (std::getline(file_, line)) {
    if (++line_ == 1 && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
    if (blank(line)) continue;
    return parse_document_line(line, path_.string() + ":" + std::to_string(line_), options_);
  }
  return std::nullopt;
}

std::optional<Document> DocumentReader::whole_file() {
  if (documents_ > 0) return std::nullopt;
  Document document;
  document.id = path_.filename().string();
  document.text.assign(std::istreambuf_iterator<char>(file_), {});
  if (document.text.empty()) throw UserError(path_.string() + ": is empty");
  require_utf8(document.text, path_.string(), "file");
  if (document.text.starts_with(kByteOrderMark)) document.text.erase(0, kByteOrderMark.size());
  if (document.text.empty()) throw UserError(path_.string() + ": is empty");
  return document;
}

std::vector<Document> read_documents(const std::filesystem::path& path, const DocumentOptions& options) {
  DocumentReader reader(path, options);
  std::vector<Document> documents;
  while (std::optional<Document> document = reader.next()) documents.push_back(std::move(*document));
  return documents;
}

}  // namespace kvlab
