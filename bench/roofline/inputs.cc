#include "bench/roofline/inputs.h"

#include "base/error.h"
#include "evals/text_data.h"
#include "evals/token_documents.h"

namespace kvlab::roofline {

void DataFlags::declare(CLI::App& app) {
  app.add_option("--data", data, "a text or JSONL file, or a folder of texts [the built-in corpus]");
}

std::vector<int32_t> DataFlags::tokens(const ModelFiles& files, int64_t count) const {
  const std::filesystem::path path = data.empty() ? default_corpus_path() : std::filesystem::path(data);
  if (path.empty()) throw UserError("the built-in corpus is not beside the program: give --data PATH");
  const Document document = joined(read_text_data(path, {}));
  const auto tokenizer = open_tokenizer_of(files);
  const std::vector<int32_t> all =
      tokenize_document(document, tokenizer.get(), files.config, {std::nullopt, 0, true}).tokens;
  std::vector<int32_t> tokens;
  tokens.reserve(count);
  for (int64_t i = 0; i < count; ++i) tokens.push_back(all[i % all.size()]);
  return tokens;
}

std::vector<std::shared_ptr<const Method>> make_methods(const std::string& recipes,
                                                        const ModelConfig& config) {
  std::vector<std::shared_ptr<const Method>> methods;
  for (const std::string& recipe : split_recipes(recipes)) {
    const MethodSpec spec = resolve_recipe(recipe, {});
    if (spec.needs_context()) {
      throw UserError(recipe + ": acts at the end of a context, which a streamed text does not have");
    }
    methods.push_back(make_method(spec, shape_of(config)));
  }
  if (methods.empty()) throw UserError("--recipes names no recipe");
  return methods;
}

}  // namespace kvlab::roofline
