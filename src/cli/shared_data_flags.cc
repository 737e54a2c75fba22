#include "cli/shared_data_flags.h"

#include <fmt/format.h>

#include "base/error.h"
#include "evals/data_names.h"

namespace kvlab {

namespace {

nlohmann::ordered_json given(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
}

}  // namespace

void DataFlags::declare(CLI::App& app) {
  app.add_option(
      "--data_path", path,
      "text, or JSONL with a document a line, both also as .gz or .zst; or a folder of them: books, "
      "or a data set with splits [the built-in corpus]");
  declare_folder(app);
  app.add_option("--text_field", text_field, "JSONL field with the text [text, else content]");
  app.add_option("--tokens_field", tokens_field, "JSONL field with token ids, instead of text [none]");
  app.add_option("--mask_field", mask_field,
                 "JSONL field with a mask: 1 scores the token [none: all are scored]");
  app.add_option("--bos", bos, "yes or no: begin text with BOS [as the tokenizer says]");
}

void DataFlags::declare_folder(CLI::App& app) {
  app.add_option("--split", split, "which split of a folder: test, validation, train [its only one]");
  app.add_option("--dataset_config", config,
                 "which data set of a folder, a folder in it: wikitext-2-raw-v1 [its only one]");
  app.add_option(
         "--join", join,
         "raw: text as it is; wikitext: its lines (or the documents of JSONL) as rows of one text, with "
         "blank lines between, rows of blanks dropped; gptq: the same, all rows kept")
      ->capture_default_str();
}

std::string DataFlags::path_or_corpus() const {
  const std::string data = path.empty() ? default_corpus_path().string() : path;
  if (data.empty()) throw UserError("the built-in corpus is not installed; give --data_path FILE");
  return data;
}

TextOptions DataFlags::options(int64_t max_samples) const {
  TextOptions options;
  options.read.text_field = text_field;
  options.read.tokens_field = tokens_field;
  options.read.mask_field = mask_field;
  options.read.max_samples = max_samples;
  options.join = parse_join(join);
  options.split = split;
  options.config = config;
  return options;
}

std::string DataFlags::name() const {
  std::filesystem::path data = path_or_corpus();
  if (!data.has_filename()) data = data.parent_path();  // a folder written with a slash behind
  std::string name = unpacked_name(data).stem().string();
  for (const std::string& part : {config, split}) {
    if (!part.empty()) name += "-" + part;
  }
  return name;
}

void DataFlags::record(nlohmann::ordered_json& json) const {
  json["split"] = given(split);
  json["dataset_config"] = given(config);
  json["join"] = join;
}

TokenReader token_reader(std::unique_ptr<PieceSource> pieces, const ModelFiles& files,
                         const TokenOptions& options) {
  return {std::move(pieces), [files] { return open_tokenizer_of(files); }, files.config, options};
}

TokenDocument read_one_document(const DataFlags& flags, const std::string& text, int64_t index,
                                const ModelFiles& files, const TokenOptions& options) {
  const auto missing = [&](int64_t there) {
    return UserError(fmt::format("--document {}: {} has {} (counted from 0)", index, text, there));
  };
  auto pieces = open_text_data(text, flags.options(index + 1));
  for (int64_t d = 0; d < index; ++d) {
    const std::optional<DocumentPiece> piece = pieces->next();
    if (!piece) throw missing(d);
    if (piece->more) pieces->skip_document();
  }
  std::optional<TokenDocument> document = token_reader(std::move(pieces), files, options).next();
  if (!document) throw missing(index);
  return *std::move(document);
}

}  // namespace kvlab
