// Scores a text under a recipe: score_text MODEL RECIPE TEXT
#include <cmath>
#include <cstdio>
#include <exception>
#include <span>

#include "base/error.h"
#include "engine/scoring.h"
#include "engine/session.h"
#include "tokenizer/tokenizer.h"

int main(int argc, char** argv) try {
  if (argc != 4) throw kvlab::UserError("usage: score_text MODEL RECIPE TEXT");
  const kvlab::ModelFiles files = kvlab::open_model(argv[1]);
  const auto model = kvlab::load_model(files, {kvlab::DType::kF32});
  const auto method = kvlab::make_method(kvlab::resolve_recipe(argv[2], {}), kvlab::shape_of(files.config));
  const auto ids = kvlab::open_tokenizer(argv[1])->encode(argv[3]);
  if (ids.size() < 2) throw kvlab::UserError("the text has fewer than two tokens");

  kvlab::Session session(model, method, {});
  const kvlab::HiddenStates states = session.extend(ids);
  const auto nll = kvlab::token_losses(*model, states, std::span(ids).subspan(1));

  double sum = 0;
  for (const float loss : nll) sum += loss;
  std::printf("%zu tokens, perplexity %.3f, cache %lld bytes\n", ids.size(), std::exp(sum / nll.size()),
              static_cast<long long>(session.cache().bytes().total()));
} catch (const std::exception& error) {
  std::fprintf(stderr, "score_text: %s\n", error.what());
  return 2;
}
