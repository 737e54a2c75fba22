#include "format/entry_table.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/error.h"
#include "format/safetensors.h"
#include "format/weights.h"

namespace kvlab {

namespace {

// The document that a tensor named `text` is about, if its name is `name` or `name`.<document>.
std::optional<uint64_t> document_of(const std::string& text, const std::string& name) {
  if (text == name) return 0;
  if (text.rfind(name + ".", 0) != 0) return std::nullopt;
  uint64_t document = 0;
  const char* const begin = text.data() + name.size() + 1;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, document);
  return error == std::errc() && stop == end ? std::optional(document) : std::nullopt;
}

}  // namespace

EntryTable::EntryTable(std::string path, std::string name, int layers, int kv_heads)
    : path_(std::move(path)), name_(std::move(name)), layers_(layers), kv_heads_(kv_heads) {
  const auto file = open_safetensors(path_);
  for (const std::string& tensor : file->names()) {
    if (const auto document = document_of(tensor, name_)) add(*file, tensor, *document);
  }
  if (documents_.empty()) {
    throw UserError(fmt::format("{}: no tensor '{}' (or '{}.<document>' for data of several documents)",
                                path_, name_, name_));
  }
}

void EntryTable::add(const Weights& file, const std::string& tensor, uint64_t document) {
  Table table{tensor, file.shape(tensor), {}};
  const int64_t tokens = table.shape.back();
  const std::vector<int64_t> whole = {layers_, kv_heads_, tokens}, by_layer = {layers_, tokens};
  if (table.shape != whole && table.shape != by_layer && table.shape.size() != 1) {
    throw UserError(fmt::format(
        "{}: tensor '{}' has shape {}, expected [layers, kv_heads, tokens] = [{}, {}, tokens] for this model "
        "(or [{}, tokens], or [tokens])",
        path_, tensor, shape_text(table.shape), layers_, kv_heads_, layers_));
  }
  table.values = file.read(tensor, table.shape);
  const auto [place, added] = documents_.emplace(document, std::move(table));
  if (!added) {
    throw UserError(fmt::format("{}: tensors '{}' and '{}' are both about document {}", path_,
                                place->second.tensor, tensor, document));
  }
}

std::span<const float> EntryTable::row(uint64_t document, int layer, int head, int64_t tokens) const {
  const auto found = documents_.find(document);
  if (found == documents_.end()) {
    throw UserError(fmt::format("{}: no tensor '{}.{}', but document {} (counted from 0) is run", path_,
                                name_, document, document));
  }
  const Table& table = found->second;
  const int64_t length = table.shape.back();
  if (tokens > length) {
    throw UserError(fmt::format("{}: tensor '{}' has {} tokens, document {} has at least {}", path_,
                                table.tensor, length, document, tokens));
  }
  const int64_t row = table.shape.size() == 3   ? int64_t{1} * layer * kv_heads_ + head
                      : table.shape.size() == 2 ? layer
                                                : 0;
  return std::span(table.values).subspan(static_cast<size_t>(row * length), static_cast<size_t>(length));
}

void EntryTable::check_all(const std::function<std::string(float, int64_t)>& what_is_wrong) const {
  for (const auto& [document, table] : documents_) {
    const int64_t length = table.shape.back();
    for (size_t i = 0; i < table.values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / length, token = static_cast<int64_t>(i) % length;
      const std::string wrong = what_is_wrong(table.values[i], token);
      if (wrong.empty()) continue;
      std::string where = fmt::format("{}: tensor '{}'", path_, table.tensor);
      if (table.shape.size() == 3)
        where += fmt::format(", layer {}, head {}", row / kv_heads_, row % kv_heads_);
      if (table.shape.size() == 2) where += fmt::format(", layer {}", row);
      throw UserError(where + fmt::format(", token {} {}", token, wrong));
    }
  }
}

}  // namespace kvlab
