#include "evals/text_data.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"

namespace kvlab {

namespace {

constexpr const char* kBetween = "\n\n";

bool is_text_file(const std::filesystem::path& path) {
  const std::string name = path.filename().string(), extension = path.extension().string();
  if (name.starts_with(".")) return false;
  return extension == ".txt" || extension == ".text" || extension == ".raw" || extension == ".md";
}

std::vector<std::filesystem::path> books_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> books;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_regular_file() && is_text_file(entry.path())) books.push_back(entry.path());
  }
  if (error) throw UserError("cannot read " + folder.string() + ": " + error.message());
  if (books.empty()) throw UserError(folder.string() + ": holds no text files (.txt, .text, .raw, .md)");
  std::sort(books.begin(), books.end());
  return books;
}

bool holds_blanks_only(const std::string& row) {
  return row.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
}

std::vector<Document> read_folder(const std::filesystem::path& folder, const DocumentOptions& options) {
  std::vector<Document> documents;
  for (const auto& path : books_in(folder)) {
    if (options.max_samples > 0 && static_cast<int64_t>(documents.size()) >= options.max_samples) break;
    for (Document& document : read_documents(path, options)) {
      document.index = static_cast<int64_t>(documents.size());
      documents.push_back(std::move(document));
    }
  }
  return documents;
}

}  // namespace

Join parse_join(const std::string& name) {
  if (name == "raw") return Join::kRaw;
  if (name == "wikitext") return Join::kWikitext;
  if (name == "gptq") return Join::kGptq;
  throw UserError("--join " + name + " is not known (expected raw, wikitext or gptq)");
}

std::string join_rows(const std::string& text, Join join) {
  if (join == Join::kRaw) return text;
  std::string result;
  bool first = true;
  for (size_t at = 0; at < text.size();) {
    const size_t feed = text.find('\n', at);
    const size_t end = feed == std::string::npos ? text.size() : feed + 1;
    std::string row = text.substr(at, end - at);
    at = end;
    if (holds_blanks_only(row)) {
      if (join == Join::kWikitext) continue;
      row.clear();
    }
    if (!first) result += kBetween;
    first = false;
    result += row;
  }
  return result;
}

std::vector<Document> read_text_data(const std::filesystem::path& path, const TextOptions& options) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  std::vector<Document> documents =
      folder ? read_folder(path, options.read) : read_documents(path, options.read);
  if (options.join == Join::kRaw) return documents;
  if (!folder && !is_text_file(path))
    throw UserError("--join needs plain text (.txt, .text, .raw, .md), and " + path.string() + " is not");
  for (Document& document : documents) {
    document.text = join_rows(document.text, options.join);
    if (document.text.empty()) throw UserError("document '" + document.id + "' has no rows to join");
  }
  return documents;
}

Document joined(std::vector<Document> documents) {
  KVLAB_CHECK(!documents.empty());
  Document all = std::move(documents[0]);
  for (size_t d = 1; d < documents.size(); ++d) {
    const Document& next = documents[d];
    if (all.ids.empty()) {
      all.text += kBetween + next.text;
      continue;
    }
    all.ids.insert(all.ids.end(), next.ids.begin(), next.ids.end());
    if (all.mask && next.mask) all.mask->insert(all.mask->end(), next.mask->begin(), next.mask->end());
  }
  if (documents.size() > 1) all.id = "all " + std::to_string(documents.size()) + " documents";
  return all;
}

}  // namespace kvlab
