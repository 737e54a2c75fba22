// kvlab generate: text from a model whose cache is compressed while it writes.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cache/recipe.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/shared_chat_flags.h"
#include "engine/generate.h"
#include "reports/number_text.h"
#include "tokenizer/chat_template.h"

namespace kvlab {

namespace {

constexpr int64_t kDefaultNewTokens = 256;

struct Flags {
  ModelFlags model;
  std::string recipe = "none", decode_weights = "file", prompt_file, kvzap_scorer_model, bos;
  ChatFlags chat;
  std::optional<std::string> prompt;
  std::vector<std::string> stop;
  std::optional<int64_t> max_new_tokens;
  SamplingOptions sampling;
  int64_t seed = 0;
  bool ignore_eos = false, beyond_context = false, json = false, live = false, quiet = false;
  bool show_prompt = false;
};

void check(const Flags& f) {
  if (f.prompt.has_value() + !f.prompt_file.empty() + !f.chat.messages_file.empty() != 1) {
    throw UserError(
        "give either --prompt TEXT or --prompt_file FILE (- reads standard input) or --messages FILE");
  }
  f.chat.check();
  if (f.chat.in_use() && !f.bos.empty()) {
    throw UserError("--bos does not go with --chat or --messages: the chat template decides");
  }
  if (f.decode_weights != "file" && f.decode_weights != "packed")
    throw UserError("--decode_weights " + f.decode_weights + ": expected file or packed");
  if (f.live && !f.json) throw UserError("--live needs --json");
  at_least("--max_new_tokens", f.max_new_tokens.value_or(0), 0);
  at_least("--seed", f.seed, 0);
  check_sampling(f.sampling);
}

std::string read_prompt(const Flags& f) {
  if (f.prompt) return *f.prompt;
  if (!f.chat.messages_file.empty()) return "";
  if (f.prompt_file != "-") return read_text_file("--prompt_file", f.prompt_file);
  std::ostringstream text;
  text << std::cin.rdbuf();
  return text.str();
}

// What is asked of the model: the prompt's tokens, and the tokens that end the answer.
struct Request {
  std::vector<int32_t> prompt, end_tokens;
  std::string text;
};

Request plain_request(const Flags& f, const Tokenizer& tokenizer, const std::string& text) {
  Request request{tokenizer.encode(text), {}, text};
  if (parse_yes_no("--bos", f.bos).value_or(tokenizer.add_bos())) {
    if (tokenizer.bos() < 0) throw UserError("--bos yes: the tokenizer has no BOS token");
    request.prompt.insert(request.prompt.begin(), tokenizer.bos());
  }
  return request;
}

Request chat_request(const Flags& f, const Tokenizer& tokenizer, const std::string& text) {
  const ChatPrompt prompt = f.chat.render(tokenizer, text);
  const ChatIds chat = encode_chat(tokenizer, prompt);
  Request request{chat.prompt, {}, prompt.text()};
  if (chat.turn_end >= 0) request.end_tokens.push_back(chat.turn_end);
  return request;
}

Request make_request(const Flags& f, const Tokenizer& tokenizer) {
  const std::string text = read_prompt(f);
  Request request = f.chat.in_use() ? chat_request(f, tokenizer, text) : plain_request(f, tokenizer, text);
  if (tokenizer.eos() >= 0) request.end_tokens.push_back(tokenizer.eos());
  if (f.ignore_eos) request.end_tokens.clear();
  return request;
}

// Unless given, as many as the context leaves, up to a limit.
int64_t new_tokens(const Flags& f, const ModelConfig& config, int64_t prompt) {
  if (f.max_new_tokens) return *f.max_new_tokens;
  if (f.beyond_context || config.context <= prompt) return kDefaultNewTokens;
  return std::min(kDefaultNewTokens, config.context - prompt);
}

// Shown as it comes, character by character.
void write_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  throw UserError("standard output cannot be written");
}

struct CacheFigures {
  int64_t tokens, bytes, peak, dense;  // bytes, and what `tokens` take without compression
  int64_t least, most, total, heads;   // live entries of one head, and of all
  double density() const {
    return tokens > 0 ? static_cast<double>(total) / static_cast<double>(heads * tokens) : 1;
  }
};

CacheFigures figures_of(const Session& session, DType type) {
  const KvCache& cache = session.cache();
  const ModelShape& shape = cache.method().shape;
  CacheFigures figures{cache.tokens(),       cache.bytes().total(),
                       cache.peak_bytes(),   dense_cache_bytes(shape, cache.tokens(), type),
                       cache.tokens(),       0,
                       cache.live_entries(), int64_t{1} * shape.layers * shape.kv_heads};
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      const int64_t live = cache.store(layer, head).size();
      figures.least = std::min(figures.least, live);
      figures.most = std::max(figures.most, live);
    }
  }
  return figures;
}

std::string speed(size_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? fmt::format(", {:.1f} tokens/s", static_cast<double>(tokens) / seconds)
                                   : "";
}

std::string megabytes(int64_t bytes) {
  return bytes_text(static_cast<double>(bytes), "");
}

const char* ending(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "ended by EOS";
    case FinishReason::kStop:
      return "ended by a stop string";
    case FinishReason::kLength:
      return "ended by --max_new_tokens";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  return "";
}

void print_summary(size_t prompt, const Generation& made, const CacheFigures& cache) {
  fmt::print(stderr, "prompt: {} tokens in {:.2f} s{}\n", prompt, made.prefill_seconds,
             speed(prompt, made.prefill_seconds));
  fmt::print(stderr, "new:    {} tokens in {:.2f} s{}, {}\n", made.ids.size(), made.decode_seconds,
             speed(made.ids.size(), made.decode_seconds), ending(made.finish));
  const double share =
      cache.dense > 0 ? 100.0 * static_cast<double>(cache.bytes) / static_cast<double>(cache.dense) : 100;
  fmt::print(stderr,
             "cache:  {} of {} without compression ({:.1f}%), peak {}; live entries per head {} min, {:.1f} "
             "mean, {} "
             "max, of {}\n",
             megabytes(cache.bytes), megabytes(cache.dense), share, megabytes(cache.peak), cache.least,
             static_cast<double>(cache.total) / static_cast<double>(cache.heads), cache.most, cache.tokens);
}

void print_json(const Request& request, const Generation& made, const CacheFigures& cache,
                const Session& session, bool live) {
  nlohmann::ordered_json json;
  json["prompt_tokens"] = request.prompt.size();
  json["new_tokens"] = made.ids.size();
  json["prompt_ids"] = request.prompt;
  json["ids"] = made.ids;
  json["text"] = made.text;
  json["finish_reason"] = finish_name(made.finish);
  json["recipe"] = session.cache().method().spec.recipe;
  json["kv_bytes"] = cache.bytes;
  json["kv_bytes_peak"] = cache.peak;
  json["kv_bytes_baseline"] = cache.dense;
  json["density"] = cache.density();
  json["prefill_seconds"] = made.prefill_seconds;
  json["decode_seconds"] = made.decode_seconds;
  if (live) json["live_at_end"] = session.live_positions();
  write_out(json.dump() + "\n");
}

// The text as the model gets it; with --json its ids as well.
void show_prompt(const Request& request, const Tokenizer& tokenizer, bool json) {
  if (!json) return write_out(request.text);
  const ChatTemplate tokens = chat_template_of(tokenizer);
  nlohmann::ordered_json shown;
  shown["prompt"] = request.text;
  shown["prompt_ids"] = request.prompt;
  shown["end_ids"] = request.end_tokens;
  shown["bos"] = tokens.bos;
  shown["eos"] = tokens.eos;
  write_out(shown.dump() + "\n");
}

int run(const Flags& f) {
  check(f);
  RecipeDefaults defaults;
  defaults.scorer_model = f.model.scorer_folder(f.kvzap_scorer_model);
  const MethodSpec spec = resolve_recipe(f.recipe, defaults);
  const ModelFiles files = f.model.open();
  const auto tokenizer = open_tokenizer_of(files);
  const Request request = make_request(f, *tokenizer);
  if (f.show_prompt) {
    show_prompt(request, *tokenizer, f.json);
    return 0;
  }
  GenerateOptions options;
  options.max_new_tokens = new_tokens(f, files.config, static_cast<int64_t>(request.prompt.size()));
  options.sampling = f.sampling;
  options.sampling.seed = static_cast<uint64_t>(f.seed);
  options.end_tokens = request.end_tokens;
  options.stop = f.stop;
  check_prompt(files.config, request.prompt, options.max_new_tokens, f.beyond_context);
  const auto method = make_method(spec, shape_of(files.config));
  CacheOptions cache_options;
  cache_options.type = f.model.cache_type();
  cache_options.prompts = prompts_for({&spec, 1}, files);
  const DecodeWeights decode = f.decode_weights == "file" ? DecodeWeights::kFile : DecodeWeights::kPacked;
  Session session(f.model.load(files, silent_progress(), decode), method, cache_options);

  TokenCallback show;
  if (!f.json) show = [](int32_t, const std::string& text) { write_out(text); };
  const Generation made = generate(session, request.prompt, *tokenizer, options, show);
  const CacheFigures cache = figures_of(session, f.model.cache_type());
  if (f.json) {
    print_json(request, made, cache, session, f.live);
  } else {
    // Not into a file or a pipe, which get the text as it is.
    if (isatty(STDOUT_FILENO) && !made.text.ends_with('\n')) write_out("\n");
    if (!f.quiet) print_summary(request.prompt.size(), made, cache);
  }
  return made.finish == FinishReason::kInterrupted ? kExitInterrupted : 0;
}

void declare(CLI::App& app, Flags& f) {
  app.add_option("--prompt", f.prompt, "the text to go on from [this or --prompt_file]");
  app.add_option("--prompt_file", f.prompt_file,
                 "a file with the text; - reads standard input [this or --prompt]");
  f.model.declare(app);
  app.add_option("--recipe", f.recipe, "the method that compresses the cache")->capture_default_str();
  app.add_option(
         "--decode_weights", f.decode_weights,
         "what new tokens are computed with. file: the file's quantised weights as they are, where that "
         "is faster (bf16, q4_0, q4_1, q8_0); packed: what the prompt is computed with, rounded to bf16")
      ->capture_default_str();
  app.add_option("--max_new_tokens", f.max_new_tokens, "tokens to write [256, or what the context leaves]");
  app.add_option("--temperature", f.sampling.temperature,
                 "0 takes the likeliest token; higher is more random")
      ->capture_default_str();
  app.add_option("--top_p", f.sampling.top_p,
                 "draw from the likeliest tokens that together reach this probability")
      ->capture_default_str();
  app.add_option("--top_k", f.sampling.top_k, "draw from so many of the likeliest tokens; 0: all")
      ->capture_default_str();
  app.add_option("--seed", f.seed, "of the draws")->capture_default_str();
  f.chat.declare(app);
  app.add_flag("--show_prompt", f.show_prompt,
               "print the prompt as the model gets it, and stop; with --json its token ids as well");
  app.add_option("--stop", f.stop, "texts that end the generation; they are not printed [none]");
  app.add_flag("--ignore_eos", f.ignore_eos, "go on when the model ends its text");
  app.add_option("--kvzap_scorer_model", f.kvzap_scorer_model, kScorerHelp);
  app.add_option("--bos", f.bos, "yes or no: begin the prompt with BOS [as the tokenizer says]");
  app.add_flag("--beyond_context", f.beyond_context, "allow more tokens than the model's context");
  app.add_flag("--json", f.json, "print one JSON object at the end instead of the text");
  app.add_flag("--live", f.live, "with --json: add live_at_end, positions per layer and KV head");
  app.add_flag("--quiet", f.quiet, "no figures after the text");
}

}  // namespace

extern const CommandInfo kCommandInfo_generate;
const CommandInfo kCommandInfo_generate = {
    "generate", "write text with a model whose cache is compressed",
    "  kvlab generate --prompt 'Once upon a time' --recipe 'h2o(size=256)' --max_new_tokens 500\n"
    "  kvlab generate --chat --prompt 'What is a KV cache?' --temperature 0.7 --top_p 0.9 --seed 1\n"
    "  kvlab generate --messages talk.json --thinking no --max_new_tokens 200\n"
    "  kvlab generate --prompt_file book.txt --recipe 'snapkv(keep=0.25,at=context)' --stop 'THE END'\n"
    "  echo 'The capital of France is' | kvlab generate --prompt_file - --max_new_tokens 8 --json\n",
    [](CLI::App& app) -> std::function<int()> {
      auto f = std::make_shared<Flags>();
      declare(app, *f);
      return [f] { return run(*f); };
    }};

}  // namespace kvlab
