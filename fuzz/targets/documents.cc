// Documents: a JSONL file read as text and as ids with a mask, and plain text, both joined in every way and
// packed where the input begins as packed files do; and files of ids.
#include "base/utf8_check.h"
#include "evals/ids_file.h"
#include "evals/text_data.h"
#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

namespace {

void check(const std::vector<Document>& documents) {
  for (const Document& document : documents) {
    require(document.text.empty() != document.ids.empty(), "neither text nor ids, or both");
    require(first_invalid_utf8(document.text) == std::string::npos, "text that is not UTF-8");
    for (const int32_t id : document.ids) require(id >= 0, "an id below zero");
    if (document.mask) require(document.mask->size() == document.ids.size(), "a mask of another size");
  }
}

}  // namespace

void fuzz_documents(Input input) {
  static const Folder folder;
  const std::string lines = folder.write("documents.jsonl", text_of(input));
  answers(lines, [&] { check(read_documents(lines, {})); });
  answers(lines, [&] { check(read_documents(lines, {"", "ids", "", 0})); });
  answers(lines, [&] { check(read_documents(lines, {"", "ids", "mask", 0})); });
  for (const Join join : {Join::kWikitext, Join::kGptq}) {
    answers("documents.jsonl", [&] { check(read_text_data(lines, {{}, join})); });
  }
  const std::string text = folder.write("document.txt", text_of(input));
  for (const Join join : {Join::kRaw, Join::kWikitext, Join::kGptq}) {
    answers("document.txt", [&] { check(read_text_data(text, {{}, join})); });
  }
}

void fuzz_token_ids(Input input) {
  static const Folder folder;
  const std::string path = folder.write("ids.json", text_of(input));
  answers(path, [&] { check({read_ids_file(path)}); });
}

}  // namespace kvlab::fuzz
