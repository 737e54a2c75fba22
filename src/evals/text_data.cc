#include "evals/text_data.h"

#include "base/error.h"
#include "evals/data_files.h"
#include "evals/data_names.h"
#include "evals/document_pieces.h"

namespace kvlab {

namespace {

// The documents of several files, counted from 0.
class FileChain : public PieceSource {
 public:
  FileChain(DataFiles data, std::string name, const TextOptions& options)
      : data_(std::move(data)), name_(std::move(name)), options_(options) {
    open_next();  // what is wrong with the first file is said before any work
  }

  std::optional<DocumentPiece> next() override {
    while (file_ != nullptr) {
      std::optional<DocumentPiece> piece = file_->next();
      if (!piece) {
        open_next();
        continue;
      }
      piece->document.index = documents_;
      documents_ += !piece->more;
      return piece;
    }
    if (documents_ == 0) throw UserError(name_ + ": holds no documents");
    return std::nullopt;
  }
  void skip_document() override {
    file_->skip_document();
    ++documents_;
  }

 private:
  void open_next() {
    file_.reset();
    DocumentOptions read = options_.read;
    const bool enough = read.max_samples > 0 && documents_ >= read.max_samples;
    if (enough || opened_ == data_.files.size()) return;
    if (read.max_samples > 0) read.max_samples -= documents_;
    const std::filesystem::path& path = data_.files[opened_++];
    file_ = open_file_pieces(path, read);
    const bool lines = data_name(path).kind != DataKind::kRows;
    if (lines && options_.join != Join::kRaw) file_ = join_lines(std::move(file_), options_.join);
  }

  DataFiles data_;
  std::string name_;  // as the user wrote it
  TextOptions options_;
  std::unique_ptr<PieceSource> file_;
  size_t opened_ = 0;
  int64_t documents_ = 0;  // that have ended
};

// Documents that are held.
class HeldDocuments : public PieceSource {
 public:
  explicit HeldDocuments(std::vector<Document> documents) : documents_(std::move(documents)) {}
  std::optional<DocumentPiece> next() override {
    if (at_ == documents_.size()) return std::nullopt;
    return DocumentPiece{std::move(documents_[at_++])};
  }
  void skip_document() override {}

 private:
  std::vector<Document> documents_;
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<PieceSource> open_text_data(const std::filesystem::path& path, const TextOptions& options) {
  DataFiles data = find_data_files(path, options.split, options.config);
  const bool rows = data_name(data.files.front()).kind == DataKind::kRows;
  if (!rows || options.join == Join::kRaw)
    return std::make_unique<FileChain>(std::move(data), path.string(), options);
  if (!options.read.tokens_field.empty())
    throw UserError("--join joins texts, and --tokens_field reads ids; leave one of them out");
  TextOptions all_rows = options;
  all_rows.read.max_samples = 0;  // these are rows, not documents
  all_rows.read.empty_text = true;
  std::string id = data.id;
  auto files = std::make_unique<FileChain>(std::move(data), path.string(), all_rows);
  return join_row_documents(std::move(files), options.join, std::move(id));
}

std::vector<Document> read_text_data(const std::filesystem::path& path, const TextOptions& options) {
  const auto pieces = open_text_data(path, options);
  std::vector<Document> documents;
  while (std::optional<Document> document = next_whole(*pieces)) documents.push_back(std::move(*document));
  return documents;
}

Document joined(std::vector<Document> documents) {
  KVLAB_CHECK(!documents.empty());
  const auto all = join_documents(std::make_unique<HeldDocuments>(std::move(documents)));
  return *next_whole(*all);
}

}  // namespace kvlab
