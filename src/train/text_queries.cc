#include "train/text_queries.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "engine/session.h"
#include "train/passages.h"

namespace kvlab {

namespace {

// Passages may be a quarter longer than asked for, and the model must be able to read them.
int passage_size(const TrainContext& context) {
  const int64_t wanted = context.values.integer("passage_tokens"), most = context.model->config().context;
  return static_cast<int>(most > 0 ? std::min(wanted, most * 4 / 5) : wanted);
}

}  // namespace

std::vector<Passage> passages_to_read(const TrainContext& context, int64_t skipped) {
  const int size = passage_size(context);
  std::vector<Passage> all = cut_passages(context.texts, size, context.seed);
  std::erase_if(all, [&](const Passage& passage) { return passage.length <= skipped; });
  if (all.empty()) {
    int64_t tokens = 0;
    for (const TrainText& text : context.texts) tokens += static_cast<int64_t>(text.tokens.size());
    throw UserError(
        fmt::format("--data_path: {} tokens give no passage of about {} tokens; give more text or a smaller "
                    "--passage_tokens",
                    tokens, size));
  }
  return draw_passages(all, context.values.integer("passages"), context.seed + 1);
}

std::vector<int32_t> tokens_to_read(const TrainContext& context, const Passage& passage) {
  std::vector<int32_t> tokens;
  if (context.tokenizer && context.tokenizer->add_bos() && context.tokenizer->bos() >= 0)
    tokens.push_back(context.tokenizer->bos());
  const auto first = context.texts[passage.text].tokens.begin() + passage.first;
  tokens.insert(tokens.end(), first, first + passage.length);
  return tokens;
}

FieldList passage_fields(int64_t passages, int64_t tokens) {
  return {int_field("passages", passages, 1, 1 << 24, "passages to read, drawn from the text"),
          int_field("passage_tokens", tokens, 4, 1 << 20,
                    "tokens of a passage, give or take a quarter; at most what the model's context holds")};
}

std::optional<QueryMoments> moments_of_texts(const TrainContext& context, QueryMoments::Form form,
                                             int64_t skipped) {
  const std::vector<Passage> passages = passages_to_read(context, skipped);
  const ModelShape shape = shape_of(context.model->config());
  const auto method = make_method(no_compression(), shape);
  const auto moments = std::make_shared<QueryMoments>(shape, form, skipped);
  context.progress->begin("reading passages", static_cast<int64_t>(passages.size()));
  for (size_t i = 0; i < passages.size() && !stop_requested(); ++i) {
    CacheOptions options;
    options.type = context.cache_type;
    options.tap = moments;
    Session(context.model, method, options).extend(tokens_to_read(context, passages[i]));
    context.progress->step(static_cast<int64_t>(i) + 1);
  }
  context.progress->end();
  if (stop_requested()) return std::nullopt;
  return *moments;
}

}  // namespace kvlab
