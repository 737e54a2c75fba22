// A published greedy text of a small model, token by token.
#include "engine/generate.h"
#include "golden/golden_support.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {
namespace {

using namespace kvlab::testing;  // NOLINT(google-build-using-namespace): this folder's own helpers

TEST(GenerationGolden, Stories260KWritesThePublishedText) {
  const std::string folder = shared_path("models/stories260K");
  KVLAB_NEED_FILE(folder);
  const OneThread one;
  const auto model = open_and_load(folder, DType::kF32);
  const auto tokenizer = open_tokenizer(folder);
  Session session(model, make_method(no_compression(), shape_of(model->config())), {});
  const std::vector<int32_t> prompt{tokenizer->bos()};
  GenerateOptions options;
  options.max_new_tokens = 200;
  std::string streamed;
  const Generation made = generate(session, prompt, *tokenizer, options,
                                   [&](int32_t, const std::string& text) { streamed += text; });
  std::string published = read_text(folder + "/expected_greedy_200steps.txt");
  while (published.ends_with('\n')) published.pop_back();
  EXPECT_EQ(made.text.substr(0, published.size()), published);
  EXPECT_LT(made.text.size(), published.size() + 10);
  EXPECT_EQ(streamed, made.text);
  EXPECT_EQ(streamed, tokenizer->decode(made.ids, false));
}

}  // namespace
}  // namespace kvlab
