// The tokenizer in a GGUF file's metadata.
#include "format/gguf.h"
#include "base/error.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

// Values of tokenizer.ggml.token_type that matter here.
constexpr int64_t kUnknownType = 2;
constexpr int64_t kControlType = 3;
constexpr int64_t kUserDefinedType = 4;

struct KnownSplit {
  const char* name;
  const SplitSteps& (*steps)();
  bool llama3 = false;  // whole words first, and a BOS where the file does not say
};

constexpr KnownSplit kKnownSplits[] = {
    {"gpt-2", gpt2_split},          {"smollm", smollm_split},
    {"default", gpt2_split},        {"llama-bpe", llama3_split, true},
    {"llama3", llama3_split, true}, {"llama-v3", llama3_split, true},
};

const KnownSplit& find_split(const std::string& name) {
  std::string known;
  for (const KnownSplit& split : kKnownSplits) {
    if (name == split.name) return split;
    known += (known.empty() ? "" : ", ") + std::string(split.name);
  }
  throw UserError("tokenizer.ggml.pre is \"" + name + "\", which is not supported (known: " + known + ")");
}

std::vector<std::string> require_texts(const GgufFile& file, const char* key) {
  auto texts = file.texts(key);
  if (!texts) throw UserError("has no " + std::string(key));
  return std::move(*texts);
}

std::vector<AddedToken> read_added_tokens(const GgufFile& file, const std::vector<std::string>& tokens) {
  const auto types = file.integers("tokenizer.ggml.token_type");
  std::vector<AddedToken> added;
  if (!types) return added;
  if (types->size() != tokens.size()) {
    throw UserError("tokenizer.ggml.token_type has " + std::to_string(types->size()) + " entries for " +
                    std::to_string(tokens.size()) + " tokens");
  }
  for (size_t id = 0; id < tokens.size(); ++id) {
    const int64_t type = (*types)[id];
    if (type != kUnknownType && type != kControlType && type != kUserDefinedType) continue;
    AddedToken token{static_cast<int32_t>(id), tokens[id]};
    token.special = type != kUserDefinedType;
    added.push_back(std::move(token));
  }
  return added;
}

std::vector<std::pair<std::string_view, std::string_view>> split_merges(
    const std::vector<std::string>& merges) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  pairs.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ');
    if (space == merge.npos) throw UserError("the merge \"" + std::string(merge) + "\" is not two tokens");
    pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return pairs;
}

int read_token_id(const GgufFile& file, const std::string& key, size_t tokens) {
  const int64_t id = file.integer(key).value_or(-1);
  if (id < -1 || id >= static_cast<int64_t>(tokens)) {
    throw UserError(key + " is " + std::to_string(id) + ", but there are " + std::to_string(tokens) +
                    " tokens");
  }
  return static_cast<int>(id);
}

std::shared_ptr<const Tokenizer> read_tokenizer(const GgufFile& file) {
  const auto model = file.text("tokenizer.ggml.model");
  if (!model) throw UserError("has no tokenizer (no tokenizer.ggml.model)");
  if (*model != "gpt2") {
    throw UserError("tokenizer.ggml.model is \"" + *model + "\", which is not supported (known: gpt2)");
  }
  const auto pre = file.text("tokenizer.ggml.pre");
  const KnownSplit& split = find_split(pre.value_or("gpt-2"));
  const std::vector<std::string> merges = require_texts(file, "tokenizer.ggml.merges");
  ByteBpeParts parts;
  parts.tokens = require_texts(file, "tokenizer.ggml.tokens");
  parts.merges = split_merges(merges);
  parts.added = read_added_tokens(file, parts.tokens);
  parts.split = split.steps();
  parts.split_name = pre ? *pre : "gpt-2, since the file does not name its pattern";
  if (pre == "default") parts.split_name = "default, taken as gpt-2";
  parts.ignore_merges = split.llama3;
  parts.bos = read_token_id(file, "tokenizer.ggml.bos_token_id", parts.tokens.size());
  parts.eos = read_token_id(file, "tokenizer.ggml.eos_token_id", parts.tokens.size());
  parts.add_bos = parts.bos >= 0 && file.flag("tokenizer.ggml.add_bos_token").value_or(split.llama3);
  parts.chat_template = file.text("tokenizer.chat_template").value_or("");
  return std::make_shared<ByteBpe>(std::move(parts));
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
