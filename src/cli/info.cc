// kvlab info: what a model file says.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/common.h"
#include "tokenizer/tokenizer.h"

namespace kvlab {

namespace {

std::string rotary_text(const RotarySettings& rotary) {
  std::string text = fmt::format("theta {:g}, {} dimensions", rotary.theta, rotary.dims);
  if (!rotary.divisors.empty()) return text + ", frequency divisors from the file";
  if (rotary.kind == RotarySettings::Kind::kDefault) return text;
  return text + fmt::format(", llama3 scaling (factor {:g}, {:g} to {:g}, original context {})",
                            rotary.factor, rotary.low_freq_factor, rotary.high_freq_factor,
                            rotary.original_context);
}

int run(const ModelFlags& flags) {
  const ModelFiles files = flags.open();
  const ModelConfig& c = files.config;
  const auto row = [](const char* name, const std::string& value) { fmt::print("{:<16}{}\n", name, value); };
  row("name", c.name);
  row("path", files.weights->path());
  row("architecture", c.architecture);
  row("layers", std::to_string(c.layers));
  row("hidden size", std::to_string(c.hidden));
  row("heads", fmt::format("{} query, {} KV, of {}", c.query_heads, c.kv_heads, c.head_dim));
  row("MLP size", std::to_string(c.intermediate));
  row("vocabulary",
      fmt::format("{}{}", c.vocab, c.tied_embeddings ? ", output head tied to the embedding" : ""));
  row("context", fmt::format("{} tokens", c.context));
  row("rotary", rotary_text(c.rotary));
  row("weights", c.weight_types);
  const int64_t per_token = int64_t{2} * c.layers * c.kv_heads * c.head_dim;
  row("KV per token", fmt::format("{} bytes in bf16, {} in f32", 2 * per_token, 4 * per_token));
  try {
    const auto tokenizer = open_tokenizer_of(files);
    row("tokenizer", tokenizer->description());
    row("BOS, EOS", fmt::format("{}, {}; BOS is {}added to text{}", tokenizer->bos(), tokenizer->eos(),
                                tokenizer->add_bos() ? "" : "not ",
                                tokenizer->add_eos() ? ", and the tokenizer asks for EOS behind it" : ""));
  } catch (const std::exception& error) {
    row("tokenizer", fmt::format("none: {}", error.what()));
  }
  return 0;
}

}  // namespace

extern const CommandInfo kCommandInfo_info;
const CommandInfo kCommandInfo_info = {
    "info", "print what a model file holds", "  kvlab info\n  kvlab info path/to/model.gguf\n",
    [](CLI::App& app) -> std::function<int()> {
      auto flags = std::make_shared<ModelFlags>();
      app.add_option("MODEL,--model", flags->model, "GGUF file or Hugging Face folder [the built-in model]");
      return [flags] { return run(*flags); };
    }};

}  // namespace kvlab
