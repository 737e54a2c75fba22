// Hugging Face folders: tokenizer.json and tokenizer_config.json, or tokenizer.model.
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/known_splits.h"
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
    const auto id = static_cast<int32_t>(entry.needed_integer("id", 0, kMostTokens - 1));
    added.push_back(read_added_token(entry, id));
  }
  return added;
}

int find_added(const std::vector<AddedToken>& added, const json& vocab, const std::string& name) {
  for (const AddedToken& token : added) {
    if (token.text == name) return token.id;
  }
  const auto found = vocab.find(name);
  return found == vocab.end() ? -1 : read_id(*found);
}

const json& vocabulary_of(const JsonSettings& model) {
  const json* vocab = model.find("vocab");
  if (!vocab) throw model.missing("vocab");
  if (!vocab->is_object()) throw model.bad("vocab", "an object");
  return *vocab;
}

TokenizerSettings read_settings(const JsonSettings& tokenizer, const JsonSettings& config) {
  const json& vocab = vocabulary_of(tokenizer.needed_object("model"));
  TokenizerSettings settings;
  settings.added = read_added_tokens(tokenizer);
  const FrameTokens frame = read_post_processor(tokenizer);
  const std::string bos = read_token_name(config, "bos_token").value_or(frame.front);
  const std::string eos = read_token_name(config, "eos_token").value_or(frame.behind);
  settings.bos = bos.empty() ? -1 : find_added(settings.added, vocab, bos);
  settings.eos = eos.empty() ? -1 : find_added(settings.added, vocab, eos);
  settings.add_bos = settings.bos >= 0 && config.flag("add_bos_token").value_or(bos == frame.front);
  settings.add_eos = settings.eos >= 0 && config.flag("add_eos_token").value_or(eos == frame.behind);
  settings.chat_template = read_chat_template(config);
  return settings;
}

// "a b", or ["a", "b"].
MergeNames::value_type read_merge(const json& entry) {
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

MergeNames read_merges(const JsonSettings& model) {
  const json* list = model.find("merges");
  if (!list) throw model.missing("merges");
  if (!list->is_array()) throw model.bad("merges", "an array");
  MergeNames merges;
  merges.reserve(list->size());
  for (const json& entry : *list) merges.push_back(read_merge(entry));
  return merges;
}

void require_plain(const JsonSettings& model) {
  const std::string type = model.needed_text("type");
  if (type != "BPE") throw UserError("model type \"" + type + "\" is not supported (known: BPE)");
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.text(name).value_or("") != "") throw UserError(std::string(name) + " is not supported");
  }
  const json* dropout = model.find("dropout");
  if (dropout && *dropout != 0.0) {
    throw UserError("dropout is " + json_value_text(*dropout) +
                    ", which makes tokens by chance (expected null; it is meant for training)");
  }
}

std::string describe_kind(const HfPreTokenizer& cuts, bool byte_fallback) {
  if (!cuts.by_bytes) return byte_fallback ? "BPE with byte fallback" : "BPE";
  const std::string name = split_name(cuts.steps);
  return "byte-level BPE (" + (name.empty() ? "pattern of its own" : name) + ")";
}

std::shared_ptr<const Tokenizer> make_tokenizer(const JsonSettings& tokenizer, const JsonSettings& config) {
  const JsonSettings model = tokenizer.needed_object("model");
  require_plain(model);
  const json& vocab = vocabulary_of(model);
  BpeTokenizerParts parts;
  parts.settings = read_settings(tokenizer, config);
  parts.tokens = read_vocabulary(vocab, parts.settings.added);
  parts.model.merges = merges_by_id(parts.tokens, read_merges(model));
  parts.model.byte_fallback = model.flag("byte_fallback").value_or(false);
  parts.model.ignore_merges = model.flag("ignore_merges").value_or(false);
  parts.model.fuse_unknown = model.flag("fuse_unk").value_or(false);
  if (const auto unknown = read_token_name(model, "unk_token")) {
    parts.model.unknown = find_added(parts.settings.added, vocab, *unknown);
  }
  parts.normalizer = read_normalizer(tokenizer);
  HfPreTokenizer cuts = read_pre_tokenizer(tokenizer);
  parts.kind = describe_kind(cuts, parts.model.byte_fallback);
  parts.model.by_bytes = cuts.by_bytes;
  parts.split = std::move(cuts.steps);
  HfDecoder decoder = read_decoder(tokenizer);
  if (decoder.byte_table && !parts.model.by_bytes) {
    throw UserError("the decoder is ByteLevel, but the pre_tokenizer has no ByteLevel");
  }
  parts.decoder = std::move(decoder.steps);
  parts.decode_byte_table = decoder.byte_table;
  return std::make_shared<BpeTokenizer>(std::move(parts));
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

AddedToken read_added_token(const JsonSettings& entry, int32_t id) {
  AddedToken token{id, entry.needed_text("content")};
  token.special = entry.flag("special").value_or(false);
  token.left_strip = entry.flag("lstrip").value_or(false);
  token.right_strip = entry.flag("rstrip").value_or(false);
  token.single_word = entry.flag("single_word").value_or(false);
  token.second_pass = entry.flag("normalized").value_or(!token.special);
  return token;
}

std::optional<std::string> read_token_name(const JsonSettings& config, const char* name) {
  const json* value = config.find(name);
  if (value && value->is_object()) return config.needed_object(name).needed_text("content");
  return config.text(name);
}

std::string read_chat_template(const JsonSettings& config) {
  const json* value = config.find("chat_template");
  if (!value || !value->is_array()) return config.text("chat_template").value_or("");
  for (const JsonSettings& entry : config.objects("chat_template")) {
    if (entry.needed_text("name") == "default") return entry.needed_text("template");
  }
  return "";
}

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
  for (const AddedToken& token : added) place(token.id);
  return tokens;
}

std::shared_ptr<const Tokenizer> open_hf_tokenizer(const std::string& folder) {
  const fs::path path = fs::path(folder) / "tokenizer.json";
  const fs::path model_path = fs::path(folder) / "tokenizer.model";
  const fs::path config_path = fs::path(folder) / "tokenizer_config.json";
  std::error_code ignored;
  const bool has_json = fs::exists(path, ignored);
  if (!has_json && !fs::exists(model_path, ignored)) {
    throw UserError(
        folder +
        ": there is no tokenizer.json and no tokenizer.model in it (transformers' save_pretrained "
        "writes the first)");
  }
  const json config = read_extras(folder, config_path);
  const JsonSettings config_settings(config, config_path.string());
  if (!has_json) {
    return make_sentencepiece_tokenizer(model_path.string(), read_file(model_path), config_settings);
  }
  const json tokenizer = parse_json(read_file(path), path.string());
  const JsonSettings tokenizer_settings(tokenizer, path.string());
  try {
    return make_tokenizer(tokenizer_settings, config_settings);
  } catch (const UserError& error) {  // of a value, with the file's name, or of how the parts fit together
    const std::string_view what = error.what();
    if (what.starts_with(path.string()) || what.starts_with(config_path.string())) throw;
    throw UserError(path.string() + ": " + error.what());
  }
}

}  // namespace kvlab
