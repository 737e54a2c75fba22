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

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw UserError(path.string() + ": cannot be read");
  return std::move(text).str();
}

// Errors of `body` with the file's name in front.
template <typename Body>
auto naming(const fs::path& path, Body&& body) {
  try {
    return body();
  } catch (const json::parse_error& error) {
    throw UserError(path.string() + ": not valid JSON at byte " + std::to_string(error.byte) +
                    " (is the file complete?)");
  } catch (const json::exception& error) {
    throw UserError(path.string() + ": not as expected: " + error.what());
  } catch (const UserError& error) {
    throw UserError(path.string() + ": " + error.what());
  }
}

json parse_object(const std::string& text) {
  json all = json::parse(text);
  if (!all.is_object()) throw UserError("the file does not hold a JSON object");
  return all;
}

// A section that may be missing or null.
const json& section(const json& object, const char* name) {
  static const json none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

int32_t read_id(const json& value) {
  const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
  if (id < 0 || id >= kMostTokens) throw UserError("a token has the id " + value.dump());
  return static_cast<int32_t>(id);
}

std::vector<AddedToken> read_added_tokens(const json& list) {
  std::vector<AddedToken> added;
  if (list.is_null()) return added;
  for (const json& entry : list) {
    AddedToken token{read_id(entry.at("id")), entry.at("content").get<std::string>()};
    token.special = entry.value("special", false);
    token.left_strip = entry.value("lstrip", false);
    token.right_strip = entry.value("rstrip", false);
    token.second_pass = entry.value("normalized", !token.special);
    if (entry.value("single_word", false)) {
      throw UserError("added token \"" + token.text + "\" has single_word set, which is not supported");
    }
    added.push_back(std::move(token));
  }
  return added;
}

// The token that a post-processor puts in front of a text, or "".
std::string leading_token(const json& post_processor) {
  const std::string type = post_processor.is_object() ? post_processor.at("type").get<std::string>() : "";
  if (type == "Sequence") {
    for (const json& part : post_processor.at("processors")) {
      const std::string token = leading_token(part);
      if (!token.empty()) return token;
    }
  }
  if (type != "TemplateProcessing" || post_processor.at("single").empty()) return "";
  const json& first = post_processor.at("single").at(0);
  const auto token = first.find("SpecialToken");
  return token == first.end() ? "" : token->at("id").get<std::string>();
}

// "bos_token" and the like: a text, an object with a text, or null. nullopt: not there.
std::optional<std::string> read_token_name(const json& config, const char* name) {
  const json& value = section(config, name);
  if (value.is_null()) return std::nullopt;
  return value.is_object() ? value.at("content").get<std::string>() : value.get<std::string>();
}

int find_added(const std::vector<AddedToken>& added, const json& vocab, const std::string& name) {
  for (const AddedToken& token : added) {
    if (token.text == name) return token.id;
  }
  const auto found = vocab.find(name);
  return found == vocab.end() ? -1 : read_id(*found);
}

// A text, or a list of named ones of which "default" is taken.
std::string read_chat_template(const json& value) {
  if (!value.is_array()) return value.is_null() ? "" : value.get<std::string>();
  for (const json& entry : value) {
    if (entry.at("name") == "default") return entry.at("template").get<std::string>();
  }
  return "";
}

HfSettings read_settings(const json& tokenizer, const json& config) {
  const json& vocab = tokenizer.at("model").at("vocab");
  HfSettings settings;
  settings.added = read_added_tokens(section(tokenizer, "added_tokens"));
  const std::string leading = leading_token(section(tokenizer, "post_processor"));
  const std::string bos = read_token_name(config, "bos_token").value_or(leading);
  settings.bos = bos.empty() ? -1 : find_added(settings.added, vocab, bos);
  settings.eos = find_added(settings.added, vocab, read_token_name(config, "eos_token").value_or(""));
  const json& add_bos = section(config, "add_bos_token");
  settings.add_bos = settings.bos >= 0 && (add_bos.is_null() ? bos == leading : add_bos.get<bool>());
  settings.chat_template = read_chat_template(section(config, "chat_template"));
  return settings;
}

using MergeNames = std::pair<std::string_view, std::string_view>;

// "a b", or ["a", "b"].
MergeNames read_merge(const json& entry) {
  if (entry.is_array() && entry.size() == 2) {
    return {entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>()};
  }
  if (!entry.is_string()) throw UserError("a merge is neither a text nor a pair: " + entry.dump());
  const std::string_view both = entry.get_ref<const std::string&>();
  const size_t space = both.find(' ');
  if (space == both.npos) throw UserError("a merge is not two tokens: " + entry.dump());
  return {both.substr(0, space), both.substr(space + 1)};
}

void require_plain(const json& tokenizer) {
  const json& normalizer = section(tokenizer, "normalizer");
  if (!normalizer.is_null()) {
    throw UserError("normalizer \"" + normalizer.at("type").get<std::string>() +
                    "\" is not supported with byte-level BPE (only none)");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = section(tokenizer.at("model"), name);
    if (!value.is_null() && value != "") throw UserError(std::string(name) + " is not supported");
  }
}

std::shared_ptr<const Tokenizer> make_byte_bpe(const json& tokenizer, HfSettings settings) {
  require_plain(tokenizer);
  const json& model = tokenizer.at("model");
  ByteBpeParts parts;
  parts.tokens = read_vocabulary(model.at("vocab"), settings.added);
  for (const json& entry : model.at("merges")) parts.merges.push_back(read_merge(entry));
  parts.split = read_pre_tokenizer(section(tokenizer, "pre_tokenizer"));
  parts.split_name = split_name(parts.split);
  if (parts.split_name.empty()) parts.split_name = "pattern of its own";
  parts.ignore_merges = model.value("ignore_merges", false);
  if (const auto unknown = read_token_name(model, "unk_token")) {
    parts.unknown = find_added(settings.added, model.at("vocab"), *unknown);
  }
  parts.fuse_unknown = model.value("fuse_unk", false);
  parts.added = std::move(settings.added);
  parts.bos = settings.bos;
  parts.eos = settings.eos;
  parts.add_bos = settings.add_bos;
  parts.chat_template = std::move(settings.chat_template);
  return std::make_shared<ByteBpe>(std::move(parts));
}

std::shared_ptr<const Tokenizer> make_tokenizer(const json& tokenizer, const json& config) {
  const json& model = tokenizer.at("model");
  const auto type = model.at("type").get<std::string>();
  if (type != "BPE") throw UserError("model type \"" + type + "\" is not supported (known: BPE)");
  HfSettings settings = read_settings(tokenizer, config);
  const json& decoder = section(tokenizer, "decoder");
  if (decoder.is_object() && decoder.at("type") == "ByteLevel")
    return make_byte_bpe(tokenizer, std::move(settings));
  if (model.value("byte_fallback", false)) return make_fallback_bpe(tokenizer, std::move(settings));
  throw UserError("this BPE is neither byte-level (decoder ByteLevel) nor does it fall back to bytes");
}

}  // namespace

std::vector<std::string> read_vocabulary(const json& vocab, const std::vector<AddedToken>& added) {
  if (!vocab.is_object()) throw UserError("the vocabulary is not a JSON object");
  std::vector<std::string> tokens;
  std::vector<bool> taken;
  const auto place = [&](int32_t id) -> std::string& {
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
  const fs::path template_path = fs::path(folder) / "chat_template.jinja";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw UserError(folder + ": there is no tokenizer.json in it (transformers' save_pretrained writes one)");
  }
  json config = json::object();
  if (fs::exists(config_path, ignored))
    config = naming(config_path, [&] { return parse_object(read_file(config_path)); });
  if (fs::exists(template_path, ignored)) config["chat_template"] = read_file(template_path);
  const json tokenizer = naming(path, [&] { return parse_object(read_file(path)); });
  return naming(path, [&] { return make_tokenizer(tokenizer, config); });
}

}  // namespace kvlab
