// The tokenizer in a GGUF file's metadata.
#include "format/gguf.h"
#include "base/error.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/known_splits.h"
#include "tokenizer/readers.h"
#include "tokenizer/score_bpe.h"

namespace kvlab {
namespace {

// A pattern by the name that converters write, and what comes with it.
struct KnownSplit {
  const char* name;
  const SplitSteps& (*steps)();
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
  bool nfc = false;      // the family's own tokenizer normalizes, which GGUF files do not tell
};

constexpr KnownSplit kKnownSplits[] = {
    {"gpt-2", gpt2_split},
    {"smollm", smollm_split},
    {"default", gpt2_split},
    {"llama-bpe", llama3_split, true, true},
    {"llama3", llama3_split, true, true},
    {"llama-v3", llama3_split, true, true},
    {"qwen2", qwen2_split, false, false, true},
    {"qwen35", qwen35_split, false, false, true},
    {"deepseek-r1-qwen", qwen2_split},
    {"tekken", tekken_split, true, true},
    {"gpt-4o", gpt4o_split},
    {"olmo", gpt2_split, false, false, true},
    {"phi-2", gpt2_split},
    {"mpt", gpt2_split, false, false, true},
    {"starcoder", smollm_split},
    {"refact", smollm_split},
    {"dbrx", llama3_split},
    {"smaug-bpe", llama3_split},
};

const KnownSplit& find_split(const std::string& name) {
  std::string known;
  for (const KnownSplit& split : kKnownSplits) {
    if (name == split.name) return split;
    known += (known.empty() ? "" : ", ") + std::string(split.name);
  }
  throw UserError("tokenizer.ggml.pre is \"" + name + "\", which is not supported (known: " + known + ")");
}

template <typename List>
List require_list(std::optional<List> list, const char* key) {
  if (!list) throw UserError("has no " + std::string(key));
  return std::move(*list);
}

std::vector<std::string> read_tokens(const GgufFile& file) {
  constexpr const char* kKey = "tokenizer.ggml.tokens";
  return require_list(file.texts(kKey), kKey);
}

template <typename List>
void require_length(const List& list, const char* key, size_t tokens) {
  if (list.size() == tokens) return;
  throw UserError(std::string(key) + " has " + std::to_string(list.size()) + " entries for " +
                  std::to_string(tokens) + " tokens");
}

std::optional<std::vector<int64_t>> read_types(const GgufFile& file, size_t tokens) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  auto types = file.integers(kKey);
  if (types) require_length(*types, kKey, tokens);
  return types;
}

std::vector<AddedToken> read_added_tokens(const GgufFile& file, const std::vector<std::string>& tokens) {
  const auto types = read_types(file, tokens.size());
  std::vector<AddedToken> added;
  if (!types) return added;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const auto type = static_cast<PieceType>((*types)[id]);
    const bool is_added =
        type == PieceType::kUnknown || type == PieceType::kControl || type == PieceType::kUserDefined;
    if (!is_added) continue;
    AddedToken token{static_cast<int32_t>(id), tokens[id]};
    token.special = type != PieceType::kUserDefined;
    added.push_back(std::move(token));
  }
  return added;
}

MergeNames split_merges(const std::vector<std::string>& merges) {
  MergeNames pairs;
  pairs.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ');
    if (space == merge.npos) throw UserError("the merge \"" + std::string(merge) + "\" is not two tokens");
    pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return pairs;
}

int read_token_id(const GgufFile& file, const std::string& key, int fallback, size_t tokens) {
  const int64_t id = file.integer(key).value_or(fallback < static_cast<int64_t>(tokens) ? fallback : -1);
  if (id < -1 || id >= static_cast<int64_t>(tokens)) {
    throw UserError(key + " is " + std::to_string(id) + ", but there are " + std::to_string(tokens) +
                    " tokens");
  }
  return static_cast<int>(id);
}

// What holds where the file says nothing.
struct Fallbacks {
  int bos = -1, eos = -1;
  bool add_bos = false;
};

TokenizerSettings read_settings(const GgufFile& file, const Fallbacks& fallbacks, size_t tokens) {
  TokenizerSettings settings;
  settings.bos = read_token_id(file, "tokenizer.ggml.bos_token_id", fallbacks.bos, tokens);
  settings.eos = read_token_id(file, "tokenizer.ggml.eos_token_id", fallbacks.eos, tokens);
  settings.add_bos =
      file.flag("tokenizer.ggml.add_bos_token").value_or(fallbacks.add_bos) && settings.bos >= 0;
  settings.add_eos = file.flag("tokenizer.ggml.add_eos_token").value_or(false) && settings.eos >= 0;
  settings.chat_template = file.text("tokenizer.chat_template").value_or("");
  return settings;
}

std::shared_ptr<const Tokenizer> read_byte_bpe(const GgufFile& file) {
  const auto pre = file.text("tokenizer.ggml.pre");
  const KnownSplit& split = find_split(pre.value_or("gpt-2"));
  constexpr const char* kMerges = "tokenizer.ggml.merges";
  const std::vector<std::string> merges = require_list(file.texts(kMerges), kMerges);
  BpeTokenizerParts parts;
  parts.tokens = read_tokens(file);
  parts.settings = read_settings(file, {-1, -1, split.add_bos}, parts.tokens.size());
  parts.settings.added = read_added_tokens(file, parts.tokens);
  parts.model.merges = merges_by_id(parts.tokens, split_merges(merges));
  parts.model.by_bytes = true;
  parts.model.ignore_merges = split.ignore_merges;
  if (split.nfc) parts.normalizer.add(normal_form_step(NormalForm::kNfc));
  parts.split = split.steps();
  std::string name = pre ? *pre : "gpt-2, since the file does not name its pattern";
  if (pre == "default") name = "default, taken as gpt-2";
  parts.kind = "byte-level BPE (" + name + ")";
  parts.decode_byte_table = true;
  return std::make_shared<BpeTokenizer>(std::move(parts));
}

// The type "llama": SentencePiece's vocabulary, with scores.
std::shared_ptr<const Tokenizer> read_score_bpe(const GgufFile& file) {
  constexpr const char* kScores = "tokenizer.ggml.scores";
  std::vector<std::string> tokens = read_tokens(file);
  const std::vector<float> scores = require_list(file.floats(kScores), kScores);
  require_length(scores, kScores, tokens.size());
  const auto types = read_types(file, tokens.size());
  ScoreBpeParts parts;
  for (size_t id = 0; id < tokens.size(); ++id) {
    parts.pieces.push_back(
        {std::move(tokens[id]), scores[id], types ? piece_type((*types)[id]) : PieceType::kNormal});
  }
  parts.prefix_space = file.flag("tokenizer.ggml.add_space_prefix").value_or(true);
  parts.collapse_spaces = file.flag("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  parts.user_defined_normalized = false;  // converters write their spaces as such
  parts.settings = read_settings(file, {1, 2, true}, parts.pieces.size());
  return make_score_bpe(std::move(parts));
}

std::shared_ptr<const Tokenizer> read_tokenizer(const GgufFile& file) {
  const auto model = file.text("tokenizer.ggml.model");
  if (!model) throw UserError("has no tokenizer (no tokenizer.ggml.model)");
  if (*model == "gpt2") return read_byte_bpe(file);
  if (*model == "llama") return read_score_bpe(file);
  throw UserError("tokenizer.ggml.model is \"" + *model + "\", which is not supported (known: gpt2, llama)");
}

}  // namespace

std::shared_ptr<const Tokenizer> open_gguf_tokenizer(const std::string& path) {
  const auto file = GgufFile::open(path);
  try {
    return read_tokenizer(*file);
  } catch (const UserError& error) {
    const std::string what = error.what();
    throw UserError(what.find(path) == what.npos ? path + ": " + what : what);
  }
}

}  // namespace kvlab
