// SentencePiece's tokenizer.model: a protocol buffer, of which kvlab needs a few fields. Folders that hold it
// without a tokenizer.json.
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "tokenizer/readers.h"
#include "tokenizer/score_bpe.h"

namespace kvlab {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// A field's number and its value: a number, or bytes.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;
  std::string_view bytes;
};

// Goes through the fields of one message. Protocol buffers: a key (number and kind), then the value.
class Message {
 public:
  explicit Message(std::string_view data) : data_(data) {}

  bool next(Field& field) {
    if (data_.empty()) return false;
    const uint64_t key = varint();
    field = {key >> 3, 0, {}};
    switch (key & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        throw UserError("damaged: a field of no known kind");
    }
    return true;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw UserError("damaged: a number of more than 64 bits");
  }

  std::string_view take(uint64_t size) {
    if (size > data_.size()) throw UserError("damaged: it ends within a field");
    const std::string_view taken = data_.substr(0, size);
    data_.remove_prefix(size);
    return taken;
  }

  std::string_view data_;
};

struct ModelFile {
  ScoreBpeParts parts;
  int bos = 1, eos = 2;
};

ScorePiece read_piece(std::string_view data) {
  ScorePiece piece;
  Field field;
  for (Message message(data); message.next(field);) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2 && field.bytes.size() == sizeof piece.score) {
      std::memcpy(&piece.score, field.bytes.data(), sizeof piece.score);
    }
    if (field.number == 3) piece.type = piece_type(static_cast<int64_t>(field.value));
  }
  return piece;
}

void read_trainer(std::string_view data, ModelFile& file) {
  constexpr uint64_t kUnigram = 1, kBpe = 2;
  uint64_t model_type = kUnigram;
  file.parts.byte_fallback = false;
  Field field;
  for (Message message(data); message.next(field);) {
    if (field.number == 3) model_type = field.value;
    if (field.number == 24 && field.value != 0)
      throw UserError("spaces are marked behind words, which is not supported");
    if (field.number == 35) file.parts.byte_fallback = field.value != 0;
    if (field.number == 41) file.bos = static_cast<int>(field.value);
    if (field.number == 42) file.eos = static_cast<int>(field.value);
  }
  if (model_type != kBpe) {
    throw UserError(std::string("a SentencePiece model of the type ") +
                    (model_type == kUnigram ? "unigram" : "number " + std::to_string(model_type)) +
                    ", which is not supported (known: bpe)");
  }
}

void read_normalizer(std::string_view data, ModelFile& file) {
  std::string name;
  bool has_table = false;
  Field field;
  for (Message message(data); message.next(field);) {
    if (field.number == 1) name = field.bytes;
    if (field.number == 2) has_table = !field.bytes.empty();
    if (field.number == 3) file.parts.prefix_space = field.value != 0;
    if (field.number == 4) file.parts.collapse_spaces = field.value != 0;
    if (field.number == 5 && field.value == 0)
      throw UserError("spaces are not marked, which is not supported");
  }
  if (has_table) {
    throw UserError("the normalizer \"" + name + "\" is not supported (known: identity)");
  }
}

ModelFile read_model(std::string_view data) {
  ModelFile file;
  file.parts.collapse_spaces = true;  // the format's fallback
  bool has_trainer = false;
  Field field;
  for (Message message(data); message.next(field);) {
    if (field.number == 1) file.parts.pieces.push_back(read_piece(field.bytes));
    if (field.number == 2) read_trainer(field.bytes, file);
    if (field.number == 3) read_normalizer(field.bytes, file);
    has_trainer = has_trainer || field.number == 2;
  }
  if (!has_trainer || file.parts.pieces.empty()) throw UserError("not a SentencePiece model");
  return file;
}

int find_id(const ScoreBpeParts& parts, const std::optional<std::string>& name, int fallback) {
  if (!name) return fallback >= 0 && fallback < static_cast<int>(parts.pieces.size()) ? fallback : -1;
  for (const AddedToken& token : parts.settings.added) {
    if (token.text == *name) return token.id;
  }
  for (size_t id = 0; id < parts.pieces.size(); ++id) {
    if (parts.pieces[id].text == *name) return static_cast<int>(id);
  }
  return -1;
}

// "added_tokens_decoder": an object of ids, with what `added_tokens` of tokenizer.json hold.
std::vector<AddedToken> read_added(const JsonSettings& config, size_t pieces) {
  std::vector<AddedToken> added;
  const json* list = config.find("added_tokens_decoder");
  if (!list) return added;
  if (!list->is_object()) throw config.bad("added_tokens_decoder", "an object");
  constexpr int kWidestGap = 1 << 16;
  for (const auto& [key, value] : list->items()) {
    const bool is_number = !key.empty() && key.size() < 9 && key.find_first_not_of("0123456789") == key.npos;
    const int id = is_number ? std::stoi(key) : -1;
    if (id < 0 || static_cast<size_t>(id) >= pieces + kWidestGap) {
      throw config.bad("added_tokens_decoder",
                       "ids near the " + std::to_string(pieces) + " of the pieces, not " + key);
    }
    added.push_back(
        read_added_token(JsonSettings(value, config.file(), "added_tokens_decoder." + key + "."), id));
  }
  return added;
}

std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view data, const JsonSettings& config) {
  ModelFile file = read_model(data);
  ScoreBpeParts& parts = file.parts;
  TokenizerSettings& settings = parts.settings;
  settings.added = read_added(config, parts.pieces.size());
  settings.bos = find_id(parts, read_token_name(config, "bos_token"), file.bos);
  settings.eos = find_id(parts, read_token_name(config, "eos_token"), file.eos);
  settings.add_bos = settings.bos >= 0 && config.flag("add_bos_token").value_or(true);
  settings.add_eos = settings.eos >= 0 && config.flag("add_eos_token").value_or(false);
  settings.chat_template = read_chat_template(config);
  // "legacy" tokenizers work each text between special tokens for itself.
  parts.prefix_every_piece = config.flag("legacy").value_or(true);
  return make_score_bpe(std::move(parts));
}

}  // namespace

std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(const std::string& path, std::string_view data,
                                                              const JsonSettings& config) {
  try {
    return make_tokenizer(data, config);
  } catch (const UserError& error) {
    const std::string_view what = error.what();
    if (what.starts_with(config.file())) throw;
    throw UserError(path + ": " + error.what());
  }
}

}  // namespace kvlab
