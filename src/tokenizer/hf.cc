// Hugging Face folders: tokenizer.json and tokenizer_config.json.
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/readers.h"

namespace kvlab {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// Above the largest vocabularies there are; a damaged id must not ask for all memory.
constexpr int64_t kMostTokens = int64_t{1} << 22;
constexpr size_t kWidestGap = 1 << 16;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw UserError(path.string() + ": cannot be read");
  return std::move(text).str();
}

int32_t read_id(const json& value) {
  const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
  if (id < 0 || id >= kMostTokens) throw UserError("a token has the id " + json_value_text(value));
  return static_cast<int32_t>(id);
}

std::vector<AddedToken> read_added_tokens(const JsonSettings& tokenizer) {
  std::vector<AddedToken> added;
  for (const JsonSettings& entry : tokenizer.objects("added_tokens")) {
    AddedToken token{static_cast<int32_t>(entry.needed_integer("id", 0, kMostTokens - 1)),
                     entry.needed_text("content")};
    token.special = entry.flag("special").value_or(false);
    token.left_strip = entry.flag("lstrip").value_or(false);
    token.right_strip = entry.flag("rstrip").value_or(false);
    token.second_pass = entry.flag("normalized").value_or(!token.special);
    if (entry.flag("single_word").value_or(false)) {
      throw UserError("added token \"" + token.text + "\" has single_word set, which is not supported");
    }
    added.push_back(std::move(token));
  }
  return added;
}

// The token that a post-processor puts in front of a text, or "".
std::string leading_token(const JsonSettings& post_processor) {
  const std::string type = post_processor.needed_text("type");
  if (type == "Sequence") {
    for (const JsonSettings& part : post_processor.objects("processors")) {
      const std::string token = leading_token(part);
      if (!token.empty()) return token;
    }
  }
  if (type != "TemplateProcessing") return "";
  const std::vector<JsonSettings> single = post_processor.objects("single");
  const auto token = single.empty() ? std::nullopt : single[0].object("SpecialToken");
  return token ? token->needed_text("id") : "";
}

// "bos_token" and the like: a text, or an object with a text. nullopt: not there.
std::optional<std::string> read_token_name(const JsonSettings& config, const char* name) {
  const json* value = config.find(name);
  if (value && value->is_object()) return config.needed_object(name).needed_text("content");
  return config.text(name);
}

int find_added(const std::vector<AddedToken>& added, const json& vocab, const std::string& name) {
  for (const AddedToken& token : added) {
    if (token.text == name) return token.id;
  }
  const auto found = vocab.find(name);
  return found == vocab.end() ? -1 : read_id(*found);
}

// A text, or a list of named ones of which "default" is taken.
std::string read_chat_template(const JsonSettings& config) {
  const json* value = config.find("chat_template");
  if (!value || !value->is_array()) return config.text("chat_template").value_or("");
  for (const JsonSettings& entry : config.objects("chat_template")) {
    if (entry.needed_text("name") == "default") return entry.needed_text("template");
  }
  return "";
}

const json& vocabulary_of(const JsonSettings& model) {
  const json* vocab = model.find("vocab");
  if (!vocab) throw model.missing("vocab");
  if (!vocab->is_object()) throw model.bad("vocab", "an object");
  return *vocab;
}

HfSettings read_settings(const JsonSettings& tokenizer, const JsonSettings& config) {
  const json& vocab = vocabulary_of(tokenizer.needed_object("model"));
  HfSettings settings;
  settings.added = read_added_tokens(tokenizer);
  const auto post_processor = tokenizer.object("post_processor");
  const std::string leading = post_processor ? leading_token(*post_processor) : "";
  const std::string bos = read_token_name(config, "bos_token").value_or(leading);
  settings.bos = bos.empty() ? -1 : find_added(settings.added, vocab, bos);
  settings.eos = find_added(settings.added, vocab, read_token_name(config, "eos_token").value_or(""));
  settings.add_bos = settings.bos >= 0 && config.flag("add_bos_token").value_or(bos == leading);
  settings.chat_template = read_chat_template(config);
  return settings;
}

using MergeNames = std::pair<std::string_view, std::string_view>;

// "a b", or ["a", "b"].
MergeNames read_merge(const json& entry) {
  if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
    return {entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>()};
  }
  if (!entry.is_string()) {
    throw UserError("a merge is neither a text nor a pair of texts but " + json_value_text(entry));
  }
  const std::string_view both = entry.get_ref<const std::string&>();
  const size_t space = both.find(' ');
  if (space == both.npos) throw UserError("a merge is not two tokens: " + json_value_text(entry));
  return {both.substr(0, space), both.substr(space + 1)};
}

std::vector<MergeNames> read_merges(const JsonSettings& model) {
  const json* list = model.find("merges");
  if (!list) throw model.missing("merges");
  if (!list->is_array()) throw model.bad("merges", "an array");
  std::vector<MergeNames> merges;
  merges.reserve(list->size());
  for (const json& entry : *list) merges.push_back(read_merge(entry));
  return merges;
}

void require_plain(const JsonSettings& tokenizer, const JsonSettings& model) {
  if (const auto normalizer = tokenizer.object("normalizer")) {
    throw UserError("normalizer \"" + normalizer->needed_text("type") +
                    "\" is not supported with byte-level BPE (only none)");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.text(name).value_or("") != "") throw UserError(std::string(name) + " is not supported");
  }
}

std::shared_ptr<const Tokenizer> make_byte_bpe(const JsonSettings& tokenizer, HfSettings settings) {
  const JsonSettings model = tokenizer.needed_object("model");
  require_plain(tokenizer, model);
  const json& vocab = vocabulary_of(model);
  ByteBpeParts parts;
  parts.tokens = read_vocabulary(vocab, settings.added);
  parts.merges = read_merges(model);
  parts.split = read_pre_tokenizer(tokenizer);
  parts.split_name = split_name(parts.split);
  if (parts.split_name.empty()) parts.split_name = "pattern of its own";
  parts.ignore_merges = model.flag("ignore_merges").value_or(false);
  if (const auto unknown = read_token_name(model, "unk_token")) {
    parts.unknown = find_added(settings.added, vocab, *unknown);
  }
  parts.fuse_unknown = model.flag("fuse_unk").value_or(false);
  parts.added = std::move(settings.added);
  parts.bos = settings.bos;
  parts.eos = settings.eos;
  parts.add_bos = settings.add_bos;
  parts.chat_template = std::move(settings.chat_template);
  return std::make_shared<ByteBpe>(std::move(parts));
}

std::shared_ptr<const Tokenizer> make_fallback_bpe(const JsonSettings& tokenizer, HfSettings settings) {
  std::vector<std::string> tokens =
      read_vocabulary(vocabulary_of(tokenizer.needed_object("model")), settings.added);
  return make_fallback_bpe(std::move(tokens), tokenizer.needed_object("decoder"), std::move(settings));
}

std::shared_ptr<const Tokenizer> make_tokenizer(const JsonSettings& tokenizer, const JsonSettings& config) {
  const JsonSettings model = tokenizer.needed_object("model");
  const std::string type = model.needed_text("type");
  if (type != "BPE") throw UserError("model type \"" + type + "\" is not supported (known: BPE)");
  HfSettings settings = read_settings(tokenizer, config);
  const auto decoder = tokenizer.object("decoder");
  if (decoder && decoder->needed_text("type") == "ByteLevel") {
    return make_byte_bpe(tokenizer, std::move(settings));
  }
  if (model.flag("byte_fallback").value_or(false)) return make_fallback_bpe(tokenizer, std::move(settings));
  throw UserError("this BPE is neither byte-level (decoder ByteLevel) nor does it fall back to bytes");
}

// Of tokenizer_config.json, and of chat_template.jinja, which goes before it.
json read_extras(const fs::path& folder, const fs::path& config_path) {
  std::error_code ignored;
  json config = json::object();
  if (fs::exists(config_path, ignored)) config = parse_json(read_file(config_path), config_path.string());
  const fs::path template_path = folder / "chat_template.jinja";
  if (config.is_object() && fs::exists(template_path, ignored)) {
    config["chat_template"] = read_file(template_path);
  }
  return config;
}

}  // namespace

std::vector<std::string> read_vocabulary(const json& vocab, const std::vector<AddedToken>& added) {
  std::vector<std::string> tokens;
  std::vector<bool> taken;
  // Ids have gaps, but not wide ones: a small file with one large id must not take much memory.
  const size_t most = 2 * (vocab.size() + added.size()) + kWidestGap;
  const auto place = [&](int32_t id) -> std::string& {
    if (static_cast<size_t>(id) >= most) {
      throw UserError("a token has the id " + std::to_string(id) + ", but there are only " +
                      std::to_string(vocab.size() + added.size()) + " tokens");
    }
    if (static_cast<size_t>(id) >= tokens.size()) {
      tokens.resize(id + 1);
      taken.resize(id + 1);
    }
    return tokens[id];
  };
  tokens.reserve(vocab.size() + added.size());
  for (const auto& [text, value] : vocab.items()) {
    const int32_t id = read_id(value);
    std::string& token = place(id);
    if (taken[id]) throw UserError("two tokens have the id " + std::to_string(id));
    taken[id] = true;
    token = text;
  }
  for (const AddedToken& token : added) place(token.id) = token.text;
  return tokens;
}

std::shared_ptr<const Tokenizer> open_hf_tokenizer(const std::string& folder) {
  const fs::path path = fs::path(folder) / "tokenizer.json";
  const fs::path config_path = fs::path(folder) / "tokenizer_config.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw UserError(folder + ": there is no tokenizer.json in it (transformers' save_pretrained writes one)");
  }
  const json config = read_extras(folder, config_path);
  const json tokenizer = parse_json(read_file(path), path.string());
  const JsonSettings tokenizer_settings(tokenizer, path.string());
  const JsonSettings config_settings(config, config_path.string());
  try {
    return make_tokenizer(tokenizer_settings, config_settings);
  } catch (const UserError& error) {  // of a value, with the file's name, or of how the parts fit together
    const std::string_view what = error.what();
    if (what.starts_with(path.string()) || what.starts_with(config_path.string())) throw;
    throw UserError(path.string() + ": " + error.what());
  }
}

}  // namespace kvlab
